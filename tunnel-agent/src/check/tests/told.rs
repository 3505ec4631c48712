//! What the check says of each thing that may be wrong, and that it says what to do about that, and nothing else.

use std::os::unix::fs::PermissionsExt as _;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::identity::folder::{Lock, user};

/// What the check says about a server that answers on TCP in this way.
async fn answered(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let served = tokio::spawn(async move {
        loop {
            let (mut tcp, _) = listener.accept().await.unwrap();
            // The first byte only: what is left unread makes the close a reset.
            let mut hello = [0];
            if tcp.read_exact(&mut hello).await.is_ok() && !answer.is_empty() {
                tcp.write_all(answer).await.ok();
                let mut rest = Vec::new();
                tcp.take(1 << 16).read_to_end(&mut rest).await.ok();
            }
        }
    });
    let state = tempfile::tempdir().unwrap();
    let (passed, said) = checked(&state, &format!("--server tls://{at}")).await;
    served.abort();
    assert!(!passed, "{said}");
    said
}

#[tokio::test]
async fn what_answers_on_a_wrong_port_is_told_by_its_answer() {
    let table: [(&'static [u8], &str); 5] = [
        // TLS alerts (RFC 8446, 6): unrecognized_name, no_application_protocol, decode_error.
        (&[21, 3, 3, 0, 2, 2, 112], "--tls-listen, 10263"),
        (&[21, 3, 3, 0, 2, 2, 120], "is no agents' port"),
        (&[21, 3, 3, 0, 2, 2, 50], "PROXY protocol header before it"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not pass TLS on"),
        (b"", "--agents-proxy-protocol"),
    ];
    for (answer, advice) in table {
        let said = answered(answer).await;
        assert!(
            said.contains("FAIL") && said.contains(advice),
            "{answer:?}: {advice:?} is not in {said}"
        );
        assert!(!said.contains("ca show"), "{said}");
    }
}

#[tokio::test]
async fn a_clock_that_is_ahead_is_to_be_set_and_its_own_line_says_so() {
    let ca = Ca::new();
    let server = ca.serve(None).await;
    let at = server.address;
    let ahead = Clock::fixed(Clock::system().now() + 60 * MONTH);
    // Without a certificate or a token nothing says whose certificate it is, nor how long it should be valid.
    let enrolled = tempfile::tempdir().unwrap();
    ca.enroll(enrolled.path(), MONTH);
    let (passed, said) = checked_at(&enrolled, &format!("--server {at}"), &ahead).await;
    assert!(!passed, "{said}");
    for transport in ["tls", "quic"] {
        let failed = format!("FAIL  {at} {transport}: {at}: ");
        let mut from = said.lines().skip_while(|line| !line.starts_with(&failed));
        let remedy = from.nth(1).unwrap_or_default();
        assert!(remedy.contains("set this machine's clock"), "{said}");
    }
    assert!(
        said.contains("warn  clock: ") && said.contains("which is ahead of"),
        "{said}"
    );
    assert!(!said.contains("ca show"), "{said}");
}

#[tokio::test]
async fn another_trust_domain_is_told_as_one() {
    let ca = Ca::new();
    let server = ca.serve(None).await;
    let at = server.address;
    let (new, enrolled) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    ca.enroll(enrolled.path(), MONTH);
    for state in [&new, &enrolled] {
        let (passed, said) = checked(
            state,
            &format!("--server {at} --trust-domain other.example"),
        )
        .await;
        assert!(!passed, "{said}");
        let told =
            said.matches("what to do: give the agent and the server the same --trust-domain");
        // Of an enrolled node, the certificate too.
        let expected = 2 + usize::from(std::ptr::eq(state, &enrolled));
        assert_eq!(told.count(), expected, "{said}");
        assert!(!said.contains("ca show"), "{said}");
    }
}

#[tokio::test]
async fn what_run_would_refuse_fails_the_check() {
    let (ca, state) = (Ca::new(), tempfile::tempdir().unwrap());
    ca.enroll(state.path(), MONTH);
    let server = "--server nowhere.invalid:10262";
    let policy = state.path().join("policy");
    std::fs::write(&policy, "allow node:80\ndney node:22\n").unwrap();
    let policy = policy.display();
    for (flags, what, remedy) in [
        (
            "--node-name edge-2".to_owned(),
            "FAIL  name: this node is told to be edge-2, but its certificate is for edge-1",
            "drop --node-name",
        ),
        (
            format!("--policy-file {policy}"),
            "FAIL  policy: line 2 of the policy file",
            "mend that line",
        ),
        (
            format!("--policy-file {policy}.lost"),
            "FAIL  policy: the policy file",
            "typing error",
        ),
        (
            "--node-ip 192.0.2.9".to_owned(),
            "warn  policy: 192.0.2.9 (--node-ip) is no address of this node",
            "leave it out",
        ),
    ] {
        let (_, said) = checked(&state, &format!("{server} {flags}")).await;
        assert!(
            said.contains(what) && said.contains(remedy),
            "{flags}: {said}"
        );
    }
    let (_, said) = checked(&state, server).await;
    assert!(
        said.contains("ok    name: edge-1, by its certificate")
            && said.contains("ok    policy: the node's own addresses")
            && said.contains("another host"),
        "{said}"
    );
}

#[tokio::test]
async fn the_state_folder_is_looked_at_and_named_with_its_user() {
    let state = tempfile::tempdir().unwrap();
    let server = "--server nowhere.invalid:10262";
    let path = state.path().display();
    let user = user();
    let (_, said) = checked(&state, server).await;
    let well = format!("ok    state folder: {path} is user {user}'s to read and to write\n");
    assert!(said.contains(&well), "{said}");

    let lock = Lock::take(state.path()).await.unwrap();
    let (_, said) = checked(&state, server).await;
    assert!(said.contains("an agent runs on it now"), "{said}");
    drop(lock);

    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(state.path(), open).unwrap();
    let (_, said) = checked(&state, server).await;
    assert!(
        said.contains("warn  state folder: other users of this machine may write into")
            && said.contains("what to do: shut it with chmod 700"),
        "{said}"
    );

    let file = state.path().join("file");
    std::fs::write(&file, "").unwrap();
    let (passed, said) = checked(&state, &format!("{server} --state-dir {}", file.display())).await;
    assert!(
        !passed
            && said.contains(&format!("FAIL  state folder: user {user} cannot use"))
            && said.contains("skip  enrolment: "),
        "{said}"
    );
}

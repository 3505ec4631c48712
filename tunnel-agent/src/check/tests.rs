use std::time::{Duration, SystemTime};

use clap::Parser as _;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::admin;
use crate::config::{Cli, Command, Listen};
use crate::identity::build_date;
use server::Ca;

mod server;
mod told;

const MONTH: Duration = Duration::from_secs(30 * 86_400);

/// Runs the check of an agent with this state folder.
async fn checked(state: &TempDir, flags: &str) -> (bool, String) {
    checked_at(state, flags, &Clock::system()).await
}

/// As [`checked`], by another clock.
async fn checked_at(state: &TempDir, flags: &str, clock: &Clock) -> (bool, String) {
    let state = match flags.contains("--state-dir") {
        true => String::new(),
        false => format!("--state-dir {}", state.path().display()),
    };
    let line = format!("edge-tunnel-agent check --admin-listen 127.0.0.1:0 {state} {flags}");
    let Command::Check(config) = Cli::try_parse_from(line.split_whitespace())
        .unwrap()
        .command
    else {
        panic!("not check");
    };
    let mut out = Vec::new();
    let passed = check_at(&config, clock, &mut out).await.unwrap();
    (passed, String::from_utf8(out).unwrap())
}

#[test]
fn a_clock_of_1970_is_warned_of() {
    let right = build_date() + Duration::from_secs(86_400);
    assert!(matches!(
        local::clock(&Clock::fixed(right), &[]),
        Outcome::Passed(_)
    ));
    let wrong = local::clock(&Clock::fixed(SystemTime::UNIX_EPOCH), &[]);
    let Outcome::Warning(advice) = wrong else {
        panic!("{wrong:?}")
    };
    assert!(
        advice.what.contains("1970-01-01T00:00:00Z") && advice.remedy.contains("NTP"),
        "{advice:?}"
    );
    // After the build, but before the node's own certificate.
    let behind = Clock::fixed(right);
    behind.not_before(right + MONTH);
    assert!(matches!(local::clock(&behind, &[]), Outcome::Warning(_)));
}

#[tokio::test]
async fn the_admin_port_is_free_an_agents_or_another_programs() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let pages = admin::Pages {
        health: Default::default(),
        registry: admin::registry(),
    };
    let served = tokio::spawn(admin::serve(listener, pages, stop.clone()));
    let look = async |running| local::admin_port(Listen(Some(address)), running).await;
    for running in [Running::Here, Running::Unknown] {
        let taken = look(running).await;
        assert_eq!(
            taken,
            Outcome::Passed(format!("an agent runs on {address} already"))
        );
    }
    let Outcome::Failed(advice) = look(Running::Elsewhere).await else {
        panic!("an agent on another folder passed");
    };
    assert!(advice.remedy.contains("--state-dir"), "{advice:?}");
    stop.cancel();
    served.await.unwrap();
    assert_eq!(
        look(Running::Elsewhere).await,
        Outcome::Passed(format!("{address} is free"))
    );

    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = other.local_addr().unwrap();
    let hangs_up = tokio::spawn(async move { drop(other.accept().await) });
    let taken = local::admin_port(Listen(Some(address)), Running::Unknown).await;
    hangs_up.await.unwrap();
    let Outcome::Failed(advice) = taken else {
        panic!("{taken:?}")
    };
    assert!(advice.remedy.contains("--admin-listen"), "{advice:?}");
}

#[tokio::test]
async fn a_closed_port_fails_the_check_and_skips_the_handshake() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = closed.local_addr().unwrap();
    drop(closed);
    let state = tempfile::tempdir().unwrap();
    let (passed, said) = checked(&state, &format!("--server tls://{at}")).await;
    assert!(!passed);
    assert!(
        said.contains(&format!("FAIL  {at} tcp: {at}: Connection refused")),
        "{said}"
    );
    assert!(
        said.contains("      what to do: the machine is there but nothing listens"),
        "{said}"
    );
    assert!(
        said.contains(&format!("skip  {at} tls: ")) && said.contains(&format!("skip  {at} quic: ")),
        "{said}"
    );
}

#[tokio::test]
async fn a_name_that_does_not_resolve_ends_that_servers_steps() {
    // RFC 6761: no resolver knows a name under .invalid.
    let state = tempfile::tempdir().unwrap();
    let (passed, said) = checked(&state, "--server nowhere.invalid:10262").await;
    assert!(!passed);
    assert!(
        said.contains("FAIL  nowhere.invalid:10262 resolve: "),
        "{said}"
    );
    assert!(
        said.contains("--server") && !said.contains(" tcp:"),
        "{said}"
    );
}

#[tokio::test]
async fn the_servers_of_a_folder_are_tried_and_what_is_wrong_with_it_is_told() {
    let (state, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = format!("--endpoints-dir {}", folder.path().display());
    let (passed, said) = checked(&state, &dir).await;
    assert!(
        !passed && said.contains("FAIL  servers: there is no "),
        "{said}"
    );
    assert!(
        said.contains("warn  ca bundle: ") && said.contains("run waits for it"),
        "{said}"
    );
    assert!(!said.contains(" resolve: "), "{said}");
    std::fs::write(folder.path().join("servers"), "nowhere.invalid:1\nx\n").unwrap();
    let (_, said) = checked(&state, &dir).await;
    assert!(
        said.contains("warn  servers: ") && said.contains("line 2"),
        "{said}"
    );
    assert!(said.contains("FAIL  nowhere.invalid:1 resolve: "), "{said}");
    let (_, said) = checked(&state, &format!("{dir} --server other.invalid:1")).await;
    assert!(
        said.contains("skip  servers: ") && said.contains("FAIL  other.invalid:1 resolve: "),
        "{said}"
    );
}

#[tokio::test]
async fn an_enrolled_node_knows_its_server_over_both_transports() {
    let ca = Ca::new();
    let server = ca.serve(None).await;
    let (state, at) = (tempfile::tempdir().unwrap(), server.address);
    ca.enroll(state.path(), MONTH);
    let (passed, said) = checked(&state, &format!("--server {at}")).await;
    assert!(passed, "{said}");
    assert!(
        said.contains("ok    enrolment: this is node edge-1, its certificate is valid until "),
        "{said}"
    );
    for transport in ["tls", "quic"] {
        assert!(
            said.contains(&format!("ok    {at} {transport}: {at} in ")),
            "{said}"
        );
    }
    assert_eq!(said.matches("it is the right server").count(), 2, "{said}");
    assert!(!said.contains("what to do"), "{said}");
}

#[tokio::test]
async fn before_enrolment_the_token_tells_the_right_server_and_without_one_the_way_is_told() {
    let (ca, other) = (Ca::new(), Ca::new());
    let server = ca.serve(None).await;
    let (state, at) = (tempfile::tempdir().unwrap(), server.address);
    let token = state.path().join("token");
    let with_token = format!("--server {at} --token-file {}", token.display());

    std::fs::write(&token, ca.token()).unwrap();
    let (passed, said) = checked(&state, &with_token).await;
    assert!(
        passed && said.matches("it is the right server").count() == 2,
        "{said}"
    );

    std::fs::write(&token, other.token()).unwrap();
    let (passed, said) = checked(&state, &with_token).await;
    assert!(
        !passed && said.contains(&format!("FAIL  {at} tls: ")),
        "{said}"
    );
    assert!(said.contains(&format!("FAIL  {at} quic: ")), "{said}");
    assert_eq!(
        said.matches("is not the server that the join token is of")
            .count(),
        2,
        "{said}"
    );

    std::fs::write(&token, "et1.cut").unwrap();
    let (passed, said) = checked(&state, &with_token).await;
    assert!(
        !passed && said.contains("FAIL  enrolment: ") && said.contains("cut short"),
        "{said}"
    );
    assert!(
        said.contains("what to do: copy it again, whole\n"),
        "{said}"
    );

    std::fs::remove_file(&token).unwrap();
    let (passed, said) = checked(&state, &with_token).await;
    assert!(
        !passed && said.contains("what to do: look for a typing error in its path"),
        "{said}"
    );

    let (passed, said) = checked(&state, &format!("--server {at}")).await;
    assert!(
        passed
            && said
                .contains("warn  enrolment: this node has no certificate yet, and no join token"),
        "{said}"
    );
    assert_eq!(
        said.matches("is not known before enrolment").count(),
        2,
        "{said}"
    );
    assert!(
        !state.path().join("key.pem").exists(),
        "the check makes nothing"
    );
}

#[tokio::test]
async fn a_foreign_server_and_a_refusal_after_the_handshake_are_told_apart() {
    let (ours, theirs) = (Ca::new(), Ca::new());
    let state = tempfile::tempdir().unwrap();
    ours.enroll(state.path(), MONTH);
    let server = theirs.serve(None).await;
    let (passed, said) = checked(&state, &format!("--server {}", server.address)).await;
    assert!(!passed);
    assert_eq!(
        said.matches("is not the server that this node knows")
            .count(),
        2,
        "{said}"
    );

    let server = ours.serve(Some("node edge-1 was revoked")).await;
    let (passed, said) = checked(&state, &format!("--server {}", server.address)).await;
    assert!(!passed);
    assert_eq!(said.matches("ended it again").count(), 2, "{said}");
    assert_eq!(said.matches("node edge-1 was revoked").count(), 2, "{said}");
}

#[tokio::test]
async fn an_expired_certificate_is_warned_of() {
    let (ca, state) = (Ca::new(), tempfile::tempdir().unwrap());
    ca.enroll(state.path(), Duration::from_secs(60));
    let (_, said) = checked(&state, "--server nowhere.invalid:10262").await;
    assert!(
        said.contains("warn  enrolment: the certificate of node edge-1 was valid until "),
        "{said}"
    );
    assert!(said.contains("--renew-grace"), "{said}");
}

#[test]
fn one_transport_that_works_is_enough() {
    let blocked = Outcome::failed("no handshake within 10 s", "let UDP out");
    assert!(matches!(blocked.clone().dispensable(), Outcome::Warning(_)));
    let shown = Step {
        name: "lb:10262 quic".to_owned(),
        outcome: blocked.dispensable(),
    }
    .to_string();
    assert_eq!(
        shown,
        "warn  lb:10262 quic: no handshake within 10 s\n      what to do: let UDP out\n"
    );
}

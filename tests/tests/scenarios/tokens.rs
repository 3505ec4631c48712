//! Join tokens that are no good: the agent says what is wrong and what to do next, takes its time between attempts, and
//! comes in once a person has mended it.

use std::time::Duration;

use edge_tunnel_proto::clock::Clock;
use edge_tunnel_tests::forge::DAY;
use edge_tunnel_tests::node::Node;
use edge_tunnel_tests::server::Server;
use edge_tunnel_tests::wait::until;

/// More than a handful of attempts, which become rarer, in five seconds.
const SPINS: f64 = 15.5;

#[tokio::test]
async fn a_token_that_is_no_good_says_so_and_what_to_do_and_does_not_make_the_agent_spin() {
    let clock = Clock::fixed(Clock::system().now());
    let server = Server::start_with(&[], &[], clock.clone()).await;
    let text = async |node: &str| std::fs::read_to_string(server.token(node).await).unwrap();
    let expired = text("expired").await;
    clock.set(clock.now() + 2 * DAY);
    let good = text("changed").await;
    let changed = |index: usize| {
        let mut bytes = good.trim().as_bytes().to_vec();
        bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
        bytes
    };
    let wrapped = format!("{}\r\n{}\r\n", &good[..60], &good[60..]);
    let table: Vec<(&'static str, Vec<u8>, &'static [&'static str])> = vec![
        (
            "expired",
            expired.into_bytes(),
            &[
                "the join token expired at",
                "the server's clock says",
                "create a new one",
            ],
        ),
        (
            "changed",
            changed(30),
            &["damaged on the way", "copy it again"],
        ),
        (
            "changed",
            changed(100),
            &["damaged on the way", "copy it again"],
        ),
        (
            "changed",
            wrapped.into_bytes(),
            &["damaged on the way", "copy it again"],
        ),
        (
            "changed",
            good.as_bytes()[..70].to_vec(),
            &["cut short", "copy it again, whole"],
        ),
        (
            "empty",
            Vec::new(),
            &["holds no join token", "token create"],
        ),
        (
            "blank",
            b" \r\n\t\n".to_vec(),
            &["holds no join token", "token create"],
        ),
        (
            "other",
            b"K10abc::node:secret\n".to_vec(),
            &["this is no join token", "token create"],
        ),
        (
            "binary",
            vec![0xff, 0xfe, 0, 0x80, 0x90],
            &["cannot be read from the file"],
        ),
        (
            "huge",
            vec![b'x'; 100_000],
            &["longer than 4096", "is it the right file?"],
        ),
    ];
    let mut trying = Vec::new();
    for (number, (node, bytes, words)) in table.into_iter().enumerate() {
        let file = server.spare(&format!("bad-{number}"));
        std::fs::write(&file, bytes).unwrap();
        let mut node = Node::new(node, &server.agents())
            .clock(&clock)
            .token_file(&file);
        node.start().await;
        trying.push((node, file, words));
    }
    let failed = async |node: &Node| node.metrics().await.sum("connects_failed_total", &[]);
    let mut before = Vec::new();
    for (node, _, words) in &trying {
        node.says(words).await;
        before.push(failed(node).await);
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    for ((node, _, words), before) in trying.iter().zip(before) {
        let more = failed(node).await - before;
        assert!(more < SPINS, "{words:?}: {more} attempts in 5 s");
    }
    // A person puts a better one in its place, and nothing has to be started anew.
    let (node, file, _) = &trying[0];
    std::fs::write(file, text(node.name()).await).unwrap();
    let comes = async || match node.missing().await {
        missing if missing.is_empty() => Ok(()),
        missing => Err(missing),
    };
    until("a better token counts", Duration::from_secs(60), comes).await;
}

#[tokio::test]
async fn blanks_and_line_ends_around_a_token_are_let_through() {
    let server = Server::start(&[]).await;
    for (name, before, after) in [("crlf", "", "\r\n"), ("padded", "  \n", " \t\r\n\n")] {
        let made = std::fs::read_to_string(server.token(name).await).unwrap();
        let file = server.spare(&format!("token-of-{name}"));
        std::fs::write(&file, format!("{before}{}{after}", made.trim())).unwrap();
        let mut node = Node::new(name, &server.agents()).token_file(file);
        node.start().await;
        node.ready().await;
    }
}

/// The key is the agent's own to make; one of another kind is no reason for a riddle.
#[tokio::test]
async fn a_key_of_another_kind_is_named_with_what_to_do() {
    let server = Server::start(&[]).await;
    for (name, kind) in [
        ("key-ed25519", &rcgen::PKCS_ED25519),
        ("key-p384", &rcgen::PKCS_ECDSA_P384_SHA384),
        ("key-rsa", &rcgen::PKCS_RSA_SHA256),
    ] {
        let token = server.token(name).await;
        let mut node = Node::new(name, &server.agents()).token_file(token);
        let key = rcgen::KeyPair::generate_for(kind).unwrap();
        std::fs::create_dir(node.state_dir()).unwrap();
        std::fs::write(node.state_dir().join("key.pem"), key.serialize_pem()).unwrap();
        node.start().await;
        node.says(&["ECDSA P-256", "key.pem"]).await;
        node.stop().await;
        std::fs::remove_file(node.state_dir().join("key.pem")).unwrap();
        node.start().await;
        node.ready().await;
    }
}

//! What strangers get into the log: no line of their own, nothing that steers a terminal, and never more than a few.

use std::time::Duration;

use edge_tunnel_tests::caller::{self, get};
use edge_tunnel_tests::logs;
use edge_tunnel_tests::process::{Built, bound};
use edge_tunnel_tests::server::Server;
use edge_tunnel_tests::stranger::{Door, Rude, Then, hello};
use tokio::task::JoinSet;

/// How many knock.
const KNOCKS: usize = 1000;

/// A burst, and what a second adds to it, for as long as a slow machine may take.
const LINES_MAX: usize = 100 + 5 * 120;

#[tokio::test]
async fn a_thousand_knocks_are_counted_and_not_a_thousand_lines() {
    let server = Server::start(&[]).await;
    for (way, door, says) in [
        ("tls", Door::Tcp(server.tls()), hello("rude-flood-tls")),
        (
            "connect",
            Door::Unix(server.uds()),
            b"CONNECT rude-flood-connect:22 HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        ),
        (
            "http",
            Door::Tcp(server.http()),
            b"GET / HTTP/1.1\r\nHost: rude-flood-http:10255\r\nConnection: close\r\n\r\n".to_vec(),
        ),
    ] {
        let mut knocks = JoinSet::new();
        for _ in 0..KNOCKS {
            let (door, rude) = (door.clone(), Rude::says(says.clone()));
            knocks.spawn(async move { rude.at(&door).await.unwrap() });
            if knocks.len() >= 50 {
                assert!(!knocks.join_next().await.unwrap().unwrap().is_empty());
            }
        }
        knocks.join_all().await;
        let labels = [format!("way=\"{way}\""), "outcome=\"unknown_node\"".into()];
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let counted = server
            .metrics()
            .await
            .sum("ingress_requests_total", &labels);
        assert!((counted - KNOCKS as f64).abs() < 0.5, "{way}: {counted}");
        let name = format!("rude-flood-{way}");
        let lines = logs::with(&["refused", &name]).len();
        assert!((100..LINES_MAX).contains(&lines), "{way}: {lines} lines");
        // The next one says how many are missing.
        tokio::time::sleep(Duration::from_millis(500)).await;
        Rude::says(says).at(&door).await.unwrap();
        let told = logs::with(&["refused", &name, "unwritten="]);
        assert!(!told.is_empty(), "{way}");
    }
}

#[tokio::test]
async fn nothing_that_a_stranger_says_begins_a_line_or_steers_a_terminal() {
    let Some(place) = Built::found() else {
        return;
    };
    let uds = place.path("connect.sock");
    let mut server = place.start_server(&[
        "--log-level",
        "debug",
        "--agents-proxy-protocol",
        "--connect-uds",
        &uds,
    ]);
    let started = server.says("server starts").await;
    let at = |name: &str| bound(&started, name);
    let evil = "x\r\n2026-01-01T00:00:00Z ERROR the disk burns\x1b[2J\x07\u{9b}31m\n";
    let tcp = |name| Door::Tcp(at(name));
    let mut sni = hello("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example");
    let place = sni.windows(5).position(|five| five == b"aaaaa").unwrap();
    sni[place..place + 40].copy_from_slice(&evil.as_bytes()[..40]);
    let connect = |target: &str| format!("CONNECT {target} HTTP/1.1\r\nHost: {evil}\r\n\r\n");
    for (door, says) in [
        (tcp("tls"), sni),
        (tcp("agents"), format!("PROXY TCP4 {evil} 1 1 1\r\n").into()),
        (tcp("agents"), evil.into()),
        (tcp("connect"), evil.into()),
        (tcp("tls"), evil.into()),
        (tcp("http"), evil.into()),
        (
            tcp("http"),
            format!("GET /{evil} HTTP/1.1\r\nHost: a\r\n\r\n").into(),
        ),
        (
            tcp("http"),
            b"GET / HTTP/1.1\r\nHost: a\x1b[2Jb\xc2\x9b31m:1\r\n\r\n".to_vec(),
        ),
        (
            tcp("http"),
            b"GET / HTTP/1.1\r\nHost: \"a\tb\":1\r\n\r\n".to_vec(),
        ),
        (
            tcp("http"),
            b"GET / HTTP/1.1\r\nHost: a\r\nX-Tunnel-Proxy-Dest: \xc2\x9b1:1\r\n\r\n".to_vec(),
        ),
        (tcp("admin"), evil.into()),
        (Door::Unix(uds.clone().into()), connect(evil).into()),
        (Door::Unix(uds.clone().into()), connect("a:1").into()),
        (
            Door::Unix(uds.clone().into()),
            b"CONNECT \"a'%0a%1b\\n:1 HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        ),
        (
            Door::Unix(uds.into()),
            b"CONNECT \xc2\x9b31m:1 HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        ),
    ] {
        Rude::says(says).then(Then::Ends).at(&door).await.unwrap();
    }
    // The last of them, so all lines are there.
    let last = caller::http(at("http"), get("/", "rude-last:10255")).await;
    assert_eq!(last.unwrap().status, 503);
    server.says("rude-last").await;
    let lines = server.seen();
    assert!(lines.len() > 10, "{lines:#?}");
    for line in lines {
        assert!(
            line.starts_with("20") && line.as_bytes().get(4) == Some(&b'-'),
            "{line:?}"
        );
        assert!(!line.contains(char::is_control), "{line:?}");
        assert!(!line.starts_with("2026-01-01T00:00:00Z"), "{line:?}");
    }
    assert_eq!(server.terminate().await, Some(0));
}

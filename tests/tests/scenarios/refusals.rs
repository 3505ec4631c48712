//! What a caller is told that does not get its connection.

use std::time::Duration;

use edge_tunnel_tests::caller::{self, Refused, get};
use edge_tunnel_tests::node::Node;
use edge_tunnel_tests::ports;
use edge_tunnel_tests::server::Server;
use edge_tunnel_tests::service::{Service, Silent};
use tokio::time::Instant;

async fn refused(server: &Server, target: &str) -> Refused {
    caller::uds(&server.uds(), target)
        .await
        .map(drop)
        .unwrap_err()
}

fn is(refused: &Refused, status: u16, words: &[&str]) {
    assert_eq!(refused.status, status, "{refused:?}");
    for word in words {
        assert!(
            refused.phrase.contains(word),
            "{word:?} is not in {refused:?}"
        );
    }
}

#[tokio::test]
async fn a_node_that_is_unknown_or_away() {
    let server = Server::start(&[]).await;
    is(
        &refused(&server, "no-such:22").await,
        503,
        &["no-such", "unknown", "token create"],
    );

    let mut node = Node::join("away", &server).await;
    let service = Service::start().await;
    let at = node.at(service.port());
    caller::uds(&server.uds(), &at).await.unwrap();
    node.stop().await;
    let words = ["away", "not connected", "left", "s ago", "agent's log"];
    is(&refused(&server, &at).await, 503, &words);

    let mut server = server;
    server.stop().await;
    server.start_again().await;
    let words = ["away", "not connected", "since this server started"];
    is(&refused(&server, &at).await, 503, &words);

    server.must(&["nodes", "revoke", "away"]).await;
    is(&refused(&server, &at).await, 503, &["away", "revoked"]);
}

#[tokio::test]
async fn a_port_that_is_not_open() {
    let (open, tls) = (Service::start().await, ports::free());
    let https = format!("{tls}={}", ports::free());
    let http = open.port().to_string();
    let server =
        Server::with_keys(&[("http-proxy-ports", &http), ("https-proxy-ports", &https)]).await;
    let node = Node::join("closed", &server).await;
    let ask = async |port| {
        caller::http(server.http(), get("/", &node.at(port)))
            .await
            .unwrap()
    };
    let answer = ask(1).await;
    assert_eq!(answer.status, 403);
    assert!(
        answer.text().contains("http-proxy-ports"),
        "{}",
        answer.text()
    );
    let answer = ask(tls).await;
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("TLS"), "{}", answer.text());
    let answer = caller::http(server.http(), get("/", "no-such:10255"))
        .await
        .unwrap();
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("no-such"), "{}", answer.text());
}

#[tokio::test]
async fn a_target_that_refuses() {
    let server = Server::start(&[]).await;
    let node = Node::join("refusing", &server).await;
    let port = ports::free();
    let words = ["refusing", &port.to_string(), "connection refused"];
    is(&refused(&server, &node.at(port)).await, 502, &words);
}

#[tokio::test]
async fn the_agents_own_policy_in_the_agents_own_words() {
    let server = Server::start(&[]).await;
    let service = Service::start().await;
    let deny = format!("loopback:{}", service.port());
    let mut node = Node::new("denying", &server.agents()).flags(&["--deny", &deny]);
    node.enrol(&server).await;
    let words = ["denying", "denied", &deny];
    is(
        &refused(&server, &node.at(service.port())).await,
        403,
        &words,
    );
}

#[tokio::test]
async fn a_target_that_does_not_answer() {
    let server = Server::start(&["--dial-timeout", "1s"]).await;
    let node = Node::join("silent", &server).await;
    let silent = Silent::start().await;
    let began = Instant::now();
    let words = [
        "silent",
        &silent.port().to_string(),
        "did not answer within 1",
    ];
    is(
        &refused(&server, &node.at(silent.port())).await,
        504,
        &words,
    );
    let took = began.elapsed();
    assert!(
        took >= Duration::from_secs(1) && took < Duration::from_secs(5),
        "{took:?}"
    );
    // The stuck target is in nobody's way.
    let service = Service::start().await;
    let mut io = caller::uds(&server.uds(), &node.at(service.port()))
        .await
        .unwrap();
    caller::say(&mut io, "echo").await.unwrap();
    caller::echo(&mut io, "hello").await.unwrap();
}

//! Bytes through streams: all of them, in order, and ended the way the other side ended them.

use std::time::Duration;

use edge_tunnel_tests::caller::{self, get};
use edge_tunnel_tests::node::Node;
use edge_tunnel_tests::payload::{self, Tally};
use edge_tunnel_tests::server::Server;
use edge_tunnel_tests::service::{Ended, Service};
use edge_tunnel_tests::wait::{SOON, within};
use edge_tunnel_tests::web::Web;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::sleep;

use super::TRANSPORTS;

const LARGE: usize = 5_000_000;

async fn node_over(transport: &str, name: &str, server: &Server) -> Node {
    let dial = format!("{transport}://{}", server.agents());
    let mut node = Node::new(&format!("{name}-{transport}"), &dial);
    node.enrol(server).await;
    node
}

#[tokio::test]
async fn a_caller_that_ends_first_still_gets_the_answer() {
    let server = Server::start(&[]).await;
    let service = Service::start().await;
    let files = server
        .issue_client("caller", &["--ports", &service.port().to_string()])
        .await;
    for transport in TRANSPORTS {
        let node = node_over(transport, "half-caller", &server).await;
        let mut io = caller::mtls(server.connect(), &files, &node.at(service.port()))
            .await
            .unwrap();
        let bytes = payload::bytes(3, LARGE);
        caller::say(&mut io, "sink").await.unwrap();
        io.write_all(&bytes).await.unwrap();
        io.shutdown().await.unwrap();
        let mut answer = String::new();
        within("the answer", SOON, io.read_to_string(&mut answer))
            .await
            .unwrap();
        assert_eq!(answer, format!("{} done", Tally::of(&bytes)));
    }
}

#[tokio::test]
async fn a_target_that_ends_first_still_gets_the_rest() {
    let server = Server::start(&[]).await;
    let files = server.issue_client("caller", &["--nodes", "*"]).await;
    server.key("callers", "caller ports=all\n");
    for transport in TRANSPORTS {
        let service = Service::start().await;
        let node = node_over(transport, "half-target", &server).await;
        let opened = async || {
            let opened = caller::mtls(server.connect(), &files, &node.at(service.port())).await;
            opened.map_err(|refused| format!("{refused:?}"))
        };
        let (mut io, _) = edge_tunnel_tests::wait::until("the caller may", SOON, opened).await;
        caller::say(&mut io, &format!("source {LARGE} 4"))
            .await
            .unwrap();
        let (answer, end) = within("the target's bytes", SOON, caller::read_all(&mut io)).await;
        end.unwrap();
        assert_eq!(answer, Tally::of(&payload::bytes(4, LARGE)));
        // The target has ended; it is still told everything.
        let bytes = payload::bytes(5, LARGE);
        io.write_all(&bytes).await.unwrap();
        io.shutdown().await.unwrap();
        let ended = service.ended(1).await;
        assert_eq!(ended, [Ended::Clean(Tally::of(&bytes))]);
    }
}

/// As a kubelet at the end of an exec, while a ping of the API server's is on its way.
#[tokio::test]
async fn a_target_that_is_gone_has_still_said_everything() {
    // What sockets take although nobody reads: none of it may be with the target any more when it is written to, because
    // then it is the target's own system that throws it away.
    const SIZE: usize = 1_000_000;
    let server = Server::start(&[]).await;
    let service = Service::start().await;
    let files = server
        .issue_client("caller", &["--ports", &service.port().to_string()])
        .await;
    for transport in TRANSPORTS {
        let node = node_over(transport, "gone-target", &server).await;
        let mut io = caller::mtls(server.connect(), &files, &node.at(service.port()))
            .await
            .unwrap();
        caller::say(&mut io, &format!("leave {SIZE} 7"))
            .await
            .unwrap();
        service.ended(1).await;
        sleep(Duration::from_millis(500)).await;
        for _ in 0..10 {
            // Fails once it is known that nobody listens.
            let _ = caller::say(&mut io, "ping").await;
            sleep(Duration::from_millis(20)).await;
        }
        let (answer, end) = within("the answer", SOON, caller::read_all(&mut io)).await;
        end.unwrap();
        assert_eq!(answer, Tally::of(&payload::bytes(7, SIZE)));
    }
}

#[tokio::test]
async fn a_target_that_resets_is_a_reset_to_the_caller() {
    let (service, web) = (Service::start().await, Web::start("web").await);
    let ports = format!("{},{}", service.port(), web.port());
    let server = Server::with_keys(&[("http-proxy-ports", &ports)]).await;
    let files = server.issue_client("caller", &["--ports", &ports]).await;
    for transport in TRANSPORTS {
        let node = node_over(transport, "reset-target", &server).await;
        let mut io = caller::mtls(server.connect(), &files, &node.at(service.port()))
            .await
            .unwrap();
        caller::say(&mut io, "reset 100000").await.unwrap();
        let (_, end) = within("the reset", SOON, caller::read_all(&mut io)).await;
        end.expect_err("a reset is no end");

        let broken = get("/broken/100000", &node.at(web.port()));
        let answer = within("the reset", SOON, caller::http(server.http(), broken)).await;
        let answer = answer.map(|answer| (answer.status, answer.body.len()));
        assert!(
            answer.is_err(),
            "a response that broke off came as {answer:?}"
        );
    }
}

#[tokio::test]
async fn a_caller_that_vanishes_is_a_failure_to_the_target() {
    let server = Server::start(&[]).await;
    for transport in TRANSPORTS {
        let service = Service::start().await;
        let files = server
            .issue_client(transport, &["--ports", &service.port().to_string()])
            .await;
        let node = node_over(transport, "reset-caller", &server).await;
        let mut io = caller::mtls(server.connect(), &files, &node.at(service.port()))
            .await
            .unwrap();
        caller::say(&mut io, "sink").await.unwrap();
        io.write_all(&payload::bytes(6, 100_000)).await.unwrap();
        // Without a word of TLS: the connection is gone, not ended.
        drop(io);
        let ended = service.ended(1).await;
        assert!(matches!(ended[0], Ended::Broken(_)), "{ended:?}");
    }
}

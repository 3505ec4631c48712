//! QUIC where it passes, TLS where it does not, and back.

use std::time::Duration;

use edge_tunnel_tests::caller;
use edge_tunnel_tests::link::Link;
use edge_tunnel_tests::node::Node;
use edge_tunnel_tests::server::Server;
use edge_tunnel_tests::service::Service;
use edge_tunnel_tests::wait::{SOON, until};
use tokio::time::Instant;

async fn place(name: &str, quic_retry: Duration) -> (Server, Link, Node) {
    let server = Server::start(&["--heartbeat", "1s"]).await;
    let link = Link::to(server.agents()).await;
    let node = Node::new(name, &link.address())
        .flags(&["--heartbeat", "1s"])
        .quic_retry(quic_retry);
    (server, link, node)
}

async fn open(server: &Server, node: &Node, service: &Service) -> tokio::net::UnixStream {
    let mut io = caller::uds(&server.uds(), &node.at(service.port()))
        .await
        .unwrap();
    caller::say(&mut io, "echo").await.unwrap();
    caller::echo(&mut io, "hello").await.unwrap();
    io
}

const NEVER: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn where_udp_passes_quic_carries() {
    let (server, _link, mut node) = place("udp-passes", NEVER).await;
    node.enrol(&server).await;
    let session = server.session(node.name(), |_| true).await.session.unwrap();
    assert_eq!(session.transport, "quic");
    node.carried_by("quic", 1).await;
}

#[tokio::test]
async fn where_udp_is_blocked_from_the_start_tls_carries() {
    let (server, link, mut node) = place("udp-blocked", NEVER).await;
    link.udp().block();
    let began = Instant::now();
    node.enrol(&server).await;
    // Enrolment and session: a blocked UDP costs a moment each, not a time-out.
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
    let session = server.session(node.name(), |_| true).await.session.unwrap();
    assert_eq!(session.transport, "tls");
    open(&server, &node, &Service::start().await).await;
}

#[tokio::test]
async fn when_udp_is_blocked_later_the_session_moves_to_tls() {
    let (server, link, mut node) = place("udp-later", NEVER).await;
    node.enrol(&server).await;
    let service = Service::start().await;
    open(&server, &node, &service).await;
    link.udp().block();
    let over_tls = |node: &edge_tunnel_server::admin::control::NodeStatus| {
        node.session
            .as_ref()
            .is_some_and(|session| session.transport == "tls")
    };
    server.session(node.name(), over_tls).await;
    open(&server, &node, &service).await;
}

#[tokio::test]
async fn when_udp_passes_again_quic_takes_over_and_no_stream_breaks() {
    let (server, link, mut node) = place("udp-again", Duration::from_millis(500)).await;
    link.udp().block();
    node.enrol(&server).await;
    let service = Service::start().await;
    let mut old = open(&server, &node, &service).await;
    link.udp().unblock();
    // A QUIC attempt that is under way repeats itself ever more slowly.
    let began = Instant::now();
    let moved = async || match server.node(node.name()).await.and_then(|node| node.session) {
        Some(session) if session.transport == "quic" => Ok(()),
        // Never without a session: the new one is there before the old one goes.
        Some(_) if began.elapsed() < Duration::from_secs(30) => Err("still over TLS".to_owned()),
        other => panic!("{other:?}"),
    };
    until("QUIC carries the session", Duration::from_secs(30), moved).await;
    open(&server, &node, &service).await;
    for round in 0..10 {
        caller::echo(&mut old, &format!("round {round}"))
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The session that was left ends with its last stream.
    node.carried_by("tls", 1).await;
    drop(old);
    node.carried_by("tls", 0).await;
    node.carried_by("quic", 1).await;
    let counted = async || {
        let metrics = server.metrics().await;
        let (tls, quic) = ("transport=\"tls\"", "transport=\"quic\"");
        let counted = (
            metrics.sum("sessions", &[tls]),
            metrics.sum("sessions", &[quic]),
        );
        if counted == (0.0, 1.0) {
            Ok(())
        } else {
            Err(format!("{counted:?}"))
        }
    };
    until("the server counts one session, over QUIC", SOON, counted).await;
}

/// An attempt at QUIC that gets no answer takes ten seconds; the loss of the session must not wait for it.
#[tokio::test]
async fn a_lost_session_is_dialled_anew_even_while_quic_is_tried() {
    let (server, link, mut node) = place("udp-trying", Duration::from_millis(100)).await;
    link.udp().block();
    node.enrol(&server).await;
    let service = Service::start().await;
    open(&server, &node, &service).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let began = Instant::now();
    link.tcp().cut();
    let opens = async || {
        let opened = caller::uds(&server.uds(), &node.at(service.port())).await;
        opened.map_err(|refused| format!("{refused:?}"))
    };
    until("the next call works", SOON, opens).await;
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_router_that_forgets_the_agents_port_breaks_nothing_over_quic() {
    let (server, link, mut node) = place("rebind", NEVER).await;
    node.enrol(&server).await;
    let service = Service::start().await;
    let mut io = open(&server, &node, &service).await;
    let before = server.session(node.name(), |_| true).await.session.unwrap();
    for round in 0..3 {
        link.udp().rebind();
        caller::echo(&mut io, &format!("round {round}"))
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    let after = server.session(node.name(), |_| true).await.session.unwrap();
    assert_eq!(before.since, after.since, "the session is the same");
}

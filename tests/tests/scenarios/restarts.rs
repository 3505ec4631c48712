//! Servers and agents that stop, die and come back.

use std::time::Duration;

use edge_tunnel_tests::caller;
use edge_tunnel_tests::link::Link;
use edge_tunnel_tests::node::Node;
use edge_tunnel_tests::server::Server;
use edge_tunnel_tests::service::Service;
use edge_tunnel_tests::wait::until;

use super::TRANSPORTS;

/// Longer than any back-off that a handful of failed dials leads to, and one attempt.
const BACK: Duration = Duration::from_secs(40);

async fn lives(server: &Server, at: &str) {
    let opens = async || {
        let mut io = caller::uds(&server.uds(), at)
            .await
            .map_err(|refused| format!("{refused:?}"))?;
        caller::say(&mut io, "echo")
            .await
            .map_err(|error| error.to_string())?;
        caller::echo(&mut io, "hello")
            .await
            .map_err(|error| error.to_string())
    };
    until(&format!("{at} is reached"), BACK, opens).await;
}

async fn node_over(transport: &str, name: &str, server: &Server) -> Node {
    let dial = format!("{transport}://{}", server.agents());
    let mut node = Node::new(&format!("{name}-{transport}"), &dial).flags(&["--heartbeat", "1s"]);
    node.enrol(server).await;
    node
}

#[tokio::test]
async fn agents_come_back_to_a_server_that_was_stopped() {
    let mut server = Server::start(&[]).await;
    let service = Service::start().await;
    let quic = node_over("quic", "stopped", &server).await;
    let tls = node_over("tls", "stopped", &server).await;
    let took = server.stop().await;
    assert!(
        took < Duration::from_secs(5),
        "nothing held the stop up, and it took {took:?}"
    );
    server.start_again().await;
    for node in [&quic, &tls] {
        lives(&server, &node.at(service.port())).await;
        node.ready().await;
    }
}

#[tokio::test]
async fn agents_come_back_to_a_server_that_was_killed() {
    let mut server = Server::start(&[]).await;
    let service = Service::start().await;
    let quic = node_over("quic", "killed", &server).await;
    let tls = node_over("tls", "killed", &server).await;
    server.kill();
    server.start_again().await;
    for node in [&quic, &tls] {
        lives(&server, &node.at(service.port())).await;
    }
}

#[tokio::test]
async fn an_agent_that_was_restarted_serves_the_next_call() {
    let server = Server::start(&[]).await;
    let service = Service::start().await;
    for transport in TRANSPORTS {
        let mut node = node_over(transport, "again", &server).await;
        let before = server.session(node.name(), |_| true).await.session.unwrap();
        node.stop().await;
        let gone = server.node(node.name()).await.unwrap();
        assert_eq!(
            gone.session, None,
            "an agent that says goodbye is gone at once"
        );
        node.start().await;
        let took = node.ready().await;
        assert!(took < Duration::from_secs(10), "{took:?}");
        lives(&server, &node.at(service.port())).await;
        let after = server.session(node.name(), |_| true).await.session.unwrap();
        assert_ne!(before.instance, after.instance);
    }
}

#[tokio::test]
async fn an_agent_that_died_is_taken_over_by_its_next_start() {
    let server = Server::start(&[]).await;
    let service = Service::start().await;
    let over = async |transport: &str| {
        let mut node = node_over(transport, "died", &server).await;
        node.kill();
        node.start().await;
        let took = node.ready().await;
        // The old one is asked for 3 s before it is given up, where its death was not heard of.
        assert!(took < Duration::from_secs(15), "{took:?}");
        lives(&server, &node.at(service.port())).await;
    };
    tokio::join!(over("quic"), over("tls"));
}

#[tokio::test]
async fn an_agent_whose_machine_lost_its_power_is_taken_over_by_its_next_start() {
    // Long heartbeats: it is the newcomer that has the server look.
    let server = Server::start(&["--heartbeat", "60s"]).await;
    let service = Service::start().await;
    let over = async |transport: &str| {
        let link = Link::to(server.agents()).await;
        let dial = format!("{transport}://{}", link.address());
        let mut node = Node::new(&format!("power-{transport}"), &dial);
        node.enrol(&server).await;
        let before = server.session(node.name(), |_| true).await.session.unwrap();
        link.path(transport).freeze();
        node.kill();
        node.start().await;
        let took = node.ready().await;
        assert!(
            took > Duration::from_secs(2),
            "the old one was not even asked: {took:?}"
        );
        lives(&server, &node.at(service.port())).await;
        let after = server.session(node.name(), |_| true).await.session.unwrap();
        assert_ne!(before.instance, after.instance);
    };
    tokio::join!(over("quic"), over("tls"));
}

#[tokio::test]
async fn an_agent_starts_while_the_one_before_it_drains() {
    let server = Server::start(&[]).await;
    let service = Service::start().await;
    for transport in TRANSPORTS {
        let old = node_over(transport, "overlap", &server).await;
        let at = old.at(service.port());
        let mut open = caller::uds(&server.uds(), &at).await.unwrap();
        caller::say(&mut open, "echo").await.unwrap();
        caller::echo(&mut open, "before").await.unwrap();
        old.tell_to_stop();
        let dial = format!("{transport}://{}", server.agents());
        let mut new = Node::new(old.name(), &dial).identity_of(&old);
        new.start().await;
        let took = new.ready().await;
        assert!(
            took < Duration::from_secs(2),
            "the new one had to wait for the old: {took:?}"
        );
        lives(&server, &at).await;
        caller::echo(&mut open, "after").await.unwrap();
    }
}

//! What strangers do to the agents' port, and what agents notice of it.

use std::sync::Arc;
use std::time::Duration;

use edge_tunnel_proto::budget::Budget;
use edge_tunnel_proto::clock::Clock;
use edge_tunnel_proto::identity::{Pin, TrustDomain, enroll_client};
use edge_tunnel_proto::transport::{AGENT_LIMITS, quic};
use edge_tunnel_tests::link::{Link, Way};
use edge_tunnel_tests::node::Node;
use edge_tunnel_tests::server::Server;
use edge_tunnel_tests::wait::{SOON, until};
use tokio::task::JoinSet;

/// More than the agents' port has places for handshakes over UDP.
const HALF_OPEN: usize = 600;

#[tokio::test]
async fn half_open_quic_handshakes_do_not_keep_agents_out() {
    let server = Server::start(&[]).await;
    // As of senders in other people's names: they see no answer.
    let link = Link::to(server.agents()).await;
    link.udp().stall(Way::Down);
    let dialer = quic::Dialer::new(link.address(), AGENT_LIMITS).unwrap();
    let domain: TrustDomain = "edge-tunnel".parse().unwrap();
    let tls = Arc::new(enroll_client(
        Pin::of_key(b"nobody's"),
        &domain,
        &Clock::system(),
    ));
    let budget = Budget::new(1 << 20);
    let mut strangers = JoinSet::new();
    for _ in 0..HALF_OPEN {
        let (dialer, address, tls) = (dialer.clone(), link.address(), Arc::clone(&tls));
        let budget = budget.clone();
        strangers.spawn(async move {
            let connecting = dialer.connect(address, "lb.example", tls, &budget);
            connecting.await.map(drop)
        });
        // The relay's socket loses what comes too fast.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let retried = async || {
        let metrics = server.metrics().await;
        let retried = metrics.sum("handshakes_total", &["outcome=\"retried\""]);
        (retried > 0.0).then_some(()).ok_or(format!("{retried}"))
    };
    until("strangers have to prove their addresses", SOON, retried).await;
    let mut node = Node::new("edge-1", &format!("quic://{}", server.agents()));
    node.enrol(&server).await;
}

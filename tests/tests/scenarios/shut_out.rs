//! One node among many is shut out, and names that are taken stay taken.

use std::time::Duration;

use edge_tunnel_proto::clock::Clock;
use edge_tunnel_tests::caller;
use edge_tunnel_tests::chatter::Chatter;
use edge_tunnel_tests::crowd::Crowd;
use edge_tunnel_tests::node::Node;
use edge_tunnel_tests::server::Server;
use edge_tunnel_tests::service::Service;
use edge_tunnel_tests::wait::{SOON, within};
use tokio::io::AsyncReadExt as _;
use tokio::time::Instant;

use super::TRANSPORTS;

#[tokio::test]
async fn a_revoked_nodes_streams_end_and_nobody_elses_and_it_stays_out_after_restarts() {
    const OTHERS: usize = 24;
    const STREAMS: usize = 5;
    let mut server = Server::start(&[]).await;
    let service = Service::start().await;
    let crowd = Crowd::join("stays", OTHERS, &server, &Clock::system()).await;
    let mut chatter = Chatter::default();
    for node in crowd.names() {
        let to = format!("{node}:{}", service.port());
        chatter.add(node, caller::uds(&server.uds(), &to).await.unwrap());
    }
    let mut revoked = Vec::new();
    for transport in TRANSPORTS {
        let dial = format!("{transport}://{}", server.agents());
        let mut node = Node::new(&format!("goes-{transport}"), &dial);
        node.enrol(&server).await;
        let mut streams = Vec::new();
        for _ in 0..STREAMS {
            let at = node.at(service.port());
            let mut io = caller::uds(&server.uds(), &at).await.unwrap();
            caller::say(&mut io, "echo").await.unwrap();
            caller::echo(&mut io, "hello").await.unwrap();
            streams.push(io);
        }
        let began = Instant::now();
        server.must(&["nodes", "revoke", node.name()]).await;
        for io in &mut streams {
            let mut rest = Vec::new();
            let _ = within("a stream ends", SOON, io.read_to_end(&mut rest)).await;
        }
        let took = began.elapsed();
        // A second is what is promised; the machine may be busy.
        assert!(took < Duration::from_secs(5), "{transport}: {took:?}");
        assert_eq!(chatter.talking(), OTHERS, "somebody else's stream ended");
        node.says(&["was revoked", "since this join token was made"])
            .await;
        revoked.push(node);
    }
    assert!(chatter.finish().await > 0);
    let ended = server.metrics().await.sum("sessions_ended_total", &[]);
    assert!((ended - 2.0).abs() < 0.5, "{ended} sessions have ended");
    server.stop().await;
    for node in &mut revoked {
        node.stop().await;
    }
    server.start_again().await;
    for node in &mut revoked {
        node.start().await;
        node.says(&["was revoked"]).await;
        let listed = server.node(node.name()).await.unwrap();
        assert!(listed.revoked.is_some() && listed.session.is_none());
    }
    crowd.connected(&server).await;
}

#[tokio::test]
async fn a_pattern_token_never_takes_a_name_over() {
    let server = Server::start(&[]).await;
    let made = server
        .must(&["token", "create", "--pattern", "taken-*", "--uses", "9"])
        .await;
    let pattern = server.spare("pattern");
    std::fs::write(&pattern, made).unwrap();
    for transport in TRANSPORTS {
        let dial = format!("{transport}://{}", server.agents());
        let mut first = Node::new(&format!("taken-{transport}"), &dial);
        first.enrol(&server).await;
        let before = server.session(first.name(), |_| true).await;
        let mut second = Node::new(first.name(), &dial).token_file(&pattern);
        second.start().await;
        second
            .says(&["registered already", "may not replace it", "--replace"])
            .await;
        let after = server.session(first.name(), |_| true).await;
        assert_eq!(
            (before.registration, before.session.unwrap().instance),
            (after.registration, after.session.unwrap().instance)
        );
        // Nor one that was revoked: that name is not free for all.
        server.must(&["nodes", "revoke", first.name()]).await;
        drop(second);
        let mut third = Node::new(first.name(), &dial).token_file(&pattern);
        third.start().await;
        third.says(&["registered already", "--replace"]).await;
        let listed = server.node(first.name()).await.unwrap();
        assert_eq!(listed.registration, after.registration);
        assert!(listed.revoked.is_some() && listed.session.is_none());
    }
    let words = server.must(&["token", "list", "--output", "json"]).await;
    let tokens: Vec<serde_json::Value> = serde_json::from_str(&words).unwrap();
    let unused = tokens.iter().any(|token| token["uses_left"] == 9);
    assert!(unused, "somebody has used the pattern's: {words}");
}

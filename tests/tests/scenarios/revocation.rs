//! Nodes that are shut out.

use std::time::Duration;

use edge_tunnel_tests::caller;
use edge_tunnel_tests::link::Link;
use edge_tunnel_tests::logs;
use edge_tunnel_tests::node::{Node, forget_certificate};
use edge_tunnel_tests::server::Server;
use edge_tunnel_tests::service::Service;
use edge_tunnel_tests::wait::{SOON, until, within};
use tokio::io::AsyncReadExt as _;
use tokio::time::Instant;

use super::TRANSPORTS;

async fn open(server: &Server, node: &Node, service: &Service) -> tokio::net::UnixStream {
    let mut io = caller::uds(&server.uds(), &node.at(service.port()))
        .await
        .unwrap();
    caller::say(&mut io, "echo").await.unwrap();
    caller::echo(&mut io, "hello").await.unwrap();
    io
}

#[tokio::test]
async fn a_revoked_nodes_streams_end_at_once_and_other_nodes_go_on() {
    let mut server = Server::start(&[]).await;
    let service = Service::start().await;
    let mut others = Vec::new();
    for transport in TRANSPORTS {
        let dial = format!("{transport}://{}", server.agents());
        let mut node = Node::new(&format!("out-{transport}"), &dial);
        node.enrol(&server).await;
        let other = Node::join(&format!("in-{transport}"), &server).await;
        let mut shut = open(&server, &node, &service).await;
        let mut stays = open(&server, &other, &service).await;
        let began = Instant::now();
        let said = server.must(&["nodes", "revoke", node.name()]).await;
        assert!(said.contains("session was closed"), "{said}");
        let mut rest = Vec::new();
        let _ = within("the stream ends", SOON, shut.read_to_end(&mut rest)).await;
        assert!(
            began.elapsed() < Duration::from_secs(3),
            "{:?}",
            began.elapsed()
        );
        caller::echo(&mut stays, "still here").await.unwrap();
        let revoked = server.node(node.name()).await.unwrap();
        assert!(
            revoked.revoked.is_some() && revoked.session.is_none(),
            "{revoked:?}"
        );
        node.says(&["revoked", "join token"]).await;
        assert_eq!(
            logs::with(&["does not take this identity", node.name()])
                .len()
                .min(1),
            1
        );
        // The other one is left alone for good.
        let session = server.node(other.name()).await.unwrap().session;
        assert!(session.is_some());
        others.push(other);
    }
    server.stop().await;
    server.start_again().await;
    for other in others {
        server.session(other.name(), |_| true).await;
    }
}

#[tokio::test]
async fn a_revoked_node_stays_out_after_a_restart_until_it_has_a_new_token() {
    let mut server = Server::start(&[]).await;
    let mut node = Node::join("out-for-good", &server).await;
    server.must(&["nodes", "revoke", node.name()]).await;
    server.stop().await;
    server.start_again().await;
    node.stop().await;
    node.start().await;
    node.says(&["revoked"]).await;
    // The old token is used up; its certificate is worth nothing.
    forget_certificate(&node.state_dir());
    node.stop().await;
    node.enrol(&server).await;
    open(&server, &node, &Service::start().await).await;
}

#[tokio::test]
async fn a_revoked_node_comes_back_by_a_token_that_is_put_into_its_file() {
    let server = Server::start(&[]).await;
    for transport in TRANSPORTS {
        let dial = format!("{transport}://{}", server.agents());
        let mut node = Node::new(&format!("out-and-in-{transport}"), &dial);
        node.enrol(&server).await;
        server.must(&["nodes", "revoke", node.name()]).await;
        // Both: what is wrong with the certificate, and that the token of old does not mend it.
        node.says(&["was revoked", "since this join token was made"])
            .await;
        // It takes its time between attempts, in which it now asks for two things.
        let before = server.metrics().await.sum("enrolments_total", &[]);
        tokio::time::sleep(Duration::from_secs(5)).await;
        let asked = server.metrics().await.sum("enrolments_total", &[]) - before;
        assert!(asked < 9.5, "{asked} in 5 s");
        // Into the same file.
        server.token(node.name()).await;
        let comes = async || match node.missing().await {
            missing if missing.is_empty() => Ok(()),
            missing => Err(missing),
        };
        // It asks up to once a minute.
        until("the node is back", Duration::from_secs(100), comes).await;
        open(&server, &node, &Service::start().await).await;
        // The new certificate is the one that it holds from now on, also without a token.
        node.stop().await;
        let mut again = Node::new(node.name(), &dial).identity_of(&node);
        again.start().await;
        again.ready().await;
    }
}

#[tokio::test]
async fn a_session_that_another_has_replaced_is_closed_too() {
    let server = Server::start(&[]).await;
    let service = Service::start().await;
    let link = Link::to(server.agents()).await;
    link.udp().block();
    let mut node =
        Node::new("out-replaced", &link.address()).quic_retry(Duration::from_millis(500));
    node.enrol(&server).await;
    let mut old = open(&server, &node, &service).await;
    link.udp().unblock();
    let moved = |node: &edge_tunnel_server::admin::control::NodeStatus| {
        node.session
            .as_ref()
            .is_some_and(|session| session.transport == "quic")
    };
    let look = async || match server.node(node.name()).await {
        Some(status) if moved(&status) => Ok(()),
        other => Err(format!("{other:?}")),
    };
    until("QUIC carries the session", Duration::from_secs(30), look).await;
    caller::echo(&mut old, "still here").await.unwrap();
    server.must(&["nodes", "revoke", node.name()]).await;
    let mut rest = Vec::new();
    let _ = within(
        "the stream on the old session ends",
        SOON,
        old.read_to_end(&mut rest),
    )
    .await;
}

#[tokio::test]
async fn a_node_that_is_replaced_by_a_token_that_may_is_told() {
    let server = Server::start(&[]).await;
    let old = Node::join("replaced", &server).await;
    // Without --replace a name that is taken stays so.
    let taken = Node::new("replaced", &server.agents()).token_file(server.token("replaced").await);
    let mut taken = taken;
    taken.start().await;
    taken.says(&["registered already", "--replace"]).await;
    drop(taken);

    let token = server
        .must(&["token", "create", "--node", "replaced", "--replace"])
        .await;
    let file = server.spare("replacing-token");
    std::fs::write(&file, token).unwrap();
    let mut new = Node::new("replaced", &server.agents()).token_file(file);
    new.start().await;
    new.ready().await;
    // The token that lies in its file may not replace anybody, so the two do not shut each other out in turn.
    old.says(&["registered anew", "may not replace it"]).await;
    open(&server, &new, &Service::start().await).await;
}

//! Certificates over time: renewed, expired, and under a CA that is replaced.

use std::time::{Duration, SystemTime};

use edge_tunnel_proto::clock::Clock;
use edge_tunnel_server::admin::control::NodeStatus;
use edge_tunnel_tests::caller;
use edge_tunnel_tests::link::Link;
use edge_tunnel_tests::logs;
use edge_tunnel_tests::node::Node;
use edge_tunnel_tests::server::Server;
use edge_tunnel_tests::service::Service;
use edge_tunnel_tests::wait::{SOON, until};

const DAY: Duration = Duration::from_secs(86_400);

/// Begins today: callers outside the tunnel judge its certificates by the machine's own clock.
fn clock() -> (Clock, SystemTime) {
    let start = Clock::system().now();
    (Clock::fixed(start), start)
}

async fn renewed(node: &Node, times: usize) {
    let look = async || {
        let lines = logs::with(&["certificate received", node.name()]);
        if lines.len() == times {
            Ok(())
        } else {
            Err(format!("{lines:?}"))
        }
    };
    until(
        &format!("certificate {times} of {}", node.name()),
        SOON,
        look,
    )
    .await;
}

async fn works(server: &Server, node: &Node) {
    let service = Service::start().await;
    let opens = async || {
        let opened = caller::uds(&server.uds(), &node.at(service.port())).await;
        opened.map_err(|refused| format!("{refused:?}"))
    };
    let (mut io, _) = until(&format!("{} is reached", node.name()), SOON, opens).await;
    caller::say(&mut io, "echo").await.unwrap();
    caller::echo(&mut io, "hello").await.unwrap();
}

#[tokio::test]
async fn a_certificate_is_renewed_over_the_session_from_a_third_of_its_life_on() {
    let (clock, start) = clock();
    let server = Server::start_with(&[], &[], clock.clone()).await;
    let link = Link::to(server.agents()).await;
    let mut node = Node::new("cert-renews", &link.address()).clock(&clock);
    node.enrol(&server).await;
    renewed(&node, 1).await;
    // A third of thirty days, and what keeps nodes from coming all at once.
    clock.set(start + 9 * DAY);
    node.stop().await;
    node.start().await;
    node.ready().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    renewed(&node, 1).await;
    clock.set(start + 13 * DAY);
    node.stop().await;
    node.start().await;
    renewed(&node, 2).await;
    let asked = server.metrics().await.sum("enrolments_total", &[]);
    assert!(
        asked < 1.5,
        "it was renewed over the session, not by enrolling: {asked}"
    );
    works(&server, &node).await;
    // The new one outlives the old one.
    clock.set(start + 35 * DAY);
    node.stop().await;
    node.start().await;
    node.ready().await;
    works(&server, &node).await;
}

#[tokio::test]
async fn an_expired_certificate_renews_within_its_grace_and_not_after_it() {
    let (clock, start) = clock();
    let mut server = Server::start_with(&[], &[], clock.clone()).await;
    let mut node = Node::new("cert-late", &server.agents()).clock(&clock);
    node.enrol(&server).await;
    node.stop().await;
    clock.set(start + 100 * DAY);
    // The server's own certificate lives for a week: a server that ran all the time has made others.
    node.start().await;
    node.ready().await;
    renewed(&node, 2).await;
    works(&server, &node).await;
    node.stop().await;
    server.stop().await;
    clock.set(start + (100 + 30 + 91) * DAY);
    server.start_again().await;
    node.start().await;
    node.says(&["--renew-grace", "--replace"]).await;
}

#[tokio::test]
async fn a_ca_is_replaced_under_a_live_session_and_with_a_node_that_was_away() {
    let (clock, start) = clock();
    let server = Server::start_with(&[], &[], clock.clone()).await;
    let mut here = Node::new("ca-here", &server.agents()).clock(&clock);
    here.enrol(&server).await;
    let mut away = Node::new("ca-away", &server.agents()).clock(&clock);
    away.enrol(&server).await;
    away.stop().await;
    let service = Service::start().await;
    let mut io = caller::uds(&server.uds(), &here.at(service.port()))
        .await
        .unwrap();
    caller::say(&mut io, "echo").await.unwrap();
    caller::echo(&mut io, "before").await.unwrap();
    let old_client = server
        .issue_client("old", &["--ports", &service.port().to_string()])
        .await;

    server
        .command(&["ca", "rotate", "finish"])
        .await
        .expect_err("steps come in their order");
    server.must(&["ca", "rotate", "introduce"]).await;
    assert_eq!(server.ca("show").await.authorities.len(), 2);
    caller::echo(&mut io, "introduced").await.unwrap();
    let again = |node: &NodeStatus| node.session.is_some();
    server.session(here.name(), again).await;

    let soon = server.command(&["ca", "rotate", "sign"]).await;
    let soon = soon.expect_err("nobody has renewed yet");
    assert!(soon.contains("1 of 1 connected agents have not"), "{soon}");
    server.must(&["ca", "rotate", "sign", "--now"]).await;
    caller::echo(&mut io, "signs").await.unwrap();
    // Away since before the next CA was known: the old one vouches for it.
    away.start().await;
    away.ready().await;
    works(&server, &away).await;
    // A token made now leads to the next CA, and a caller's certificate made before is still good.
    let mut new = Node::new("ca-new", &server.agents()).clock(&clock);
    new.enrol(&server).await;
    works(&server, &new).await;
    let mut caller_io = caller::mtls(server.connect(), &old_client, &here.at(service.port()))
        .await
        .unwrap();
    caller::say(&mut caller_io, "echo").await.unwrap();
    caller::echo(&mut caller_io, "hello").await.unwrap();

    // Everybody renews in time, under the session or at the next start.
    clock.set(start + 13 * DAY);
    away.stop().await;
    away.start().await;
    renewed(&away, 2).await;
    caller::echo(&mut io, "renewing").await.unwrap();
    let finishes = async || server.command(&["ca", "rotate", "finish"]).await;
    until("everybody has renewed", SOON, finishes).await;
    assert_eq!(server.ca("show").await.authorities.len(), 1);
    works(&server, &away).await;
    away.stop().await;
    away.start().await;
    away.ready().await;
    works(&server, &away).await;
    works(&server, &new).await;
    // What the old CA signed is worth nothing now.
    let refused = caller::mtls(server.connect(), &old_client, &here.at(service.port())).await;
    refused.map(drop).unwrap_err();
}

/// Whoever misses the whole rotation has a certificate, and a bundle, that nobody believes any more.
#[tokio::test]
async fn a_node_that_missed_a_whole_rotation_says_what_to_do() {
    let (clock, _) = clock();
    let server = Server::start_with(&[], &[], clock.clone()).await;
    let mut node = Node::new("ca-missed", &server.agents()).clock(&clock);
    node.enrol(&server).await;
    node.stop().await;
    for step in ["introduce", "sign", "finish"] {
        server.must(&["ca", "rotate", step, "--now"]).await;
    }
    node.start().await;
    let said = node.says(&["certificate"]).await;
    assert!(said.contains("CA") || said.contains("bundle"), "{said}");
}

#[tokio::test]
async fn a_node_that_was_revoked_while_its_certificate_ran_out_comes_back_by_a_token() {
    let (clock, start) = clock();
    let server = Server::start_with(&[], &[], clock.clone()).await;
    let mut node = Node::new("cert-out", &server.agents()).clock(&clock);
    node.enrol(&server).await;
    node.stop().await;
    server.must(&["nodes", "revoke", node.name()]).await;
    clock.set(start + 31 * DAY);
    node.start().await;
    node.says(&["was revoked", "the join token expired"]).await;
    server.token(node.name()).await;
    node.ready().await;
    works(&server, &node).await;
}

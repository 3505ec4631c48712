//! Nodes that join, or do not: what the agent says then.

use edge_tunnel_proto::identity::Token;
use edge_tunnel_tests::caller;
use edge_tunnel_tests::link::Link;
use edge_tunnel_tests::node::Node;
use edge_tunnel_tests::server::Server;
use edge_tunnel_tests::service::Service;
use edge_tunnel_tests::wait::{SOON, until};

#[tokio::test]
async fn a_token_that_was_used_opens_nothing() {
    let server = Server::start(&[]).await;
    let token = server.token("used").await;
    let mut first = Node::new("used", &server.agents()).token_file(&token);
    first.start().await;
    first.ready().await;
    let mut second = Node::new("used", &server.agents()).token_file(&token);
    second.start().await;
    second.says(&["used up", "create a new token"]).await;
}

#[tokio::test]
async fn a_token_of_another_node_opens_nothing() {
    let server = Server::start(&[]).await;
    let token = server.token("right").await;
    let mut node = Node::new("wrong", &server.agents()).token_file(token);
    node.start().await;
    node.says(&["right", "wrong", "--node-name"]).await;
}

#[tokio::test]
async fn a_token_that_was_cut_short_is_told_as_one() {
    let server = Server::start(&[]).await;
    let token = std::fs::read_to_string(server.token("short").await).unwrap();
    let file = server.spare("cut");
    std::fs::write(&file, &token[..token.len() - 20]).unwrap();
    let mut node = Node::new("short", &server.agents()).token_file(&file);
    node.start().await;
    node.says(&["cut short", "whole"]).await;
    // The agent reads the file again: a person mends it, and nothing has to be started anew.
    std::fs::write(&file, token).unwrap();
    node.ready().await;
}

#[tokio::test]
async fn a_token_of_another_installation_is_not_shown_to_this_server() {
    let (server, other) = (Server::start(&[]).await, Server::start(&[]).await);
    let mut node =
        Node::new("stranger", &server.agents()).token_file(other.token("stranger").await);
    node.start().await;
    let said = node.says(&["pin"]).await;
    assert!(
        said.contains("quic to") && said.contains("tls to"),
        "{said}"
    );
    let asked = server.metrics().await.sum("enrolments_total", &[]);
    assert!(
        asked < 0.5,
        "the secret went to a server that is not the token's"
    );
}

#[tokio::test]
async fn a_token_that_has_been_revoked_opens_nothing() {
    let server = Server::start(&[]).await;
    let file = server.token("withdrawn").await;
    let token: Token = std::fs::read_to_string(&file).unwrap().parse().unwrap();
    server
        .must(&["token", "revoke", &token.id.to_string()])
        .await;
    let mut node = Node::new("withdrawn", &server.agents()).token_file(file);
    node.start().await;
    node.says(&["revoked", "create a new one"]).await;
}

#[tokio::test]
async fn a_pattern_token_lets_in_as_many_as_it_says() {
    let server = Server::start(&[]).await;
    let made = server
        .must(&["token", "create", "--pattern", "till-*", "--uses", "2"])
        .await;
    let file = server.spare("pattern");
    std::fs::write(&file, made).unwrap();
    let mut joined = Vec::new();
    for name in ["till-1", "till-2"] {
        let mut node = Node::new(name, &server.agents()).token_file(&file);
        node.start().await;
        node.ready().await;
        joined.push(node);
    }
    for (name, word) in [("till-3", "used up"), ("desk-1", "till-*")] {
        let mut node = Node::new(name, &server.agents()).token_file(&file);
        node.start().await;
        node.says(&[word]).await;
    }
    assert_eq!(server.nodes().await.len(), 2);
}

#[tokio::test]
async fn a_node_without_a_token_says_what_it_needs() {
    let server = Server::start(&[]).await;
    let mut node = Node::new("tokenless", &server.agents());
    node.start().await;
    node.says(&["token create"]).await;
}

#[tokio::test]
async fn a_node_enrols_once_its_server_comes() {
    let mut server = Server::start(&[]).await;
    let token = server.token("early").await;
    server.stop().await;
    let mut node = Node::new("early", &server.agents()).token_file(token);
    node.start().await;
    let refused = async || match node.missing().await {
        missing if missing.contains("refused") || missing.contains("no handshake") => Ok(()),
        missing => Err(missing),
    };
    until("the agent says that nobody answers", SOON, refused).await;
    server.start_again().await;
    let comes = async || match node.missing().await {
        missing if missing.is_empty() => Ok(()),
        missing => Err(missing),
    };
    until(
        "the agent is connected",
        std::time::Duration::from_secs(40),
        comes,
    )
    .await;
}

#[tokio::test]
async fn a_balancers_proxy_header_tells_the_agents_own_address() {
    let server = Server::start(&["--agents-proxy-protocol"]).await;
    let real = "192.0.2.77:4242";
    let header = "PROXY TCP4 192.0.2.77 198.51.100.1 4242 10262\r\n";
    let link = Link::greeting(server.agents(), header.as_bytes()).await;
    let mut node = Node::new("balanced", &format!("tls://{}", link.address()));
    node.enrol(&server).await;
    let session = server.session(node.name(), |_| true).await.session.unwrap();
    assert_eq!(session.remote.to_string(), real);
    assert!(server.must(&["nodes"]).await.contains(real));
    let mut io = caller::uds(&server.uds(), &node.at(Service::start().await.port()))
        .await
        .unwrap();
    drop(caller::say(&mut io, "echo").await);

    // Without the header, past the balancer, nobody comes in.
    let token = server.token("past").await;
    let mut past = Node::new("past", &format!("tls://{}", server.agents())).token_file(token);
    past.start().await;
    past.says(&["tls to"]).await;
    assert!(server.node("past").await.is_none());
}

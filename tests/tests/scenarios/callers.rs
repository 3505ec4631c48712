//! Who may reach what by `connect`.

use edge_tunnel_tests::caller::{self, Refused};
use edge_tunnel_tests::node::Node;
use edge_tunnel_tests::server::Server;
use edge_tunnel_tests::service::Service;
use edge_tunnel_tests::wait::{SOON, until};

async fn lives(mut io: impl caller::Io) {
    caller::say(&mut io, "echo").await.unwrap();
    caller::echo(&mut io, "hello").await.unwrap();
}

fn forbids(refused: &Refused, words: &[&str]) {
    assert_eq!(refused.status, 403, "{refused:?}");
    for word in words {
        assert!(
            refused.phrase.contains(word),
            "{word:?} is not in {refused:?}"
        );
    }
}

#[tokio::test]
async fn a_client_reaches_the_ports_it_was_issued_with_and_no_others() {
    let (ssh, exporter) = (Service::start().await, Service::start().await);
    let server = Server::with_keys(&[("http-proxy-ports", &exporter.port().to_string())]).await;
    let node = Node::join("call-ports", &server).await;
    let files = server
        .issue_client("ssh-only", &["--ports", &ssh.port().to_string()])
        .await;
    let to = async |port| caller::mtls(server.connect(), &files, &node.at(port)).await;
    lives(to(ssh.port()).await.unwrap()).await;
    let refused = to(exporter.port()).await.unwrap_err();
    forbids(&refused, &["call-ports", &exporter.port().to_string()]);

    // Without --ports: what the live keys name.
    let files = server.issue_client("configured", &[]).await;
    let to = async |port| caller::mtls(server.connect(), &files, &node.at(port)).await;
    lives(to(exporter.port()).await.unwrap()).await;
    forbids(&to(ssh.port()).await.unwrap_err(), &["http-proxy-ports"]);
}

#[tokio::test]
async fn a_client_reaches_the_nodes_it_was_issued_for_and_no_others() {
    let server = Server::start(&[]).await;
    let shop = Node::join("call-shop-1", &server).await;
    let other = Node::join("call-plant-1", &server).await;
    let service = Service::start().await;
    let port = service.port();
    let more = ["--nodes", "call-shop-*", "--ports", &port.to_string()];
    let files = server.issue_client("shops", &more).await;
    lives(
        caller::mtls(server.connect(), &files, &shop.at(port))
            .await
            .unwrap(),
    )
    .await;
    let refused = caller::mtls(server.connect(), &files, &other.at(port))
        .await
        .unwrap_err();
    forbids(&refused, &["shops", "call-plant-1", "nodes="]);
    // What may not be reached is not told to exist.
    let refused = caller::mtls(server.connect(), &files, "call-nobody:22")
        .await
        .unwrap_err();
    forbids(&refused, &["call-nobody"]);
}

#[tokio::test]
async fn the_callers_key_narrows_and_widens_what_was_issued() {
    let service = Service::start().await;
    let port = service.port();
    let server = Server::with_keys(&[("callers", "unix-socket ports=configured\n")]).await;
    let node = Node::join("call-key", &server).await;
    let refused = caller::uds(&server.uds(), &node.at(port))
        .await
        .unwrap_err();
    forbids(&refused, &[&port.to_string()]);

    let files = server.issue_client("carol", &["--ports", "1"]).await;
    let to = async || caller::mtls(server.connect(), &files, &node.at(port)).await;
    forbids(&to().await.unwrap_err(), &["carol"]);
    server.key("callers", &format!("carol ports={port}\n"));
    let opened = async || to().await.map_err(|refused| format!("{refused:?}"));
    lives(until("carol's line counts", SOON, opened).await.0).await;
    lives(caller::uds(&server.uds(), &node.at(port)).await.unwrap()).await;

    // A line that cannot be read allows nothing.
    server.key("callers", &format!("carol ports={port} nodse=*\n"));
    let closed = async || match to().await {
        Err(refused) if refused.phrase.contains("nodse") => Ok(refused),
        other => Err(format!("{:?}", other.map(drop))),
    };
    forbids(
        &until("carol's line is bad", SOON, closed).await.0,
        &["callers"],
    );
}

#[tokio::test]
async fn only_certificates_of_clients_come_in() {
    let server = Server::start(&[]).await;
    let other = Server::start(&[]).await;
    let node = Node::join("call-cert", &server).await;
    let service = Service::start().await;
    let at = node.at(service.port());
    // Issued by another installation's CA.
    let files = server.issue_client("real", &[]).await;
    let stranger = other.issue_client("stranger", &[]).await;
    std::fs::copy(files.join("ca.crt"), stranger.join("ca.crt")).unwrap();
    let refused = caller::mtls(server.connect(), &stranger, &at)
        .await
        .unwrap_err();
    forbids(&refused, &["leads to no CA"]);

    // A node's own certificate is no client's.
    let agent = server.spare("agent-as-client");
    std::fs::create_dir(&agent).unwrap();
    let state = node.state_dir();
    for (from, to) in [("certificate.pem", "client.crt"), ("key.pem", "client.key")] {
        std::fs::copy(state.join(from), agent.join(to)).unwrap();
    }
    std::fs::copy(files.join("ca.crt"), agent.join("ca.crt")).unwrap();
    let refused = caller::mtls(server.connect(), &agent, &at)
        .await
        .unwrap_err();
    forbids(&refused, &["node call-cert", "here a client is expected"]);
}

//! Servers that a folder names, as the mounted ConfigMap does: not there at first, other ones later.

use std::path::Path;

use edge_tunnel_tests::caller;
use edge_tunnel_tests::link::Link;
use edge_tunnel_tests::node::Node;
use edge_tunnel_tests::server::Server;
use edge_tunnel_tests::service::Service;
use edge_tunnel_tests::wait::{SOON, until};

/// Puts `text` into the folder as a mount does: whole, and by a swapped link.
fn publish(dir: &Path, version: u32, text: &str) {
    let folder = dir.join(format!("..{version}"));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("servers"), text).unwrap();
    let link = dir.join("..data_tmp");
    std::os::unix::fs::symlink(&folder, &link).unwrap();
    std::fs::rename(link, dir.join("..data")).unwrap();
    let _there_already = std::os::unix::fs::symlink("..data/servers", dir.join("servers"));
}

async fn works(server: &Server, node: &Node, service: &Service) {
    let at = node.at(service.port());
    let opens = async || {
        let opened = caller::uds(&server.uds(), &at).await;
        let mut io = opened.map_err(|refused| format!("{refused:?}"))?;
        let said = caller::say(&mut io, "echo").await;
        said.map_err(|error| error.to_string())?;
        let echoed = caller::echo(&mut io, "hello").await;
        echoed.map_err(|error| error.to_string())
    };
    until("a call works", SOON, opens).await;
}

/// The agent has lost its session once more, and has another.
async fn dials_again(node: &Node, lost: f64) {
    let look = async || {
        let ended = node.metrics().await.sum("sessions_ended_total", &[]);
        if ended >= lost {
            Ok(())
        } else {
            Err(ended.to_string())
        }
    };
    until("the session is lost", SOON, look).await;
    node.ready().await;
}

#[tokio::test]
async fn an_agent_waits_for_its_servers_and_moves_with_them_at_its_next_dial() {
    let (server, service) = (Server::start(&[]).await, Service::start().await);
    let (first, second) = (
        Link::to(server.agents()).await,
        Link::to(server.agents()).await,
    );
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::new("published", &"")
        .endpoints_dir(dir.path())
        .token_file(server.token("published").await)
        .flags(&["--heartbeat", "1s"]);
    node.start().await;
    node.says(&["no server is known yet", "servers", "edge-tunnel-endpoints"])
        .await;
    publish(dir.path(), 1, "\n");
    node.says(&["no server is known yet", "names no server"])
        .await;

    publish(dir.path(), 2, &format!("tls://{}\n", first.address()));
    node.ready().await;
    works(&server, &node, &service).await;

    // A session that works is left where it is.
    second.block();
    publish(
        dir.path(),
        3,
        &format!("nonsense\ntls://{}\n", second.address()),
    );
    works(&server, &node, &service).await;
    assert_eq!(node.metrics().await.sum("sessions_ended_total", &[]), 0.0);
    second.unblock();
    first.block();
    dials_again(&node, 1.0).await;
    works(&server, &node, &service).await;

    // What becomes unreadable leaves in force what was read last.
    publish(dir.path(), 4, "a\0b");
    second.tcp().cut();
    dials_again(&node, 2.0).await;
    works(&server, &node, &service).await;
}

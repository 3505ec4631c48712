//! What the programs say of themselves comes back to where it was.

use edge_tunnel_tests::caller::{self, get};
use edge_tunnel_tests::node::Node;
use edge_tunnel_tests::server::Server;
use edge_tunnel_tests::service::Service;
use edge_tunnel_tests::wait::{SOON, until};
use edge_tunnel_tests::web::Web;
use tokio::io::AsyncWriteExt as _;

use super::TRANSPORTS;

/// Every gauge that counts what is open.
const OPEN: [&str; 3] = ["streams_open", "ingress_connections", "dials_pending"];

async fn settled(server: &Server, node: &Node, tasks: (usize, usize)) {
    let look = async || {
        let (cloud, edge) = (server.metrics().await, node.metrics().await);
        let open: f64 = OPEN
            .iter()
            .map(|name| cloud.sum(name, &[]) + edge.sum(name, &[]))
            .sum();
        let now = (server.tasks(), node.tasks());
        if open.abs() < 0.5 && now == tasks {
            Ok(())
        } else {
            Err(format!(
                "{open} open; tasks {now:?}, before {tasks:?}: {cloud:#?} {edge:#?}"
            ))
        }
    };
    until("everything is as it was", SOON, look).await;
}

#[tokio::test]
async fn nothing_is_left_of_streams_that_have_ended_however_they_did() {
    let (service, web) = (Service::start().await, Web::start("web").await);
    let keys = [("http-proxy-ports", web.port().to_string())];
    let keys = keys.each_ref().map(|(key, text)| (*key, text.as_str()));
    let server = Server::with_keys(&keys).await;
    let files = server
        .issue_client("caller", &["--ports", &format!("{},1", service.port())])
        .await;
    for transport in TRANSPORTS {
        let dial = format!("{transport}://{}", server.agents());
        let mut node = Node::new(&format!("account-{transport}"), &dial);
        node.enrol(&server).await;
        // The enrolment's own connection ends a moment after the agent is ready.
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let tasks = (server.tasks(), node.tasks());
        let at = node.at(service.port());
        for round in 0..10 {
            // Clean, reset by the target, dropped by the caller, refused, and one that is left in the middle.
            let mut clean = caller::mtls(server.connect(), &files, &at).await.unwrap();
            caller::say(&mut clean, "source 100000 1").await.unwrap();
            clean.shutdown().await.unwrap();
            caller::read_all(&mut clean).await.1.unwrap();
            let mut reset = caller::mtls(server.connect(), &files, &at).await.unwrap();
            caller::say(&mut reset, "reset 1000").await.unwrap();
            caller::read_all(&mut reset).await.1.unwrap_err();
            let mut dropped = caller::uds(&server.uds(), &at).await.unwrap();
            caller::say(&mut dropped, "echo").await.unwrap();
            caller::echo(&mut dropped, &format!("round {round}"))
                .await
                .unwrap();
            drop(dropped);
            caller::mtls(server.connect(), &files, &node.at(1))
                .await
                .map(drop)
                .unwrap_err();
            let mut left = caller::uds(&server.uds(), &at).await.unwrap();
            caller::say(&mut left, "source 10000000 1").await.unwrap();
            drop(left);
            let answer =
                caller::http(server.http(), get("/bytes/100000", &node.at(web.port()))).await;
            assert_eq!(answer.unwrap().status, 200);
        }
        let metrics = server.metrics().await;
        let opened = metrics.sum(
            "ingress_requests_total",
            &["way=\"connect\"", "outcome=\"opened\""],
        );
        assert!(opened >= 40.0, "{opened}");
        let refused = metrics.sum(
            "ingress_requests_total",
            &["outcome=\"connection_refused\""],
        );
        assert!(refused >= 10.0, "{refused}");
        node.tell_to_stop();
        // The agent's end takes the kept HTTP connection with it.
        let gone = async || match server.metrics().await {
            metrics if metrics.sum("streams_open", &[]) < 0.5 => Ok(()),
            metrics => Err(format!("{metrics:?}")),
        };
        until("no stream is left", SOON, gone).await;
        node.stop().await;
        node.start().await;
        node.ready().await;
        settled(&server, &node, tasks).await;
    }
}

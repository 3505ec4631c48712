//! The memory that may be promised to agents: held, refused in words, and given back.

use std::time::Duration;

use edge_tunnel_tests::caller;
use edge_tunnel_tests::node::Node;
use edge_tunnel_tests::payload::{self, Tally};
use edge_tunnel_tests::server::Server;
use edge_tunnel_tests::service::Service;
use edge_tunnel_tests::wait::{SOON, until, within};
use tokio::io::AsyncReadExt as _;

use super::TRANSPORTS;

/// More than there can be streams on the memory that the server has here.
const TOO_MANY: usize = 1500;

#[tokio::test]
async fn callers_that_do_not_read_use_memory_up_to_its_limit_and_no_further() {
    let service = Service::start().await;
    for transport in TRANSPORTS {
        let server = Server::start(&["--buffer-memory", "16MiB"]).await;
        let files = server
            .issue_client("caller", &["--ports", &service.port().to_string()])
            .await;
        let dial = format!("{transport}://{}", server.agents());
        let mut node = Node::new(&format!("memory-{transport}"), &dial);
        node.enrol(&server).await;
        let promised = async || {
            let metrics = server.metrics().await;
            let sum = |name| metrics.sum(name, &[]);
            (
                sum("buffer_memory_promised_bytes"),
                sum("buffer_memory_limit_bytes"),
            )
        };
        let (idle, limit) = promised().await;
        let at = node.at(service.port());
        let open = async || caller::mtls(server.connect(), &files, &at).await;

        let mut stopped = Vec::new();
        let refused = loop {
            assert!(stopped.len() < TOO_MANY, "{transport}: nothing is refused");
            match open().await {
                Ok(mut io) => {
                    caller::say(&mut io, "source 3000000 1").await.unwrap();
                    stopped.push(io);
                }
                Err(refused) => break refused,
            }
        };
        assert_eq!(refused.status, 503, "{refused:?}");
        assert!(refused.phrase.contains("memory"), "{refused:?}");
        let (full, _) = promised().await;
        assert!(idle < full && full <= limit, "{idle} {full} {limit}");

        // The session lives all the while, and one that ends makes room for one that reads.
        let mut first = stopped.swap_remove(0);
        let rest = within(
            "what was stopped goes on",
            SOON,
            caller::read_all(&mut first),
        )
        .await;
        assert_eq!(
            rest.0,
            Tally::of(&payload::bytes(1, 3_000_000)),
            "{transport}"
        );
        drop(first);
        let again = async || open().await.map_err(|refused| format!("{refused:?}"));
        let (mut io, _) = until("there is room again", SOON, again).await;
        caller::say(&mut io, "source 100000 2").await.unwrap();
        let mut got = vec![0; 100_000];
        within("its bytes", SOON, io.read_exact(&mut got))
            .await
            .unwrap();
        assert_eq!(got, payload::bytes(2, 100_000));

        drop((io, stopped));
        let back = async || match promised().await {
            (now, _) if now <= idle => Ok(()),
            (now, _) => Err(format!("{now} instead of {idle}")),
        };
        until("everything is given back", Duration::from_secs(30), back).await;
    }
}

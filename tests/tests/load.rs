//! Many streams at once. A program of its own, so that it disturbs nobody's timing.

use std::time::Duration;

use edge_tunnel_tests::payload::{self, Tally};
use edge_tunnel_tests::server::Server;
use edge_tunnel_tests::service::Service;
use edge_tunnel_tests::wait::{until, within};
use edge_tunnel_tests::{caller, limits, node::Node};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How many streams are open at the same time.
const STREAMS: usize = 1000;

/// What goes through each of them, in each direction, in bytes.
const EACH: usize = 64 * 1024 + 1;

/// Generous: two cores that others use as well.
const LONG: Duration = Duration::from_secs(100);

async fn a_thousand_streams(transport: &str) {
    // A caller's connection, the server's end of it, the agent's to the service, the service's end of that.
    limits::open_files(5 * STREAMS as u64);
    let server = Server::start(&[]).await;
    let dial = format!("{transport}://{}", server.agents());
    let mut node = Node::new(&format!("load-{transport}"), &dial);
    node.enrol(&server).await;
    let service = Service::start().await;
    // None begins to end before all are open.
    let opened = watch::Sender::new(0);
    let mut streams = JoinSet::new();
    for seed in 0..STREAMS as u64 {
        let (uds, at, opened) = (server.uds(), node.at(service.port()), opened.clone());
        streams.spawn(async move {
            let io = caller::uds(&uds, &at).await;
            let mut io = io.map_err(|refused| format!("stream {seed}: {refused:?}"))?;
            let bytes = payload::bytes(seed, EACH);
            caller::say(&mut io, "echo")
                .await
                .map_err(|error| format!("stream {seed}: {error}"))?;
            opened.send_modify(|count| *count += 1);
            let _ = opened.subscribe().wait_for(|count| *count == STREAMS).await;
            let (mut read, mut write) = tokio::io::split(io);
            let send = async {
                write.write_all(&bytes).await?;
                write.shutdown().await
            };
            let (sent, (tally, end)) = tokio::join!(send, caller::read_all(&mut read));
            sent.and(end)
                .map_err(|error| format!("stream {seed}: {error} after {}", tally.count()))?;
            if tally == Tally::of(&bytes) {
                Ok(())
            } else {
                Err(format!("stream {seed}: {tally}"))
            }
        });
    }
    let all = async {
        while let Some(joined) = streams.join_next().await {
            joined.expect("a stream's task does not die")?;
        }
        Ok::<_, String>(())
    };
    let outcome = within("every stream is through", LONG, all).await;
    assert_eq!(
        outcome,
        Ok(()),
        "{} of {STREAMS} were open",
        *opened.borrow()
    );
    let idle = async || {
        let metrics = server.metrics().await;
        let open = metrics.sum("streams_open", &[]) + node.metrics().await.sum("streams_open", &[]);
        if open < 0.5 {
            Ok(metrics)
        } else {
            Err(open.to_string())
        }
    };
    let (metrics, _) = until("no stream is left", Duration::from_secs(10), idle).await;
    let clean = metrics.sum("streams_total", &["outcome=\"clean\""]);
    assert!((clean - STREAMS as f64).abs() < 0.5, "{clean}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_streams_at_once_over_quic() {
    a_thousand_streams("quic").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_streams_at_once_over_tls() {
    a_thousand_streams("tls").await;
}

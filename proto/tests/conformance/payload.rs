//! What is written is what is read, no more, no less.

use edge_tunnel_proto::transport::Transport;
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;

use crate::harness::pattern::{read_to_end, write};
use crate::harness::{Pair, answered, open, request};

const FRAME: usize = 64 * 1024;

pub(crate) async fn exact_bytes_around_every_boundary(transport: Transport) {
    let pair = Pair::new(transport).await;
    for (from, to) in pair.ways() {
        for size in [0, 1, 32 * 1024, FRAME - 1, FRAME, FRAME + 1, 4 * FRAME + 3] {
            let (mut near, mut far) = open(from, to).await;
            let there = async {
                write(&mut near, 1, size).await.unwrap();
                near.shutdown().await.unwrap();
                read_to_end(&mut near, 2, size).await;
            };
            let back = async {
                read_to_end(&mut far, 1, size).await;
                write(&mut far, 2, size).await.unwrap();
                far.shutdown().await.unwrap();
            };
            tokio::join!(there, back);
        }
    }
}

pub(crate) async fn a_hundred_megabytes_each_way_at_once(transport: Transport) {
    const SIZE: usize = 100_000_000;
    let pair = Pair::new(transport).await;
    let (near, far) = pair.stream().await;
    let mut tasks = JoinSet::new();
    for (stream, out, back) in [(near, 1, 2), (far, 2, 1)] {
        let (mut read, mut write_half) = tokio::io::split(stream);
        tasks.spawn(async move {
            write(&mut write_half, out, SIZE).await.unwrap();
            write_half.shutdown().await.unwrap();
        });
        tasks.spawn(async move { read_to_end(&mut read, back, SIZE).await });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

pub(crate) async fn a_thousand_streams_at_once(transport: Transport) {
    const STREAMS: usize = 1000;
    const SIZE: usize = 30_000;
    let pair = Pair::new(transport).await;
    let agent = pair.agent.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut echoes = JoinSet::new();
        for _ in 0..STREAMS {
            let stream = answered(&agent).await;
            echoes.spawn(async move {
                let (mut read, mut write) = tokio::io::split(stream);
                tokio::io::copy(&mut read, &mut write).await.unwrap();
                write.shutdown().await.unwrap();
            });
        }
        while let Some(done) = echoes.join_next().await {
            done.unwrap();
        }
    });
    // All are open before the first one ends.
    let all_open = std::sync::Arc::new(tokio::sync::Barrier::new(STREAMS));
    for number in 0..STREAMS {
        let lane = pair.server.clone();
        let all_open = std::sync::Arc::clone(&all_open);
        tasks.spawn(async move {
            let opening = edge_tunnel_proto::stream::Opening::start(&lane, &request())
                .await
                .unwrap();
            let stream = opening.opened().await.unwrap();
            all_open.wait().await;
            let (mut read, mut write_half) = tokio::io::split(stream);
            let there = async {
                write(&mut write_half, number, SIZE).await.unwrap();
                write_half.shutdown().await.unwrap();
            };
            tokio::join!(there, read_to_end(&mut read, number, SIZE));
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

//! Readers that are slow, readers that have stopped, readers that are far away.

use std::time::Duration;

use edge_tunnel_proto::code::Code;
use edge_tunnel_proto::mux::{CONNECTION_WINDOW_MAX, STREAM_WINDOW_MAX};
use edge_tunnel_proto::stream::{Stream, StreamError};
use edge_tunnel_proto::transport::{Lane, Transport};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};

use crate::harness::pattern::{read, read_to_end, write};
use crate::harness::{Pair, Wish};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// What lies on the way of one stream besides its window: frames that are being cut up at either end.
const ON_THE_WAY: usize = 256 * KIB;

/// Writes until nothing more is taken for a while; how much that was. A lane that is overloaded by readers that have
/// stopped may break one off.
async fn fill(stream: &mut Stream) -> usize {
    let patience = Duration::from_millis(100);
    let mut taken = 0;
    loop {
        match timeout(patience, stream.write(&[0; 32 * KIB])).await {
            Ok(Ok(count)) => taken += count,
            Ok(Err(error)) => {
                assert_eq!(StreamError::of(&error).code(), Code::Overloaded);
                return 0;
            }
            Err(_elapsed) => return taken,
        }
    }
}

/// As many streams with readers that have never read, each filled.
async fn stopped(pair: &Pair, count: usize) -> (Vec<(Stream, Stream)>, Vec<usize>) {
    let mut filling = tokio::task::JoinSet::new();
    for _ in 0..count {
        let (mut near, far) = pair.stream().await;
        filling.spawn(async move {
            let taken = fill(&mut near).await;
            ((near, far), taken)
        });
    }
    let mut streams = (Vec::new(), Vec::new());
    while let Some(filled) = filling.join_next().await {
        let (stream, taken) = filled.unwrap();
        streams.0.push(stream);
        streams.1.push(taken);
    }
    streams
}

fn promised(lane: &Lane) -> Option<usize> {
    match lane {
        Lane::Tls(mux) => Some(mux.promised()),
        Lane::Quic(_) => None,
    }
}

pub(crate) async fn a_slow_reader_stalls_nobody_else(transport: Transport) {
    const SIZE: usize = 4_000_000;
    let pair = Pair::new(transport).await;
    let (mut slow, _) = stopped(&pair, 40).await;
    let start = Instant::now();
    for _ in 0..3 {
        let (mut near, mut far) = pair.stream().await;
        let there = async {
            write(&mut near, 1, SIZE).await.unwrap();
            near.shutdown().await.unwrap();
        };
        tokio::join!(there, read_to_end(&mut far, 1, SIZE));
    }
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    // And those who were slow go on where they were.
    let (near, far) = &mut slow[0];
    let mut rest = Vec::new();
    let end = async { near.shutdown().await.unwrap() };
    let (read, ()) = tokio::join!(far.read_to_end(&mut rest), end);
    read.unwrap();
    assert!(rest.iter().all(|byte| *byte == 0));
}

pub(crate) async fn readers_that_have_stopped_hold_a_bounded_amount(transport: Transport) {
    const STREAMS: usize = 150;
    let pair = Pair::new(transport).await;
    let (mut streams, taken) = stopped(&pair, STREAMS).await;
    for taken in &taken {
        assert!(*taken <= STREAM_WINDOW_MAX as usize + ON_THE_WAY, "{taken}");
    }
    if let Some(promised) = promised(&pair.agent) {
        assert!(promised <= CONNECTION_WINDOW_MAX, "{promised}");
    }
    // However many have stopped, a quiet stream is served.
    let patience = Duration::from_secs(3);
    let (mut near, mut far) = timeout(patience, pair.stream()).await.unwrap();
    let small = async {
        write(&mut near, 1, 10_000).await.unwrap();
        read(&mut far, 1, 10_000).await;
    };
    timeout(patience, small).await.unwrap();
    // And many of those who have stopped may still go on.
    let (mut alive, mut sum) = (0, 0);
    for ((near, far), taken) in streams.iter_mut().zip(taken) {
        let mut rest = Vec::new();
        let (end, read) = tokio::join!(near.shutdown(), far.read_to_end(&mut rest));
        if end.and(read).is_ok() {
            assert_eq!(rest.len(), taken);
            alive += 1;
            sum += taken;
        }
    }
    let ceiling = CONNECTION_WINDOW_MAX + STREAMS * ON_THE_WAY;
    assert!(sum <= ceiling, "{sum}");
    let least = match transport {
        Transport::Tls => STREAMS,
        Transport::Quic => 40,
    };
    assert!(alive >= least, "{alive}");
}

pub(crate) async fn readers_that_have_stopped_stall_nobody_where_memory_is_short(
    transport: Transport,
) {
    let wish = Wish {
        memory: [1 << 30, 8 * MIB],
        ..Wish::default()
    };
    let pair = Pair::with(transport, wish).await;
    let (_streams, _) = stopped(&pair, 60).await;
    for _ in 0..5 {
        let patience = Duration::from_secs(3);
        let (mut near, mut far) = timeout(patience, pair.stream()).await.unwrap();
        let small = async {
            write(&mut near, 1, 100_000).await.unwrap();
            near.shutdown().await.unwrap();
        };
        let both = async { tokio::join!(small, read_to_end(&mut far, 1, 100_000)) };
        timeout(patience, both).await.unwrap();
        assert!(pair.budgets[1].used() <= 8 * MIB);
    }
}

pub(crate) async fn readers_that_stop_after_a_fast_start_hold_a_bounded_amount(
    transport: Transport,
) {
    const STREAMS: usize = 24;
    let wish = Wish {
        relay: Some(Duration::from_millis(5)),
        ..Wish::default()
    };
    let pair = Pair::with(transport, wish).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..STREAMS {
        let (mut near, mut far) = pair.stream().await;
        tasks.spawn(async move {
            tokio::join!(
                async { write(&mut near, number, MIB).await.unwrap() },
                read(&mut far, number, MIB)
            );
            let taken = fill(&mut near).await;
            (near, far, taken)
        });
    }
    let mut held = Vec::new();
    while let Some(done) = tasks.join_next().await {
        held.push(done.unwrap());
    }
    let sum: usize = held.iter().map(|(_, _, taken)| *taken).sum();
    for (_, _, taken) in &held {
        assert!(*taken <= STREAM_WINDOW_MAX as usize + ON_THE_WAY, "{taken}");
    }
    assert!(sum <= CONNECTION_WINDOW_MAX + STREAMS * ON_THE_WAY, "{sum}");
    if let Some(promised) = promised(&pair.agent) {
        assert!(promised <= CONNECTION_WINDOW_MAX, "{promised}");
    }
    // There is still room for what is new.
    let (mut near, mut far) = pair.stream().await;
    write(&mut near, 1, 10_000).await.unwrap();
    read(&mut far, 1, 10_000).await;
}

pub(crate) async fn a_fast_reader_on_a_long_path_is_fast(transport: Transport) {
    const SIZE: usize = 24 * MIB;
    let wish = Wish {
        relay: Some(Duration::from_millis(25)),
        ..Wish::default()
    };
    let pair = Pair::with(transport, wish).await;
    let (mut near, mut far) = pair.stream().await;
    let start = Instant::now();
    let there = async {
        write(&mut near, 1, SIZE).await.unwrap();
        near.shutdown().await.unwrap();
    };
    let mut largest = 0;
    let watch = async {
        loop {
            largest = largest.max(promised(&pair.agent).unwrap_or(0));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        _ = async { tokio::join!(there, read_to_end(&mut far, 1, SIZE)) } => {}
        () = watch => {}
    }
    // With the first window alone it would be 24 MiB / 32 KiB * 50 ms = 38 s.
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
    if promised(&pair.agent).is_some() {
        assert!(largest > MIB, "{largest}");
    }
}

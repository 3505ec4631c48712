//! How many streams there may be.

use std::time::Duration;

use edge_tunnel_proto::code::Code;
use edge_tunnel_proto::stream::{Incoming, OpenFailed, Opening, Stream, StreamError};
use edge_tunnel_proto::transport::{
    AGENT_LIMITS, AGENT_STREAMS, Lane, LaneStream, Limits, OpenError, Transport,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::harness::{Pair, Wish, open, request};

pub(crate) async fn an_opener_is_told_of_its_limit_and_the_connection_lives(transport: Transport) {
    let pair = Pair::new(transport).await;
    let mut streams = Vec::new();
    for _ in 0..AGENT_STREAMS {
        streams.push(open(&pair.agent, &pair.server).await);
    }
    for _ in 0..3 {
        let error = pair.agent.open().unwrap_err();
        assert_eq!(error, OpenError::TooMany(AGENT_STREAMS));
    }
    // The other side's limit is another.
    streams.push(pair.stream().await);
    drop(streams.remove(0));
    streams.push(open(&pair.agent, &pair.server).await);
    for (near, far) in &mut streams {
        near.write_u8(1).await.unwrap();
        near.flush().await.unwrap();
        assert_eq!(far.read_u8().await.unwrap(), 1);
    }
}

pub(crate) async fn at_its_limit_an_opener_may_close_one_and_open_one(transport: Transport) {
    let pair = Pair::new(transport).await;
    let mut held = Vec::new();
    for _ in 1..AGENT_STREAMS {
        held.push(open(&pair.agent, &pair.server).await);
    }
    for round in 0..200 {
        let (mut near, mut far) = open(&pair.agent, &pair.server).await;
        match round % 3 {
            // Both ends see the end.
            0 => {
                near.shutdown().await.unwrap();
                far.shutdown().await.unwrap();
                assert_eq!(near.read(&mut [0; 1]).await.unwrap(), 0);
                assert_eq!(far.read(&mut [0; 1]).await.unwrap(), 0);
            }
            // The opener goes away and does not wait until it is noticed.
            1 => {
                drop(near);
                tokio::spawn(async move {
                    far.read(&mut [0; 1]).await.unwrap_err();
                });
                continue;
            }
            _ => near.abort(Code::Reset, "").await,
        }
    }
    assert_eq!(held.len(), AGENT_STREAMS - 1);
}

/// Echoes a byte, as often as one comes.
async fn echo(lane: Lane) {
    let mut tasks = JoinSet::new();
    while let Ok(mut stream) = lane.accept().await {
        tasks.spawn(async move {
            while let Ok(byte) = stream.read_u8().await {
                if stream.write_u8(byte).await.is_err() {
                    break;
                }
            }
        });
    }
}

async fn try_echo(stream: &mut LaneStream) -> Result<(), StreamError> {
    stream.write_u8(7).await?;
    stream.flush().await?;
    assert_eq!(stream.read_u8().await?, 7);
    Ok(())
}

pub(crate) async fn a_peer_that_ignores_the_limit_hurts_itself_alone(transport: Transport) {
    let wish = Wish {
        agent: Limits {
            outbound: 10 * AGENT_STREAMS,
            ..AGENT_LIMITS
        },
        ..Wish::default()
    };
    let pair = Pair::with(transport, wish).await;
    let echoes = tokio::spawn(echo(pair.server.clone()));
    let mut tasks = JoinSet::new();
    for _ in 0..10 * AGENT_STREAMS {
        let mut stream = pair.agent.open().unwrap();
        tasks.spawn(async move { (try_echo(&mut stream).await, stream) });
    }
    let mut open = Vec::new();
    let mut refused = 0;
    while let Some(done) = tasks.join_next().await {
        match done.unwrap() {
            (Ok(()), stream) => open.push(stream),
            (Err(error), _) => {
                assert_eq!(error.code(), Code::Overloaded, "{error}");
                refused += 1;
            }
        }
    }
    // QUIC gives leave in steps, so that its limit is not exact; see the transport's settings.
    assert!(
        (AGENT_STREAMS..2 * AGENT_STREAMS).contains(&open.len()),
        "{}",
        open.len()
    );
    assert_eq!(open.len() + refused, 10 * AGENT_STREAMS);
    // What was open stays so, and there is room again once something ends.
    for stream in &mut open {
        try_echo(stream).await.unwrap();
    }
    drop(open);
    let again = async { while try_echo(&mut pair.agent.open().unwrap()).await.is_err() {} };
    timeout(Duration::from_secs(5), again).await.unwrap();
    pair.agent.close(Code::Draining, "");
    echoes.await.unwrap();
}

pub(crate) async fn without_memory_one_more_is_refused_and_the_connection_lives(
    transport: Transport,
) {
    const LITTLE: usize = 1024 * 1024;
    // The opener's memory, and the acceptor's.
    for memory in [[LITTLE, 1 << 30], [1 << 30, LITTLE]] {
        let wish = Wish {
            memory,
            ..Wish::default()
        };
        let pair = Pair::with(transport, wish).await;
        let agent = pair.agent.clone();
        let serving = tokio::spawn(async move {
            let mut open = JoinSet::new();
            while let Ok(stream) = agent.accept().await {
                open.spawn(async move {
                    if let Ok(Incoming::Open(mut answer)) = Incoming::read(stream).await {
                        answer.accepted().await?;
                        let mut stream = answer.opened().await?;
                        stream.read_to_end(&mut Vec::new()).await?;
                    }
                    Ok::<_, StreamError>(())
                });
            }
        });
        let mut open = Vec::new();
        let refused = loop {
            assert!(open.len() < 100, "there is no limit");
            match attempt(&pair.server).await {
                Ok(stream) => open.push(stream),
                Err(refused) => break refused,
            }
        };
        match refused {
            OpenFailed::Lane(error) => assert_eq!(error, OpenError::NoMemory),
            OpenFailed::Stream(error) => assert_eq!(error.code(), Code::Overloaded),
            other @ OpenFailed::Refused { .. } => panic!("{other:?}"),
        }
        assert!(open.len() >= 5, "{}", open.len());
        // Who is there goes on.
        for stream in &mut open {
            stream.write_all(b"alive").await.unwrap();
            stream.flush().await.unwrap();
        }
        assert!(pair.budgets[0].used() <= memory[0] && pair.budgets[1].used() <= memory[1]);
        // And one that ends makes room, in a moment at the other side.
        drop(open.pop());
        let start = Instant::now();
        while let Err(error) = attempt(&pair.server).await {
            assert!(start.elapsed() < Duration::from_secs(5), "{error:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        serving.abort();
    }
}

async fn attempt(lane: &Lane) -> Result<Stream, OpenFailed> {
    Opening::start(lane, &request()).await?.opened().await
}

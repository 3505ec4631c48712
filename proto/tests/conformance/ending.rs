//! How streams end: in order, by an abort, by a drop.

use std::time::Duration;

use edge_tunnel_proto::code::Code;
use edge_tunnel_proto::codec::Kind;
use edge_tunnel_proto::message::{Control, Pong, control};
use edge_tunnel_proto::stream::{Framed, Stream, StreamError};
use edge_tunnel_proto::transport::Transport;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::harness::pattern::{read, read_to_end, write};
use crate::harness::{Pair, open};

pub(crate) async fn either_side_may_end_first(transport: Transport) {
    const SIZE: usize = 1_000_000;
    let pair = Pair::new(transport).await;
    for (from, to) in pair.ways() {
        let (near, far) = open(from, to).await;
        let (near_again, far_again) = open(from, to).await;
        for (mut first, mut second) in [(near, far), (far_again, near_again)] {
            write(&mut first, 1, 10).await.unwrap();
            first.shutdown().await.unwrap();
            read_to_end(&mut second, 1, 10).await;
            // One direction has ended; the other carries on, long after.
            let there = async {
                write(&mut second, 2, SIZE).await.unwrap();
                second.shutdown().await.unwrap();
            };
            tokio::join!(there, read_to_end(&mut first, 2, SIZE));
            let written = first.write(b"more").await.unwrap_err();
            assert_eq!(written.kind(), std::io::ErrorKind::BrokenPipe);
        }
    }
}

/// Before, during and after whose half-close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Before,
    BehindData,
    AfterOurs,
    AfterTheirs,
}

async fn prepare(when: When, breaks: &mut Stream, sees: &mut Stream) {
    match when {
        When::Before => {}
        When::BehindData => write(breaks, 1, 20_000).await.unwrap(),
        When::AfterOurs => {
            write(breaks, 1, 20_000).await.unwrap();
            breaks.shutdown().await.unwrap();
        }
        When::AfterTheirs => {
            sees.shutdown().await.unwrap();
            read_to_end(breaks, 0, 0).await;
        }
    }
}

fn assert_broken(error: &std::io::Error, reason: Option<&str>) {
    match (StreamError::of(error), reason) {
        (StreamError::Aborted { code, reason }, Some(said)) => {
            assert_eq!((code, reason.as_str()), (Code::Unreachable, said));
        }
        (error, None) => assert_eq!(error.code(), Code::Unreachable),
        (other, Some(_)) => panic!("{other:?}"),
    }
}

pub(crate) async fn an_abort_gives_its_code_to_whoever_reads(transport: Transport) {
    let pair = Pair::new(transport).await;
    for (from, to) in pair.ways() {
        for when in [
            When::Before,
            When::BehindData,
            When::AfterOurs,
            When::AfterTheirs,
        ] {
            let (near, far) = open(from, to).await;
            let (near_again, far_again) = open(from, to).await;
            for (mut breaks, mut sees) in [(near, far), (far_again, near_again)] {
                prepare(when, &mut breaks, &mut sees).await;
                breaks.abort(Code::Unreachable, "no route").await;
                if matches!(when, When::BehindData | When::AfterOurs) {
                    read(&mut sees, 1, 20_000).await;
                }
                let error = match when {
                    When::AfterOurs => {
                        read_to_end(&mut sees, 0, 0).await;
                        std::future::poll_fn(|cx| sees.poll_broken(cx)).await.into()
                    }
                    _ => sees.read(&mut [0; 1]).await.unwrap_err(),
                };
                assert_broken(&error, Some("no route"));
                // And it stays so.
                let again = sees.write_all(b"x").await.unwrap_err();
                assert_broken(&again, Some("no route"));
            }
        }
    }
}

pub(crate) async fn an_abort_gives_its_code_to_whoever_only_writes(transport: Transport) {
    let pair = Pair::new(transport).await;
    for when in [When::Before, When::BehindData, When::AfterOurs] {
        let (mut breaks, mut sees) = pair.stream().await;
        prepare(when, &mut breaks, &mut sees).await;
        let writing = tokio::spawn(async move {
            loop {
                if let Err(error) = sees.write_all(&[0; 100_000]).await {
                    return error;
                }
            }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        breaks.abort(Code::Unreachable, "no route").await;
        assert_broken(&writing.await.unwrap(), None);
    }
}

/// As of a target that closes its socket behind its last byte, while the caller still speaks.
pub(crate) async fn what_came_before_an_abort_is_read_although_writing_fails(transport: Transport) {
    let pair = Pair::new(transport).await;
    for (from, to) in pair.ways() {
        let (mut closes, mut sees) = open(from, to).await;
        prepare(When::AfterOurs, &mut closes, &mut sees).await;
        closes.abort(Code::Unreachable, "no route").await;
        let error = loop {
            if let Err(error) = sees.write_all(&[0; 100]).await {
                break error;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        assert_broken(&error, None);
        read_to_end(&mut sees, 1, 20_000).await;
    }
}

pub(crate) async fn an_abort_that_nobody_reads_does_not_wait_long(transport: Transport) {
    let pair = Pair::new(transport).await;
    let (mut breaks, mut sees) = pair.stream().await;
    fill(&mut breaks).await;
    let start = Instant::now();
    breaks.abort(Code::Unreachable, "no route").await;
    assert!(start.elapsed() < Duration::from_secs(3));
    let error = sees.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_broken(&error, None);
}

/// Writes until nothing more is taken.
async fn fill(stream: &mut Stream) {
    let all = async {
        loop {
            stream.write_all(&[0; 64 * 1024]).await.unwrap();
        }
    };
    let patience = Duration::from_millis(300);
    let _: Result<(), _> = tokio::time::timeout(patience, all).await;
}

pub(crate) async fn a_dropped_stream_is_an_error(transport: Transport) {
    let pair = Pair::new(transport).await;
    for (from, to) in pair.ways() {
        for when in [When::Before, When::AfterOurs, When::AfterTheirs] {
            let (mut drops, mut sees) = open(from, to).await;
            prepare(when, &mut drops, &mut sees).await;
            drop(drops);
            let error = match when {
                // Its end was sent and may arrive; the drop has to as well.
                When::AfterOurs => loop {
                    match sees.write_all(&[0; 100]).await {
                        Ok(()) => tokio::time::sleep(Duration::from_millis(1)).await,
                        Err(error) => break error,
                    }
                },
                _ => sees.read(&mut [0; 1]).await.unwrap_err(),
            };
            assert_eq!(StreamError::of(&error).code(), Code::Cancelled, "{when:?}");
        }
    }
}

pub(crate) async fn an_ordered_end_loses_nothing_when_both_sides_drop_at_once(
    transport: Transport,
) {
    const SIZE: usize = 100_000;
    let pair = Pair::new(transport).await;
    let mut tasks = JoinSet::new();
    for _ in 0..100 {
        let (near, far) = pair.stream().await;
        for (mut stream, out, back) in [(near, 1, 2), (far, 2, 1)] {
            tasks.spawn(async move {
                let (mut read, mut write_half) = tokio::io::split(&mut stream);
                let there = async {
                    write(&mut write_half, out, SIZE).await.unwrap();
                    write_half.shutdown().await.unwrap();
                };
                tokio::join!(there, read_to_end(&mut read, back, SIZE));
            });
        }
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

pub(crate) async fn what_was_sent_before_finish_arrives(transport: Transport) {
    let pair = Pair::new(transport).await;
    for (from, to) in pair.ways() {
        for _ in 0..50 {
            let mut near = Framed::new(from.open().unwrap());
            let message = Control::from(control::Kind::Pong(Pong { nonce: 5 }));
            near.send(Kind::Control, &message).await.unwrap();
            let mut far = Framed::new(to.accept().await.unwrap());
            for _ in 0..3 {
                far.send(Kind::Control, &message).await.unwrap();
            }
            far.finish().await;
            for _ in 0..3 {
                let frame = near.receive().await.unwrap();
                assert_eq!(frame.message::<Control>().unwrap(), message);
            }
            assert_eq!(near.receive().await, Err(StreamError::EndedEarly));
        }
    }
}

//! How streams begin.

use std::time::Duration;

use edge_tunnel_proto::code::Code;
use edge_tunnel_proto::codec::Kind;
use edge_tunnel_proto::message::Open;
use edge_tunnel_proto::stream::{Framed, OpenFailed, Opening};
use edge_tunnel_proto::transport::Transport;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::harness::{Pair, answered, asked, open, request};

pub(crate) async fn either_side_opens(transport: Transport) {
    let pair = Pair::new(transport).await;
    for (from, to) in pair.ways() {
        let (mut near, mut far) = open(from, to).await;
        for round in 0..10 {
            near.write_u32(round).await.unwrap();
            near.flush().await.unwrap();
            assert_eq!(far.read_u32().await.unwrap(), round);
            far.write_u32(round + 1).await.unwrap();
            far.flush().await.unwrap();
            assert_eq!(near.read_u32().await.unwrap(), round + 1);
        }
    }
}

pub(crate) async fn the_header_is_seen_before_any_data(transport: Transport) {
    let pair = Pair::new(transport).await;
    for (from, to) in pair.ways() {
        // Opened and not written to: nobody learns of it.
        let quiet = from.open().unwrap();
        let asks = request();
        let mut opening = Opening::start(from, &asks).await.unwrap();
        let mut answer = asked(to).await;
        assert_eq!(answer.request, asks);
        let early = timeout(Duration::from_millis(50), opening.accepted()).await;
        assert!(early.is_err(), "nothing was accepted yet");
        answer.accepted().await.unwrap();
        opening.accepted().await.unwrap();
        let (near, far) = tokio::join!(opening.opened(), answer.opened());
        near.unwrap();
        far.unwrap();
        drop(quiet);
    }
}

pub(crate) async fn streams_may_be_written_to_in_another_order_than_they_were_opened_in(
    transport: Transport,
) {
    let pair = Pair::new(transport).await;
    let mut streams: Vec<_> = (0..8_u8).map(|_| pair.server.open().unwrap()).collect();
    for (number, stream) in streams.iter_mut().enumerate().rev() {
        stream
            .write_u8(u8::try_from(number).unwrap())
            .await
            .unwrap();
        stream.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut seen = Vec::new();
    for _ in 0..8 {
        let mut stream = pair.agent.accept().await.unwrap();
        seen.push(stream.read_u8().await.unwrap());
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..8).collect::<Vec<_>>());
}

pub(crate) async fn a_refusal_is_always_read(transport: Transport) {
    let pair = Pair::new(transport).await;
    let mut openers = JoinSet::new();
    for _ in 0..300 {
        let lane = pair.server.clone();
        openers.spawn(async move {
            Opening::start(&lane, &request())
                .await
                .unwrap()
                .opened()
                .await
                .unwrap_err()
        });
    }
    for number in 0..300 {
        let mut answer = asked(&pair.agent).await;
        if number % 2 == 0 {
            answer.accepted().await.unwrap();
        }
        // It is dropped with that, the opener's direction unread.
        answer.refuse(Code::NotAllowed, "not on this node").await;
    }
    while let Some(failed) = openers.join_next().await {
        match failed.unwrap() {
            OpenFailed::Refused { code, message } => {
                assert_eq!(
                    (code, message.as_str()),
                    (Code::NotAllowed, "not on this node")
                );
            }
            other => panic!("{other:?} instead of a refusal"),
        }
    }
}

pub(crate) async fn what_is_unknown_is_refused(transport: Transport) {
    let pair = Pair::new(transport).await;
    let mut of_newer_kind = request().to_message();
    of_newer_kind.kind = None;
    for (kind, message, code) in [
        (Kind::Unknown(99), Open::default(), Code::Unsupported),
        (Kind::Open, of_newer_kind, Code::Unsupported),
        (Kind::Open, Open::default(), Code::Protocol),
    ] {
        let mut framed = Framed::new(pair.server.open().unwrap());
        framed.send(kind, &message).await.unwrap();
        let io = pair.agent.accept().await.unwrap();
        edge_tunnel_proto::stream::Incoming::read(io)
            .await
            .unwrap_err();
        let frame = framed.receive().await.unwrap();
        assert_eq!(frame.kind, Kind::Refused);
        let refused: edge_tunnel_proto::message::Refused = frame.message().unwrap();
        assert_eq!(Code::from_number(refused.code), code);
    }
}

pub(crate) async fn opens_that_are_never_answered_do_not_hold_up_others(transport: Transport) {
    let pair = Pair::new(transport).await;
    let agent = pair.agent.clone();
    let accepting = tokio::spawn(async move {
        let mut silent = Vec::new();
        for _ in 0..600 {
            let mut answer = asked(&agent).await;
            answer.accepted().await.unwrap();
            silent.push(answer);
        }
        let mut live = answered(&agent).await;
        live.write_u8(7).await.unwrap();
        live.shutdown().await.unwrap();
        (silent, live)
    });
    let mut waiting = Vec::new();
    for _ in 0..600 {
        let mut opening = Opening::start(&pair.server, &request()).await.unwrap();
        opening.accepted().await.unwrap();
        waiting.push(opening);
    }
    let start = Instant::now();
    let opening = Opening::start(&pair.server, &request()).await.unwrap();
    let mut live = opening.opened().await.unwrap();
    assert_eq!(live.read_u8().await.unwrap(), 7);
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    // Those who give up are noticed, so that their dials can be dropped.
    drop(waiting);
    let (silent, _live) = accepting.await.unwrap();
    for mut answer in silent {
        assert_eq!(answer.abandoned().await.code(), Code::Cancelled);
    }
}

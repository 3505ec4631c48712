//! What may be dropped half-way and taken up again.

use std::time::Duration;

use edge_tunnel_proto::codec::{self, Kind};
use edge_tunnel_proto::message::{Control, Ping, control};
use edge_tunnel_proto::stream::Framed;
use edge_tunnel_proto::transport::Transport;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::Pair;

pub(crate) async fn accept_is_cancel_safe(transport: Transport) {
    const STREAMS: u16 = 300;
    let pair = Pair::new(transport).await;
    let lane = pair.server.clone();
    let opening = tokio::spawn(async move {
        let mut open = Vec::new();
        for number in 0..STREAMS {
            let mut stream = lane.open().unwrap();
            stream.write_u16(number).await.unwrap();
            stream.flush().await.unwrap();
            open.push(stream);
            if number % 7 == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        open
    });
    let mut seen = Vec::new();
    while seen.len() < usize::from(STREAMS) {
        tokio::select! {
            biased;
            // Polled, then dropped.
            accepted = pair.agent.accept() => seen.push(accepted.unwrap()),
            () = tokio::task::yield_now() => {}
        }
    }
    let mut numbers = Vec::new();
    for stream in &mut seen {
        numbers.push(stream.read_u16().await.unwrap());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..STREAMS).collect::<Vec<_>>());
    opening.await.unwrap();
}

pub(crate) async fn two_acceptors_miss_no_stream(transport: Transport) {
    const STREAMS: usize = 400;
    let pair = Pair::new(transport).await;
    let acceptor = || {
        let lane = pair.agent.clone();
        tokio::spawn(async move {
            let mut accepted = Vec::new();
            while let Ok(stream) = lane.accept().await {
                accepted.push(stream);
            }
            accepted.len()
        })
    };
    let acceptors = [acceptor(), acceptor()];
    let mut open = Vec::new();
    for _ in 0..STREAMS {
        let mut stream = pair.server.open().unwrap();
        stream.write_all(b"x").await.unwrap();
        open.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    pair.server
        .close(edge_tunnel_proto::code::Code::Draining, "");
    let mut sum = 0;
    for acceptor in acceptors {
        sum += acceptor.await.unwrap();
    }
    assert_eq!(sum, STREAMS);
}

pub(crate) async fn receive_is_cancel_safe(transport: Transport) {
    const MESSAGES: u64 = 60;
    let pair = Pair::new(transport).await;
    let mut raw = pair.server.open().unwrap();
    let writing = tokio::spawn(async move {
        let mut bytes = bytes::BytesMut::new();
        for nonce in 0..MESSAGES {
            let message = Control::from(control::Kind::Ping(Ping {
                nonce,
                rtt_micros: 1,
            }));
            codec::put_message(&mut bytes, Kind::Control, &message);
        }
        for piece in bytes.chunks(3) {
            raw.write_all(piece).await.unwrap();
            raw.flush().await.unwrap();
            tokio::task::yield_now().await;
        }
        raw
    });
    let mut framed = Framed::new(pair.agent.accept().await.unwrap());
    let mut next = 0;
    while next < MESSAGES {
        tokio::select! {
            biased;
            frame = framed.receive() => {
                match frame.unwrap().message::<Control>().unwrap().kind {
                    Some(control::Kind::Ping(ping)) => assert_eq!(ping.nonce, next),
                    other => panic!("{other:?}"),
                }
                next += 1;
            }
            () = tokio::task::yield_now() => {}
        }
    }
    writing.await.unwrap();
}

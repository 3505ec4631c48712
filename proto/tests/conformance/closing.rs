//! How connections end.

use std::time::Duration;

use edge_tunnel_proto::budget::Budget;
use edge_tunnel_proto::code::Code;
use edge_tunnel_proto::stream::StreamError;
use edge_tunnel_proto::transport::{Closed, OpenError, Transport};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::harness::pattern::{read, write};
use crate::harness::{Pair, open};

fn said() -> (Closed, Closed) {
    let (code, reason) = (Code::Draining, "until later".to_owned());
    let there = Closed::There {
        code,
        reason: reason.clone(),
    };
    (Closed::Here { code, reason }, there)
}

pub(crate) async fn a_close_is_read_by_the_other_side_with_its_reason(transport: Transport) {
    for server_closes in [true, false] {
        let pair = Pair::new(transport).await;
        let (mut near, mut far) = pair.stream().await;
        let (closes, sees) = if server_closes {
            (&pair.server, &pair.agent)
        } else {
            (&pair.agent, &pair.server)
        };
        let (here, there) = said();
        closes.close(Code::Draining, "until later");
        closes.close(Code::Internal, "a second time");
        let patience = Duration::from_millis(900);
        assert_eq!(timeout(patience, sees.closed()).await.unwrap(), there);
        assert_eq!(timeout(patience, closes.closed()).await.unwrap(), here);
        assert_eq!(sees.accept().await.unwrap_err(), there);
        assert_eq!(closes.accept().await.unwrap_err(), here);
        assert_eq!(sees.open().unwrap_err(), OpenError::Closed(there));
        assert_eq!(closes.open().unwrap_err(), OpenError::Closed(here));
        for stream in [&mut near, &mut far] {
            let error = stream.read(&mut [0; 1]).await.unwrap_err();
            assert_eq!(StreamError::of(&error).code(), Code::TransportLost);
            stream.write_all(b"x").await.unwrap_err();
        }
        drop((near, far));
        pair.end().await;
    }
}

pub(crate) async fn a_close_is_read_under_load(transport: Transport) {
    for _ in 0..5 {
        let pair = Pair::new(transport).await;
        let mut load = JoinSet::new();
        for _ in 0..4 {
            let (near, far) = pair.stream().await;
            for stream in [near, far] {
                let (mut reader, mut writer) = tokio::io::split(stream);
                load.spawn(async move { while writer.write_all(&[0; 65536]).await.is_ok() {} });
                load.spawn(async move {
                    let mut buffer = vec![0; 65536];
                    while reader.read(&mut buffer).await.is_ok() {}
                });
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        pair.server.close(Code::Draining, "until later");
        let (here, there) = said();
        match (transport, pair.agent.closed().await) {
            // A packet may be lost, and a full socket loses some; what is left is QUIC's stateless reset.
            (Transport::Quic, Closed::Lost(_)) => {}
            (_, closed) => assert_eq!(closed, there),
        }
        assert_eq!(pair.server.closed().await, here);
        while load.join_next().await.is_some() {}
        pair.end().await;
    }
}

pub(crate) async fn the_last_handle_closes_even_with_streams_open(transport: Transport) {
    let pair = Pair::new(transport).await;
    let (mut near, mut far) = pair.stream().await;
    drop(pair.server.clone());
    let early = timeout(Duration::from_millis(50), pair.agent.closed()).await;
    assert!(early.is_err(), "it closed with handles left");
    let Pair { server, agent, .. } = pair;
    drop(server);
    let closed = timeout(Duration::from_secs(2), agent.closed()).await;
    assert!(
        matches!(
            &closed,
            Ok(Closed::There {
                code: Code::Cancelled,
                ..
            })
        ),
        "{closed:?}"
    );
    for stream in [&mut near, &mut far] {
        let error = stream.read(&mut [0; 1]).await.unwrap_err();
        assert_eq!(StreamError::of(&error).code(), Code::TransportLost);
    }
}

pub(crate) async fn everything_is_given_back(transport: Transport) {
    let pair = Pair::new(transport).await;
    let used = || pair.budgets.each_ref().map(Budget::used);
    let idle = used();
    let mut open_streams = Vec::new();
    for (from, to) in pair.ways() {
        for number in 0..10 {
            let (mut near, mut far) = open(from, to).await;
            write(&mut near, number, 20_000).await.unwrap();
            read(&mut far, number, 10_000).await;
            match number % 4 {
                0 => open_streams.push((near, far)),
                1 => near.abort(Code::Reset, "").await,
                2 => drop(far),
                _ => {
                    near.shutdown().await.unwrap();
                    far.shutdown().await.unwrap();
                    read(&mut far, number + 7919, 0).await;
                }
            }
        }
    }
    assert!(used().iter().zip(idle).all(|(used, idle)| *used > idle));
    drop(open_streams);
    // With the streams' end the windows come back, long before the connection's.
    let back = async {
        while used() != idle {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(5), back).await.unwrap();
    pair.end().await;
}

//! A connection that breaks. The clock is paused once the link is cut, so that timeouts come at once.

use std::time::Duration;

use edge_tunnel_proto::code::Code;
use edge_tunnel_proto::codec::Kind;
use edge_tunnel_proto::message::{Control, Pong, control};
use edge_tunnel_proto::stream::{Framed, Opening, Stream, StreamError};
use edge_tunnel_proto::transport::{Closed, Transport};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::harness::pattern::{read_to_end, write};
use crate::harness::{Cut, Pair, Wish, asked, request};

async fn pair(transport: Transport) -> Pair {
    let wish = Wish {
        relay: Some(Duration::ZERO),
        ..Wish::default()
    };
    Pair::with(transport, wish).await
}

/// Streams in every state in which a cut may find them.
struct Streams {
    quiet: (Stream, Stream),
    /// The first has ended its direction.
    half: (Stream, Stream),
    opening: Opening,
    control: (Framed, Framed),
}

impl Streams {
    async fn new(pair: &Pair) -> Self {
        let quiet = pair.stream().await;
        let mut half = pair.stream().await;
        write(&mut half.0, 1, 1000).await.unwrap();
        half.0.shutdown().await.unwrap();
        read_to_end(&mut half.1, 1, 1000).await;
        let opening = Opening::start(&pair.server, &request()).await.unwrap();
        let answer = asked(&pair.agent).await;
        // It stays unanswered, and that is not for a drop to change.
        tokio::spawn(async move {
            let mut answer = answer;
            answer.abandoned().await;
        });
        let mut near = Framed::new(pair.agent.open().unwrap());
        let message = Control::from(control::Kind::Pong(Pong { nonce: 5 }));
        near.send(Kind::Control, &message).await.unwrap();
        let mut far = Framed::new(pair.server.accept().await.unwrap());
        far.receive().await.unwrap();
        Self {
            quiet,
            half,
            opening,
            control: (near, far),
        }
    }

    async fn are_broken(mut self) {
        for stream in [&mut self.quiet.0, &mut self.quiet.1, &mut self.half.0] {
            let error = stream.read(&mut [0; 1]).await.expect_err("a cut is no end");
            assert_eq!(StreamError::of(&error).code(), Code::TransportLost);
        }
        let broken = std::future::poll_fn(|cx| self.half.1.poll_broken(cx)).await;
        assert_eq!(broken.code(), Code::TransportLost);
        for stream in [&mut self.quiet.0, &mut self.half.1] {
            let error = stream.write_all(b"x").await.unwrap_err();
            assert_eq!(StreamError::of(&error).code(), Code::TransportLost);
        }
        self.opening.opened().await.unwrap_err();
        for framed in [&mut self.control.0, &mut self.control.1] {
            let error = framed.receive().await.unwrap_err();
            assert_eq!(error.code(), Code::TransportLost);
        }
    }
}

pub(crate) async fn a_cut_link_is_an_error_on_every_stream(transport: Transport) {
    for how in [Cut::End, Cut::Reset] {
        let pair = pair(transport).await;
        let streams = Streams::new(&pair).await;
        pair.relay.as_ref().unwrap().cut(how);
        if transport == Transport::Quic {
            // Nobody says anything on UDP; the idle timeout finds out.
            tokio::time::pause();
        }
        streams.are_broken().await;
        for lane in [&pair.server, &pair.agent] {
            assert!(matches!(lane.closed().await, Closed::Lost(_)), "{how:?}");
            assert!(lane.accept().await.is_err());
            assert!(lane.open().is_err());
        }
        if transport == Transport::Quic {
            tokio::time::resume();
        }
        pair.end().await;
    }
}

pub(crate) async fn silence_is_no_end(transport: Transport) {
    let pair = pair(transport).await;
    let mut streams = Streams::new(&pair).await;
    pair.relay.as_ref().unwrap().cut(Cut::Silence);
    let patience = Duration::from_millis(300);
    let read = timeout(patience, streams.quiet.0.read(&mut [0; 1])).await;
    assert!(read.is_err(), "{read:?}");
    // It is the session that notices, and closes its end of the lane.
    for lane in [&pair.server, &pair.agent] {
        lane.close(Code::TransportLost, "no heartbeat");
    }
    streams.are_broken().await;
    for lane in [&pair.server, &pair.agent] {
        let here = Closed::Here {
            code: Code::TransportLost,
            reason: "no heartbeat".to_owned(),
        };
        assert_eq!(
            timeout(Duration::from_secs(5), lane.closed()).await,
            Ok(here)
        );
    }
    pair.end().await;
}

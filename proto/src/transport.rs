//! The seam between what the tunnel says and what carries it: a [`Lane`] is one connection, a [`LaneStream`] one
//! stream of it, and above this module nobody knows whether that is QUIC or TLS over TCP.
//!
//! The contract, which the conformance suite holds both to:
//! - a stream is invisible to the other side until something is written on it;
//! - [`Lane::accept`] is cancel safe; [`Lane::open`] never waits;
//! - a stream's clean end is seen as an end only after `shutdown`; a cut transport, a reset and a drop are errors;
//! - a reader that stops holds up its own stream only, and at most [`crate::mux::STREAM_WINDOW_MAX`] bytes of it.

pub mod quic;
pub mod tls;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::code::Code;
pub use crate::mux::{Closed, Limits, OpenError};
use crate::mux::{Mux, MuxStream};
use quic::QuicStream;

/// How many streams an agent lets the server open on one lane.
pub const SERVER_STREAMS: usize = 2000;

/// How many streams the server lets an agent open on one lane: the control stream and what little else there is.
pub const AGENT_STREAMS: usize = 16;

/// The limits as the server sees them.
pub const SERVER_LIMITS: Limits = Limits {
    inbound: AGENT_STREAMS,
    outbound: SERVER_STREAMS,
};

/// The limits as the agent sees them.
pub const AGENT_LIMITS: Limits = Limits {
    inbound: SERVER_STREAMS,
    outbound: AGENT_STREAMS,
};

/// What carries a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// QUIC over UDP (RFC 9000).
    Quic,
    /// TLS 1.3 over TCP, muxed.
    Tls,
}

impl Transport {
    /// The name in flags, metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::Tls => "tls",
        }
    }
}

impl std::fmt::Display for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A connection after its handshake, with what the handshake showed. Nothing in it has been judged yet.
#[derive(Debug)]
pub struct Connected {
    /// The connection.
    pub lane: Lane,
    /// The protocol that was agreed on (RFC 7301).
    pub alpn: Option<Vec<u8>>,
    /// The other side's certificate chain, leaf first; empty where it showed none.
    pub certificates: Vec<CertificateDer<'static>>,
    /// The other side's address.
    pub remote: SocketAddr,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The operating system said no.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Something else than TLS came back from a server.
    #[error("{0}: no TLS is spoken there; is it the port of the server's --agents-listen (10262)?")]
    NoTls(io::Error),
    /// A server hung up on the ClientHello.
    #[error(
        "the other side hung up before its first word of TLS: a server does that to more handshakes at once than it can \
         bear, a balancer while it has no server"
    )]
    TurnedAway,
    /// The QUIC handshake failed; a wrong certificate reads so, too.
    #[error("QUIC handshake: {0}")]
    Quic(#[from] quinn::ConnectionError),
    /// The QUIC connection could not even be begun.
    #[error("QUIC: {0}")]
    QuicConnect(#[from] quinn::ConnectError),
    /// The memory that may be promised to peers is used up.
    #[error("the memory that may be promised for streams is used up; try again later")]
    NoMemory,
    /// It took too long.
    #[error("no handshake within {} s", .0.as_secs())]
    Timeout(Duration),
}

/// One connection between an agent and a server. Clones share it; when the last clone drops, it closes.
#[derive(Debug, Clone)]
pub enum Lane {
    /// Over QUIC.
    Quic(quic::QuicLane),
    /// Over TLS.
    Tls(Mux),
}

impl Lane {
    /// Opens a stream. The other side sees it with the first bytes that are written.
    ///
    /// # Errors
    /// At once, when the connection has ended or a limit is reached; never waits.
    pub fn open(&self) -> Result<LaneStream, OpenError> {
        match self {
            Self::Quic(lane) => lane.open().map(LaneStream::Quic),
            Self::Tls(mux) => mux.open().map(LaneStream::Mux),
        }
    }

    /// The next stream that the other side opened. Cancel safe.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn accept(&self) -> Result<LaneStream, Closed> {
        match self {
            Self::Quic(lane) => lane.accept().await.map(LaneStream::Quic),
            Self::Tls(mux) => mux.accept().await.map(LaneStream::Mux),
        }
    }

    /// Ends the connection with a reason that the other side reads; open streams become errors on both sides.
    ///
    /// Over TLS what was written before arrives before. Over QUIC it may not, and the reason itself travels in a packet
    /// that may be lost: what has to be heard is said on a stream first, and the other side left to close.
    pub fn close(&self, code: Code, reason: &str) {
        match self {
            Self::Quic(lane) => lane.close(code, reason),
            Self::Tls(mux) => mux.close(code, reason),
        }
    }

    /// Waits until the connection has ended and says why.
    pub async fn closed(&self) -> Closed {
        match self {
            Self::Quic(lane) => lane.closed().await,
            Self::Tls(mux) => mux.closed().await,
        }
    }

    /// What it has carried so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        match self {
            Self::Quic(lane) => lane.traffic(),
            Self::Tls(mux) => mux.traffic(),
        }
    }

    /// What carries it.
    #[must_use]
    pub const fn transport(&self) -> Transport {
        match self {
            Self::Quic(_) => Transport::Quic,
            Self::Tls(_) => Transport::Tls,
        }
    }
}

/// How much a connection has carried; only whether a number grows means something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// What came from the other side: a sign that it lives, whatever it was.
    pub heard: u64,
    /// What was sent of streams. Over QUIC the other side acknowledges it at once (RFC 9000, section 13.2); over TLS it
    /// need not answer.
    pub said: u64,
}

/// Why a stream cannot be read or written: what an [`io::Error`] of a [`LaneStream`] holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokenStream {
    /// The other side broke this stream off.
    #[error("the other side reset the stream: {0}")]
    Reset(Code),
    /// The connection under the stream has ended.
    #[error("the connection under the stream ended: {0}")]
    Lost(String),
}

impl From<BrokenStream> for io::Error {
    fn from(broken: BrokenStream) -> Self {
        let kind = match broken {
            BrokenStream::Reset(_) => io::ErrorKind::ConnectionReset,
            BrokenStream::Lost(_) => io::ErrorKind::ConnectionAborted,
        };
        Self::new(kind, broken)
    }
}

/// One stream of a lane, raw: bytes in both directions without any framing of ours.
#[derive(Debug)]
pub enum LaneStream {
    /// Over QUIC.
    Quic(QuicStream),
    /// Over TLS.
    Mux(MuxStream),
}

impl LaneStream {
    /// Ends both directions at once; the other side reads `code`.
    pub fn reset(self, code: Code) {
        match self {
            Self::Quic(stream) => stream.reset(code),
            Self::Mux(stream) => stream.reset(code),
        }
    }
}

impl AsyncRead for LaneStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Quic(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Mux(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for LaneStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Quic(stream) => Pin::new(stream).poll_write(cx, data),
            Self::Mux(stream) => Pin::new(stream).poll_write(cx, data),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Quic(stream) => Pin::new(stream).poll_flush(cx),
            Self::Mux(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Quic(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Mux(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

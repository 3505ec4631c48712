//! A stream with its account: what a way in holds while it carries bytes itself. Most lead through a node's session; what
//! is no node's is a connection of the server's own.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use edge_tunnel_proto::budget::Reservation;
use edge_tunnel_proto::code::Code;
use edge_tunnel_proto::stream::{Stream, StreamError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::metrics::Account;

/// An open stream to a node's target. Reading ends with `Ok(0)` only after the target's own end; dropping it before
/// both directions have ended breaks it off.
#[derive(Debug)]
pub struct Carried {
    far: Far,
    account: Account,
}

/// What carries it.
#[derive(Debug)]
pub(super) enum Far {
    /// A session.
    Tunnel(Box<Tunnelled>),
    /// Nothing of ours.
    Direct(TcpStream),
}

/// A stream through a session.
#[derive(Debug)]
pub(super) struct Tunnelled {
    pub(super) stream: Stream,
    /// What is promised for it.
    pub(super) held: Reservation,
    /// Cancelled when the session takes no more streams, and ends with its last.
    pub(super) retired: CancellationToken,
}

impl Carried {
    pub(super) fn new(far: Far, mut account: Account) -> Self {
        account.ended("clean");
        Self { far, account }
    }

    /// Cancelled when the session under the stream takes no more of them, and ends with its last.
    pub(super) fn retired(&self) -> CancellationToken {
        match &self.far {
            Far::Tunnel(tunnelled) => tunnelled.retired.clone(),
            Far::Direct(_) => CancellationToken::new(),
        }
    }

    pub(super) fn into_parts(self) -> (Far, Account) {
        (self.far, self.account)
    }

    fn failed(&mut self, error: io::Error) -> io::Error {
        self.account.ended(match &self.far {
            Far::Tunnel(_) => StreamError::of(&error).code().name(),
            Far::Direct(_) => Code::Reset.name(),
        });
        error
    }
}

impl Far {
    fn io<R>(&mut self, f: impl FnOnce(Pin<&mut dyn Io>) -> R) -> R {
        match self {
            Self::Tunnel(tunnelled) => f(Pin::new(&mut tunnelled.stream)),
            Self::Direct(stream) => f(Pin::new(stream)),
        }
    }
}

trait Io: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

impl AsyncRead for Carried {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = ready!(self.far.io(|io| io.poll_read(cx, buf)));
        self.account
            .carried(0, (buf.filled().len() - before) as u64);
        Poll::Ready(read.map_err(|error| self.failed(error)))
    }
}

impl AsyncWrite for Carried {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(self.far.io(|io| io.poll_write(cx, data)));
        if let Ok(count) = written {
            self.account.carried(count as u64, 0);
        }
        Poll::Ready(written.map_err(|error| self.failed(error)))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(self.far.io(|io| io.poll_flush(cx)));
        Poll::Ready(flushed.map_err(|error| self.failed(error)))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = ready!(self.far.io(|io| io.poll_shutdown(cx)));
        Poll::Ready(ended.map_err(|error| self.failed(error)))
    }
}

//! A stream with its account: what a way in holds while it carries bytes itself.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use edge_tunnel_proto::budget::Reservation;
use edge_tunnel_proto::stream::{Stream, StreamError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

use super::metrics::Account;

/// An open stream to a node's target. Reading ends with `Ok(0)` only after the target's own end; dropping it before
/// both directions have ended breaks it off.
#[derive(Debug)]
pub struct Carried {
    stream: Stream,
    account: Account,
    held: Reservation,
    retired: CancellationToken,
}

impl Carried {
    pub(super) fn new(
        stream: Stream,
        mut account: Account,
        held: Reservation,
        retired: CancellationToken,
    ) -> Self {
        account.ended("clean");
        Self {
            stream,
            account,
            held,
            retired,
        }
    }

    /// Cancelled when the session under the stream takes no more of them, and ends with its last.
    pub(super) fn retired(&self) -> &CancellationToken {
        &self.retired
    }

    pub(super) fn into_parts(self) -> (Stream, Account, Reservation, CancellationToken) {
        (self.stream, self.account, self.held, self.retired)
    }

    fn failed(&mut self, error: io::Error) -> io::Error {
        self.account.ended(StreamError::of(&error).code().name());
        error
    }
}

impl AsyncRead for Carried {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
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
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, data));
        if let Ok(count) = written {
            self.account.carried(count as u64, 0);
        }
        Poll::Ready(written.map_err(|error| self.failed(error)))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        Poll::Ready(flushed.map_err(|error| self.failed(error)))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = ready!(Pin::new(&mut self.stream).poll_shutdown(cx));
        Poll::Ready(ended.map_err(|error| self.failed(error)))
    }
}

//! A stream's handle: bytes in both directions, until it drops.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop::poll_proceed;

use super::state::{Broken, Key};
use super::{Permit, Shared};
use crate::code::Code;
use crate::transport::BrokenStream;

/// One stream of a [`Mux`](super::Mux). `shutdown` ends this side's direction; dropping before both directions
/// have ended resets the stream.
pub struct MuxStream {
    shared: Arc<Shared>,
    key: Key,
    /// What the peer is told when this drops too early.
    code: Code,
    _permit: Permit,
}

impl MuxStream {
    pub(super) fn new(shared: Arc<Shared>, key: Key, permit: Permit) -> Self {
        Self {
            shared,
            key,
            code: Code::Cancelled,
            _permit: permit,
        }
    }

    /// Ends both directions at once; the peer reads `code`.
    pub fn reset(mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for MuxStream {
    fn drop(&mut self) {
        self.shared.state.lock().release(self.key, self.code);
    }
}

impl From<Broken> for io::Error {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Reset(code) => BrokenStream::Reset(code).into(),
            Broken::Closed(closed) => BrokenStream::Lost(closed.to_string()).into(),
            Broken::Finished => Self::new(io::ErrorKind::BrokenPipe, "written to after its end"),
        }
    }
}

impl AsyncRead for MuxStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let progress = ready!(poll_proceed(cx));
        let read = self.shared.state.lock().read(self.key, cx, buf);
        if read.is_ready() {
            progress.made_progress();
        }
        read.map_err(Into::into)
    }
}

impl AsyncWrite for MuxStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let progress = ready!(poll_proceed(cx));
        let this = self.get_mut();
        let written = this.shared.state.lock().write(&mut this.key, cx, data);
        if written.is_ready() {
            progress.made_progress();
        }
        written.map_err(Into::into)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What was written is with the driver, which sends without being asked.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let finished = this.shared.state.lock().finish(&mut this.key);
        Poll::Ready(finished.map_err(Into::into))
    }
}

impl std::fmt::Debug for MuxStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MuxStream({:?})", self.key)
    }
}

//! The socket of a splice: how its close tells its peer whether the transfer was whole.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A socket that can be closed so that its peer sees a failure and not an end.
pub trait Reset {
    /// Makes the coming drop a reset, as far as the socket's kind can say that. It also holds when the process dies.
    fn reset(&mut self);

    /// Takes that back: the drop is an end.
    fn end(&mut self) {}
}

impl Reset for TcpStream {
    fn reset(&mut self) {
        // A linger of zero turns close() into RST. It fails only when the socket is gone, which serves as well.
        let _ = SockRef::from(&*self).set_linger(Some(Duration::ZERO));
    }

    fn end(&mut self) {
        let _ = SockRef::from(&*self).set_linger(None);
    }
}

impl Reset for UnixStream {
    /// A unix socket knows no reset: its peer sees the end of the stream. What runs inside has to notice (TLS does).
    fn reset(&mut self) {}
}

impl Reset for tokio::io::DuplexStream {
    fn reset(&mut self) {}
}

impl<S: Reset> Reset for &mut S {
    fn reset(&mut self) {
        (**self).reset();
    }

    fn end(&mut self) {
        (**self).end();
    }
}

impl<S: Reset> Reset for tokio_rustls::server::TlsStream<S> {
    /// Without a `close_notify` the end of the TCP connection is a truncation to TLS, and the RST to everybody.
    fn reset(&mut self) {
        self.get_mut().0.reset();
    }

    fn end(&mut self) {
        self.get_mut().0.end();
    }
}

/// The socket of a splice that runs.
pub(super) struct Near<S: Reset> {
    pub(super) io: S,
}

impl<S: Reset> Near<S> {
    /// From the start its drop is a reset: should this process be killed, the peer must not take what it got for the
    /// whole.
    pub(super) fn new(mut io: S) -> Self {
        io.reset();
        Self { io }
    }
}

/// Reads and forgets; how much, 0 at the end.
pub(super) fn discard<S: AsyncRead + Unpin>(
    io: &mut S,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut buffer = ReadBuf::uninit(&mut buffer);
    ready!(Pin::new(io).poll_read(cx, &mut buffer))?;
    Poll::Ready(Ok(buffer.filled().len()))
}

//! The socket of a splice: how its close tells its peer whether the transfer was whole, and whether that is still there.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A connection to a caller or a target, whatever carries it. It can be closed so that its peer sees a failure and not
/// an end.
pub trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Makes the coming drop a reset, as far as the socket's kind can say that. It also holds when the process dies.
    fn reset(&mut self);

    /// Takes that back: the drop is an end.
    fn end(&mut self) {}

    /// Whether the peer is known to be gone: it closed both ways, was reset, or left keep-alive probes unanswered.
    /// Behind the peer's end no read tells that any more. Behind our own, the answer means nothing. A kind of socket
    /// that cannot know says no.
    fn is_gone(&self) -> bool {
        false
    }
}

impl Socket for TcpStream {
    fn reset(&mut self) {
        // A linger of zero turns close() into RST. It fails only when the socket is gone, which serves as well.
        let _ = SockRef::from(&*self).set_linger(Some(Duration::ZERO));
    }

    fn end(&mut self) {
        let _ = SockRef::from(&*self).set_linger(None);
    }

    /// A TCP connection tells of the other end's close only to who sends: then it answers with a reset. Keep-alive
    /// probes do, too.
    fn is_gone(&self) -> bool {
        // ENOTCONN: it takes a failure to disconnect a socket (`inet_getname` in Linux's net/ipv4/af_inet.c), and
        // unlike SO_ERROR this can be asked as often as one likes.
        self.peer_addr().is_err()
    }
}

impl Socket for UnixStream {
    /// A unix socket knows no reset: its peer sees the end of the stream. What runs inside has to notice (TLS does).
    fn reset(&mut self) {}

    fn is_gone(&self) -> bool {
        // EPIPE is looked for before the bytes, of which there are none (`unix_stream_sendmsg` in Linux's
        // net/unix/af_unix.c).
        SockRef::from(self).send(&[]).is_err()
    }
}

impl Socket for tokio::io::DuplexStream {
    fn reset(&mut self) {}
}

impl<S: Socket> Socket for tokio_rustls::server::TlsStream<S> {
    /// Without a `close_notify` the end of the TCP connection is a truncation to TLS, and the RST to everybody.
    fn reset(&mut self) {
        self.get_mut().0.reset();
    }

    fn end(&mut self) {
        self.get_mut().0.end();
    }

    fn is_gone(&self) -> bool {
        self.get_ref().0.is_gone()
    }
}

/// The socket of a splice that runs.
pub(super) struct Near<S: Socket> {
    pub(super) io: S,
}

impl<S: Socket> Near<S> {
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

//! Carries bytes between a socket and a stream, both ways at once, until both directions have ended or one fails.
//!
//! A half-close on one side becomes a half-close on the other. A failure of the socket aborts the stream; a failure of
//! the stream resets the socket, so that a broken transfer never looks like a finished one.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use socket2::SockRef;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::io::poll_read_buf;

use crate::code::Code;
use crate::stream::{Stream, StreamError};

/// How much is read from the socket at once, in bytes.
const READ: usize = 64 * 1024;

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

/// Whose fault the end of a splice was.
#[derive(Debug, thiserror::Error)]
pub enum SpliceError {
    /// The socket failed on this side.
    #[error("the connection on this side failed: {0}")]
    Near(io::Error),
    /// The stream failed, or the other end broke it off.
    #[error(transparent)]
    Far(StreamError),
}

/// How a splice went.
#[derive(Debug)]
pub struct Outcome {
    /// Bytes from the socket into the stream.
    pub sent: u64,
    /// Bytes from the stream into the socket.
    pub received: u64,
    /// `Ok` when both directions ended in order.
    pub result: Result<(), SpliceError>,
}

/// Carries bytes between `near` and `far` until both directions have ended or one fails. Dropped before that, it
/// breaks both off.
pub async fn splice<S>(mut near: S, far: Stream) -> Outcome
where
    S: AsyncRead + AsyncWrite + Reset + Unpin,
{
    // From the start: should this process be killed, neither side may take what it got for the whole.
    near.reset();
    let mut splice = Splice {
        near: Near {
            io: near,
            whole: false,
        },
        far,
        up: Up::default(),
        down: Down::default(),
    };
    let result = std::future::poll_fn(|cx| splice.poll(cx)).await;
    let Splice {
        mut near,
        far,
        up,
        down,
    } = splice;
    near.whole = result.is_ok();
    if near.whole {
        near.io.end();
    }
    drop(near);
    if let Err(SpliceError::Near(error)) = &result {
        let code = if error.kind() == io::ErrorKind::TimedOut {
            Code::TimedOut
        } else {
            Code::Reset
        };
        far.abort(code, &error.to_string()).await;
    }
    Outcome {
        sent: up.count,
        received: down.count,
        result,
    }
}

struct Splice<S: Reset> {
    near: Near<S>,
    far: Stream,
    up: Up,
    down: Down,
}

/// The socket. It is reset when it drops before both directions have ended, by an error or with the whole splice.
struct Near<S: Reset> {
    io: S,
    whole: bool,
}

impl<S: Reset> Drop for Near<S> {
    fn drop(&mut self) {
        if !self.whole {
            self.io.reset();
        }
    }
}

#[derive(Default)]
struct Up {
    buffer: BytesMut,
    unflushed: bool,
    ended: bool,
    done: bool,
    count: u64,
}

#[derive(Default)]
struct Down {
    unflushed: bool,
    ended: bool,
    done: bool,
    count: u64,
}

impl<S: AsyncRead + AsyncWrite + Reset + Unpin> Splice<S> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SpliceError>> {
        // The stream's news first: when both sides fail at once, the far end's reason says more.
        let down = self.poll_down(cx)?;
        let up = self.poll_up(cx)?;
        if down.is_ready() && up.is_ready() {
            return Poll::Ready(Ok(()));
        }
        if down.is_ready()
            && let Poll::Ready(error) = self.far.poll_broken(cx)
        {
            return Poll::Ready(Err(SpliceError::Far(error)));
        }
        Poll::Pending
    }

    fn poll_up(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SpliceError>> {
        let far = |error: io::Error| SpliceError::Far(error.into());
        let Self {
            near,
            far: stream,
            up,
            ..
        } = self;
        while !up.ended {
            if up.buffer.is_empty() {
                up.buffer.reserve(READ);
                match poll_read_buf(Pin::new(&mut near.io), cx, &mut up.buffer) {
                    Poll::Ready(Ok(0)) => up.ended = true,
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(SpliceError::Near(error))),
                    Poll::Pending => {
                        // A quiet connection holds no buffer.
                        up.buffer = BytesMut::new();
                        if up.unflushed {
                            ready!(Pin::new(&mut *stream).poll_flush(cx)).map_err(far)?;
                            up.unflushed = false;
                        }
                        return Poll::Pending;
                    }
                }
            } else {
                let count =
                    ready!(Pin::new(&mut *stream).poll_write(cx, &up.buffer)).map_err(far)?;
                up.buffer.advance(count);
                up.unflushed = true;
                up.count += count as u64;
            }
        }
        if !up.done {
            ready!(Pin::new(stream).poll_shutdown(cx)).map_err(far)?;
            up.done = true;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_down(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SpliceError>> {
        let Self {
            near, far, down, ..
        } = self;
        while !down.ended {
            match Pin::new(&mut *far).poll_fill_buf(cx) {
                Poll::Ready(Ok([])) => down.ended = true,
                Poll::Ready(Ok(bytes)) => {
                    let count = ready!(Pin::new(&mut near.io).poll_write(cx, bytes))
                        .map_err(SpliceError::Near)?;
                    if count == 0 {
                        return Poll::Ready(Err(SpliceError::Near(
                            io::ErrorKind::WriteZero.into(),
                        )));
                    }
                    Pin::new(&mut *far).consume(count);
                    down.unflushed = true;
                    down.count += count as u64;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(SpliceError::Far(error.into()))),
                Poll::Pending => {
                    if down.unflushed {
                        ready!(Pin::new(&mut near.io).poll_flush(cx)).map_err(SpliceError::Near)?;
                        down.unflushed = false;
                    }
                    return Poll::Pending;
                }
            }
        }
        if !down.done {
            match ready!(Pin::new(&mut near.io).poll_shutdown(cx)) {
                // The caller has closed already: the same end, seen from its side.
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
                Err(error) => return Poll::Ready(Err(SpliceError::Near(error))),
            }
            down.done = true;
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;

//! Carries bytes between a socket and a stream, both ways at once, until both directions have ended or failed.
//!
//! A half-close on one side becomes a half-close on the other. A failure of the socket aborts the stream; a failure of
//! the stream resets the socket, so that a broken transfer never looks like a finished one.
//!
//! A direction that has nowhere to go takes nothing from the other one. Who closes its socket after its last byte answers
//! what still comes with a reset, and then a write fails while megabytes of its own are yet to be read: those arrive,
//! and so does their end. Only then is the failure told.

mod near;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

use crate::code::Code;
use crate::stream::{Stream, StreamError};
use near::Near;
pub use near::Reset;

/// How much is read from the socket at once, in bytes.
const READ: usize = 64 * 1024;

/// How long a peer that has been told everything, and whose own bytes nobody takes any more, has to read and to close
/// before it is reset. A reset throws away what the peer's system has not taken yet.
const LINGER: Duration = Duration::from_secs(60);

/// How much such a peer may send meanwhile, in bytes: a few last words, not the rest of a transfer.
const LINGER_MAX: usize = 256 * 1024;

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

/// Carries bytes between `near` and `far` until both directions have ended or failed. Dropped before that, it breaks
/// both off.
pub async fn splice<S>(near: S, far: Stream) -> Outcome
where
    S: AsyncRead + AsyncWrite + Reset + Unpin,
{
    let mut splice = Splice {
        near: Near::new(near),
        far,
        up: Up::default(),
        down: Down::default(),
    };
    let result = std::future::poll_fn(|cx| splice.poll(cx)).await;
    let (sent, received) = (splice.up.count, splice.down.count);
    splice.part(&result).await;
    Outcome {
        sent,
        received,
        result,
    }
}

struct Splice<S: Reset> {
    near: Near<S>,
    far: Stream,
    up: Up,
    down: Down,
}

/// From the socket to the stream.
#[derive(Default)]
struct Up {
    buffer: BytesMut,
    unflushed: bool,
    ended: bool,
    count: u64,
    /// How it ended, once it has. The stream's failure to take more is no failure of what it brings.
    over: Option<Result<(), StreamError>>,
}

/// From the stream to the socket.
#[derive(Default)]
struct Down {
    unflushed: bool,
    ended: bool,
    count: u64,
    /// How it ended, once it has. The socket's failure to take more is no failure of what it brings.
    over: Option<Result<(), io::Error>>,
}

impl<S: AsyncRead + AsyncWrite + Reset + Unpin> Splice<S> {
    /// Ready when neither direction goes on.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SpliceError>> {
        // The stream's news first: when both sides fail at once, the far end's reason says more.
        if self.down.over.is_none() {
            self.down.over = match self.poll_down(cx) {
                Poll::Ready(Ok(())) => Some(Ok(())),
                Poll::Ready(Err(SpliceError::Near(error))) => Some(Err(error)),
                Poll::Ready(Err(far)) => return Poll::Ready(Err(far)),
                Poll::Pending => None,
            };
        }
        if self.up.over.is_none() {
            self.up.over = match self.poll_up(cx) {
                Poll::Ready(Ok(())) => Some(Ok(())),
                Poll::Ready(Err(SpliceError::Far(error))) => Some(Err(error)),
                Poll::Ready(Err(near)) => return Poll::Ready(Err(near)),
                Poll::Pending => None,
            };
        }
        if self.up.over.is_none() && matches!(self.down.over, Some(Ok(()))) {
            // All is read to its end. That nobody takes what goes up may still be said.
            self.up.over = match self.far.poll_broken(cx) {
                Poll::Ready(error) => Some(Err(error)),
                Poll::Pending => None,
            };
        }
        match (&mut self.down.over, &mut self.up.over) {
            (Some(down), Some(up)) => Poll::Ready(match (std::mem::replace(down, Ok(())), up) {
                (Err(near), _) => Err(SpliceError::Near(near)),
                (Ok(()), Err(far)) => Err(SpliceError::Far(far.clone())),
                (Ok(()), Ok(())) => Ok(()),
            }),
            // What nobody takes is read all the same: whoever sends it may read nothing until it is sent.
            (Some(Err(_)), None) => self.discard_far(cx),
            (None, Some(Err(_))) => self.discard_near(cx),
            _ => Poll::Pending,
        }
    }

    fn poll_up(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SpliceError>> {
        let far = |error: io::Error| SpliceError::Far(error.into());
        let Self {
            near,
            far: stream,
            up,
            down,
        } = self;
        while !up.ended {
            if up.buffer.is_empty() {
                up.buffer.reserve(READ);
                match poll_read_buf(Pin::new(&mut near.io), cx, &mut up.buffer) {
                    Poll::Ready(Ok(0)) => {
                        if let Some(error) = down.reset() {
                            return Poll::Ready(Err(SpliceError::Near(error)));
                        }
                        up.ended = true;
                    }
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
        Pin::new(stream).poll_shutdown(cx).map_err(far)
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
        match ready!(Pin::new(&mut near.io).poll_shutdown(cx)) {
            // The caller has closed already: the same end, seen from its side.
            Err(error) if error.kind() != io::ErrorKind::NotConnected => {
                Poll::Ready(Err(SpliceError::Near(error)))
            }
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Never ready in order: it is the socket's own end that is waited for.
    fn discard_far(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SpliceError>> {
        loop {
            match ready!(Pin::new(&mut self.far).poll_fill_buf(cx)) {
                Ok([]) => return Poll::Pending,
                Ok(bytes) => {
                    let count = bytes.len();
                    Pin::new(&mut self.far).consume(count);
                }
                Err(error) => return Poll::Ready(Err(SpliceError::Far(error.into()))),
            }
        }
    }

    /// Never ready in order: it is the stream's own end that is waited for.
    fn discard_near(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SpliceError>> {
        while ready!(discard(&mut self.near.io, cx)).map_err(SpliceError::Near)? > 0 {}
        Poll::Pending
    }

    /// Tells both sides how it went.
    async fn part(self, result: &Result<(), SpliceError>) {
        let Self {
            mut near,
            far,
            down,
            ..
        } = self;
        match result {
            Ok(()) => near.end(),
            Err(SpliceError::Near(error)) => {
                let code = if error.kind() == io::ErrorKind::TimedOut {
                    Code::TimedOut
                } else {
                    Code::Reset
                };
                far.abort(code, &error.to_string()).await;
            }
            // The far end's socket was closed behind its last byte. Any other failure is not known to be after the fact.
            Err(SpliceError::Far(error)) if error.code() == Code::Reset => {
                drop(far);
                if matches!(down.over, Some(Ok(()))) {
                    linger(near).await;
                }
            }
            Err(SpliceError::Far(_)) => {}
        }
    }
}

impl Down {
    /// The socket was reset, where a write has found that out: the system says so only once, and what is then read ends as
    /// if it had ended in order. A broken pipe is the reset of a peer whose end had come before it (in Linux, `tcp_reset`
    /// in `net/ipv4/tcp_input.c`).
    fn reset(&mut self) -> Option<io::Error> {
        let Some(Err(error)) = &mut self.over else {
            return None;
        };
        (error.kind() != io::ErrorKind::BrokenPipe)
            .then(|| std::mem::replace(error, io::ErrorKind::ConnectionReset.into()))
    }
}

/// Waits for the end of a peer that has been told everything: until then what it was told may be on its way.
async fn linger<S: AsyncRead + Reset + Unpin>(mut near: Near<S>) {
    let mut left = LINGER_MAX;
    let ended = std::future::poll_fn(|cx| {
        loop {
            match ready!(discard(&mut near.io, cx)) {
                Ok(0) => return Poll::Ready(true),
                Ok(count) if count < left => left -= count,
                _ => return Poll::Ready(false),
            }
        }
    });
    if matches!(tokio::time::timeout(LINGER, ended).await, Ok(true)) {
        near.end();
    }
}

/// Reads and forgets; how much, 0 at the end.
fn discard<S: AsyncRead + Unpin>(io: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut buffer = ReadBuf::uninit(&mut buffer);
    ready!(Pin::new(io).poll_read(cx, &mut buffer))?;
    Poll::Ready(Ok(buffer.filled().len()))
}

#[cfg(test)]
mod tests;

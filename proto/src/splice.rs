//! Carries bytes between a socket and a stream, both ways at once, until both directions have ended or failed.
//!
//! A half-close on one side becomes a half-close on the other. A failure of the socket aborts the stream; a failure of
//! the stream resets the socket, so that a broken transfer never looks like a finished one.
//!
//! A direction that has nowhere to go takes nothing from the other one. Who closes its socket after its last byte answers
//! what still comes with a reset, and then a write fails while megabytes of its own are yet to be read: those arrive,
//! and so does their end. Only then is the failure told.

mod near;
mod orphan;
mod parting;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncBufRead, AsyncWrite};
use tokio_util::io::poll_read_buf;

use crate::code::Code;
use crate::mux::STREAM_WINDOW_MAX;
use crate::stream::{Stream, StreamError};
use near::Near;
pub use near::Socket;
use orphan::Orphan;
pub use parting::Parting;

/// How much is read from the socket at once, in bytes.
const READ: usize = 32 * 1024;

/// How much is read and forgotten of a direction that has failed, in bytes: what may be under way when it does, not the
/// rest of a transfer.
const DISCARD_MAX: usize = STREAM_WINDOW_MAX as usize;

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

/// Who is at the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The caller, whose stream it is: where nothing moves and the caller is gone, the stream is broken off. A socket
    /// tells of that by itself only who reads from it or writes to it.
    Caller,
    /// The target. What it has said before it was gone waits for its caller, as long as that lives.
    Target,
}

/// How a splice went.
#[derive(Debug)]
pub struct Outcome<S: Socket> {
    /// Bytes from the socket into the stream.
    pub sent: u64,
    /// Bytes from the stream into the socket.
    pub received: u64,
    /// `Ok` when both directions ended in order.
    pub result: Result<(), SpliceError>,
    /// The socket, where its peer has been told everything and only what that says itself finds nobody any more.
    pub parting: Option<Parting<S>>,
}

/// Carries bytes between `near` and `far` until both directions have ended or failed. Dropped before that, it breaks
/// both off.
pub async fn splice<S: Socket>(near: S, far: Stream, side: Side) -> Outcome<S> {
    let mut splice = Splice {
        near: Near::new(near),
        far,
        up: Up::default(),
        down: Down::default(),
        discarded: 0,
        orphan: (side == Side::Caller).then(Orphan::default),
    };
    let result = std::future::poll_fn(|cx| splice.poll(cx)).await;
    splice.part(result).await
}

struct Splice<S: Socket> {
    near: Near<S>,
    far: Stream,
    up: Up,
    down: Down,
    discarded: usize,
    orphan: Option<Orphan>,
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
    over: Option<Result<(), io::ErrorKind>>,
}

impl<S: Socket> Splice<S> {
    /// Ready when neither direction goes on.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SpliceError>> {
        // The stream's news first: when both sides fail at once, the far end's reason says more.
        if self.down.over.is_none() {
            self.down.over = match self.poll_down(cx) {
                Poll::Ready(Err(SpliceError::Near(error))) => Some(Err(error.kind())),
                Poll::Ready(Err(far)) => return Poll::Ready(Err(far)),
                Poll::Ready(Ok(())) => Some(Ok(())),
                Poll::Pending => None,
            };
        }
        if self.up.over.is_none() {
            self.up.over = match self.poll_up(cx) {
                // The far end's socket was closed: what it had said before comes before its reason. After any other
                // failure nothing more is to be expected.
                Poll::Ready(Err(SpliceError::Far(error))) if error.code() == Code::Reset => {
                    self.up.buffer = BytesMut::new();
                    Some(Err(error))
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => Some(Ok(())),
                Poll::Pending => None,
            };
        }
        match (self.down.over, &self.up.over) {
            (None, None | Some(Ok(()))) => self.poll_gone(cx).map(|()| near(GONE)),
            // All is read to its end. That nobody takes what goes up may still be said.
            (Some(Ok(())), None) => self.far.poll_broken(cx).map(far),
            (Some(Ok(())), Some(Ok(()))) => Poll::Ready(match self.far.poll_broken(cx) {
                Poll::Ready(error @ StreamError::Aborted { .. }) => far(error),
                // Whatever else happens to a stream that has ended both ways is of no interest.
                _ => Ok(()),
            }),
            (Some(Ok(())), Some(Err(error))) => Poll::Ready(far(error.clone())),
            (Some(Err(kind)), Some(_)) => Poll::Ready(near(kind)),
            // What nobody takes is read all the same: whoever sends it may read nothing until it is sent.
            (Some(Err(kind)), None) => self.discard_far(cx).map(|()| near(kind)),
            (None, Some(Err(error))) => {
                let error = error.clone();
                self.discard_near(cx).map(|()| far(error))
            }
        }
    }

    fn poll_up(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SpliceError>> {
        let far = |error: io::Error| SpliceError::Far(error.into());
        let Self {
            near,
            far: stream,
            up,
            down,
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
        match down.over {
            // Said together with the reason why nothing more is taken, or the other end could take this for the whole.
            Some(Err(io::ErrorKind::BrokenPipe)) => Poll::Ready(Ok(())),
            // The system says only once that a socket was reset, here to the write that failed, and what is then read
            // ends as if it had ended in order. A broken pipe is the reset of a peer whose end had come before it (Linux:
            // `tcp_reset` in net/ipv4/tcp_input.c).
            Some(Err(kind)) => Poll::Ready(Err(SpliceError::Near(kind.into()))),
            _ => Pin::new(stream).poll_shutdown(cx).map_err(far),
        }
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
        // Not connected: reset before it was told its end (Linux: `inet_shutdown` in net/ipv4/af_inet.c).
        Pin::new(&mut near.io)
            .poll_shutdown(cx)
            .map_err(SpliceError::Near)
    }

    /// Ready when the socket's peer is found to be gone.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(orphan) = &mut self.orphan else {
            return Poll::Pending;
        };
        // A socket that is being read from tells by itself, and one that was told its end looks no other than one that
        // is gone.
        let unread = self.up.ended || !self.up.buffer.is_empty();
        let moved = self.up.count + self.down.count;
        orphan.poll(cx, unread && !self.down.ended, moved, || {
            self.near.io.is_gone()
        })
    }

    /// Ready when too much of it has come.
    fn discard_far(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.discarded < DISCARD_MAX {
            match ready!(Pin::new(&mut self.far).poll_fill_buf(cx)) {
                // Its end, or its own failure: no more comes of it, and the socket's last bytes are still under way.
                Ok([]) | Err(_) => return Poll::Pending,
                Ok(bytes) => {
                    let count = bytes.len();
                    Pin::new(&mut self.far).consume(count);
                    self.discarded += count;
                }
            }
        }
        Poll::Ready(())
    }

    /// Ready when too much of it has come.
    fn discard_near(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.discarded < DISCARD_MAX {
            match ready!(near::discard(&mut self.near.io, cx)) {
                // Its end, or its own failure, which the other direction finds as well.
                Ok(0) | Err(_) => return Poll::Pending,
                Ok(count) => self.discarded += count,
            }
        }
        Poll::Ready(())
    }

    /// Tells both sides how it went.
    async fn part(self, result: Result<(), SpliceError>) -> Outcome<S> {
        let Self {
            mut near,
            far,
            up,
            down,
            ..
        } = self;
        let told = matches!(down.over, Some(Ok(())));
        let mut parting = None;
        match &result {
            Ok(()) => near.io.end(),
            Err(SpliceError::Near(error)) => {
                let code = if error.kind() == io::ErrorKind::TimedOut {
                    Code::TimedOut
                } else {
                    Code::Reset
                };
                let whole = matches!(up.over, Some(Ok(())));
                far.break_off(whole, code, &error.to_string()).await;
            }
            Err(SpliceError::Far(error)) if told && error.code() == Code::Reset => {
                parting = Some(Parting::new(near.io));
            }
            Err(SpliceError::Far(_)) => {}
        }
        Outcome {
            sent: up.count,
            received: down.count,
            result,
            parting,
        }
    }
}

/// What the socket of a peer that is gone would say to who reads from it.
const GONE: io::ErrorKind = io::ErrorKind::ConnectionReset;

fn near(kind: io::ErrorKind) -> Result<(), SpliceError> {
    Err(SpliceError::Near(kind.into()))
}

fn far(error: StreamError) -> Result<(), SpliceError> {
    Err(SpliceError::Far(error))
}

#[cfg(test)]
mod tests;

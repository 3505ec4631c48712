//! One stream between a caller and a target, the same on both transports.
//!
//! A stream is a sequence of frames ([`crate::codec`]). It ends by message, never by the transport's own end: over
//! one transport a cut reads as a clean end, over the other a drop does. So: `End` is a half-close, `Abort` a
//! failure with its code, and the transport's end without either is an error. The transport's own half-close is
//! sent only when both directions have ended, so that a side that has said `End` can still say `Abort`.

mod error;
mod framed;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod io;
mod open;

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio_util::io::poll_read_buf;

pub use error::StreamError;
pub use framed::{Frame, Framed};
pub use open::{Answer, Incoming, OpenFailed, Opening};

use crate::code::Code;
use crate::codec::{self, DATA_MAX, HEADER, Header, Kind};
use crate::message::Abort;
use crate::transport::LaneStream;

/// How long an `Abort` may wait behind bytes that the other side does not take before the transport's reset says the
/// same with less.
const ABORT_GRACE: Duration = Duration::from_secs(1);

/// The same behind an `End`: what stands before that was promised, and the reset may take it back.
const END_GRACE: Duration = Duration::from_secs(60);

/// How much is read from the transport at once, in bytes.
const READ: usize = HEADER + DATA_MAX / 2;

/// What one direction of a stream has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Direction {
    Flowing,
    Ended,
    Broken(StreamError),
}

/// An open stream: bytes to and from the other end.
///
/// Reading gives `Ok(0)` only after the other side's `End`; everything else is an error that holds a
/// [`StreamError`]. `shutdown` sends `End`; bytes may still come. Dropping it before both directions have ended
/// breaks it off with [`Code::Cancelled`].
#[derive(Debug)]
pub struct Stream {
    io: LaneStream,
    inbox: BytesMut,
    /// What is left of the `Data` frame at the front of `inbox`.
    in_frame: usize,
    reading: Direction,
    outbox: BytesMut,
    writing: Direction,
    /// Reader and writer may be two tasks, and either may be the one that finds the stream broken.
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Stream {
    fn new(framed: Framed) -> Self {
        let Framed { io, inbox, .. } = framed;
        Self {
            io,
            inbox,
            in_frame: 0,
            reading: Direction::Flowing,
            outbox: BytesMut::new(),
            writing: Direction::Flowing,
            reader: None,
            writer: None,
        }
    }

    /// Breaks the stream off in both directions; the other side reads `code` and `reason` after what was written,
    /// or only `code` when it does not take what was written.
    pub async fn abort(self, code: Code, reason: &str) {
        self.break_off(false, code, reason).await;
    }

    /// The same; with `whole`, what was written is all there was to write, and its `End` goes before the `Abort`.
    pub async fn break_off(mut self, whole: bool, code: Code, reason: &str) {
        if whole && self.writing == Direction::Flowing {
            codec::put(&mut self.outbox, Kind::End, &[]);
            self.writing = Direction::Ended;
        } else if (&self.reading, &self.writing) == (&Direction::Ended, &Direction::Ended) {
            return;
        }
        let grace = match self.writing {
            Direction::Flowing => Some(ABORT_GRACE),
            Direction::Ended => Some(END_GRACE),
            Direction::Broken(_) => None,
        };
        if let Some(grace) = grace {
            codec::put_message(&mut self.outbox, Kind::Abort, &Abort::new(code, reason));
            let said = async {
                self.io.write_all_buf(&mut self.outbox).await?;
                self.io.shutdown().await
            };
            // Without success the reset alone has to say it.
            let _ = tokio::time::timeout(grace, said).await;
        }
        // Takes nothing back of what was written before a `shutdown`. Whoever writes at the other end may see this
        // before it has read the `Abort`, so it carries the code too.
        self.io.reset(code);
    }

    /// Ready when the stream is broken. For whoever has read to the other side's `End` and has nothing to write at the
    /// moment: an `Abort` may still come.
    pub fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<StreamError> {
        if let Err(error) = self.poll_abort(cx) {
            return Poll::Ready(error);
        }
        match (&self.reading, &self.writing) {
            (Direction::Broken(error), _) | (_, Direction::Broken(error)) => {
                Poll::Ready(error.clone())
            }
            _ => Poll::Pending,
        }
    }

    /// Both directions have ended: nothing more will be said, and the transport may forget the stream.
    fn settle(&mut self, cx: &mut Context<'_>) {
        if self.reading == Direction::Ended
            && self.writing == Direction::Ended
            && self.outbox.is_empty()
        {
            // Neither transport waits here.
            let _ = Pin::new(&mut self.io).poll_shutdown(cx);
        }
    }

    /// Reads frames until `inbox` begins with bytes of a `Data` frame (`Ok(true)`) or the direction has ended.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, StreamError>> {
        loop {
            match &self.reading {
                Direction::Ended => return Poll::Ready(Ok(false)),
                Direction::Broken(error) => return Poll::Ready(Err(error.clone())),
                Direction::Flowing => {}
            }
            if self.in_frame > 0 && !self.inbox.is_empty() {
                return Poll::Ready(Ok(true));
            }
            if self.in_frame == 0 && self.take_frame()? {
                self.settle(cx);
                continue;
            }
            ready!(self.poll_fill(cx, READ))?;
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<Result<(), StreamError>> {
        self.inbox.reserve(room);
        let read = poll_read_buf(Pin::new(&mut self.io), cx, &mut self.inbox);
        if read.is_pending() && self.inbox.is_empty() {
            // A quiet stream holds no buffer.
            self.inbox = BytesMut::new();
        }
        match ready!(read)? {
            0 => Poll::Ready(Err(StreamError::EndedEarly)),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Takes a header, and the whole message of anything but `Data`, out of `inbox`; `false` while it is not there.
    fn take_frame(&mut self) -> Result<bool, StreamError> {
        let Some(header) = Header::peek(&self.inbox)? else {
            return Ok(false);
        };
        if header.kind != Kind::Data && self.inbox.len() < HEADER + header.length {
            return Ok(false);
        }
        self.inbox.advance(HEADER);
        match header.kind {
            Kind::Data if self.reading == Direction::Flowing => self.in_frame = header.length,
            Kind::End if self.reading == Direction::Flowing => self.reading = Direction::Ended,
            Kind::Abort => {
                let payload = self.inbox.split_to(header.length);
                return Err(StreamError::aborted(&codec::message(
                    header.kind,
                    &payload,
                )?));
            }
            kind => return Err(StreamError::Unexpected(kind)),
        }
        Ok(true)
    }

    /// After the other side's `End` it may still say `Abort`, which whoever only writes must learn.
    fn poll_abort(&mut self, cx: &mut Context<'_>) -> Result<(), StreamError> {
        if self.reading == Direction::Ended {
            loop {
                let frame = self.take_frame();
                let more = match frame {
                    Ok(true) => continue,
                    Ok(false) => self.poll_fill(cx, HEADER),
                    Err(error) => Poll::Ready(Err(error)),
                };
                match more {
                    Poll::Pending => break,
                    Poll::Ready(Ok(())) => {}
                    // Both have ended, and now the transport has.
                    Poll::Ready(Err(StreamError::EndedEarly))
                        if self.writing == Direction::Ended =>
                    {
                        break;
                    }
                    Poll::Ready(Err(error)) => return Err(self.broken(error)),
                }
            }
        }
        Ok(())
    }

    fn broken(&mut self, error: StreamError) -> StreamError {
        self.reading = Direction::Broken(error.clone());
        self.writing = Direction::Broken(error.clone());
        for waker in [self.reader.take(), self.writer.take()]
            .into_iter()
            .flatten()
        {
            waker.wake();
        }
        error
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        while !self.outbox.is_empty() {
            match Pin::new(&mut self.io).poll_write(cx, &self.outbox) {
                Poll::Ready(Ok(count)) if count > 0 => self.outbox.advance(count),
                Poll::Ready(Ok(_)) => return Poll::Ready(Err(StreamError::EndedEarly)),
                // A reset that comes while this side writes may stand behind an `Abort` that says more.
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Err(self.write_failed(cx, error.into())));
                }
                Poll::Pending => {
                    self.poll_abort(cx)?;
                    wait(&mut self.writer, cx);
                    return Poll::Pending;
                }
            }
        }
        // A stream that has nothing to send holds no buffer.
        self.outbox = BytesMut::new();
        Poll::Ready(Ok(()))
    }

    /// Why this side cannot write any more. What the other side has sent before that is still there to be read, to its
    /// end; only what stands in front of everything else is its last word.
    fn write_failed(&mut self, cx: &mut Context<'_>, error: StreamError) -> StreamError {
        while self.in_frame == 0 {
            match self.take_frame() {
                Ok(true) => continue,
                Err(said) => return self.broken(said),
                Ok(false) => {}
            }
            match self.poll_fill(cx, READ) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return self.broken(error),
                Poll::Pending => break,
            }
        }
        self.writing = Direction::Broken(error.clone());
        // This task may have taken the reader's place at the transport.
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        error
    }
}

fn wait(waiting: &mut Option<Waker>, cx: &Context<'_>) {
    match waiting {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *waiting = Some(cx.waker().clone()),
    }
}

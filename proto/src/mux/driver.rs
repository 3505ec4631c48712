//! The one task of a connection: moves frames between the socket and [`State`](super::state::State).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_util::io::poll_read_buf;

use super::frame::{HEADER, Header};
use super::{Closed, Shared};
use crate::code::Code;

/// How long the other side has to take the last words of a connection that this side closes.
const GOODBYE: Duration = Duration::from_secs(1);

/// How much is read at once, in bytes.
const READ: usize = 64 * 1024;

/// How many rounds one poll makes before it lets other tasks run.
const ROUNDS: usize = 16;

pub(super) async fn drive<I>(io: I, shared: Arc<Shared>)
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let finish = Finish(Arc::clone(&shared));
    let mut driver = Driver {
        io,
        shared: Arc::clone(&shared),
        incoming: BytesMut::new(),
        outgoing: BytesMut::new(),
        unflushed: false,
        deaf: false,
    };
    let closed = tokio::select! {
        closed = std::future::poll_fn(|cx| driver.poll(cx)) => closed,
        closed = goodbye_is_over(&shared) => closed,
    };
    shared.finished(&closed);
    drop(finish);
    // The end of the TLS session, for peers and middleboxes that look; nobody waits for it.
    let _ = tokio::time::timeout(GOODBYE, hang_up(driver.io, &closed)).await;
}

/// A peer that does not read cannot keep a connection from closing.
async fn goodbye_is_over(shared: &Shared) -> Closed {
    shared.goodbye.notified().await;
    tokio::time::sleep(GOODBYE).await;
    let closing = shared.state.lock().closing();
    closing.unwrap_or_else(|| Closed::Lost("closed".to_owned()))
}

async fn hang_up<I>(mut io: I, closed: &Closed) -> io::Result<()>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    io.shutdown().await?;
    // A TCP socket that is closed with bytes unread resets its connection, which takes the goodbye back that the other
    // side has not read yet (RFC 2525 section 2.17). So this waits for the other side's end.
    let mut unread = BytesMut::with_capacity(READ);
    while matches!(closed, Closed::Here { .. }) && io.read_buf(&mut unread).await? > 0 {
        unread.clear();
    }
    Ok(())
}

/// A driver that is dropped before its end leaves nobody waiting.
struct Finish(Arc<Shared>);

impl Drop for Finish {
    fn drop(&mut self) {
        if self.0.state.lock().ended().is_none() {
            self.0
                .finished(&Closed::Lost("its task was stopped".to_owned()));
        }
    }
}

struct Driver<I> {
    io: I,
    shared: Arc<Shared>,
    incoming: BytesMut,
    outgoing: BytesMut,
    unflushed: bool,
    /// The other side broke the protocol: nothing it says is listened to any more.
    deaf: bool,
}

impl<I: AsyncRead + AsyncWrite + Unpin> Driver<I> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Closed> {
        self.shared.state.lock().set_driver(cx.waker());
        for _ in 0..ROUNDS {
            let sent = self.send(cx);
            let received = self.receive(cx);
            if let Poll::Ready(Err(closed)) = received {
                return Poll::Ready(closed);
            }
            if let Poll::Ready(Err(closed)) = sent {
                return Poll::Ready(self.last_words(cx).unwrap_or(closed));
            }
            if sent.is_pending() && received.is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The other side's goodbye may lie unread in a socket that takes no more bytes.
    fn last_words(&mut self, cx: &mut Context<'_>) -> Option<Closed> {
        loop {
            match self.receive(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(closed @ Closed::There { .. })) => return Some(closed),
                Poll::Ready(Err(_)) | Poll::Pending => return None,
            }
        }
    }

    /// `Pending` when there is nothing to send, or no room for it.
    fn send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        if self.outgoing.is_empty() {
            let mut state = self.shared.state.lock();
            let more = state.fill(&mut self.outgoing);
            let closing = state.closing();
            drop(state);
            if self.outgoing.is_empty() {
                if more {
                    // Those who have just been given their turn may leave it unused; then it is the next ones'.
                    cx.waker().wake_by_ref();
                }
                if !self.unflushed {
                    self.outgoing = BytesMut::new();
                    // All is said, the goodbye too.
                    return closing.map_or(Poll::Pending, |closed| Poll::Ready(Err(closed)));
                }
                ready!(Pin::new(&mut self.io).poll_flush(cx)).map_err(|error| self.lost(&error))?;
                self.unflushed = false;
                return Poll::Ready(Ok(()));
            }
        }
        let count = ready!(Pin::new(&mut self.io).poll_write(cx, &self.outgoing))
            .map_err(|error| self.lost(&error))?;
        if count == 0 {
            return Poll::Ready(Err(self.lost(&io::ErrorKind::WriteZero.into())));
        }
        self.shared.said.fetch_add(count as u64, Ordering::Relaxed);
        self.outgoing.advance(count);
        self.unflushed = true;
        Poll::Ready(Ok(()))
    }

    fn receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        if self.deaf {
            return Poll::Pending;
        }
        self.incoming.reserve(READ);
        let Poll::Ready(read) = poll_read_buf(Pin::new(&mut self.io), cx, &mut self.incoming)
        else {
            if self.incoming.is_empty() {
                // An idle connection holds no buffers.
                self.incoming = BytesMut::new();
            }
            return Poll::Pending;
        };
        match read {
            Ok(0) => Poll::Ready(Err(self.lost(&io::ErrorKind::UnexpectedEof.into()))),
            Ok(count) => {
                self.shared.heard.fetch_add(count as u64, Ordering::Relaxed);
                self.take_frames()
            }
            Err(error) => Poll::Ready(Err(self.lost(&error))),
        }
    }

    fn take_frames(&mut self) -> Poll<Result<(), Closed>> {
        let mut state = self.shared.state.lock();
        let broken = loop {
            let header = match Header::peek(&self.incoming) {
                Ok(Some(header)) if self.incoming.len() >= HEADER + header.length => header,
                Ok(_) => break None,
                Err(error) => break Some(error),
            };
            match state.receive(header, &self.incoming[HEADER..HEADER + header.length]) {
                Ok(arrived) => {
                    if arrived {
                        self.shared.arrived.notify_one();
                    }
                }
                Err(error) => break Some(error),
            }
            self.incoming.advance(HEADER + header.length);
        };
        let ended = state.ended();
        drop(state);
        if let (Some(error), None) = (broken, &ended) {
            self.deaf = true;
            self.incoming = BytesMut::new();
            self.shared.close(Code::Protocol, &error.to_string());
        }
        ended.map_or(Poll::Ready(Ok(())), |closed| Poll::Ready(Err(closed)))
    }

    /// The connection is gone; for a side that has said goodbye that is the end which it wanted.
    fn lost(&self, error: &io::Error) -> Closed {
        let closing = self.shared.state.lock().closing();
        closing.unwrap_or_else(|| {
            Closed::Lost(match error.kind() {
                io::ErrorKind::UnexpectedEof => "it ended without a word".to_owned(),
                _ => error.to_string(),
            })
        })
    }
}

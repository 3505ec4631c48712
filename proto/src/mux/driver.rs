//! The one task of a connection: moves frames between the socket and [`State`](super::state::State).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_util::io::poll_read_buf;

use super::frame::{HEADER, Header};
use super::{Closed, Shared};

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
    let mut driver = Driver {
        io,
        shared: Arc::clone(&shared),
        incoming: BytesMut::new(),
        outgoing: BytesMut::new(),
        unflushed: false,
    };
    let closed = tokio::select! {
        closed = std::future::poll_fn(|cx| driver.poll(cx)) => closed,
        closed = goodbye_is_over(&shared) => closed,
    };
    shared.finished(&closed);
    // The end of the TLS session, for peers and middleboxes that look; nobody waits for it.
    let _ = tokio::time::timeout(GOODBYE, driver.io.shutdown()).await;
}

/// A peer that does not read cannot keep a connection from closing.
async fn goodbye_is_over(shared: &Shared) -> Closed {
    shared.work.notified().await;
    tokio::time::sleep(GOODBYE).await;
    let closing = shared.state.lock().closing();
    closing.unwrap_or_else(|| Closed::Lost("closed".to_owned()))
}

struct Driver<I> {
    io: I,
    shared: Arc<Shared>,
    incoming: BytesMut,
    outgoing: BytesMut,
    unflushed: bool,
}

impl<I: AsyncRead + AsyncWrite + Unpin> Driver<I> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Closed> {
        self.shared.state.lock().set_driver(cx.waker());
        for _ in 0..ROUNDS {
            let sent = self.send(cx);
            let received = self.receive(cx);
            for result in [&sent, &received] {
                if let Poll::Ready(Err(closed)) = result {
                    return Poll::Ready(closed.clone());
                }
            }
            if sent.is_pending() && received.is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// `Pending` when there is nothing to send, or no room for it.
    fn send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        if self.outgoing.is_empty() {
            let mut state = self.shared.state.lock();
            state.fill(&mut self.outgoing);
            let closing = state.closing();
            drop(state);
            if self.outgoing.is_empty() {
                if !self.unflushed {
                    self.outgoing = BytesMut::new();
                    // All is said, the goodbye too.
                    return closing.map_or(Poll::Pending, |closed| Poll::Ready(Err(closed)));
                }
                ready!(Pin::new(&mut self.io).poll_flush(cx)).map_err(|error| lost(&error))?;
                self.unflushed = false;
                return Poll::Ready(Ok(()));
            }
        }
        let count = ready!(Pin::new(&mut self.io).poll_write(cx, &self.outgoing))
            .map_err(|error| lost(&error))?;
        if count == 0 {
            return Poll::Ready(Err(Closed::Lost(
                "the connection takes no more bytes".to_owned(),
            )));
        }
        self.outgoing.advance(count);
        self.unflushed = true;
        Poll::Ready(Ok(()))
    }

    fn receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.incoming.reserve(READ);
        let Poll::Ready(read) = poll_read_buf(Pin::new(&mut self.io), cx, &mut self.incoming)
        else {
            if self.incoming.is_empty() {
                // An idle connection holds no buffers.
                self.incoming = BytesMut::new();
            }
            return Poll::Pending;
        };
        let read = read.map_err(|error| lost(&error))?;
        let mut state = self.shared.state.lock();
        if read == 0 {
            let closed = state
                .ended()
                .unwrap_or_else(|| Closed::Lost("ended without a word".to_owned()));
            return Poll::Ready(Err(closed));
        }
        let mut arrived = false;
        loop {
            let header = match Header::peek(&self.incoming) {
                Ok(Some(header)) if self.incoming.len() >= HEADER + header.length => header,
                Ok(_) => break,
                Err(error) => return Poll::Ready(Err(Closed::Lost(error.to_string()))),
            };
            let payload = &self.incoming[HEADER..HEADER + header.length];
            match state.receive(header, payload) {
                Ok(new) => arrived |= new,
                Err(error) => return Poll::Ready(Err(Closed::Lost(error.to_string()))),
            }
            self.incoming.advance(HEADER + header.length);
            if arrived {
                self.shared.arrived.notify_one();
            }
        }
        let ended = state.ended();
        drop(state);
        ended.map_or(Poll::Ready(Ok(())), |closed| Poll::Ready(Err(closed)))
    }
}

fn lost(error: &io::Error) -> Closed {
    Closed::Lost(error.to_string())
}

//! Listening to a refused caller for a moment.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Sleep;

use super::super::activity::PARTING_TIME;

/// How many bytes it may still say.
const PARTING_BYTES: usize = 64 * 1024;

/// TCP resets a connection that is closed with unread bytes, and the reset may overtake the answer: so what a
/// refused caller still says is read for a moment.
#[derive(Debug)]
pub(super) struct Parting {
    until: Pin<Box<Sleep>>,
    left: usize,
}

impl Parting {
    pub(super) fn new() -> Self {
        Self {
            until: Box::pin(tokio::time::sleep(PARTING_TIME)),
            left: PARTING_BYTES,
        }
    }

    /// Ready when `io` may be closed.
    pub(super) fn poll<C: AsyncRead + Unpin>(
        &mut self,
        io: &mut C,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let mut sink = [0; 4096];
        while self.left > 0 && self.until.as_mut().poll(cx).is_pending() {
            let mut buf = ReadBuf::new(&mut sink);
            match Pin::new(&mut *io).poll_read(cx, &mut buf) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    self.left = self.left.saturating_sub(buf.filled().len());
                }
                // It has said all, or is gone.
                Poll::Ready(_) => break,
            }
        }
        Poll::Ready(())
    }
}

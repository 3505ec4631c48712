//! A stream that its caller has left, while nothing is read from that caller's socket that would tell: its target takes no
//! more, or has been told the caller's end and says nothing.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Sleep;

/// For how long nothing has to have moved before it is asked whether the caller is gone: about what Linux gives bytes of a
/// closed connection that the other end does not take (`tcp_orphan_retries`, 8).
const PATIENCE: Duration = Duration::from_secs(120);

/// Looks after a caller that nobody reads from.
#[derive(Debug, Default)]
pub(super) struct Orphan {
    /// When it is looked at next, and how many bytes had moved by the time that this was decided. Kept while bytes move:
    /// a stream in full flow waits for room many times a second.
    look: Option<(Pin<Box<Sleep>>, u64)>,
}

impl Orphan {
    /// Ready when nothing has moved for [`PATIENCE`], two at the most, and the caller is gone. `unread` says whether its
    /// socket is not being read from, and `moved` counts the bytes of both directions.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        unread: bool,
        moved: u64,
        is_gone: impl Fn() -> bool,
    ) -> Poll<()> {
        if !unread && self.look.is_none() {
            return Poll::Pending;
        }
        loop {
            let (look, before) = self
                .look
                .get_or_insert_with(|| (Box::pin(tokio::time::sleep(PATIENCE)), moved));
            ready!(look.as_mut().poll(cx));
            let still = *before == moved;
            self.look = None;
            if !unread {
                return Poll::Pending;
            }
            if still && is_gone() {
                return Poll::Ready(());
            }
        }
    }
}

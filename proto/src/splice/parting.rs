//! The end of a socket whose peer has been told everything, while what it says itself finds nobody any more.

use std::task::{Poll, ready};
use std::time::Duration;

use super::near::{Socket, discard};

/// How long such a peer has to read and to close.
const PATIENCE: Duration = Duration::from_secs(60);

/// How much it may send meanwhile, in bytes: a few last words, a ping.
const LAST_WORDS: usize = 256 * 1024;

/// A socket that has ended towards its peer. Dropped, it closes: the system still delivers what was written, unless the
/// peer sends something, which is answered with a reset that throws it away.
#[derive(Debug)]
pub struct Parting<S: Socket>(S);

impl<S: Socket> Parting<S> {
    pub(super) fn new(mut io: S) -> Self {
        io.end();
        Self(io)
    }

    /// Waits until the peer has closed, so that its last words cost it nothing; at most 60 s. It is reset where its
    /// words were lost, which it would not learn otherwise. Cancel safe.
    pub async fn wait(mut self) {
        let mut lost = 0;
        let over = std::future::poll_fn(|cx| {
            while lost <= LAST_WORDS {
                match ready!(discard(&mut self.0, cx)) {
                    Ok(0) | Err(_) => break,
                    Ok(count) => lost += count,
                }
            }
            Poll::Ready(())
        });
        let waited = tokio::time::timeout(PATIENCE, over).await;
        if waited.is_ok() && lost > 0 {
            self.0.reset();
        }
    }
}

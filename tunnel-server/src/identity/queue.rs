//! Work on certificates, which blocks: so much of it at once, so much more that waits, a refusal for the rest.

use std::sync::Arc;
use std::time::Duration;

use edge_tunnel_proto::code::Code;
use edge_tunnel_proto::message::enroll::{Outcome, Refusal};
use tokio::sync::Semaphore;

/// How much is worked on at once: an enrolment is a handful of file writes, so more would only queue at the disk.
const AT_ONCE: usize = 4;

/// How many more may wait; whoever comes then is told when to come back.
const WAITING: usize = 256;

/// When an agent may come back that found too many before it.
const AFTER_BUSY: Duration = Duration::from_secs(5);

/// A queue of one kind of work.
#[derive(Debug)]
pub(super) struct Queue {
    /// What nodes do that wait here, for the words of a refusal.
    doing: &'static str,
    working: Arc<Semaphore>,
    waiting: Semaphore,
}

impl Queue {
    pub(super) fn new(doing: &'static str) -> Self {
        Self {
            doing,
            working: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Semaphore::new(WAITING),
        }
    }

    /// Does `work` when its turn has come. Dropped before that, the place is free again.
    pub(super) async fn run(&self, work: impl FnOnce() -> Outcome + Send + 'static) -> Outcome {
        let Ok(_waiting) = self.waiting.try_acquire() else {
            let words = format!(
                "too many nodes are {} at this moment; the agent tries again",
                self.doing
            );
            return Outcome::Refusal(Refusal::new(Code::Overloaded, words, Some(AFTER_BUSY)));
        };
        let permit = Arc::clone(&self.working)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let work = move || {
            // Given back when the work is done, not when whoever waits for it goes away.
            let _permit = permit;
            work()
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "file work, at most AT_ONCE at a time"
        )]
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|error| {
            tracing::error!(%error, "a certificate could not be issued");
            let words = "the server could not issue a certificate; its log says why";
            Outcome::Refusal(Refusal::new(Code::Internal, words, Some(AFTER_BUSY)))
        })
    }

    /// As if work were under way that does not end before this is dropped.
    #[cfg(test)]
    pub(super) async fn hold(&self) -> tokio::sync::OwnedSemaphorePermit {
        let all = u32::try_from(AT_ONCE).expect("a handful");
        let held = Arc::clone(&self.working).acquire_many_owned(all).await;
        held.expect("the semaphore is never closed")
    }
}

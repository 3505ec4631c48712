//! How a process ends: draining, then a deadline, then force. Level-triggered: whoever asks late sees it too.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

/// The state of a shutdown, and every task that has to end with it. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    draining: CancellationToken,
    killed: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// Nothing is shutting down yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when no new work is to be taken.
    #[must_use]
    pub fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    /// Cancelled when the deadline has passed and what still runs has to stop.
    #[must_use]
    pub fn killed(&self) -> &CancellationToken {
        &self.killed
    }

    /// Where every task is counted.
    #[must_use]
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Runs `task` to its end, or until the kill. It carries the current span.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let killed = self.killed.clone();
        let task = async move {
            tokio::select! {
                () = task => {}
                () = killed.cancelled() => {}
            }
        };
        self.tasks.spawn(task.in_current_span());
    }

    /// Drains until every task has ended, at most for `deadline`, then kills what is left. `true`: all ended by
    /// themselves.
    pub async fn finish(&self, deadline: Duration) -> bool {
        self.draining.cancel();
        self.tasks.close();
        let whole = tokio::time::timeout(deadline, self.tasks.wait())
            .await
            .is_ok();
        self.killed.cancel();
        // Tasks that were told to stop need a moment for it; none of them may hold up the exit.
        let _ = tokio::time::timeout(Duration::from_secs(2), self.tasks.wait()).await;
        whole
    }
}

/// Takes SIGTERM and SIGINT over from the system, which would end the process at once; what is returned waits for the
/// first of them, and knows of those that came before it was asked. Called within the runtime, before there is
/// anything that a signal would leave half done.
pub fn told_to_stop() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    );
    async {
        let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
            tracing::warn!("no signal can be waited for; the process ends only by SIGKILL");
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn drains_first_and_kills_at_the_deadline() {
        let shutdown = Shutdown::new();
        let draining = shutdown.draining().clone();
        shutdown.spawn(async move { draining.cancelled().await });
        assert!(shutdown.finish(Duration::from_secs(5)).await);

        let shutdown = Shutdown::new();
        shutdown.spawn(std::future::pending());
        let start = tokio::time::Instant::now();
        assert!(!shutdown.finish(Duration::from_secs(5)).await);
        assert_eq!(start.elapsed(), Duration::from_secs(5));
    }
}

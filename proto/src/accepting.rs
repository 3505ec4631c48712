//! How an accept loop goes on after an accept that failed: it neither spins nor fills a disk with the news.

use std::io::{self, ErrorKind};
use std::time::Duration;

/// How long the first failed accept is not repeated; doubled up to [`LAST`].
const FIRST: Duration = Duration::from_millis(10);
const LAST: Duration = Duration::from_secs(1);

/// One loop's failures in a row.
#[derive(Debug)]
pub struct Accepting {
    pause: Duration,
}

impl Default for Accepting {
    fn default() -> Self {
        Self { pause: FIRST }
    }
}

impl Accepting {
    /// A connection came.
    pub fn came(&mut self) {
        self.pause = FIRST;
    }

    /// None came: waits until it is worth another try, and says whether it is this machine that lacks something. `who`
    /// begins with what is accepted, for the log. Cancel safe; cancelled, the next pause is the longer one.
    pub async fn failed(&mut self, error: &io::Error, who: &str) -> bool {
        // Whoever came gave up while it waited: nothing is wrong here (accept(2) passes such errors on).
        if is_the_callers(error) {
            tracing::debug!(%error, "{who}: a connection ended before its accept");
            return false;
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(LAST);
        tracing::warn!(
            %error,
            "{who} cannot be accepted, trying again; is the limit on open files (ulimit -n) reached?"
        );
        tokio::time::sleep(pause).await;
        true
    }
}

fn is_the_callers(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::Interrupted
            | ErrorKind::TimedOut
    )
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_until_a_connection_comes() {
        let out_of_files = io::Error::from_raw_os_error(24);
        let mut accepting = Accepting::default();
        let begun = Instant::now();
        for _ in 0..5 {
            assert!(accepting.failed(&out_of_files, "tests").await);
        }
        assert_eq!(begun.elapsed(), Duration::from_millis(310));
        for _ in 0..100 {
            accepting.failed(&out_of_files, "tests").await;
        }
        assert!(begun.elapsed() < 102 * LAST, "{:?}", begun.elapsed());
        accepting.came();
        let again = Instant::now();
        assert!(
            !accepting
                .failed(&ErrorKind::ConnectionAborted.into(), "tests")
                .await
        );
        assert_eq!(again.elapsed(), Duration::ZERO);
        accepting.failed(&out_of_files, "tests").await;
        assert_eq!(again.elapsed(), FIRST);
    }
}

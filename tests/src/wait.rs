//! Waiting for what has to become true, with a bound and with words for when it does not.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// How long scenarios wait for what takes moments on an idle machine: long, since the machine may not be idle.
pub const SOON: Duration = Duration::from_secs(20);

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Ends the test.
#[expect(
    clippy::panic,
    reason = "the harness ends a test that it cannot go on with"
)]
#[track_caller]
pub fn give_up(words: impl Display) -> ! {
    panic!("{words}")
}

/// Waits until `look` gives something, at most `within`, and says how long that took.
///
/// # Panics
/// When it does not come about: with `what`, and what `look` last said instead.
pub async fn until<T>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> (T, Duration) {
    let began = Instant::now();
    loop {
        match look().await {
            Ok(value) => return (value, began.elapsed()),
            Err(instead) if began.elapsed() > within => {
                give_up(format!("not within {within:?}: {what}; instead: {instead}"))
            }
            Err(_not_yet) => sleep(LOOK).await,
        }
    }
}

/// Waits for `work`, at most `within`.
///
/// # Panics
/// When it takes longer.
pub async fn within<T>(what: &str, within: Duration, work: impl Future<Output = T>) -> T {
    match timeout(within, work).await {
        Ok(value) => value,
        Err(_elapsed) => give_up(format!("not within {within:?}: {what}")),
    }
}

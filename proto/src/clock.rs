//! The wall clock, in one place: certificates are judged by it, tests set it, and an edge box that boots in
//! 1970 is not taken at its word.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

/// Where the wall-clock time comes from. Cheap to clone; clones share the floor and a set time.
#[derive(Clone, Debug)]
pub struct Clock {
    /// Seconds since 1970 below which the machine's clock is not believed.
    floor: Arc<AtomicU64>,
    /// Seconds since 1970 that tests have set.
    fixed: Option<watch::Sender<u64>>,
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self {
            floor: Arc::new(AtomicU64::new(0)),
            fixed: None,
        }
    }

    /// A clock that stands still at `time` until [`Clock::set`]; for tests.
    #[must_use]
    pub fn fixed(time: SystemTime) -> Self {
        Self {
            floor: Arc::new(AtomicU64::new(0)),
            fixed: Some(watch::Sender::new(seconds(time))),
        }
    }

    /// Moves a fixed clock; a system clock is left as it is.
    pub fn set(&self, time: SystemTime) {
        if let Some(fixed) = &self.fixed {
            fixed.send_replace(seconds(time));
        }
    }

    /// Waits until a fixed clock shows another time than `seen`; for ever with the machine's, which tells nobody when it
    /// is set: whoever waits for a time looks at it again by and by. Cancel safe.
    pub async fn moved_from(&self, seen: SystemTime) {
        let Some(fixed) = &self.fixed else {
            return std::future::pending().await;
        };
        let moved = |now: &u64| at(*now) != seen;
        // It fails when the clock is gone, and this is a part of it.
        let _ = fixed.subscribe().wait_for(moved).await;
    }

    /// From now on the time is never before `time` (the build's date, a certificate's issue). Never lowered.
    pub fn not_before(&self, time: SystemTime) {
        self.floor.fetch_max(seconds(time), Ordering::Relaxed);
    }

    /// The time, not before the floor.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.machine().max(at(self.floor.load(Ordering::Relaxed)))
    }

    /// What the machine itself says, however wrong: for messages that name a wrong clock.
    #[must_use]
    pub fn machine(&self) -> SystemTime {
        match &self.fixed {
            Some(fixed) => at(*fixed.borrow()),
            None =>
            {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "this is the one place that reads the machine's clock"
                )]
                SystemTime::now()
            }
        }
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// How long `earlier` is before `later`, in its two largest units: `42s`, `3m05s`, `2h05m`, `12d03h`. Nothing where it is
/// not before it.
#[must_use]
pub fn ago(later: SystemTime, earlier: SystemTime) -> String {
    let seconds = later
        .duration_since(earlier)
        .unwrap_or(Duration::ZERO)
        .as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", seconds % 60),
        (0, _, _) => format!("{hours}h{minutes:02}m"),
        _ => format!("{days}d{hours:02}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_of_1970_is_not_believed() {
        let clock = Clock::fixed(UNIX_EPOCH);
        clock.not_before(at(1_000));
        clock.not_before(at(500));
        assert_eq!(clock.now(), at(1_000));
        assert_eq!(clock.machine(), UNIX_EPOCH);
        clock.set(at(2_000));
        assert_eq!(clock.now(), at(2_000));
    }
    #[tokio::test]
    async fn whoever_waits_for_a_fixed_clock_hears_that_it_is_set() {
        let clock = Clock::fixed(at(1_000));
        clock.set(at(2_000));
        // Set before the wait, and after its beginning.
        clock.moved_from(at(1_000)).await;
        let waits = clock.clone();
        let waiting = tokio::spawn(async move { waits.moved_from(at(2_000)).await });
        tokio::task::yield_now().await;
        clock.set(at(3_000));
        waiting.await.unwrap();
    }

    #[test]
    fn spans_show_two_units() {
        let zero = SystemTime::UNIX_EPOCH;
        let table = [
            (0, "0s"),
            (59, "59s"),
            (61, "1m01s"),
            (3_600, "1h00m"),
            (90_000, "1d01h"),
            (864_000, "10d00h"),
        ];
        for (seconds, expected) in table {
            assert_eq!(ago(zero + Duration::from_secs(seconds), zero), expected);
        }
        assert_eq!(
            ago(zero, zero + Duration::from_secs(9)),
            "0s",
            "a clock that went back is no panic"
        );
    }
}

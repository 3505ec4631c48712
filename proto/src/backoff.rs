//! When to try again: exponential with full jitter, so that a thousand agents which lost the same server do not come
//! back in the same second.

use std::time::Duration;

use rand::RngExt as _;

/// The limits of a [`Backoff`].
const FIRST: Duration = Duration::from_secs(1);
const LAST: Duration = Duration::from_secs(60);

/// Delays before attempts: the n-th is evenly spread from 0 to 2ⁿ⁻¹ s, at most 60 s. Where the server has said when to
/// come back, it is that time and up to a second more.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    attempts: u32,
    at_least: Option<Duration>,
}

impl Backoff {
    /// How long to wait before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        let ceiling = FIRST
            .saturating_mul(2u32.saturating_pow(self.attempts))
            .min(LAST);
        self.attempts = self.attempts.saturating_add(1);
        match self.at_least.take() {
            // A server that says so to thousands gives each a time of its own. Spread further, they would come later than
            // there is room for them.
            Some(at_least) => at_least + jitter(ceiling.min(FIRST)),
            None => jitter(ceiling),
        }
    }

    /// The server said when to come back: the next delay is not shorter, and jittered all the same.
    pub fn at_least(&mut self, delay: Duration) {
        // A confused server must not send a node away for a week, nor have it dial all the time.
        self.at_least = Some(delay.clamp(FIRST, 10 * LAST));
    }

    /// An attempt has succeeded.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

fn jitter(ceiling: Duration) -> Duration {
    rand::rng().random_range(Duration::ZERO..=ceiling)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_minute_and_are_spread_from_zero() {
        let mut longest = Duration::ZERO;
        let mut shortest = LAST;
        for _ in 0..200 {
            let mut backoff = Backoff::default();
            assert!(backoff.next_delay() <= FIRST);
            for _ in 0..40 {
                let delay = backoff.next_delay();
                assert!(delay <= LAST);
                longest = longest.max(delay);
                shortest = shortest.min(delay);
            }
        }
        assert!(longest > LAST * 9 / 10, "{longest:?}");
        assert!(shortest < LAST / 10, "{shortest:?}");
    }

    #[test]
    fn the_servers_word_counts_once() {
        let mut backoff = Backoff::default();
        let told = Duration::from_secs(30);
        backoff.at_least(told);
        assert!(backoff.next_delay() >= told);
        assert!(backoff.next_delay() <= Duration::from_secs(2));
        for _ in 0..100 {
            backoff.next_delay();
            backoff.at_least(told);
            let delay = backoff.next_delay();
            assert!(told <= delay && delay <= told + FIRST, "{delay:?}");
        }
        backoff.at_least(Duration::ZERO);
        assert!(backoff.next_delay() >= FIRST);
        backoff.at_least(Duration::from_secs(1_000_000));
        assert!(backoff.next_delay() <= Duration::from_secs(601));
    }
}

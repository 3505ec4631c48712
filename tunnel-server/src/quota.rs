//! How often a line may be written that anybody can cause: a stranger who knocks a thousand times must not fill a disk.
//! What is left out is counted, and told with the next line that is written; metrics count everything.

use std::time::Duration;

use edge_tunnel_proto::sync::Mutex;
use tokio::time::Instant;

/// How many lines there may be at once.
const BURST: u32 = 100;
/// In this time one more may be written.
const EVERY: Duration = Duration::from_millis(200);

/// The lines of one kind.
#[derive(Debug)]
pub struct Quota(Mutex<State>);

#[derive(Debug)]
struct State {
    /// How many may be written now.
    left: u32,
    /// Up to when what has come back since is in `left`.
    counted: Instant,
    unwritten: u64,
}

impl Default for Quota {
    /// All of it.
    fn default() -> Self {
        Self(Mutex::new(State {
            left: BURST,
            counted: Instant::now(),
            unwritten: 0,
        }))
    }
}

/// A line may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Write {
    /// How many like it were not, since the last one; none where that is 0.
    pub unwritten: Option<u64>,
}

impl Quota {
    /// Whether one more line may be written; it then is.
    pub fn take(&self) -> Option<Write> {
        let mut state = self.0.lock();
        let now = Instant::now();
        let back = now.duration_since(state.counted).as_millis() / EVERY.as_millis();
        let back = u32::try_from(back).unwrap_or(u32::MAX);
        if back > 0 {
            state.left = state.left.saturating_add(back).min(BURST);
            state.counted = now;
        }
        if state.left == 0 {
            state.unwritten += 1;
            return None;
        }
        state.left -= 1;
        let unwritten = std::mem::take(&mut state.unwritten);
        Some(Write {
            unwritten: (unwritten > 0).then_some(unwritten),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_writes_a_burst_and_then_a_few_lines_that_say_how_many_are_missing() {
        let quota = Quota::default();
        let written = (0..1000).filter(|_| quota.take().is_some()).count();
        assert_eq!(written, 100);
        tokio::time::advance(EVERY).await;
        let unwritten = Some(900);
        assert_eq!(quota.take(), Some(Write { unwritten }));
        assert_eq!(quota.take(), None);
        tokio::time::advance(Duration::from_secs(3600)).await;
        let unwritten = Some(1);
        assert_eq!(quota.take(), Some(Write { unwritten }));
        assert_eq!((0..1000).filter(|_| quota.take().is_some()).count(), 99);
    }
}

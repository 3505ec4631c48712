//! How many agents are taken in a second, so that thousands that come at once, after a restart say, get in one after
//! another and use no more than about half of the machine. Pure bookkeeping, by tokio's clock.
//!
//! Two questions are asked here. May one more handshake begin ([`Pace::begin`])? Where not, the agent is turned away at
//! no cost and tries again by its own back-off. And once it has introduced itself: is it its turn ([`Pace::turn`])? There
//! is room for half as many sessions as handshakes. Whoever comes beyond that is told when: the next free place in a
//! queue that moves at the pace at which agents can be served. The place is kept, so nobody who obeys waits twice; and
//! room that its holder leaves unused goes to whoever comes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use edge_tunnel_proto::id::NodeName;
use edge_tunnel_proto::sync::Mutex;
use tokio::time::Instant;

/// New sessions a second for each core. A handshake takes the server about 1 ms of a slow core's time, and there are
/// two to each session at the most.
pub const PER_CORE: u32 = 200;

/// How many handshakes there may be for each session: one that leads to it, one that ends in "come back later".
pub const HANDSHAKES: u32 = 2;

/// How much of each may come at once after a quiet time, by the time that it takes otherwise. Handshakes are work for the
/// cores, and what is at work there at the same time keeps streams waiting.
const HANDSHAKES_AT_ONCE: Duration = Duration::from_millis(500);
const SESSIONS_AT_ONCE: Duration = Duration::from_secs(1);

/// The soonest and the latest that an agent is told to come back.
const SOONEST: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_secs(60);

/// For how long a place is kept for an agent that is late.
const KEPT: Duration = Duration::from_secs(60);

/// The pace of the agents' port. Clones share it.
#[derive(Debug, Clone)]
pub struct Pace(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    handshakes: Bucket,
    sessions: Bucket,
    queue: Queue,
}

/// Whether an agent may have its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It may.
    Now,
    /// It is to come back in this time, in whole milliseconds.
    In(Duration),
}

impl Pace {
    /// What this machine, or the part of it that this process may use, can bear.
    #[must_use]
    pub fn of_this_machine() -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self::new(
            u32::try_from(cores)
                .unwrap_or(u32::MAX)
                .saturating_mul(PER_CORE),
        )
    }

    /// So many new sessions a second, at least one, and twice as many handshakes.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        let per_second = per_second.clamp(1, 1_000_000);
        let each = Duration::from_secs(1) / per_second;
        Self(Arc::new(Mutex::new(State {
            handshakes: Bucket::new(each / HANDSHAKES, HANDSHAKES_AT_ONCE),
            sessions: Bucket::new(each, SESSIONS_AT_ONCE),
            queue: Queue::new(each),
        })))
    }

    /// Whether one more handshake may begin, which is counted then.
    #[must_use]
    pub fn begin(&self) -> bool {
        self.0.lock().handshakes.take(Instant::now())
    }

    /// More than half of what may come at once has come: who has proven nothing yet should.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.0.lock().handshakes.used(Instant::now()) > HANDSHAKES_AT_ONCE / 2
    }

    /// Whether it is this node's turn. One that is connected already does not wait: its old link may be dying, or its
    /// streams there keep the server busy for longer than its new session will.
    #[must_use]
    pub fn turn(&self, node: &NodeName, connected: bool) -> Turn {
        let now = Instant::now();
        let state = &mut *self.0.lock();
        let now_or_later = match state.queue.place_of(node, now) {
            Some(wait) if !connected && wait > Duration::ZERO => return Turn::In(wait),
            Some(_) => true,
            None => connected,
        };
        if now_or_later {
            state.queue.leave(node);
            state.sessions.overdraw(now);
            return Turn::Now;
        }
        if state.sessions.take(now) {
            return Turn::Now;
        }
        Turn::In(state.queue.join(node, now))
    }
}

/// So much a second, and so much more at once after a quiet time.
#[derive(Debug)]
struct Bucket {
    each: Duration,
    at_once: Duration,
    /// When all that was taken will have been made good.
    good_at: Instant,
}

impl Bucket {
    fn new(each: Duration, at_once: Duration) -> Self {
        Self {
            each,
            at_once,
            good_at: Instant::now(),
        }
    }

    fn used(&self, now: Instant) -> Duration {
        self.good_at.saturating_duration_since(now)
    }

    fn take(&mut self, now: Instant) -> bool {
        let room = self.used(now) + self.each <= self.at_once;
        if room {
            self.good_at = self.good_at.max(now) + self.each;
        }
        room
    }

    /// Takes one whether or not there is room; those that come later make up for it, as if at most twice as many had come at
    /// once as may.
    fn overdraw(&mut self, now: Instant) {
        let good_at = self.good_at.max(now) + self.each;
        self.good_at = good_at.min(now + 2 * self.at_once);
    }
}

/// Who was told to come back, and when.
#[derive(Debug)]
struct Queue {
    each: Duration,
    /// The next place that is free.
    next: Instant,
    /// At most one place a registered node: only a certificate of ours leads here.
    places: BTreeMap<NodeName, Instant>,
    /// The same in the order in which they were given out.
    given: VecDeque<(Instant, NodeName)>,
}

impl Queue {
    fn new(each: Duration) -> Self {
        Self {
            each,
            next: Instant::now(),
            places: BTreeMap::new(),
            given: VecDeque::new(),
        }
    }

    /// How long it is until this node's place, if it has one.
    fn place_of(&self, node: &NodeName, now: Instant) -> Option<Duration> {
        let at = self.places.get(node)?;
        Some(whole_millis(at.saturating_duration_since(now)))
    }

    fn leave(&mut self, node: &NodeName) {
        self.places.remove(node);
    }

    fn join(&mut self, node: &NodeName, now: Instant) -> Duration {
        self.forget(now);
        self.next = self.next.max(now + SOONEST);
        if self.next > now + LATEST {
            // Each place is given out once more. Some who hold one will not come.
            self.next = now + SOONEST;
        }
        let at = self.next;
        self.next += self.each;
        self.places.insert(node.clone(), at);
        self.given.push_back((at, node.clone()));
        whole_millis(at - now)
    }

    /// Gives up the places of those who did not come.
    fn forget(&mut self, now: Instant) {
        while let Some((at, _)) = self.given.front()
            && *at + KEPT < now
        {
            let (at, node) = self.given.pop_front().expect("it is there");
            if self.places.get(&node) == Some(&at) {
                self.places.remove(&node);
            }
        }
    }
}

/// Rounded up: who comes back in time must not come too early.
fn whole_millis(time: Duration) -> Duration {
    let millis = time.as_nanos().div_ceil(1_000_000);
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;

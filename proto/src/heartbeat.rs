//! When to ask whether the other side is still there, and when to stop believing it. Time goes in, decisions come
//! out; the sessions of both ends drive one each.
//!
//! An idle link is asked every `every`; where an answer is awaited, [`Heartbeat::probe`] asks at once, and what does
//! not answer within [`PROBE`] is dead.

use std::time::Duration;

use tokio::time::Instant;

use crate::message::{Ping, Pong};

/// How long a live link may take to answer.
pub const PROBE: Duration = Duration::from_secs(3);

/// How long after the start of a session the first question is asked.
const SETTLE: Duration = Duration::from_secs(1);

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Beat {
    /// Send this.
    Send(Ping),
    /// The link is dead: drop it.
    Dead,
}

/// The heartbeat of one side of a lane.
#[derive(Debug)]
pub struct Heartbeat {
    every: Duration,
    next: Instant,
    awaited: Option<Awaited>,
    rtt: Option<Duration>,
}

#[derive(Debug)]
struct Awaited {
    nonce: u64,
    sent: Instant,
}

impl Heartbeat {
    /// A heartbeat that asks when nothing was heard for `every`, and a moment after the start, so that the round
    /// trip is known soon.
    #[must_use]
    pub fn new(every: Duration) -> Self {
        Self {
            every,
            next: Instant::now() + every.min(SETTLE),
            awaited: None,
            rtt: None,
        }
    }

    /// When to call [`Heartbeat::beat`] next.
    #[must_use]
    pub fn next(&self) -> Instant {
        match &self.awaited {
            Some(awaited) => awaited.sent + PROBE,
            None => self.next,
        }
    }

    /// What is to be done now, if anything.
    pub fn beat(&mut self) -> Option<Beat> {
        let now = Instant::now();
        if now < self.next() {
            return None;
        }
        if self.awaited.is_some() {
            return Some(Beat::Dead);
        }
        let nonce = rand::random();
        self.awaited = Some(Awaited { nonce, sent: now });
        self.next = now + self.every;
        let rtt_micros = self
            .rtt
            .map_or(0, |rtt| u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX));
        Some(Beat::Send(Ping { nonce, rtt_micros }))
    }

    /// An answer is awaited on this link: ask now, unless that is under way.
    pub fn probe(&mut self) {
        if self.awaited.is_none() {
            self.next = Instant::now();
        }
    }

    /// The other side has answered.
    pub fn pong(&mut self, pong: &Pong) {
        let nonce = pong.nonce;
        if let Some(awaited) = self.awaited.take_if(|awaited| awaited.nonce == nonce) {
            self.rtt = Some(awaited.sent.elapsed());
        }
        self.heard();
    }

    /// The other side has said something of its own accord: it needs not be asked so soon.
    pub fn heard(&mut self) {
        self.next = Instant::now() + self.every;
    }

    /// The last measured round trip.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(25);

    fn sent(beat: Option<Beat>) -> Ping {
        match beat {
            Some(Beat::Send(ping)) => ping,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_link_is_asked_once_an_interval() {
        let mut heart = Heartbeat::new(EVERY);
        assert_eq!(heart.beat(), None);
        tokio::time::advance(SETTLE).await;
        let ping = sent(heart.beat());
        assert_eq!(heart.beat(), None);
        tokio::time::advance(Duration::from_millis(40)).await;
        heart.pong(&Pong { nonce: ping.nonce });
        assert_eq!(heart.rtt(), Some(Duration::from_millis(40)));
        assert_eq!(heart.next(), Instant::now() + EVERY);
        tokio::time::advance(EVERY).await;
        assert_eq!(sent(heart.beat()).rtt_micros, 40_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_asks_at_once_and_decides_within_its_time() {
        let mut heart = Heartbeat::new(EVERY);
        heart.probe();
        let ping = sent(heart.beat());
        // A second wish for a probe does not start the time anew.
        tokio::time::advance(Duration::from_secs(2)).await;
        heart.probe();
        assert_eq!(heart.beat(), None);
        // What was asked before is no answer.
        heart.pong(&Pong {
            nonce: ping.nonce ^ 1,
        });
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(heart.beat(), Some(Beat::Dead));
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_that_speaks_is_not_asked() {
        let mut heart = Heartbeat::new(EVERY);
        heart.heard();
        for _ in 0..10 {
            tokio::time::advance(EVERY - Duration::from_secs(1)).await;
            assert_eq!(heart.beat(), None);
            heart.heard();
        }
    }
}

//! When to ask whether the other side is still there, and when to stop believing it. Time goes in, decisions come
//! out; the sessions of both ends drive one each.
//!
//! An idle link is asked every `every`; where an answer is awaited, [`Heartbeat::probe`] asks at once, and what is
//! silent for [`PROBE`] then is dead. While streams are open ([`Heartbeat::watch`]), a link on which this side speaks
//! and hears nothing is asked after [`STALLED`], so that a cut is not found only by the next beat.

use std::time::Duration;

use tokio::time::Instant;

use crate::message::{Ping, Pong};
use crate::transport::Traffic;

/// How long a live link may stay silent when it was asked.
pub const PROBE: Duration = Duration::from_secs(3);

/// How long an answer may take while other bytes come. On a slow link it waits its turn behind what fills the
/// routers' queues, which may take many seconds and is no reason to give the link up.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long after the start of a session the first question is asked.
const SETTLE: Duration = Duration::from_secs(1);

/// How often a link with open streams is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How long this side speaks without hearing anything before it asks.
const STALLED: Duration = Duration::from_secs(2);

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Beat {
    /// Send this.
    Send(Ping),
    /// The link is dead: drop it. For so long nothing was heard, or no answer came.
    Dead(Duration),
}

/// The heartbeat of one side of a lane.
#[derive(Debug)]
pub struct Heartbeat {
    every: Duration,
    next: Instant,
    awaited: Option<Awaited>,
    watched: Option<Watched>,
    rtt: Option<Duration>,
}

/// A question without an answer yet.
#[derive(Debug)]
struct Awaited {
    nonce: u64,
    sent: Instant,
    /// What had been heard then, or at the last decision to wait longer.
    heard: u64,
    until: Instant,
}

/// A link with open streams.
#[derive(Debug)]
struct Watched {
    next: Instant,
    /// When something was heard last, and what had been carried then.
    since: Instant,
    then: Traffic,
    /// Whether this side spoke in the same span in which it heard something last: which of the two came later is not
    /// known, so it may have been in vain.
    unsure: bool,
    /// Whether the last span had questions and answers of heartbeats in it, which are no reason for more of them.
    ours: bool,
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
            watched: None,
            rtt: None,
        }
    }

    /// When to call [`Heartbeat::beat`] next.
    #[must_use]
    pub fn next(&self) -> Instant {
        let beat = self
            .awaited
            .as_ref()
            .map_or(self.next, |awaited| awaited.until);
        self.watched
            .as_ref()
            .map_or(beat, |watched| watched.next.min(beat))
    }

    /// What is to be done now, if anything. `traffic` is the lane's, `streams` says whether any is open.
    pub fn beat(&mut self, traffic: Traffic, streams: bool) -> Option<Beat> {
        let now = Instant::now();
        self.look(now, traffic, streams);
        if let Some(awaited) = &mut self.awaited {
            if now < awaited.until {
                return None;
            }
            let waited = awaited.sent.elapsed();
            if awaited.heard == traffic.heard {
                return Some(Beat::Dead(PROBE));
            }
            if waited >= PATIENCE {
                return Some(Beat::Dead(waited));
            }
            awaited.heard = traffic.heard;
            awaited.until = now + PROBE;
            return None;
        }
        if now < self.next {
            return None;
        }
        let nonce = rand::random();
        self.awaited = Some(Awaited {
            nonce,
            sent: now,
            heard: traffic.heard,
            until: now + PROBE,
        });
        self.next = now + self.every;
        let rtt_micros = self
            .rtt
            .map_or(0, |rtt| u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX));
        Some(Beat::Send(Ping { nonce, rtt_micros }))
    }

    /// A stream was opened: the link is looked at until none is open any more.
    pub fn watch(&mut self, traffic: Traffic) {
        self.watched.get_or_insert_with(|| Watched {
            next: Instant::now() + LOOK,
            since: Instant::now(),
            then: traffic,
            unsure: false,
            ours: false,
        });
    }

    fn look(&mut self, now: Instant, traffic: Traffic, streams: bool) {
        let Some(watched) = self.watched.as_mut().filter(|watched| now >= watched.next) else {
            return;
        };
        if !streams {
            self.watched = None;
            return;
        }
        watched.next = now + LOOK;
        let spoke = watched.then.said != traffic.said;
        if watched.then.heard != traffic.heard || watched.ours {
            watched.unsure = spoke && !watched.ours;
            watched.ours = false;
            watched.since = now;
            watched.then = traffic;
        } else if (spoke || watched.unsure) && now - watched.since >= STALLED {
            self.probe();
        }
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
        if let Some(watched) = &mut self.watched {
            watched.ours = true;
        }
    }

    /// The last measured round trip.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }
}

#[cfg(test)]
mod tests;

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
    /// When something was heard last, as far as the looks show.
    since: Instant,
    heard: Option<u64>,
    /// What had been said at the last look, and at the last one before something was heard: what was said since then
    /// may be without an answer.
    last: u64,
    answered: u64,
    /// A question of this side's own was answered since the last look: nothing that was said before is open.
    settled: bool,
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
    pub fn watch(&mut self) {
        self.watched.get_or_insert_with(|| Watched {
            next: Instant::now() + LOOK,
            since: Instant::now(),
            heard: None,
            last: 0,
            answered: 0,
            settled: false,
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
        if std::mem::take(&mut watched.settled) {
            watched.since = now;
            watched.heard = Some(traffic.heard);
            watched.answered = traffic.said;
        } else if watched.heard != Some(traffic.heard) {
            watched.since = now;
            watched.heard = Some(traffic.heard);
            watched.answered = watched.last;
        }
        watched.last = traffic.said;
        if traffic.said != watched.answered && now - watched.since >= STALLED {
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
            if let Some(watched) = &mut self.watched {
                watched.settled = true;
            }
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
    const QUIET: Traffic = Traffic { heard: 0, said: 0 };

    fn sent(beat: Option<Beat>) -> Ping {
        match beat {
            Some(Beat::Send(ping)) => ping,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_link_is_asked_once_an_interval() {
        let mut heart = Heartbeat::new(EVERY);
        assert_eq!(heart.beat(QUIET, false), None);
        tokio::time::advance(SETTLE).await;
        let ping = sent(heart.beat(QUIET, false));
        assert_eq!(heart.beat(QUIET, false), None);
        tokio::time::advance(Duration::from_millis(40)).await;
        heart.pong(&Pong { nonce: ping.nonce });
        assert_eq!(heart.rtt(), Some(Duration::from_millis(40)));
        assert_eq!(heart.next(), Instant::now() + EVERY);
        tokio::time::advance(EVERY).await;
        assert_eq!(sent(heart.beat(QUIET, false)).rtt_micros, 40_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_asks_at_once_and_decides_within_its_time() {
        let mut heart = Heartbeat::new(EVERY);
        heart.probe();
        let ping = sent(heart.beat(QUIET, false));
        // A second wish for a probe does not start the time anew.
        tokio::time::advance(Duration::from_secs(2)).await;
        heart.probe();
        assert_eq!(heart.beat(QUIET, false), None);
        // What was asked before is no answer.
        heart.pong(&Pong {
            nonce: ping.nonce ^ 1,
        });
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(heart.beat(QUIET, false), Some(Beat::Dead(PROBE)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_that_speaks_is_not_asked() {
        let mut heart = Heartbeat::new(EVERY);
        heart.heard();
        for _ in 0..10 {
            tokio::time::advance(EVERY - Duration::from_secs(1)).await;
            assert_eq!(heart.beat(QUIET, false), None);
            heart.heard();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_may_be_late_while_other_bytes_come_but_not_for_ever() {
        let mut heart = Heartbeat::new(EVERY);
        heart.probe();
        let mut traffic = QUIET;
        sent(heart.beat(traffic, true));
        let asked = Instant::now();
        let waited = loop {
            tokio::time::advance(heart.next() - Instant::now()).await;
            traffic.heard += 1;
            if let Some(beat) = heart.beat(traffic, true) {
                assert_eq!(beat, Beat::Dead(asked.elapsed()));
                break asked.elapsed();
            }
        };
        assert_eq!(waited, PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_stop_leave_no_more_than_the_time_of_a_probe() {
        let mut heart = Heartbeat::new(EVERY);
        heart.probe();
        sent(heart.beat(QUIET, true));
        tokio::time::advance(PROBE).await;
        let traffic = Traffic { heard: 1, said: 0 };
        assert_eq!(heart.beat(traffic, true), None);
        tokio::time::advance(PROBE).await;
        assert_eq!(heart.beat(traffic, true), Some(Beat::Dead(PROBE)));
    }

    /// Drives the heartbeat for a minute; `carry` says what a second adds. Gives the seconds in which it asked.
    async fn asked(heart: &mut Heartbeat, carry: Traffic) -> Vec<u64> {
        let (mut traffic, mut asked) = (QUIET, Vec::new());
        for second in 1..=60 {
            tokio::time::advance(Duration::from_secs(1)).await;
            traffic.heard += carry.heard;
            traffic.said += carry.said;
            match heart.beat(traffic, true) {
                Some(Beat::Send(ping)) => {
                    asked.push(second);
                    heart.pong(&Pong { nonce: ping.nonce });
                    traffic.heard += 1;
                }
                Some(dead) => panic!("{dead:?}"),
                None => {}
            }
        }
        asked
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_that_is_spoken_to_in_vain_is_asked_within_seconds() {
        let mut heart = Heartbeat::new(EVERY);
        heart.heard();
        heart.watch();
        let when = asked(&mut heart, Traffic { heard: 0, said: 1 }).await;
        assert_eq!(when[..2], [3, 6]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_question_between_two_looks_is_not_overlooked() {
        let mut heart = Heartbeat::new(EVERY);
        heart.heard();
        heart.watch();
        // Something is heard and then said, and at the next look both are there.
        let traffic = Traffic { heard: 1, said: 1 };
        for _ in 0..2 {
            tokio::time::advance(LOOK).await;
            assert_eq!(heart.beat(traffic, true), None);
        }
        tokio::time::advance(LOOK).await;
        let ping = sent(heart.beat(traffic, true));
        // Answered, there is nothing more to ask about.
        heart.pong(&Pong { nonce: ping.nonce });
        let traffic = Traffic { heard: 2, said: 2 };
        for _ in 0..20 {
            tokio::time::advance(LOOK).await;
            assert_eq!(heart.beat(traffic, true), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn streams_that_are_quiet_or_answered_cost_no_questions() {
        for carry in [QUIET, Traffic { heard: 1, said: 9 }] {
            let mut heart = Heartbeat::new(EVERY);
            heart.heard();
            heart.watch();
            assert_eq!(asked(&mut heart, carry).await, [25, 50]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_without_streams_is_not_looked_at() {
        let mut heart = Heartbeat::new(EVERY);
        heart.heard();
        heart.watch();
        tokio::time::advance(LOOK).await;
        assert_eq!(heart.beat(QUIET, false), None);
        assert_eq!(heart.next(), Instant::now() + EVERY - LOOK);
    }
}

//! What the streams of a connection and its driver share, as plain data: no sockets, no tasks.
//!
//! [`local`] is what this side's handles do, [`remote`] what the peer's frames do, [`entry`] one stream.

mod entry;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
#[cfg(test)]
mod hostile;
mod local;
#[cfg(any(test, fuzzing))]
mod pair;
#[cfg(test)]
mod random;
mod remote;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::task::Waker;
use std::time::Duration;

use bytes::BytesMut;
use tokio::time::Instant;

use super::frame::{self, Kind};
use super::{Closed, Side};
use crate::budget::Budget;
use crate::code::Code;
use crate::message::{REASON_MAX, capped};
use entry::Entry;
pub(super) use entry::Key;

/// So many turns to write are given at once. Each is good for one frame, so that what is then in `out` is about
/// [`OUTBOUND_MAX`](super::OUTBOUND_MAX).
const TURNS: usize = super::OUTBOUND_MAX / frame::PAYLOAD_MAX;

/// How often the round trip is measured while data flows.
const PING_EVERY: Duration = Duration::from_secs(10);

/// Why a stream cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Broken {
    Reset(Code),
    Closed(Closed),
    /// Written to after its own end.
    Finished,
}

pub(super) struct State {
    side: Side,
    inbound_limit: usize,
    inbound: usize,
    /// `None` once all numbers are used up.
    next_id: Option<u32>,
    next_quiet: u64,
    last_inbound: u32,
    streams: HashMap<Key, Entry>,
    accept: VecDeque<u32>,
    /// Frames for the encryptor.
    out: BytesMut,
    /// How often `out` was emptied.
    round: u64,
    /// Streams that wait for room in `out`, in turn.
    waiting: VecDeque<Key>,
    /// Streams with something to send that needs no room: window, end.
    urgent: VecDeque<u32>,
    pong: Option<[u8; 8]>,
    pinged: Option<(u64, Instant)>,
    ping_due: Option<Instant>,
    rtt: Option<Duration>,
    closing: Option<(Code, String)>,
    ended: Option<Closed>,
    driver: Option<Waker>,
    budget: Budget,
}

impl State {
    pub(super) fn new(side: Side, inbound_limit: usize, budget: Budget) -> Self {
        Self {
            side,
            inbound_limit,
            inbound: 0,
            next_id: Some(if side == Side::Client { 1 } else { 2 }),
            next_quiet: 0,
            last_inbound: 0,
            streams: HashMap::new(),
            accept: VecDeque::new(),
            out: BytesMut::new(),
            round: 1,
            waiting: VecDeque::new(),
            urgent: VecDeque::new(),
            pong: None,
            pinged: None,
            ping_due: None,
            rtt: None,
            closing: None,
            ended: None,
            driver: None,
            budget,
        }
    }

    pub(super) fn promised(&self) -> usize {
        self.budget.used()
    }

    pub(super) fn ended(&self) -> Option<Closed> {
        self.ended.clone()
    }

    /// This side's own goodbye, once it is said.
    pub(super) fn closing(&self) -> Option<Closed> {
        self.closing
            .clone()
            .map(|(code, reason)| Closed::Here { code, reason })
    }

    pub(super) fn set_driver(&mut self, waker: &Waker) {
        match &mut self.driver {
            Some(driver) => driver.clone_from(waker),
            None => self.driver = Some(waker.clone()),
        }
    }

    fn wake_driver(&mut self) {
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }

    fn is_inbound(&self, id: u32) -> bool {
        (id % 2 == 1) == (self.side == Side::Server)
    }

    fn entry(&mut self, key: Key) -> &mut Entry {
        self.streams
            .get_mut(&key)
            .expect("an entry lives as long as its handle")
    }

    /// Takes a stream that is over out of the count of what the peer has open.
    fn uncount(&mut self, key: Key) {
        let entry = self.entry(key);
        if entry.counted && entry.is_over() {
            entry.counted = false;
            self.inbound -= 1;
        }
    }

    /// Goes behind what was written, and before what will be: the next `Open` may be for the room that this makes.
    fn put_reset(&mut self, id: u32, code: Code) {
        frame::put(&mut self.out, Kind::Reset, id, &code.number().to_be_bytes());
    }

    fn remove(&mut self, key: Key) {
        let Some(entry) = self.streams.remove(&key) else {
            return;
        };
        self.inbound -= usize::from(entry.counted);
        // Neither queue outgrows the streams that there are.
        if entry.in_waiting {
            self.waiting.retain(|waiting| *waiting != key);
        }
        if let (true, Key::Wire(id)) = (entry.in_urgent, key) {
            self.urgent.retain(|urgent| *urgent != id);
        }
    }

    /// Says goodbye, behind what is already with the driver.
    pub(super) fn close(&mut self, code: Code, reason: &str) {
        if self.closing.is_none() && self.ended.is_none() {
            let reason = capped(reason, REASON_MAX).to_owned();
            let mut payload = code.number().to_be_bytes().to_vec();
            payload.extend_from_slice(reason.as_bytes());
            frame::put(&mut self.out, Kind::Close, 0, &payload);
            self.closing = Some((code, reason));
            for entry in self.streams.values_mut() {
                entry.wake();
            }
            self.wake_driver();
        }
    }

    /// The connection is gone: whoever waits on a stream learns it, what nobody has accepted is forgotten.
    pub(super) fn end(&mut self, closed: &Closed) {
        self.ended.get_or_insert_with(|| closed.clone());
        self.out = BytesMut::new();
        for id in std::mem::take(&mut self.accept) {
            self.remove(Key::Wire(id));
        }
        for entry in self.streams.values_mut() {
            entry.wake();
        }
    }

    /// Moves what is to be sent into `out`, which is empty, and gives turns to those who wait for room. `true`: there
    /// may be more at once, because some of those turns may go unused.
    pub(super) fn fill(&mut self, out: &mut BytesMut) -> bool {
        while let Some(id) = self.urgent.pop_front() {
            self.fill_urgent(id);
        }
        if let Some(nonce) = self.pong.take() {
            frame::put(&mut self.out, Kind::Pong, 0, &nonce);
        }
        self.ping();
        std::mem::swap(out, &mut self.out);
        if out.is_empty() {
            // A quiet connection holds no buffer.
            self.out = BytesMut::new();
        }
        self.round += 1;
        for _ in 0..TURNS {
            let Some(key) = self.waiting.pop_front() else {
                break;
            };
            let entry = self.entry(key);
            entry.in_waiting = false;
            entry.turn = true;
            entry.wake_writer();
        }
        !self.waiting.is_empty()
    }

    fn fill_urgent(&mut self, id: u32) {
        let rtt = self.rtt;
        let key = Key::Wire(id);
        let entry = self
            .streams
            .get_mut(&key)
            .expect("taken out with its entry");
        entry.in_urgent = false;
        let grant = if entry.grant_is_due() {
            entry.grant(rtt)
        } else {
            0
        };
        let end = entry.ending && !entry.end_sent && entry.reset.is_none();
        entry.end_sent |= end;
        if grant > 0 {
            frame::put(&mut self.out, Kind::Window, id, &grant.to_be_bytes());
        }
        if end {
            frame::put(&mut self.out, Kind::Fin, id, &[]);
            self.uncount(key);
        }
    }

    fn ping(&mut self) {
        if self.out.is_empty() || self.pinged.is_some() {
            return;
        }
        let now = Instant::now();
        if self.ping_due.is_none_or(|due| now >= due) {
            let nonce = rand::random();
            frame::put(&mut self.out, Kind::Ping, 0, &u64::to_be_bytes(nonce));
            self.pinged = Some((nonce, now));
            self.ping_due = Some(now + PING_EVERY);
        }
    }

    fn ponged(&mut self, nonce: u64) {
        if let Some((_, sent)) = self.pinged.take_if(|(sent, _)| *sent == nonce) {
            let sample = sent.elapsed();
            // Falls at once and rises slowly: queues in between make a round trip longer, never shorter.
            self.rtt = Some(self.rtt.map_or(sample, |rtt| sample.min(rtt + rtt / 8)));
        }
    }
}

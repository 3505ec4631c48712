//! What the streams of a connection and its driver share, as plain data: no sockets, no tasks.

use std::collections::{HashMap, VecDeque};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::ReadBuf;
use tokio::time::Instant;

use super::frame::{self, FrameError, Header, Kind};
use super::{Closed, INITIAL_WINDOW, OUTBOUND_MAX, OpenError, STREAM_WINDOW_MAX, Side};
use crate::budget::{Budget, Reservation};
use crate::code::Code;
use crate::message::{REASON_MAX, capped};

/// So many resets may wait to be sent. More come only of a peer that opens streams over its limit and does not
/// read what that earns it.
const RESETS_MAX: usize = 4096;

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
    next_id: u32,
    last_inbound: u32,
    streams: HashMap<u32, Entry>,
    accept: VecDeque<u32>,
    /// Frames for the encryptor.
    out: BytesMut,
    /// Streams that wait for room in `out`, in turn.
    waiting: VecDeque<u32>,
    /// Streams with something to send that needs no room: window, end.
    urgent: VecDeque<u32>,
    resets: VecDeque<(u32, Code)>,
    pong: Option<[u8; 8]>,
    pinged: Option<(u64, Instant)>,
    ping_due: Option<Instant>,
    rtt: Option<Duration>,
    closing: Option<(Code, String)>,
    ended: Option<Closed>,
    driver: Option<Waker>,
    budget: Budget,
}

struct Entry {
    recv: BytesMut,
    recv_end: bool,
    /// What the peer may still send.
    credit: u32,
    /// `credit`, plus what lies in `recv`, plus `consumed`.
    window: u32,
    /// Read, and not yet given back to the peer.
    consumed: u32,
    granted_at: Instant,
    reservation: Reservation,
    send_credit: u32,
    /// The `Open` frame is in `out` or beyond. Always true for streams that the peer opened.
    announced: bool,
    ending: bool,
    end_sent: bool,
    in_urgent: bool,
    in_waiting: bool,
    reset: Option<Code>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Entry {
    fn new(reservation: Reservation, announced: bool) -> Self {
        Self {
            recv: BytesMut::new(),
            recv_end: false,
            credit: INITIAL_WINDOW,
            window: INITIAL_WINDOW,
            consumed: 0,
            granted_at: Instant::now(),
            reservation,
            send_credit: INITIAL_WINDOW,
            announced,
            ending: false,
            end_sent: false,
            in_urgent: false,
            in_waiting: false,
            reset: None,
            reader: None,
            writer: None,
        }
    }

    fn wake(&mut self) {
        wake(&mut self.reader);
        wake(&mut self.writer);
    }

    /// What to grant the peer now, growing the window when the reader keeps up and the window was what slowed the
    /// peer down: half of it was used in less than a round trip.
    fn grant(&mut self, rtt: Option<Duration>) -> u32 {
        let now = Instant::now();
        let limited = rtt.is_some_and(|rtt| now - self.granted_at < rtt);
        let mut grant = self.consumed;
        let more = self
            .window
            .min(STREAM_WINDOW_MAX.saturating_sub(self.window));
        if limited && self.recv.is_empty() && more > 0 && self.reservation.grow(more as usize) {
            self.window += more;
            grant += more;
        }
        self.granted_at = now;
        self.consumed = 0;
        self.credit += grant;
        grant
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

impl State {
    pub(super) fn new(side: Side, inbound_limit: usize, budget: Budget) -> Self {
        Self {
            side,
            inbound_limit,
            inbound: 0,
            next_id: if side == Side::Client { 1 } else { 2 },
            last_inbound: 0,
            streams: HashMap::new(),
            accept: VecDeque::new(),
            out: BytesMut::new(),
            waiting: VecDeque::new(),
            urgent: VecDeque::new(),
            resets: VecDeque::new(),
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

    pub(super) fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    pub(super) fn promised(&self) -> usize {
        self.budget.used()
    }

    fn is_inbound(&self, id: u32) -> bool {
        (id % 2 == 1) == (self.side == Side::Server)
    }

    pub(super) fn set_driver(&mut self, waker: &Waker) {
        match &mut self.driver {
            Some(driver) => driver.clone_from(waker),
            None => self.driver = Some(waker.clone()),
        }
    }

    // Streams.

    pub(super) fn open(&mut self) -> Result<u32, OpenError> {
        if let Some(closed) = &self.ended {
            return Err(closed.clone().into());
        }
        if let Some((code, reason)) = &self.closing {
            return Err(Closed::Here {
                code: *code,
                reason: reason.clone(),
            }
            .into());
        }
        let reservation = self
            .budget
            .reserve(INITIAL_WINDOW as usize)
            .ok_or(OpenError::NoMemory)?;
        let id = self.next_id;
        // 2^31 streams a side: at 1,000 a second 24 days. A connection that is used up is closed and redialled.
        let Some(next) = id.checked_add(2) else {
            self.close(Code::Draining, "stream numbers are used up");
            return Err(Closed::Here {
                code: Code::Draining,
                reason: "stream numbers are used up".to_owned(),
            }
            .into());
        };
        self.next_id = next;
        self.streams.insert(id, Entry::new(reservation, false));
        Ok(id)
    }

    pub(super) fn accept(&mut self) -> Result<Option<u32>, Closed> {
        if let Some(closed) = &self.ended {
            return Err(closed.clone());
        }
        while let Some(id) = self.accept.pop_front() {
            if self
                .streams
                .get(&id)
                .is_some_and(|entry| entry.reset.is_none())
            {
                return Ok(Some(id));
            }
            self.remove(id);
        }
        Ok(None)
    }

    pub(super) fn read(
        &mut self,
        id: u32,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), Broken>> {
        let entry = self
            .streams
            .get_mut(&id)
            .expect("an entry lives as long as its handle");
        if entry.recv.is_empty() {
            if entry.recv_end {
                return Poll::Ready(Ok(()));
            }
            if let Some(code) = entry.reset {
                return Poll::Ready(Err(Broken::Reset(code)));
            }
            if let Some(closed) = &self.ended {
                return Poll::Ready(Err(Broken::Closed(closed.clone())));
            }
            entry.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = entry.recv.len().min(buf.remaining());
        buf.put_slice(&entry.recv[..count]);
        entry.recv.advance(count);
        if entry.recv.is_empty() {
            // A burst's memory is not kept for a stream that then stays quiet.
            entry.recv = BytesMut::new();
        }
        entry.consumed += u32::try_from(count).expect("no more than a window is buffered");
        if !entry.recv_end && !entry.in_urgent && entry.consumed >= entry.window / 2 {
            entry.in_urgent = true;
            self.urgent.push_back(id);
            wake(&mut self.driver);
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn write(
        &mut self,
        id: u32,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<Result<usize, Broken>> {
        let entry = self
            .streams
            .get_mut(&id)
            .expect("an entry lives as long as its handle");
        if let Some(code) = entry.reset {
            return Poll::Ready(Err(Broken::Reset(code)));
        }
        if let Some(closed) = &self.ended {
            return Poll::Ready(Err(Broken::Closed(closed.clone())));
        }
        if let Some((code, reason)) = &self.closing {
            return Poll::Ready(Err(Broken::Closed(Closed::Here {
                code: *code,
                reason: reason.clone(),
            })));
        }
        if entry.ending {
            return Poll::Ready(Err(Broken::Finished));
        }
        if entry.send_credit == 0 || self.out.len() >= OUTBOUND_MAX {
            entry.writer = Some(cx.waker().clone());
            if entry.send_credit > 0 && !entry.in_waiting {
                entry.in_waiting = true;
                self.waiting.push_back(id);
            }
            return Poll::Pending;
        }
        let count = data
            .len()
            .min(entry.send_credit as usize)
            .min(frame::PAYLOAD_MAX);
        let kind = if entry.announced {
            Kind::Data
        } else {
            Kind::Open
        };
        entry.announced = true;
        entry.send_credit -= u32::try_from(count).expect("at most the credit, which is 32 bit");
        frame::put(&mut self.out, kind, id, &data[..count]);
        wake(&mut self.driver);
        Poll::Ready(Ok(count))
    }

    /// Ends this side's direction after what was written.
    pub(super) fn finish(&mut self, id: u32) {
        let entry = self
            .streams
            .get_mut(&id)
            .expect("an entry lives as long as its handle");
        if !entry.ending && entry.reset.is_none() {
            entry.ending = true;
            if !entry.in_urgent {
                entry.in_urgent = true;
                self.urgent.push_back(id);
            }
            wake(&mut self.driver);
        }
    }

    /// The handle is gone. Unless both directions have ended, the peer is told with `code`: that nobody reads what it
    /// still sends, and, if this side's direction has not ended, that nothing more comes.
    pub(super) fn release(&mut self, id: u32, code: Code) {
        let entry = self
            .streams
            .get_mut(&id)
            .expect("an entry lives as long as its handle");
        if entry.reset.is_none() && self.ended.is_none() {
            if entry.ending && !entry.end_sent {
                // Dropped between `finish` and the frame for it: that goes out now, behind what was written.
                if !entry.announced {
                    entry.announced = true;
                    frame::put(&mut self.out, Kind::Open, id, &[]);
                }
                frame::put(&mut self.out, Kind::Fin, id, &[]);
                wake(&mut self.driver);
            }
            // Behind an end, a reset takes nothing from what was written before it.
            if entry.announced && !(entry.ending && entry.recv_end) {
                self.resets.push_back((id, code));
                wake(&mut self.driver);
            }
        }
        self.remove(id);
    }

    fn remove(&mut self, id: u32) {
        if self.streams.remove(&id).is_some() && self.is_inbound(id) {
            self.inbound -= 1;
        }
    }

    // The connection.

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
            wake(&mut self.driver);
        }
    }

    pub(super) fn closing(&self) -> Option<Closed> {
        self.closing
            .clone()
            .map(|(code, reason)| Closed::Here { code, reason })
    }

    pub(super) fn end(&mut self, closed: &Closed) {
        self.ended.get_or_insert_with(|| closed.clone());
        self.out = BytesMut::new();
        for entry in self.streams.values_mut() {
            entry.wake();
        }
    }

    /// Moves what is to be sent into `out`, which is empty, and lets those write who waited for room.
    pub(super) fn fill(&mut self, out: &mut BytesMut) {
        while let Some(id) = self.urgent.pop_front() {
            let Some(entry) = self.streams.get_mut(&id) else {
                continue;
            };
            entry.in_urgent = false;
            if !entry.recv_end && entry.reset.is_none() && entry.consumed >= entry.window / 2 {
                let grant = entry.grant(self.rtt);
                frame::put(&mut self.out, Kind::Window, id, &grant.to_be_bytes());
            }
            if entry.ending && !entry.end_sent && entry.reset.is_none() {
                if !entry.announced {
                    entry.announced = true;
                    frame::put(&mut self.out, Kind::Open, id, &[]);
                }
                entry.end_sent = true;
                frame::put(&mut self.out, Kind::Fin, id, &[]);
            }
        }
        for (id, code) in self.resets.drain(..) {
            frame::put(&mut self.out, Kind::Reset, id, &code.number().to_be_bytes());
        }
        if let Some(nonce) = self.pong.take() {
            frame::put(&mut self.out, Kind::Pong, 0, &nonce);
        }
        self.ping();
        std::mem::swap(out, &mut self.out);
        for id in std::mem::take(&mut self.waiting) {
            if let Some(entry) = self.streams.get_mut(&id) {
                entry.in_waiting = false;
                wake(&mut entry.writer);
            }
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

    // What comes from the peer. `Ok(true)`: a new stream is there to accept.

    pub(super) fn receive(&mut self, header: Header, payload: &[u8]) -> Result<bool, FrameError> {
        let id = header.stream;
        match header.kind {
            Kind::Open => return self.opened(id, payload),
            Kind::Ping => self.pong = payload.try_into().ok(),
            Kind::Pong => self.ponged(payload.try_into().map_or(0, u64::from_be_bytes)),
            Kind::Close => {
                let (code, reason) = payload.split_at(4);
                let code = Code::from_number(code.try_into().map_or(0, u32::from_be_bytes));
                let reason = String::from_utf8_lossy(reason).replace(char::is_control, " ");
                self.end(&Closed::There { code, reason });
            }
            Kind::Data | Kind::Fin | Kind::Reset | Kind::Window => {
                let known = if self.is_inbound(id) {
                    id <= self.last_inbound
                } else {
                    id < self.next_id
                };
                if id == 0 || !known {
                    return Err(FrameError::Stream(header.kind, id));
                }
                // What was on its way when this side reset the stream is of no use to anybody.
                let Some(entry) = self.streams.get_mut(&id) else {
                    return Ok(false);
                };
                match header.kind {
                    Kind::Data => Self::data(entry, id, payload)?,
                    Kind::Fin => {
                        entry.recv_end = true;
                        wake(&mut entry.reader);
                    }
                    Kind::Window => {
                        let more = payload.try_into().map_or(0, u32::from_be_bytes);
                        entry.send_credit = entry
                            .send_credit
                            .checked_add(more)
                            .ok_or(FrameError::WindowOverflow(id))?;
                        wake(&mut entry.writer);
                    }
                    _ => {
                        entry.reset = Some(Code::from_number(
                            payload.try_into().map_or(0, u32::from_be_bytes),
                        ));
                        if !entry.recv_end {
                            entry.recv = BytesMut::new();
                        }
                        entry.wake();
                    }
                }
            }
        }
        Ok(false)
    }

    fn opened(&mut self, id: u32, payload: &[u8]) -> Result<bool, FrameError> {
        if id == 0 || !self.is_inbound(id) || id <= self.last_inbound {
            return Err(FrameError::Stream(Kind::Open, id));
        }
        self.last_inbound = id;
        let room = self.inbound < self.inbound_limit && self.closing.is_none();
        let Some(reservation) = room
            .then(|| self.budget.reserve(INITIAL_WINDOW as usize))
            .flatten()
        else {
            if self.resets.len() >= RESETS_MAX {
                return Err(FrameError::FloodedWithOpens);
            }
            self.resets.push_back((id, Code::Overloaded));
            return Ok(false);
        };
        self.inbound += 1;
        let mut entry = Entry::new(reservation, true);
        Self::data(&mut entry, id, payload)?;
        self.streams.insert(id, entry);
        self.accept.push_back(id);
        Ok(true)
    }

    fn data(entry: &mut Entry, id: u32, payload: &[u8]) -> Result<(), FrameError> {
        let length = u32::try_from(payload.len()).expect("a frame has at most 32 KiB");
        entry.credit = entry
            .credit
            .checked_sub(length)
            .ok_or(FrameError::WindowExceeded(id))?;
        if entry.recv_end {
            return Err(FrameError::Stream(Kind::Data, id));
        }
        if entry.reset.is_none() {
            entry.recv.extend_from_slice(payload);
            wake(&mut entry.reader);
        }
        Ok(())
    }

    pub(super) fn ended(&self) -> Option<Closed> {
        self.ended.clone()
    }
}

//! What this side does with its streams.

use std::task::{Context, Poll};

use tokio::io::ReadBuf;

use super::super::frame::{self, Kind};
use super::super::{Closed, INITIAL_WINDOW, OUTBOUND_MAX, OpenError};
use super::{Broken, Entry, Key, State};
use crate::code::Code;

/// A write of at most so many bytes does not queue behind bulk: once a round, and up to twice [`OUTBOUND_MAX`] in all.
const SMALL: usize = 4 * 1024;

impl State {
    pub(in crate::mux) fn open(&mut self) -> Result<Key, OpenError> {
        if let Some(closed) = self.ended().or_else(|| self.closing()) {
            return Err(closed.into());
        }
        let reservation = self
            .budget
            .reserve(INITIAL_WINDOW as usize)
            .ok_or(OpenError::NoMemory)?;
        let key = Key::Quiet(self.next_quiet);
        self.next_quiet += 1;
        self.streams.insert(key, Entry::new(reservation, false));
        Ok(key)
    }

    /// The next stream that the peer opened, and whether there are more.
    pub(in crate::mux) fn accept(&mut self) -> Result<Option<(Key, bool)>, Closed> {
        if let Some(closed) = &self.ended {
            return Err(closed.clone());
        }
        while let Some(id) = self.accept.pop_front() {
            let key = Key::Wire(id);
            // One that the peer has broken off since is of no use to anybody.
            if self.entry(key).reset.is_none() {
                return Ok(Some((key, !self.accept.is_empty())));
            }
            self.remove(key);
        }
        Ok(None)
    }

    pub(in crate::mux) fn read(
        &mut self,
        key: Key,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), Broken>> {
        let ended = self.ended.clone();
        let entry = self.entry(key);
        if entry.recv.is_empty() {
            if entry.recv_end {
                return Poll::Ready(Ok(()));
            }
            if let Some(code) = entry.reset {
                return Poll::Ready(Err(Broken::Reset(code)));
            }
            if let Some(closed) = ended {
                return Poll::Ready(Err(Broken::Closed(closed)));
            }
            entry.wait_to_read(cx);
            return Poll::Pending;
        }
        if entry.take(buf) {
            self.urge(key);
        }
        Poll::Ready(Ok(()))
    }

    /// Queues some of `data`. The stream's first write gives it its number, which is why `key` may change.
    pub(in crate::mux) fn write(
        &mut self,
        key: &mut Key,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<Result<usize, Broken>> {
        self.writable(*key)?;
        let (queued, round, queue) = (self.out.len(), self.round, self.waiting.len());
        let entry = self.entry(*key);
        let small =
            data.len() <= SMALL && entry.round != round && queued < OUTBOUND_MAX + OUTBOUND_MAX;
        let turn = entry.turn && queued < OUTBOUND_MAX + OUTBOUND_MAX;
        let room = queued < OUTBOUND_MAX && queue == 0;
        if entry.send_credit == 0 || !(turn || room || small) {
            entry.wait_to_write(cx);
            if entry.send_credit > 0 && !entry.in_waiting {
                entry.in_waiting = true;
                self.waiting.push_back(*key);
            }
            return Poll::Pending;
        }
        if !small {
            entry.turn = false;
        }
        let count = data
            .len()
            .min(entry.send_credit as usize)
            .min(frame::PAYLOAD_MAX);
        entry.round = round;
        entry.send_credit -= u32::try_from(count).expect("at most the credit, which is 32 bit");
        let (kind, id) = self.number(key)?;
        frame::put(&mut self.out, kind, id, &data[..count]);
        self.wake_driver();
        Poll::Ready(Ok(count))
    }

    /// Ends this side's direction after what was written.
    pub(in crate::mux) fn finish(&mut self, key: &mut Key) -> Result<(), Broken> {
        match self.writable(*key) {
            // Ended already.
            Err(Broken::Finished) => return Ok(()),
            other => other?,
        }
        if let (Kind::Open, id) = self.number(key)? {
            frame::put(&mut self.out, Kind::Open, id, &[]);
        }
        self.entry(*key).ending = true;
        self.urge(*key);
        Ok(())
    }

    /// The handle is gone. Unless both directions have ended, the peer is told with `code`: that nobody reads what it
    /// still sends, and, if this side's direction has not ended, that nothing more comes.
    pub(in crate::mux) fn release(&mut self, key: Key, code: Code) {
        let ended = self.ended.is_some();
        let entry = self.entry(key);
        if let Key::Wire(id) = key
            && entry.reset.is_none()
            && !ended
        {
            let end = entry.ending && !entry.end_sent;
            // Behind an end, a reset takes nothing from what was written before it.
            let reset = !(entry.ending && entry.recv_end);
            if end {
                frame::put(&mut self.out, Kind::Fin, id, &[]);
            }
            if reset {
                self.put_reset(id, code);
            }
            self.wake_driver();
        }
        self.remove(key);
    }

    fn writable(&mut self, key: Key) -> Result<(), Broken> {
        let closed = self.ended().or_else(|| self.closing());
        let entry = self.entry(key);
        if let Some(code) = entry.reset {
            return Err(Broken::Reset(code));
        }
        if let Some(closed) = closed {
            return Err(Broken::Closed(closed));
        }
        if entry.ending {
            return Err(Broken::Finished);
        }
        Ok(())
    }

    /// The stream's number and the kind of frame that its bytes travel in; its first one makes it known to the peer.
    fn number(&mut self, key: &mut Key) -> Result<(Kind, u32), Broken> {
        let quiet = match *key {
            Key::Wire(id) => return Ok((Kind::Data, id)),
            quiet @ Key::Quiet(_) => quiet,
        };
        // 2^31 streams a side: at 1,000 a second 24 days. A connection that is used up is closed and redialled.
        let Some(id) = self.next_id else {
            self.close(Code::Draining, "stream numbers are used up");
            return Err(Broken::Closed(
                self.closing().expect("it was closed just now"),
            ));
        };
        self.next_id = id.checked_add(2);
        let entry = self
            .streams
            .remove(&quiet)
            .expect("an entry lives as long as its handle");
        *key = Key::Wire(id);
        if entry.in_waiting {
            for waiting in self.waiting.iter_mut().filter(|waiting| **waiting == quiet) {
                *waiting = *key;
            }
        }
        self.streams.insert(*key, entry);
        Ok((Kind::Open, id))
    }

    fn urge(&mut self, key: Key) {
        if let Key::Wire(id) = key {
            let entry = self.entry(key);
            if !entry.in_urgent {
                entry.in_urgent = true;
                self.urgent.push_back(id);
                self.wake_driver();
            }
        }
    }
}

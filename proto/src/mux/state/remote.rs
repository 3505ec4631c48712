//! What the peer's frames do. Nothing in here trusts them.

use super::super::frame::{FrameError, Header, Kind};
use super::super::{Closed, INITIAL_WINDOW};
use super::{Entry, Key, State};
use crate::code::Code;

/// With so many bytes waiting to be sent no more streams are taken: what this side writes is far less, the rest are
/// answers to streams of a peer that does not read what they earn it.
pub(super) const PROVOKED_MAX: usize = 1024 * 1024;

impl State {
    /// Takes a frame; `Ok(true)`: a new stream is there to accept.
    ///
    /// `header` is one that [`Header::peek`] gave, `payload` has its length.
    pub(in crate::mux) fn receive(
        &mut self,
        header: Header,
        payload: &[u8],
    ) -> Result<bool, FrameError> {
        let id = header.stream;
        match header.kind {
            Kind::Open => return self.opened(id, payload),
            Kind::Ping => self.pong = payload.try_into().ok(),
            Kind::Pong => self.ponged(payload.try_into().map_or(0, u64::from_be_bytes)),
            Kind::Close => {
                let (code, reason) = payload.split_at(4);
                let code = Code::from_number(number(code));
                let reason = String::from_utf8_lossy(reason).replace(char::is_control, " ");
                self.end(&Closed::There { code, reason });
            }
            kind @ (Kind::Data | Kind::Fin | Kind::Reset | Kind::Window) => {
                if !self.is_known(id) {
                    return Err(FrameError::Stream(kind, id));
                }
                let key = Key::Wire(id);
                // What was on its way when this side let go of the stream is of no use to anybody.
                let Some(entry) = self.streams.get_mut(&key) else {
                    return Ok(false);
                };
                match kind {
                    Kind::Data => data(entry, id, payload)?,
                    Kind::Window => window(entry, id, number(payload))?,
                    Kind::Fin => {
                        entry.recv_end = true;
                        entry.wake_reader();
                    }
                    _ => reset(entry, Code::from_number(number(payload))),
                }
                self.uncount(key);
            }
        }
        Ok(false)
    }

    fn is_known(&self, id: u32) -> bool {
        id != 0
            && if self.is_inbound(id) {
                id <= self.last_inbound
            } else {
                self.next_id.is_none_or(|next| id < next)
            }
    }

    fn opened(&mut self, id: u32, payload: &[u8]) -> Result<bool, FrameError> {
        if id == 0 || !self.is_inbound(id) || id <= self.last_inbound {
            return Err(FrameError::Stream(Kind::Open, id));
        }
        if self.out.len() >= PROVOKED_MAX {
            return Err(FrameError::FloodedWithOpens);
        }
        self.last_inbound = id;
        let room =
            self.inbound < self.inbound_limit && self.closing.is_none() && self.ended.is_none();
        let Some(reservation) = room
            .then(|| self.budget.reserve(INITIAL_WINDOW as usize))
            .flatten()
        else {
            self.put_reset(id, Code::Overloaded);
            self.wake_driver();
            return Ok(false);
        };
        let mut entry = Entry::new(reservation, true);
        data(&mut entry, id, payload)?;
        self.inbound += 1;
        self.streams.insert(Key::Wire(id), entry);
        self.accept.push_back(id);
        Ok(true)
    }
}

fn data(entry: &mut Entry, id: u32, payload: &[u8]) -> Result<(), FrameError> {
    if entry.recv_end || entry.reset.is_some() {
        return Err(FrameError::Stream(Kind::Data, id));
    }
    let length = u32::try_from(payload.len()).expect("a frame has at most 32 KiB");
    entry.credit = entry
        .credit
        .checked_sub(length)
        .ok_or(FrameError::WindowExceeded(id))?;
    entry.recv.extend_from_slice(payload);
    entry.wake_reader();
    Ok(())
}

fn window(entry: &mut Entry, id: u32, more: u32) -> Result<(), FrameError> {
    entry.send_credit = entry
        .send_credit
        .checked_add(more)
        .ok_or(FrameError::WindowOverflow(id))?;
    entry.wake_writer();
    Ok(())
}

fn reset(entry: &mut Entry, code: Code) {
    entry.reset.get_or_insert(code);
    if !entry.recv_end {
        entry.recv = bytes::BytesMut::new();
    }
    entry.wake();
}

fn number(payload: &[u8]) -> u32 {
    payload.try_into().map_or(0, u32::from_be_bytes)
}

//! Two states that exchange bytes, without sockets and without a driver.

use std::task::{Context, Poll, Waker};

use bytes::{Buf as _, BytesMut};
use tokio::io::ReadBuf;

use super::super::frame::{FrameError, HEADER, Header, PAYLOAD_MAX};
use super::super::{INITIAL_WINDOW, STREAM_WINDOW_MAX, Side};
use super::remote::PROVOKED_MAX;
use super::{Broken, Key, State};
use crate::budget::Budget;

pub(super) const MIB: usize = 1024 * 1024;

pub(super) fn state(side: Side, inbound: usize) -> State {
    State::new(side, inbound, Budget::new(64 * MIB))
}

/// Hands the frames at the front of `wire` to `to`; what is not whole stays.
pub(super) fn deliver(wire: &mut BytesMut, to: &mut State) -> Result<(), FrameError> {
    while let Some(header) = Header::peek(wire)? {
        if wire.len() < HEADER + header.length {
            break;
        }
        to.receive(header, &wire[HEADER..HEADER + header.length])?;
        wire.advance(HEADER + header.length);
    }
    Ok(())
}

/// Moves all that `from` has to say now to `to`.
pub(super) fn carry(from: &mut State, to: &mut State) -> Result<(), FrameError> {
    let mut wire = BytesMut::new();
    from.fill(&mut wire);
    deliver(&mut wire, to)
}

impl State {
    /// How much was taken; `None` when it has to wait.
    pub(super) fn try_write(
        &mut self,
        key: &mut Key,
        data: &[u8],
    ) -> Option<Result<usize, Broken>> {
        match self.write(key, &mut Context::from_waker(Waker::noop()), data) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        }
    }

    /// What was there, at most `limit` bytes; empty at the end; `None` when it has to wait.
    pub(super) fn try_read(&mut self, key: Key, limit: usize) -> Option<Result<Vec<u8>, Broken>> {
        let mut bytes = vec![0; limit];
        let mut buf = ReadBuf::new(&mut bytes);
        match self.read(key, &mut Context::from_waker(Waker::noop()), &mut buf) {
            Poll::Ready(result) => Some(result.map(|()| buf.filled().to_vec())),
            Poll::Pending => None,
        }
    }

    pub(super) fn streams(&self) -> usize {
        self.streams.len()
    }

    /// What holds between any two calls.
    pub(super) fn check(&self) {
        let mut promised = 0;
        for (key, entry) in &self.streams {
            promised += entry.window as usize;
            assert!(
                (INITIAL_WINDOW..=STREAM_WINDOW_MAX).contains(&entry.window),
                "{key:?}"
            );
            if entry.reset.is_none() {
                let held = u32::try_from(entry.recv.len()).expect("at most a window");
                assert_eq!(
                    entry.credit + held + entry.consumed,
                    entry.window,
                    "{key:?}"
                );
            }
            let urgent = self.urgent.iter().filter(|id| Key::Wire(**id) == *key);
            assert_eq!(urgent.count(), usize::from(entry.in_urgent), "{key:?}");
            let waiting = self.waiting.iter().filter(|waiting| *waiting == key);
            assert_eq!(waiting.count(), usize::from(entry.in_waiting), "{key:?}");
        }
        assert_eq!(promised, self.promised());
        let counted = self.streams.values().filter(|entry| entry.counted).count();
        assert_eq!(counted, self.inbound);
        assert!(self.inbound <= self.inbound_limit);
        assert!(self.urgent.len() + self.waiting.len() <= 2 * self.streams.len());
        assert!(self.out.len() <= PROVOKED_MAX + 2 * PAYLOAD_MAX);
    }
}

//! One stream as the connection keeps it.

use std::task::{Context, Waker};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::ReadBuf;
use tokio::time::Instant;

use super::super::{INITIAL_WINDOW, STREAM_WINDOW_MAX};
use crate::budget::Reservation;
use crate::code::Code;

/// How a handle finds its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::mux) enum Key {
    /// Opened here, nothing written yet. It gets its number with its first frame, because streams may be written to
    /// in another order than they were opened in, and numbers go up on the wire.
    Quiet(u64),
    /// Its number on the wire.
    Wire(u32),
}

pub(super) struct Entry {
    pub(super) recv: BytesMut,
    pub(super) recv_end: bool,
    /// What the peer may still send.
    pub(super) credit: u32,
    /// `credit`, plus what lies in `recv`, plus `consumed`. Covered by `reservation`.
    pub(super) window: u32,
    /// Read, and not yet given back to the peer.
    pub(super) consumed: u32,
    /// The reader has taken all that there was when it last made a grant due.
    kept_up: bool,
    granted_at: Instant,
    pub(super) reservation: Reservation,
    /// What this side may still send.
    pub(super) send_credit: u32,
    pub(super) ending: bool,
    pub(super) end_sent: bool,
    pub(super) in_urgent: bool,
    pub(super) in_waiting: bool,
    /// Its turn has come: it may write once although others wait.
    pub(super) turn: bool,
    /// The round of the connection in which it last wrote.
    pub(super) round: u64,
    /// Counts against the limit on what the peer may open.
    pub(super) counted: bool,
    pub(super) reset: Option<Code>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Entry {
    /// `counted`: the peer opened it.
    pub(super) fn new(reservation: Reservation, counted: bool) -> Self {
        Self {
            recv: BytesMut::new(),
            recv_end: false,
            credit: INITIAL_WINDOW,
            window: INITIAL_WINDOW,
            consumed: 0,
            kept_up: false,
            granted_at: Instant::now(),
            reservation,
            send_credit: INITIAL_WINDOW,
            ending: false,
            end_sent: false,
            in_urgent: false,
            in_waiting: false,
            turn: false,
            round: 0,
            counted,
            reset: None,
            reader: None,
            writer: None,
        }
    }

    pub(super) fn wake(&mut self) {
        self.wake_reader();
        self.wake_writer();
    }

    pub(super) fn wake_reader(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    pub(super) fn wake_writer(&mut self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }

    pub(super) fn wait_to_read(&mut self, cx: &Context<'_>) {
        self.reader = Some(cx.waker().clone());
    }

    pub(super) fn wait_to_write(&mut self, cx: &Context<'_>) {
        self.writer = Some(cx.waker().clone());
    }

    /// Moves what has come into `buf`; `true` when a grant to the peer has become due.
    pub(super) fn take(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let count = self.recv.len().min(buf.remaining());
        buf.put_slice(&self.recv[..count]);
        self.recv.advance(count);
        if self.recv.is_empty() {
            // A burst's memory is not kept for a stream that then stays quiet.
            self.recv = BytesMut::new();
        }
        self.consumed += u32::try_from(count).expect("no more than a window is buffered");
        self.kept_up = self.recv.is_empty();
        self.grant_is_due()
    }

    pub(super) fn grant_is_due(&self) -> bool {
        !self.recv_end && self.reset.is_none() && self.consumed >= self.window / 2
    }

    /// What to grant the peer now; may be nothing.
    ///
    /// The window grows when the reader keeps up and the window may be what slows the peer down: at the pace since the
    /// last grant, half of it or more is used in a round trip. It shrinks, by what was read and is not granted again, when memory is short.
    pub(super) fn grant(&mut self, rtt: Option<Duration>) -> u32 {
        let now = Instant::now();
        let limited = rtt.is_some_and(|rtt| {
            let took = (now - self.granted_at).as_nanos();
            took * u128::from(self.window / 2) <= rtt.as_nanos() * u128::from(self.consumed)
        });
        let mut grant = self.consumed;
        let spare = self.window.saturating_sub(INITIAL_WINDOW);
        let more = self
            .window
            .min(STREAM_WINDOW_MAX.saturating_sub(self.window));
        if spare > 0 && self.reservation.is_tight() {
            let less = spare.min(grant);
            self.reservation.shrink(less as usize);
            self.window -= less;
            grant -= less;
        } else if limited && self.kept_up && more > 0 && self.reservation.grow(more as usize) {
            self.window += more;
            grant += more;
        }
        self.granted_at = now;
        self.consumed = 0;
        self.credit += grant;
        grant
    }

    /// Nothing more will be said in either direction.
    pub(super) fn is_over(&self) -> bool {
        self.reset.is_some() || (self.recv_end && self.end_sent)
    }
}

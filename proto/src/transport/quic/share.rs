//! A stream's share of what its connection may hold, taken from the memory that may be promised to peers.
//!
//! What lies unread here is bounded by the streams' windows, which quinn has fixed and alike, and by the connection's.
//! The connection's is the sum of its streams' shares, so that many quiet streams cost little and a few busy ones get
//! all that they can use. Where shares are smaller than windows, readers that stop can use the connection's window up;
//! [`super::readers`] sees to that.

use std::sync::Arc;

use quinn::VarInt;

use super::{CONNECTION_WINDOW_MAX, STREAM_WINDOW};
use crate::budget::{Budget, Reservation};
use crate::sync::Mutex;

/// What a connection gets for itself, in bytes: the session's control messages pass although every stream is stuck.
const FIRST: usize = 64 * 1024;

/// The least share, in bytes, which a stream is refused without.
pub(super) const LEAST: usize = 16 * 1024;

/// A share while there are many others, in bytes.
const MIDDLE: usize = 256 * 1024;

/// Whole windows are given up to this sum over a connection's streams, in bytes.
const AMPLE: usize = 24 * 1024 * 1024;

/// And middle shares up to this one.
const SCARCE: usize = 40 * 1024 * 1024;

/// What lies unacknowledged at this side, over all streams of a connection, in bytes.
const SEND_WINDOW_MAX: usize = 16 * 1024 * 1024;

/// What a connection may hold in each direction. What is promised is twice that.
#[derive(Debug)]
pub(super) struct Shares {
    connection: quinn::Connection,
    budget: Budget,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    /// The connection's own, and what it got in a stall.
    own: Reservation,
    own_size: usize,
    /// The sum over its streams.
    streams: usize,
    /// The windows as quinn has them.
    applied: (usize, usize),
}

/// One stream's share, given back when it drops.
#[derive(Debug)]
pub(super) struct Share {
    shares: Arc<Shares>,
    size: usize,
    _reservation: Reservation,
}

/// Which streams it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Opened by the agent: the control stream, mostly.
    Control,
    /// Opened by the server, for whatever a target sends.
    Traffic,
}

/// The windows of a connection that has no streams yet: receive, send.
pub(super) const fn first_windows() -> (usize, usize) {
    windows(FIRST)
}

/// quinn gives window back in steps of an eighth, so not the whole of it counts.
const fn windows(sum: usize) -> (usize, usize) {
    let receive = sum + sum / 3;
    (
        if receive < CONNECTION_WINDOW_MAX {
            receive
        } else {
            CONNECTION_WINDOW_MAX
        },
        if sum < SEND_WINDOW_MAX {
            sum
        } else {
            SEND_WINDOW_MAX
        },
    )
}

impl Shares {
    /// `None` when the memory that may be promised is used up.
    pub(super) fn new(connection: quinn::Connection, budget: &Budget) -> Option<Arc<Self>> {
        Some(Arc::new(Self {
            connection,
            budget: budget.clone(),
            held: Mutex::new(Held {
                own: budget.reserve(2 * FIRST)?,
                own_size: FIRST,
                streams: 0,
                applied: first_windows(),
            }),
        }))
    }

    /// A share for a new stream; `None` when the memory that may be promised is used up.
    pub(super) fn take(self: &Arc<Self>, purpose: Purpose) -> Option<Share> {
        let mut reservation = self.budget.reserve(2 * LEAST)?;
        let mut size = LEAST;
        let mut held = self.held.lock();
        let wished = match (purpose, held.streams) {
            (Purpose::Control, _) | (_, SCARCE..) => LEAST,
            (_, AMPLE..) => MIDDLE,
            _ => STREAM_WINDOW as usize,
        };
        for more in [wished, wished.min(MIDDLE)] {
            if more > size && reservation.grow(2 * (more - size)) {
                size = more;
            }
        }
        held.streams += size;
        self.apply(&mut held);
        drop(held);
        Some(Share {
            shares: Arc::clone(self),
            size,
            _reservation: reservation,
        })
    }

    /// Takes more for the connection as a whole, where what lies unread has used up its window; `false` where there is no
    /// more to be had.
    pub(super) fn widen(&self) -> bool {
        let mut held = self.held.lock();
        if windows(held.sum()).0 == CONNECTION_WINDOW_MAX {
            return false;
        }
        let more = held.sum().max(STREAM_WINDOW as usize);
        if !held.own.grow(2 * more) {
            return false;
        }
        held.own_size += more;
        self.apply(&mut held);
        true
    }

    /// Gives back what a stall was widened by.
    pub(super) fn narrow(&self) {
        let mut held = self.held.lock();
        let less = held.own_size - FIRST;
        if less > 0 {
            held.own.shrink(2 * less);
            held.own_size = FIRST;
            self.apply(&mut held);
        }
    }

    /// So many streams could use the connection's window up, should their readers stop.
    pub(super) fn is_crowded(&self, streams: usize) -> bool {
        let (receive, _) = windows(self.held.lock().sum());
        streams * STREAM_WINDOW as usize > receive / 4 * 3
    }

    fn apply(&self, held: &mut Held) {
        let (receive, send) = windows(held.sum());
        if held.applied == (receive, send) {
            return;
        }
        held.applied = (receive, send);
        self.connection
            .set_receive_window(VarInt::try_from(receive).expect("64 MiB at most"));
        self.connection.set_send_window(send as u64);
    }
}

impl Held {
    const fn sum(&self) -> usize {
        self.own_size + self.streams
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.shares.held.lock();
        held.streams -= self.size;
        self.shares.apply(&mut held);
    }
}

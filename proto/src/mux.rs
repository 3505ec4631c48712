//! Many streams over one ordered, encrypted connection: what TLS over TCP lacks and QUIC has.
//!
//! A mux of our own, because the known one (yamux) cannot keep this house's promises: its window floor is 256 KiB
//! a stream, so a connection ceiling of 64 MiB would allow 256 streams and 600 dials that nobody answers would end
//! a node; its windows never shrink and have no ceiling a stream; it ends the whole connection when one stream too
//! many is opened; its reset reads as a clean end. Here:
//!
//! - a stream starts with a window of [`INITIAL_WINDOW`] and grows to [`STREAM_WINDOW_MAX`] while its reader keeps
//!   up and the connection's [`Budget`] allows it; a stream's end gives its window back;
//! - what is waiting for the encryptor is about [`OUTBOUND_MAX`], shared in turns, and a small write does not wait for
//!   its turn, so that a small stream never queues behind a large one for long;
//! - a stream over the limit is reset, the connection lives;
//! - a reset carries its code; the connection's loss is an error on every stream.
//!
//! One task drives a connection (`driver`); streams meet it in `state` under one short lock.

mod driver;
mod frame;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod state;
mod stream;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use crate::budget::Budget;
use crate::code::Code;
use crate::sync::Mutex;
use crate::transport::Traffic;
use state::State;
pub use stream::MuxStream;

/// The window of a new stream in each direction, in bytes; part of the wire.
pub const INITIAL_WINDOW: u32 = 32 * 1024;

/// The most that a stream's window grows to, in bytes.
pub const STREAM_WINDOW_MAX: u32 = 4 * 1024 * 1024;

/// The most that one connection's windows sum up to, in bytes.
pub const CONNECTION_WINDOW_MAX: usize = 64 * 1024 * 1024;

/// What waits for the encryptor before streams have to wait for their turn, in bytes, over all streams of a connection.
/// Small writes may double it.
pub const OUTBOUND_MAX: usize = 64 * 1024;

/// Which end of the connection this is: decides the numbers of the streams that it opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one that dialled: odd numbers.
    Client,
    /// The one that was dialled: even numbers.
    Server,
}

/// How many streams may be open at once, by who opened them.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Opened by the other side. One more is reset with [`Code::Overloaded`].
    pub inbound: usize,
    /// Opened by this side. One more is refused here.
    pub outbound: usize,
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// This side closed it.
    #[error("closed by this side: {code}: {reason}")]
    Here {
        /// Why.
        code: Code,
        /// In words.
        reason: String,
    },
    /// The other side closed it and said why.
    #[error("closed by the other side: {code}: {reason}")]
    There {
        /// Why.
        code: Code,
        /// In words.
        reason: String,
    },
    /// It was cut: no word from the other side.
    #[error("connection lost: {0}")]
    Lost(String),
}

/// Why no stream was opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The connection has ended.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// As many streams as are allowed are open.
    #[error("{0} streams are open on this connection, which is its limit")]
    TooMany(usize),
    /// The memory that may be promised to peers is used up.
    #[error("the memory that may be promised to agents for their streams is used up; try again")]
    NoMemory,
}

pub(crate) struct Shared {
    state: Mutex<State>,
    /// This side has said goodbye, which the driver bounds in time.
    goodbye: Notify,
    /// A stream is waiting to be accepted.
    arrived: Notify,
    closed: watch::Sender<Option<Closed>>,
    outbound: Arc<Semaphore>,
    limits: Limits,
    /// Bytes from the other side, and to it.
    heard: AtomicU64,
    said: AtomicU64,
}

/// One muxed connection. Clones share it; when the last one drops, it closes.
#[derive(Clone)]
pub struct Mux {
    shared: Arc<Shared>,
    _closer: Arc<Closer>,
}

struct Closer(Arc<Shared>);

impl Drop for Closer {
    fn drop(&mut self) {
        self.0.close(Code::Cancelled, "no longer used");
    }
}

impl Mux {
    /// A mux over `io`, and the future that drives it, which the caller spawns: it ends when the connection has.
    pub fn new<I>(
        io: I,
        side: Side,
        limits: Limits,
        budget: &Budget,
    ) -> (Self, impl Future<Output = ()> + Send + use<I>)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(
                side,
                limits.inbound,
                budget.child(CONNECTION_WINDOW_MAX),
            )),
            goodbye: Notify::new(),
            arrived: Notify::new(),
            closed: watch::Sender::new(None),
            outbound: Arc::new(Semaphore::new(limits.outbound)),
            limits,
            heard: AtomicU64::new(0),
            said: AtomicU64::new(0),
        });
        let driver = driver::drive(io, Arc::clone(&shared));
        let closer = Arc::new(Closer(Arc::clone(&shared)));
        (
            Self {
                shared,
                _closer: closer,
            },
            driver,
        )
    }

    /// Opens a stream. The other side sees it with the first bytes that are written.
    ///
    /// # Errors
    /// At once, when the connection has ended or a limit is reached; never waits.
    pub fn open(&self) -> Result<MuxStream, OpenError> {
        let permit = Arc::clone(&self.shared.outbound)
            .try_acquire_owned()
            .map_err(|_none_left| OpenError::TooMany(self.shared.limits.outbound))?;
        let key = self.shared.state.lock().open()?;
        Ok(MuxStream::new(Arc::clone(&self.shared), key, Some(permit)))
    }

    /// The next stream that the other side opened. Cancel safe.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn accept(&self) -> Result<MuxStream, Closed> {
        loop {
            let arrived = self.shared.arrived.notified();
            let accepted = self.shared.state.lock().accept()?;
            if let Some((key, more)) = accepted {
                if more {
                    // Several may have arrived for one notice; another acceptor may wait.
                    self.shared.arrived.notify_one();
                }
                return Ok(MuxStream::new(Arc::clone(&self.shared), key, None));
            }
            arrived.await;
        }
    }

    /// Ends the connection with a reason that the other side reads; streams that are open become errors.
    pub fn close(&self, code: Code, reason: &str) {
        self.shared.close(code, reason);
    }

    /// Waits until the connection has ended and says why.
    pub async fn closed(&self) -> Closed {
        let mut closed = self.shared.closed.subscribe();
        match closed
            .wait_for(Option::is_some)
            .await
            .map(|value| value.clone())
        {
            Ok(Some(closed)) => closed,
            _ => Closed::Lost("the connection is gone".to_owned()),
        }
    }

    /// What the connection has carried so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        Traffic {
            heard: self.shared.heard.load(Ordering::Relaxed),
            said: self.shared.said.load(Ordering::Relaxed),
        }
    }

    /// The bytes of window that the other side holds, over all streams.
    #[must_use]
    pub fn promised(&self) -> usize {
        self.shared.state.lock().promised()
    }
}

impl std::fmt::Debug for Mux {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mux")
            .field("limits", &self.shared.limits)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn close(&self, code: Code, reason: &str) {
        self.state.lock().close(code, reason);
        self.goodbye.notify_one();
    }

    /// Everything is over: whoever waits learns it.
    fn finished(&self, closed: &Closed) {
        self.state.lock().end(closed);
        self.closed.send_replace(Some(closed.clone()));
        self.arrived.notify_waiters();
    }
}

/// Held by a stream that this side opened, for as long as it lives.
type Permit = Option<OwnedSemaphorePermit>;

#[cfg(test)]
mod tests;

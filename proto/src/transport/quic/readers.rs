//! What readers leave lying, and how it is kept from stalling their connection.
//!
//! quinn's stream windows are fixed and alike, and what lies unread counts against the connection's window as well. So
//! readers that have stopped can use that up between them, and then nobody on the connection receives anything, the
//! heartbeat of the session included. (A mux has no such trouble: its windows are small until a reader proves fast.) The
//! peer says when it comes to that (`DATA_BLOCKED`, RFC 9000 section 4.1). Then the connection gets more, if there is
//! more to be had ([`super::share`]). Where there is not, and it stays so, what was left unread the longest is given up
//! with [`Code::Overloaded`], until the rest can go on.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use quinn::{StreamId, VarInt};
use tokio::io::ReadBuf;
use tokio::time::Instant;

use super::super::BrokenStream;
use super::share::Shares;
use super::stream::read_error;
use crate::code::Code;
use crate::sync::Mutex;

/// How often the connection of a crowd is looked at. It is stalled when it gives the peer nothing from one look to the
/// next although that is blocked, so nobody has to wait for longer than two.
const LOOK: Duration = Duration::from_millis(250);

/// What was read from within this time was not left lying.
const LEFT: Duration = Duration::from_secs(1);

/// The least number of streams that are given up at once.
const STEP: usize = 16;

/// The readers of one connection.
#[derive(Debug)]
pub(super) struct Readers {
    connection: quinn::Connection,
    shares: Arc<Shares>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    readers: HashMap<StreamId, Arc<Reader>>,
    /// A task looks at the connection from time to time.
    watched: bool,
}

/// The receiving half of one stream.
#[derive(Debug)]
pub(super) struct Reader(Mutex<Recv>);

#[derive(Debug)]
struct Recv {
    stream: quinn::RecvStream,
    /// Something may lie here, and was last read from then.
    unread: Option<Instant>,
    given_up: bool,
}

impl Readers {
    pub(super) fn new(connection: quinn::Connection, shares: Arc<Shares>) -> Arc<Self> {
        Arc::new(Self {
            connection,
            shares,
            open: Mutex::default(),
        })
    }

    pub(super) fn connection(&self) -> &quinn::Connection {
        &self.connection
    }

    pub(super) fn add(self: &Arc<Self>, stream: quinn::RecvStream) -> Arc<Reader> {
        let id = stream.id();
        let reader = Arc::new(Reader(Mutex::new(Recv {
            stream,
            unread: Some(Instant::now()),
            given_up: false,
        })));
        let mut open = self.open.lock();
        open.readers.insert(id, Arc::clone(&reader));
        if !open.watched && self.is_crowd(&open) {
            open.watched = true;
            // Like quinn's own tasks it ends with the connection, whoever forgets it.
            tokio::spawn(watch(Arc::downgrade(self), self.connection.clone()));
        }
        reader
    }

    pub(super) fn remove(&self, id: StreamId) {
        self.open.lock().readers.remove(&id);
    }

    /// Its first stream is the control stream, which alone is no crowd.
    fn is_crowd(&self, open: &Open) -> bool {
        open.readers.len() > 1 && self.shares.is_crowded(open.readers.len())
    }

    /// Whether to go on watching.
    fn is_crowded(&self) -> bool {
        let mut open = self.open.lock();
        open.watched = self.is_crowd(&open);
        if !open.watched {
            self.shares.narrow();
        }
        open.watched
    }

    /// Gives up a quarter of the streams that were left lying, the longest first.
    fn relieve(&self) {
        let readers: Vec<_> = self.open.lock().readers.values().cloned().collect();
        let mut left: Vec<_> = readers
            .iter()
            .filter_map(|reader| Some((reader.left()?, reader)))
            .collect();
        left.sort_unstable_by_key(|(since, _)| *since);
        let count = STEP.max(left.len() / 4);
        tracing::debug!(
            streams = readers.len(),
            left = left.len(),
            "readers that have stopped hold up a connection: giving up the oldest of them"
        );
        for (_, reader) in left.into_iter().take(count) {
            reader.give_up();
        }
    }
}

/// Looks after a connection for as long as it is crowded.
async fn watch(readers: Weak<Readers>, connection: quinn::Connection) {
    let mut blocked = connection.stats().frame_rx.data_blocked;
    // How often window was given when the peer was first seen blocked.
    let mut since: Option<u64> = None;
    loop {
        tokio::select! {
            _ = connection.closed() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let Some(readers) = readers.upgrade().filter(|readers| readers.is_crowded()) else {
            return;
        };
        let stats = connection.stats();
        let given = stats.frame_tx.max_data;
        if since == Some(given) {
            readers.relieve();
        } else if stats.frame_rx.data_blocked > blocked && !readers.shares.widen() {
            since = Some(given);
        } else {
            since = None;
        }
        blocked = stats.frame_rx.data_blocked;
    }
}

impl Reader {
    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut recv = self.0.lock();
        if recv.given_up {
            return Poll::Ready(Err(BrokenStream::Reset(Code::Overloaded).into()));
        }
        let before = buf.filled().len();
        let read = recv.stream.poll_read_buf(cx, buf);
        recv.unread = (buf.filled().len() > before).then(Instant::now);
        read.map_err(read_error)
    }

    /// Nobody reads it any more; the other side is told `code`. An error means that it has ended already.
    pub(super) fn stop(&self, code: Code) {
        let _ = self.0.lock().stream.stop(VarInt::from_u32(code.number()));
    }

    /// Since when something may have been left lying.
    fn left(&self) -> Option<Instant> {
        let recv = self.0.lock();
        recv.unread
            .filter(|since| since.elapsed() > LEFT && !recv.given_up)
    }

    fn give_up(&self) {
        self.0.lock().given_up = true;
        self.stop(Code::Overloaded);
    }
}

//! Connections to nodes that wait for the next request. The newest is taken first, so that what a quiet
//! hour does not need ages and goes.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use edge_tunnel_proto::id::{NodeName, Target};
use edge_tunnel_proto::sync::Mutex;
use hyper::client::conn::http1::SendRequest;
use prometheus_client::metrics::gauge::Gauge;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::body::Outgoing;

/// How many wait for one target, and in all.
const PER_TARGET: usize = 64;
const IN_ALL: usize = 1024;

/// What a connection leads to.
pub(super) type Key = (NodeName, Target);

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Pool {
    state: Arc<Mutex<State>>,
    gauge: Gauge,
    idle_limit: Duration,
}

#[derive(Default)]
struct State {
    /// The oldest first.
    idle: HashMap<Key, VecDeque<Idle>>,
    count: usize,
    closed: bool,
}

/// A connection to a node.
pub(super) struct Connection {
    pub(super) sender: SendRequest<Outgoing>,
    /// Cancelled when the session under it is to end: then it does not wait for another request.
    pub(super) retired: CancellationToken,
}

impl Connection {
    fn is_good(&self) -> bool {
        self.sender.is_ready() && !self.retired.is_cancelled()
    }
}

struct Idle {
    connection: Connection,
    since: Instant,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("count", &self.state.lock().count)
            .finish_non_exhaustive()
    }
}

impl Pool {
    pub(super) fn new(idle_limit: Duration, gauge: Gauge) -> Self {
        Self {
            state: Arc::default(),
            gauge,
            idle_limit,
        }
    }

    /// A connection that was clean when last seen.
    pub(super) fn take(&self, key: &Key) -> Option<Connection> {
        let mut state = self.state.lock();
        let queue = state.idle.get_mut(key)?;
        let mut taken = 0;
        let found = loop {
            let Some(idle) = queue.pop_back() else {
                break None;
            };
            taken += 1;
            if idle.connection.is_good() && idle.since.elapsed() < self.idle_limit {
                break Some(idle.connection);
            }
        };
        if queue.is_empty() {
            state.idle.remove(key);
        }
        state.count -= taken;
        self.show(&state);
        found
    }

    /// Keeps a connection that is ready for the next request, where there is room.
    pub(super) fn put(&self, key: Key, connection: Connection) {
        let mut state = self.state.lock();
        if state.closed || state.count >= IN_ALL || !connection.is_good() {
            return;
        }
        let queue = state.idle.entry(key).or_default();
        if queue.len() < PER_TARGET {
            queue.push_back(Idle {
                connection,
                since: Instant::now(),
            });
            state.count += 1;
        }
        self.show(&state);
    }

    /// Drops what waited too long, was closed at its far end, or holds up the end of its session.
    pub(super) fn sweep(&self) {
        let mut state = self.state.lock();
        let limit = self.idle_limit;
        state.idle.retain(|_, queue| {
            queue.retain(|idle| idle.connection.is_good() && idle.since.elapsed() < limit);
            !queue.is_empty()
        });
        state.count = state.idle.values().map(VecDeque::len).sum();
        self.show(&state);
    }

    /// Drops all, and keeps none from now on.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        *state = State {
            closed: true,
            ..State::default()
        };
        self.show(&state);
    }

    fn show(&self, state: &State) {
        self.gauge
            .set(i64::try_from(state.count).unwrap_or(i64::MAX));
    }
}

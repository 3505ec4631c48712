//! Connects to a target that the policy allowed: bounded in time, in pending dials per target and in all, with an
//! honest answer when it fails. A burst to one target waits its turn, so that only a target that does not answer fails.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use edge_tunnel_proto::code::Code;
use edge_tunnel_proto::id::NodeName;
use edge_tunnel_proto::identity::Live;
use edge_tunnel_proto::sync::Mutex;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;

pub use metrics::Metrics;

mod metrics;

/// When an idle connection to a target is probed: a target that vanished without a word is found after about two
/// minutes, however long a stream is quiet.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);

/// What bounds dialling.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long one connect may take where the opener does not say.
    pub timeout: Duration,
    /// How long at most, whatever the opener says. Whoever waits for longer asks again.
    pub timeout_max: Duration,
    /// How many connects to one address may be under way; more wait, within their time.
    pub pending_per_target: usize,
    /// How many connects may be under way in all.
    pub pending: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            // Above what an operator would have a caller wait for, and below the two minutes after which Linux gives a
            // connect up (tcp_syn_retries, tcp(7)): the words are ours then.
            timeout_max: Duration::from_secs(60),
            pending_per_target: 64,
            pending: 1024,
        }
    }
}

/// Why a target could not be reached. One line, names the node and the target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DialError {
    /// The reason, as it travels to the server.
    pub code: Code,
    /// The same in words.
    pub message: String,
}

/// Dials for all streams of an agent. Cheap to clone; clones share the bounds.
#[derive(Clone, Debug)]
pub struct Dialer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    node: Live<NodeName>,
    limits: Limits,
    pending: Mutex<Pending>,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Pending {
    total: usize,
    by_target: HashMap<SocketAddr, Queue>,
}

/// Who dials one target, or waits to.
#[derive(Debug)]
struct Queue {
    places: Arc<Semaphore>,
    users: usize,
}

impl Dialer {
    /// A dialer on `node`.
    #[must_use]
    pub fn new(node: Live<NodeName>, limits: Limits, metrics: Metrics) -> Self {
        Self(Arc::new(Inner {
            node,
            limits,
            pending: Mutex::default(),
            metrics,
        }))
    }

    /// Connects to `address` within `deadline`, which is the opener's to say, up to a limit of this agent's own; see
    /// [`Limits`]. The connection has no delay (RFC 896 off) and keep-alive probes. Dropping the future gives the dial
    /// up.
    ///
    /// # Errors
    /// [`DialError`] with [`Code::Overloaded`] beyond the bounds: at once where it is all dials that are too many, at the
    /// end of its time where it is those to this target. Else whatever the connect came to.
    pub async fn dial(
        &self,
        address: SocketAddr,
        deadline: Option<Duration>,
    ) -> Result<TcpStream, DialError> {
        self.dial_by(address, deadline, async || {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE)?;
            Ok(stream)
        })
        .await
    }

    async fn dial_by<T>(
        &self,
        address: SocketAddr,
        deadline: Option<Duration>,
        connect: impl AsyncFnOnce() -> io::Result<T>,
    ) -> Result<T, DialError> {
        let began = Instant::now();
        let Limits {
            timeout,
            timeout_max,
            ..
        } = self.0.limits;
        let limit = deadline.unwrap_or(timeout).min(timeout_max);
        let mut its_turn = false;
        let work = async {
            let turn = self.turn(address);
            let places = Arc::clone(&turn.places);
            let _place = places
                .acquire()
                .await
                .expect("the semaphore is never closed");
            let _pending = self.reserve()?;
            its_turn = true;
            connect()
                .await
                .map_err(|error| self.failed(address, &error))
        };
        let outcome = match tokio::time::timeout(limit, work).await {
            Ok(outcome) => outcome,
            Err(_elapsed) if its_turn => Err(self.error(
                Code::TimedOut,
                &format!("{address} did not answer within {limit:?}"),
            )),
            Err(_elapsed) => Err(self.crowded(address)),
        };
        self.0.metrics.dialled(
            outcome.as_ref().err().map(|error| error.code),
            began.elapsed(),
        );
        outcome
    }

    /// Lines up for a target, for as long as the answer lives.
    fn turn(&self, address: SocketAddr) -> Turn<'_> {
        let mut pending = self.0.pending.lock();
        let queue = pending.by_target.entry(address).or_insert_with(|| Queue {
            places: Arc::new(Semaphore::new(self.0.limits.pending_per_target)),
            users: 0,
        });
        queue.users += 1;
        Turn {
            places: Arc::clone(&queue.places),
            dialer: &self.0,
            address,
        }
    }

    /// Takes a place among all pending dials, for as long as the answer lives.
    fn reserve(&self) -> Result<Reservation<'_>, DialError> {
        let most = self.0.limits.pending;
        let mut pending = self.0.pending.lock();
        if pending.total >= most {
            let why =
                format!("{most} dials are under way already, the most this agent makes at once");
            return Err(self.error(Code::Overloaded, &why));
        }
        pending.total += 1;
        self.0.metrics.pending.inc();
        Ok(Reservation { dialer: &self.0 })
    }

    fn crowded(&self, address: SocketAddr) -> DialError {
        let most = self.0.limits.pending_per_target;
        let why = format!(
            "{most} dials to {address} are under way already and unanswered; is the target stuck?"
        );
        self.error(Code::Overloaded, &why)
    }

    fn failed(&self, address: SocketAddr, error: &io::Error) -> DialError {
        let (code, what) = classify(error);
        self.error(code, &format!("{address}: {what}"))
    }

    fn error(&self, code: Code, what: &str) -> DialError {
        DialError {
            code,
            message: format!("node {}: {what}", self.0.node.get()),
        }
    }
}

struct Turn<'a> {
    places: Arc<Semaphore>,
    dialer: &'a Inner,
    address: SocketAddr,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut pending = self.dialer.pending.lock();
        if let Entry::Occupied(mut queue) = pending.by_target.entry(self.address) {
            queue.get_mut().users -= 1;
            if queue.get().users == 0 {
                queue.remove();
            }
        }
    }
}

struct Reservation<'a> {
    dialer: &'a Inner,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.dialer.pending.lock().total -= 1;
        self.dialer.metrics.pending.dec();
    }
}

/// `errno(3)`: the process's, and the system's, table of files is full. The same numbers on every Unix.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

/// What a failed connect means, and what to do about it.
fn classify(error: &io::Error) -> (Code, String) {
    if matches!(error.raw_os_error(), Some(EMFILE | ENFILE)) {
        let what = "the agent is out of file descriptors; raise its LimitNOFILE (ulimit -n)";
        return (Code::TooManyOpenFiles, what.to_owned());
    }
    let (code, what) = match error.kind() {
        io::ErrorKind::ConnectionRefused => (
            Code::ConnectionRefused,
            "connection refused: nothing listens there",
        ),
        io::ErrorKind::HostUnreachable => (Code::Unreachable, "no route to host"),
        io::ErrorKind::NetworkUnreachable => (Code::Unreachable, "network unreachable"),
        io::ErrorKind::TimedOut => (Code::TimedOut, "no answer: the system gave the connect up"),
        io::ErrorKind::ConnectionReset => {
            (Code::Reset, "the connection was reset while it was made")
        }
        io::ErrorKind::PermissionDenied => (
            Code::NotAllowed,
            "the node's packet filter or security policy forbids the connect",
        ),
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::ResourceBusy => (
            Code::Overloaded,
            "the node has no free local port for another connection",
        ),
        io::ErrorKind::OutOfMemory => (
            Code::Overloaded,
            "the node is out of memory for another connection",
        ),
        _ => return (Code::Internal, error.to_string()),
    };
    (code, what.to_owned())
}

#[cfg(test)]
mod tests;

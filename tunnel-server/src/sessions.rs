//! Who is connected: the live session of each node, and when the last one of a node that has none ended.
//!
//! A session is entered by [`Sessions::claim`] under an epoch; the guard that this gives removes that epoch and no
//! other, so an old session's end never removes its successor.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use edge_tunnel_proto::clock::Clock;
use edge_tunnel_proto::code::Code;
use edge_tunnel_proto::heartbeat::PROBE;
use edge_tunnel_proto::id::{InstanceId, NodeName};
use edge_tunnel_proto::sync::Mutex;
use edge_tunnel_proto::transport::{Lane, Transport};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::identity::Holder;

/// A live session: the link to one agent. It has one lane; the place for more is here.
#[derive(Debug)]
pub struct Session {
    /// Whose, by its certificate.
    pub holder: Holder,
    /// Which start of the agent's process.
    pub instance: InstanceId,
    /// Since when.
    pub since: SystemTime,
    /// Where the agent's connection comes from.
    pub remote: SocketAddr,
    /// The agent's build.
    pub build: String,
    /// What carries it.
    pub lane: Lane,
    /// The streams that are open; a token of it counts one.
    pub streams: TaskTracker,
    pub(crate) probe: Notify,
    pub(crate) heard: watch::Sender<Instant>,
    pub(crate) rtt_micros: AtomicU64,
    ending: watch::Sender<Option<(Code, String)>>,
    /// The agent has said that it retires this session: no new streams.
    pub(crate) retired: CancellationToken,
}

impl Session {
    /// A session that was just introduced.
    #[must_use]
    pub fn new(
        holder: Holder,
        instance: InstanceId,
        since: SystemTime,
        remote: SocketAddr,
        build: String,
        lane: Lane,
    ) -> Self {
        Self {
            holder,
            instance,
            since,
            remote,
            build,
            lane,
            streams: TaskTracker::new(),
            probe: Notify::new(),
            heard: watch::Sender::new(Instant::now()),
            rtt_micros: AtomicU64::new(0),
            ending: watch::Sender::new(None),
            retired: CancellationToken::new(),
        }
    }

    /// What carries it.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.lane.transport()
    }

    /// The last measured round trip.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        let micros = self.rtt_micros.load(Ordering::Relaxed);
        (micros > 0).then(|| Duration::from_micros(micros))
    }

    /// An answer is awaited: finds out within 3 s whether the link is alive. A dead one is dropped by its own task.
    pub fn probe(&self) {
        self.probe.notify_one();
    }

    /// Probes, and waits for the outcome.
    async fn answers(&self) -> bool {
        let mut heard = self.heard.subscribe();
        self.probe();
        tokio::select! {
            changed = heard.changed() => changed.is_ok(),
            _closed = self.lane.closed() => false,
            () = tokio::time::sleep(PROBE + Duration::from_millis(200)) => false,
        }
    }

    /// Ends the session and with it its streams; the agent is told why.
    pub fn end(&self, code: Code, reason: impl Into<String>) {
        self.ending.send_if_modified(|ending| {
            let first = ending.is_none();
            if first {
                *ending = Some((code, reason.into()));
            }
            first
        });
    }

    /// Waits until [`Session::end`] was called.
    pub(crate) async fn told_to_end(&self) -> (Code, String) {
        let mut ending = self.ending.subscribe();
        let told = match ending.wait_for(Option::is_some).await {
            Ok(ending) => ending.clone(),
            Err(_gone) => None,
        };
        told.unwrap_or_else(|| (Code::Internal, "the session is gone".to_owned()))
    }
}

/// A node's last session has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// When.
    pub at: SystemTime,
}

/// Another host with the same identity is connected and answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "node {node} is connected from {first} already and answers there; this connection comes from {second}. Two hosts \
     hold one identity: give one of them another name and a certificate of its own"
)]
pub struct SecondHost {
    /// The identity.
    pub node: NodeName,
    /// Where the live session comes from.
    pub first: SocketAddr,
    /// Where the refused one comes from.
    pub second: SocketAddr,
}

/// The registry. Cheap to clone; clones share it.
#[derive(Debug, Clone)]
pub struct Sessions(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    nodes: Mutex<BTreeMap<NodeName, Entry>>,
    epochs: AtomicU64,
    clock: Clock,
}

/// At most one a registered node: only a certificate of ours leads here.
#[derive(Debug, Default)]
struct Entry {
    current: Option<(u64, Arc<Session>)>,
    left: Option<Left>,
}

/// A session's place in the registry, until it drops.
#[derive(Debug)]
#[must_use = "dropping it takes the session out of the registry"]
pub struct Registered {
    sessions: Sessions,
    node: NodeName,
    epoch: u64,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let left = Left {
            at: self.sessions.0.clock.now(),
        };
        let mut nodes = self.sessions.0.nodes.lock();
        if let Some(entry) = nodes.get_mut(&self.node)
            && entry
                .current
                .take_if(|(epoch, _)| *epoch == self.epoch)
                .is_some()
        {
            entry.left = Some(left);
        }
    }
}

impl Sessions {
    /// Nobody is connected yet.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self(Arc::new(Inner {
            nodes: Mutex::default(),
            epochs: AtomicU64::new(1),
            clock,
        }))
    }

    /// Enters `session` as its node's current one.
    ///
    /// A session of the same agent process is replaced at once: that agent has dialled anew, and what still flows on
    /// the old link may end there. A session of another process is probed first, for up to 3 s.
    ///
    /// # Errors
    /// When another process holds the identity and answers.
    pub async fn claim(&self, session: &Arc<Session>) -> Result<Registered, SecondHost> {
        let node = &session.holder.node;
        loop {
            let old = match self.enter(session, None) {
                Ok(registered) => return Ok(registered),
                Err(old) => old,
            };
            let (epoch, old) = old;
            if old.instance == session.instance {
                if let Ok(registered) = self.enter(session, Some(epoch)) {
                    // Should that link be dead, its own task finds out now.
                    old.probe();
                    return Ok(registered);
                }
                continue;
            }
            if old.answers().await {
                return Err(SecondHost {
                    node: node.clone(),
                    first: old.remote,
                    second: session.remote,
                });
            }
            old.end(
                Code::Revoked,
                format!("another agent with the identity of node {node} connected from {} while this one did not answer", session.remote),
            );
            if let Ok(registered) = self.enter(session, Some(epoch)) {
                return Ok(registered);
            }
        }
    }

    /// Enters `session` where nobody is, or where the current one has the epoch `over`.
    fn enter(
        &self,
        session: &Arc<Session>,
        over: Option<u64>,
    ) -> Result<Registered, (u64, Arc<Session>)> {
        let node = &session.holder.node;
        let mut nodes = self.0.nodes.lock();
        let entry = nodes.entry(node.clone()).or_default();
        if let Some((epoch, current)) = &entry.current
            && over != Some(*epoch)
        {
            return Err((*epoch, Arc::clone(current)));
        }
        let epoch = self.0.epochs.fetch_add(1, Ordering::Relaxed);
        entry.current = Some((epoch, Arc::clone(session)));
        drop(nodes);
        Ok(Registered {
            sessions: self.clone(),
            node: node.clone(),
            epoch,
        })
    }

    /// The live session of a node, if it takes streams.
    #[must_use]
    pub fn get(&self, node: &NodeName) -> Option<Arc<Session>> {
        let nodes = self.0.nodes.lock();
        let (_, session) = nodes.get(node)?.current.as_ref()?;
        (!session.retired.is_cancelled()).then(|| Arc::clone(session))
    }

    /// When the last session of a node ended, where this process has seen that.
    #[must_use]
    pub fn left(&self, node: &NodeName) -> Option<Left> {
        self.0.nodes.lock().get(node)?.left
    }

    /// Every live session, in the order of names.
    #[must_use]
    pub fn live(&self) -> Vec<Arc<Session>> {
        let nodes = self.0.nodes.lock();
        nodes
            .values()
            .filter_map(|entry| entry.current.as_ref())
            .map(|(_, session)| Arc::clone(session))
            .collect()
    }
}

#[cfg(test)]
mod tests;

//! Who is connected: the live session of each node. What becomes of them is noted in [`Visits`].
//!
//! A session is entered by [`Sessions::claim`] under an epoch; the guard that this gives removes that epoch and no
//! other, so an old session's end never removes its successor.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use edge_tunnel_proto::clock::Clock;
use edge_tunnel_proto::code::Code;
use edge_tunnel_proto::id::NodeName;
use edge_tunnel_proto::sync::Mutex;

use crate::identity::{Visit, Visits};

pub use session::Session;

pub(crate) mod openings;
mod session;

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
    nodes: Mutex<Nodes>,
    epochs: AtomicU64,
    clock: Clock,
    visits: Visits,
}

/// At most one entry a registered node: only a certificate of ours leads here.
type Nodes = BTreeMap<NodeName, Entry>;

#[derive(Debug, Default)]
struct Entry {
    current: Option<(u64, Arc<Session>)>,
    /// Every session that has not ended, by epoch: those that were replaced and still have streams as well.
    running: BTreeMap<u64, Arc<Session>>,
}

/// A session's place in the registry, until it drops.
#[derive(Debug)]
#[must_use = "dropping it takes the session out of the registry"]
pub struct Registered {
    sessions: Sessions,
    node: NodeName,
    epoch: u64,
    /// Why it ended, once that is known.
    reason: Option<String>,
}

impl Registered {
    /// Leaves, for this reason.
    pub fn leave(mut self, reason: String) {
        self.reason = Some(reason);
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let Inner { clock, visits, .. } = &*self.sessions.0;
        // A task that is broken off says nothing.
        let reason = self.reason.as_deref().unwrap_or("the server stopped");
        let mut nodes = self.sessions.0.nodes.lock();
        let Some(entry) = nodes.get_mut(&self.node) else {
            return;
        };
        entry.running.remove(&self.epoch);
        let Some((_, own)) = entry.current.take_if(|(epoch, _)| *epoch == self.epoch) else {
            return;
        };
        // One that never got going may have replaced one that still runs: that takes over again.
        let mut others = entry.running.iter().rev();
        let other = others.find(|(_, session)| !session.retired.is_cancelled());
        entry.current = other.map(|(epoch, session)| (*epoch, Arc::clone(session)));
        visits.note(
            &self.node,
            match &entry.current {
                Some((_, other)) => Visit::begun(other.since, other.remote),
                None => Visit::begun(own.since, own.remote).ended(clock.now(), reason),
            },
        );
    }
}

impl Sessions {
    /// Nobody is connected yet.
    #[must_use]
    pub fn new(clock: Clock, visits: Visits) -> Self {
        Self(Arc::new(Inner {
            nodes: Mutex::default(),
            epochs: AtomicU64::new(1),
            clock,
            visits,
        }))
    }

    /// Enters `session` as its node's current one.
    ///
    /// A session of the same agent process is replaced at once: that agent has dialled anew, and what still flows on
    /// the old link may end there. So is one that its agent has retired: that process goes, and its next start need not
    /// wait for its last stream. Any other session of another process is probed first, for up to 3 s.
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
            if old.instance == session.instance || old.retired.is_cancelled() {
                if let Ok(registered) = self.enter(session, Some(epoch)) {
                    // Should that link be dead, its own task finds out now.
                    old.probe();
                    return Ok(registered);
                }
                continue;
            }
            old.contest(Some(session.remote));
            if old.answers().await {
                old.contest(None);
                return Err(SecondHost {
                    node: node.clone(),
                    first: old.remote,
                    second: session.remote,
                });
            }
            // Its own task may have found out first, and says the same. Not `Revoked`: the identity is as good as before,
            // and no token would mend this.
            old.end(Code::NotAllowed, old.lost_to(session.remote));
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
        entry.running.insert(epoch, Arc::clone(session));
        let visit = Visit::begun(session.since, session.remote);
        self.0.visits.note(node, visit);
        drop(nodes);
        Ok(Registered {
            sessions: self.clone(),
            node: node.clone(),
            epoch,
            reason: None,
        })
    }

    /// The live session of a node, if it takes streams.
    #[must_use]
    pub fn get(&self, node: &NodeName) -> Option<Arc<Session>> {
        let nodes = self.0.nodes.lock();
        let (_, session) = nodes.get(node)?.current.as_ref()?;
        (!session.retired.is_cancelled()).then(|| Arc::clone(session))
    }

    /// How many nodes are connected.
    #[must_use]
    pub fn connected(&self) -> usize {
        let nodes = self.0.nodes.lock();
        let current = nodes.values().filter(|entry| entry.current.is_some());
        current.count()
    }

    /// Every session that has not ended, replaced ones too, in the order of their nodes' names.
    #[must_use]
    pub fn running(&self) -> Vec<Arc<Session>> {
        let nodes = self.0.nodes.lock();
        let running = nodes.values().flat_map(|entry| entry.running.values());
        running.cloned().collect()
    }
}

#[cfg(test)]
mod tests;

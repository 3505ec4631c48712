//! When each node was last here, so that whoever asks for one that is away learns since when, why, and from where it came.
//!
//! In memory for every refusal; in the store, a file of its own that is written when something has changed, so that a
//! restart forgets nothing. Nothing is judged by it: where it cannot be read or written, only the words get poorer.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use edge_tunnel_proto::id::NodeName;
use edge_tunnel_proto::message::capped;
use edge_tunnel_proto::sync::Mutex;
use serde::{Deserialize, Serialize};

use super::registrations::{Registrations, instant, millis};
use super::store::{Key, Store, StoreError};

/// How much of the reason for an end is kept, in bytes.
const REASON_MAX: usize = 200;

/// A node's last session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visit {
    /// When it began, in milliseconds since 1970.
    since: u64,
    /// Where the agent's connection came from.
    pub remote: SocketAddr,
    /// How it ended; `None`: it lasts, or did when the server that saw it was last able to write.
    pub left: Option<Left>,
    /// Whether this process has seen it.
    #[serde(skip)]
    pub here: bool,
}

/// The end of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// When, in milliseconds since 1970.
    at: u64,
    /// Why, in words without control characters.
    pub reason: String,
}

impl Visit {
    /// A session that has just begun.
    #[must_use]
    pub fn begun(since: SystemTime, remote: SocketAddr) -> Self {
        Self {
            since: millis(since),
            remote,
            left: None,
            here: true,
        }
    }

    /// The same, ended.
    #[must_use]
    pub fn ended(self, at: SystemTime, reason: &str) -> Self {
        let reason = capped(reason, REASON_MAX).replace(char::is_control, " ");
        let at = millis(at);
        Self {
            left: Some(Left { at, reason }),
            ..self
        }
    }

    /// As it is read from the store.
    #[cfg(test)]
    pub(crate) fn of_an_earlier_start(self) -> Self {
        Self {
            here: false,
            ..self
        }
    }

    /// When it began.
    #[must_use]
    pub fn since(&self) -> SystemTime {
        instant(self.since)
    }

    /// When the node was last known to be here.
    #[must_use]
    pub fn last_seen(&self) -> SystemTime {
        self.left.as_ref().map_or(self.since(), Left::at)
    }
}

impl Left {
    /// When it ended.
    #[must_use]
    pub fn at(&self) -> SystemTime {
        instant(self.at)
    }
}

/// The last session of every node that had one. Cheap to clone; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Visits(Arc<Inner>);

/// At most one entry a registered node: only a certificate of ours leads here.
#[derive(Debug, Default)]
struct Inner {
    nodes: Mutex<HashMap<NodeName, Visit>>,
    changed: AtomicBool,
}

impl Visits {
    /// What the store has. What it has not, or cannot give, is not known: no reason to keep a server from its start.
    pub(super) fn read(store: &Store) -> Self {
        let this = Self::default();
        match store.read::<HashMap<String, Visit>>(&Key::visits()) {
            Ok(read) => {
                let read = read.map(|(visits, _)| visits).unwrap_or_default();
                let named = |(name, visit): (String, Visit)| Some((name.parse().ok()?, visit));
                *this.0.nodes.lock() = read.into_iter().filter_map(named).collect();
            }
            Err(error) => {
                tracing::warn!(%error, "when nodes were last here is not known: it is noted anew from now on");
            }
        }
        this
    }

    /// Writes what has changed since the last time, of nodes that are registered. Blocks for some file operations.
    pub(super) fn save(
        &self,
        store: &Store,
        registrations: &Registrations,
    ) -> Result<(), StoreError> {
        if !self.0.changed.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let mut nodes = self.0.nodes.lock().clone();
        nodes.retain(|node, _| registrations.get(node).is_some());
        let nodes: HashMap<&str, Visit> = nodes
            .iter()
            .map(|(node, visit)| (node.as_str(), visit.clone()))
            .collect();
        let written = store.put(&Key::visits(), &nodes);
        if written.is_err() {
            self.0.changed.store(true, Ordering::Relaxed);
        }
        written
    }

    /// The last session of `node`.
    #[must_use]
    pub fn get(&self, node: &NodeName) -> Option<Visit> {
        self.0.nodes.lock().get(node).cloned()
    }

    /// The last session of `node` is now this one, or stands so.
    pub fn note(&self, node: &NodeName, visit: Visit) {
        self.0.nodes.lock().insert(node.clone(), visit);
        self.0.changed.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use edge_tunnel_proto::clock::Clock;
    use edge_tunnel_proto::id::RegistrationId;

    use super::*;

    fn node(name: &str) -> NodeName {
        name.parse().unwrap()
    }

    fn second(number: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(number)
    }

    fn visit() -> Visit {
        Visit::begun(second(5), "192.0.2.7:4711".parse().unwrap())
    }

    #[test]
    fn what_was_noted_of_registered_nodes_outlives_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let registrations = Registrations::open(store.clone(), Clock::fixed(second(1))).unwrap();
        for name in ["gone", "here"] {
            let id = RegistrationId(1);
            registrations
                .register(&node(name), id, None, second(1))
                .unwrap();
        }
        let visits = Visits::read(&store);
        visits.note(&node("gone"), visit().ended(second(9), "the agent\nleft"));
        visits.note(&node("here"), visit());
        visits.note(&node("never-registered"), visit());
        visits.save(&store, &registrations).unwrap();

        let again = Visits::read(&store);
        let gone = again.get(&node("gone")).unwrap();
        assert!(!gone.here);
        assert_eq!(
            (gone.since(), gone.last_seen(), gone.remote),
            (second(5), second(9), visit().remote)
        );
        assert_eq!(gone.left.unwrap().reason, "the agent left");
        let here = again.get(&node("here")).unwrap();
        assert_eq!((here.left.as_ref(), here.last_seen()), (None, second(5)));
        assert_eq!(again.get(&node("never-registered")), None);
    }

    #[test]
    fn what_cannot_be_read_is_begun_anew_and_what_cannot_be_written_is_written_later() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let registrations = Registrations::open(store.clone(), Clock::fixed(second(1))).unwrap();
        registrations
            .register(&node("edge-1"), RegistrationId(1), None, second(1))
            .unwrap();
        let file = folder.path().join("visits");
        std::fs::create_dir(&file).unwrap();
        let visits = Visits::read(&store);
        visits.note(&node("edge-1"), visit());
        assert!(visits.save(&store, &registrations).is_err());
        std::fs::remove_dir(&file).unwrap();
        std::fs::write(&file, "{\"half").unwrap();
        visits.save(&store, &registrations).unwrap();
        assert!(Visits::read(&store).get(&node("edge-1")).is_some());
    }
}

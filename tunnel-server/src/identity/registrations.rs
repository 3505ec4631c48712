//! Which registration of a node is its current one. Only the holder of that may connect; to revoke or to replace it
//! ends the old holder's sessions at once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use edge_tunnel_proto::clock::Clock;
use edge_tunnel_proto::id::{NodeName, RegistrationId};
use edge_tunnel_proto::sync::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use self::cluster::Cluster;
use super::store::{Key, Kind, Store, StoreError};
use super::text;

mod cluster;

/// How many ended registrations a slow listener may be behind before it has to look at all its sessions.
const ENDED_BACKLOG: usize = 256;

/// Why a registration was not changed.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is nothing to revoke.
    #[error("node {0} is not registered here; `edge-tunnel-server nodes` lists those that are")]
    Unknown(NodeName),
    /// Someone else registered it, or it was revoked, in the meantime.
    #[error(
        "node {0} was registered anew or revoked in the meantime; create a new token for it if it should join"
    )]
    Moved(NodeName),
}

/// What is known of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Its latest registration.
    #[serde(serialize_with = "text::write", deserialize_with = "text::read")]
    pub id: RegistrationId,
    /// When that was made, in milliseconds since 1970.
    since: u64,
    /// When it was revoked, in milliseconds since 1970.
    revoked: Option<u64>,
    /// Whether it is the UID of a Node, and over with that.
    #[serde(default)]
    of_cluster: bool,
    /// The UID that was revoked before: for as long as the Node lives it is its registration by itself.
    #[serde(default, with = "text::maybe")]
    barred: Option<RegistrationId>,
}

impl Registration {
    /// When it was made.
    #[must_use]
    pub fn since(&self) -> SystemTime {
        instant(self.since)
    }

    /// Whether this registration was revoked.
    fn bars(&self, id: RegistrationId) -> bool {
        self.barred == Some(id) || self.id == id && self.revoked.is_some()
    }

    /// When it was revoked, if it was.
    #[must_use]
    pub fn revoked(&self) -> Option<SystemTime> {
        self.revoked.map(instant)
    }
}

/// How a certificate's registration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is the node's current one.
    Current,
    /// It was the node's latest one, and was revoked.
    Revoked,
    /// The node has been registered anew since.
    Replaced,
    /// The node was never registered here.
    Unknown,
    /// The cluster would have to say, and has not been seen yet.
    NotYetKnown,
}

/// A registration that just ended: whoever holds sessions of it closes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The node.
    pub node: NodeName,
    /// The registration that ended.
    pub registration: RegistrationId,
}

/// The registrations of all nodes: in memory for every handshake, in the store for ever. Cheap to clone.
/// What changes them blocks for a few file operations; what asks does not.
#[derive(Debug, Clone)]
pub struct Registrations(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    clock: Clock,
    /// Held from a change of the store to the same change in memory, so that the two change in the same order.
    changing: Mutex<()>,
    nodes: Mutex<HashMap<NodeName, Registration>>,
    cluster: Mutex<Cluster>,
    ended: broadcast::Sender<Ended>,
}

impl Registrations {
    /// Reads all registrations; one that is damaged or closed to the server is left out.
    ///
    /// # Errors
    /// When what cannot be read is not the fault of one file: to begin without a registration that is there would refuse
    /// its node and say that it was never registered.
    pub(super) fn open(store: Store, clock: Clock) -> Result<Self, StoreError> {
        let this = Self(Arc::new(Inner {
            store,
            clock,
            changing: Mutex::default(),
            nodes: Mutex::default(),
            cluster: Mutex::default(),
            ended: broadcast::Sender::new(ENDED_BACKLOG),
        }));
        this.reload()?;
        Ok(this)
    }

    /// Takes over what other processes have changed in the store. What cannot be read stays as it was known.
    ///
    /// # Errors
    /// When something could not be read and that is not the fault of one file; all else is taken over then, too.
    pub fn reload(&self) -> Result<(), StoreError> {
        let _changing = self.0.changing.lock();
        let mut nodes = HashMap::new();
        let mut failure = None;
        for node in self.nodes_in_store()? {
            // A file may go between the listing and here; then it is gone.
            let registration = match self.0.store.read(&Key::registration(&node)) {
                Ok(read) => read.map(|(registration, _)| registration),
                // One file keeps one node out, or as it is, and the server up. What cannot be read lets nobody in, and is
                // not taken for a free name either: whoever would register it reads it again.
                Err(error) if error.is_of_one_file() => {
                    tracing::error!(
                        %node, %error,
                        "a registration cannot be read: its node stays as it was known, or out; no other is affected"
                    );
                    self.get(&node)
                }
                // The process is out of open files, or the disk does not answer: nobody is unknown for that.
                Err(error) => {
                    failure.get_or_insert(error);
                    self.get(&node)
                }
            };
            if let Some(registration) = registration {
                nodes.insert(node, registration);
            }
        }
        let before = std::mem::replace(&mut *self.0.nodes.lock(), nodes);
        for (node, old) in before {
            self.tell_if_ended(&node, &old);
        }
        failure.map_or(Ok(()), Err)
    }

    /// The nodes that may have a file. Also those that are known and were not listed: whether a file is listed that is
    /// replaced meanwhile is not said (POSIX, readdir), and to miss one would end its node's session.
    fn nodes_in_store(&self) -> Result<HashSet<NodeName>, StoreError> {
        let mut nodes: HashSet<_> = self.0.nodes.lock().keys().cloned().collect();
        for name in self.0.store.names(Kind::Registration)? {
            match name.parse() {
                Ok(node) => {
                    nodes.insert(node);
                }
                Err(_) => tracing::warn!(
                    name,
                    "skipped a file among the registrations that bears no node's name"
                ),
            }
        }
        Ok(nodes)
    }

    /// How this registration of a node stands.
    #[must_use]
    pub fn standing(&self, node: &NodeName, registration: RegistrationId) -> Standing {
        let stored = self.get(node);
        let cluster = self.0.cluster.lock();
        cluster.standing(node, registration, stored.as_ref())
    }

    /// What is known of a node.
    #[must_use]
    pub fn get(&self, node: &NodeName) -> Option<Registration> {
        self.0.nodes.lock().get(node).cloned()
    }

    /// What is known of all nodes, in no order.
    #[must_use]
    pub fn list(&self) -> Vec<(NodeName, Registration)> {
        self.0
            .nodes
            .lock()
            .iter()
            .map(|(node, registration)| (node.clone(), registration.clone()))
            .collect()
    }

    /// Registrations that end from now on. To close sessions without a gap: listen first; file a session, then ask
    /// [`Registrations::standing`] once more. A listener that lagged asks for each of its sessions.
    #[must_use]
    pub fn ended(&self) -> broadcast::Receiver<Ended> {
        self.0.ended.subscribe()
    }

    /// Makes `id` the current registration of `node` in the place of `replaces`, by a right that was given at `given`
    /// (a token's creation). Doing it twice is doing it once.
    ///
    /// # Errors
    /// [`RegistrationError::Moved`] when anything but `replaces` stands there, when that was revoked after the right was
    /// given, or when `id` itself was revoked.
    pub fn register(
        &self,
        node: &NodeName,
        id: RegistrationId,
        replaces: Option<RegistrationId>,
        given: SystemTime,
    ) -> Result<(), RegistrationError> {
        let since = millis(self.0.clock.now());
        let of_cluster = self.of_cluster(node) == Some(id);
        self.change(node, |latest| {
            let (stands, revoked) = (
                latest.as_ref().map(|latest| latest.id),
                latest.as_ref().and_then(Registration::revoked),
            );
            match latest {
                Some(latest) if latest.id == id && revoked.is_none() => Ok(latest),
                _ if stands == replaces && revoked.is_none_or(|at| at <= given) => {
                    let barred = latest.and_then(|latest| match latest.revoked {
                        Some(_) if latest.of_cluster => Some(latest.id),
                        _ => latest.barred,
                    });
                    Ok(Registration {
                        id,
                        since,
                        revoked: None,
                        of_cluster,
                        barred,
                    })
                }
                _ => Err(RegistrationError::Moved(node.clone())),
            }
        })
        .map(|_| ())
    }

    /// Ends the current registration of `node`, for good: its certificate opens nothing any more, nor do tokens that
    /// were made for it before. Returns what ended.
    pub fn revoke(&self, node: &NodeName) -> Result<Registration, RegistrationError> {
        let now = millis(self.0.clock.now());
        let uid = self.0.cluster.lock().uid(node);
        let stored = self.change(node, |latest| {
            // A Node is registered by itself, and then there is nothing in the store yet, or of one before it.
            let by_itself = uid.filter(|uid| {
                latest
                    .as_ref()
                    .is_none_or(|latest| latest.id != *uid && !latest.bars(*uid))
            });
            let over = latest
                .as_ref()
                .is_none_or(|latest| latest.of_cluster || latest.revoked.is_some());
            let mut revoked = match (by_itself, latest) {
                (Some(id), _) if over => Registration {
                    id,
                    since: now,
                    revoked: None,
                    of_cluster: true,
                    barred: None,
                },
                (uid, Some(mut latest)) => {
                    latest.barred = uid.or(latest.barred);
                    latest
                }
                (_, None) => return Err(RegistrationError::Unknown(node.clone())),
            };
            revoked.revoked.get_or_insert(now);
            Ok(revoked)
        })?;
        if let Some(registration) = uid {
            // What held it by the cluster's word alone was not among what the store had.
            let node = node.clone();
            self.0.ended.send(Ended { node, registration }).ok();
        }
        Ok(stored)
    }

    fn change(
        &self,
        node: &NodeName,
        decide: impl Fn(Option<Registration>) -> Result<Registration, RegistrationError>,
    ) -> Result<Registration, RegistrationError> {
        let _changing = self.0.changing.lock();
        let decided =
            self.0
                .store
                .update(&Key::registration(node), |latest: Option<Registration>| {
                    let next = decide(latest.clone())?;
                    let changed = latest.as_ref() != Some(&next);
                    Ok::<_, RegistrationError>((changed.then(|| next.clone()), next))
                })?;
        let before = self.0.nodes.lock().insert(node.clone(), decided.clone());
        if let Some(before) = before {
            self.tell_if_ended(node, &before);
        }
        Ok(decided)
    }

    fn tell_if_ended(&self, node: &NodeName, old: &Registration) {
        if old.revoked.is_none() && self.standing(node, old.id) != Standing::Current {
            // Nobody listens: nobody has sessions.
            self.0
                .ended
                .send(Ended {
                    node: node.clone(),
                    registration: old.id,
                })
                .ok();
        }
    }
}

pub(super) fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

pub(super) fn instant(millis: u64) -> SystemTime {
    // A file may say anything; what no clock can hold counts as 1970.
    UNIX_EPOCH
        .checked_add(Duration::from_millis(millis))
        .unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests;

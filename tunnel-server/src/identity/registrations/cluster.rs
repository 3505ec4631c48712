//! What a cluster says of registrations: there a Node's UID is one. A Node that is deleted is none any more, and one that
//! is made anew under its name is another.

use std::collections::HashMap;

use edge_tunnel_proto::id::{NodeName, RegistrationId};

use super::{Ended, Registration, Registrations, Standing};

/// What is known of the cluster's Nodes.
#[derive(Debug, Default)]
pub(super) enum Cluster {
    /// There is no cluster.
    #[default]
    None,
    /// There is one, and it has not been seen yet.
    Awaited,
    /// Its Nodes.
    Seen(HashMap<NodeName, RegistrationId>),
}

impl Cluster {
    /// How a registration stands by the cluster's word and the store's.
    pub(super) fn standing(
        &self,
        node: &NodeName,
        registration: RegistrationId,
        stored: Option<&Registration>,
    ) -> Standing {
        let stands = self.uid(node);
        if stands == Some(registration) {
            let bars = |stored: &Registration| stored.bars(registration);
            return match stored {
                Some(stored) if bars(stored) => Standing::Revoked,
                _ => Standing::Current,
            };
        }
        match stored {
            None if matches!(self, Self::Awaited) => Standing::NotYetKnown,
            None if stands.is_some() => Standing::Replaced,
            None => Standing::Unknown,
            Some(latest) if latest.id != registration => Standing::Replaced,
            Some(latest) if latest.revoked.is_some() => Standing::Revoked,
            // It is a Node's UID, so the cluster has to have it.
            Some(latest) if latest.of_cluster => match self {
                Self::Awaited => Standing::NotYetKnown,
                Self::None | Self::Seen(_) => Standing::Replaced,
            },
            Some(_) => Standing::Current,
        }
    }

    pub(super) fn uid(&self, node: &NodeName) -> Option<RegistrationId> {
        match self {
            Self::Seen(nodes) => nodes.get(node).copied(),
            Self::None | Self::Awaited => None,
        }
    }
}

impl Registrations {
    /// There is a cluster, which says which of its Nodes are registered. Until [`Self::cluster`] has said so once, nobody
    /// is unknown for good.
    pub fn await_cluster(&self) {
        *self.0.cluster.lock() = Cluster::Awaited;
    }

    /// Takes over the cluster's Nodes as they are now, all of them, each with its UID. Whose Node is gone, or another one
    /// by now, has no registration any more.
    pub fn cluster(&self, nodes: HashMap<NodeName, RegistrationId>) {
        let _changing = self.0.changing.lock();
        let before = std::mem::replace(&mut *self.0.cluster.lock(), Cluster::Seen(nodes));
        let Cluster::Seen(before) = before else {
            return;
        };
        for (node, registration) in before {
            if self.standing(&node, registration) != Standing::Current {
                // Nobody listens: nobody has sessions.
                self.0.ended.send(Ended { node, registration }).ok();
            }
        }
    }

    /// The registration that a node of the cluster has by itself, unless it was revoked.
    pub(in crate::identity) fn of_cluster(&self, node: &NodeName) -> Option<RegistrationId> {
        let uid = self.0.cluster.lock().uid(node)?;
        let barred = self.get(node).is_some_and(|latest| latest.bars(uid));
        (!barred).then_some(uid)
    }
}

#[cfg(test)]
mod tests {
    use edge_tunnel_proto::clock::Clock;

    use super::super::{RegistrationError, Store, instant};
    use super::*;

    const UID: RegistrationId = RegistrationId(1);
    const ANEW: RegistrationId = RegistrationId(2);
    const OTHER: RegistrationId = RegistrationId(3);

    fn node() -> NodeName {
        "edge-1".parse().unwrap()
    }

    fn open(folder: &tempfile::TempDir) -> Registrations {
        let store = Store::open(folder.path()).unwrap();
        let clock = Clock::fixed(instant(1_800_000_000_000));
        let registrations = Registrations::open(store, clock).unwrap();
        registrations.await_cluster();
        registrations
    }

    fn nodes(uid: Option<RegistrationId>) -> HashMap<NodeName, RegistrationId> {
        uid.map(|uid| (node(), uid)).into_iter().collect()
    }

    fn standing(registrations: &Registrations, of: RegistrationId) -> Standing {
        registrations.standing(&node(), of)
    }

    #[test]
    fn a_nodes_uid_is_its_registration_for_as_long_as_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let registrations = open(&folder);
        let mut ended = registrations.ended();
        assert_eq!(standing(&registrations, UID), Standing::NotYetKnown);
        registrations.cluster(nodes(Some(UID)));
        assert_eq!(standing(&registrations, UID), Standing::Current);
        assert_eq!(standing(&registrations, ANEW), Standing::Replaced);
        registrations.cluster(nodes(Some(UID)));
        assert!(ended.try_recv().is_err(), "nothing has changed");
        registrations.cluster(nodes(Some(ANEW)));
        assert_eq!(ended.try_recv().unwrap().registration, UID);
        assert_eq!(standing(&registrations, UID), Standing::Replaced);
        registrations.cluster(nodes(None));
        assert_eq!(ended.try_recv().unwrap().registration, ANEW);
        assert_eq!(standing(&registrations, ANEW), Standing::Unknown);
    }

    #[test]
    fn a_revoked_node_stays_out_until_it_is_made_anew_or_a_token_says_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let registrations = open(&folder);
        registrations.cluster(nodes(Some(UID)));
        let mut ended = registrations.ended();
        registrations.revoke(&node()).unwrap();
        assert_eq!(ended.try_recv().unwrap().registration, UID);
        assert_eq!(standing(&registrations, UID), Standing::Revoked);
        assert_eq!(registrations.of_cluster(&node()), None);
        // Also after a restart.
        let again = open(&folder);
        again.cluster(nodes(Some(UID)));
        assert_eq!(standing(&again, UID), Standing::Revoked);
        // By a token: with a registration of its own, and the revoked one stays out.
        let given = instant(1_800_000_000_000);
        again.register(&node(), OTHER, Some(UID), given).unwrap();
        assert_eq!(standing(&again, OTHER), Standing::Current);
        assert_eq!(standing(&again, UID), Standing::Revoked);
        // Made anew.
        again.cluster(nodes(Some(ANEW)));
        assert_eq!(standing(&again, ANEW), Standing::Current);
        assert_eq!(again.of_cluster(&node()), Some(ANEW));
    }

    #[test]
    fn what_a_token_registered_ends_with_its_node_where_that_is_the_clusters() {
        let folder = tempfile::tempdir().unwrap();
        let registrations = open(&folder);
        registrations.cluster(nodes(Some(UID)));
        let given = instant(1_800_000_000_000);
        registrations.register(&node(), UID, None, given).unwrap();
        assert_eq!(standing(&registrations, UID), Standing::Current);
        registrations.cluster(nodes(None));
        assert_eq!(standing(&registrations, UID), Standing::Replaced);
        let again = open(&folder);
        assert_eq!(standing(&again, UID), Standing::NotYetKnown);
        again.cluster(nodes(None));
        assert_eq!(standing(&again, UID), Standing::Replaced);
        // What was registered outside the cluster, or before there was one, is nothing of the cluster's.
        again.register(&node(), OTHER, Some(UID), given).unwrap();
        again.cluster(nodes(Some(ANEW)));
        again.cluster(nodes(None));
        assert_eq!(standing(&again, OTHER), Standing::Current);
    }

    #[test]
    fn who_is_no_node_and_never_was_registered_cannot_be_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let registrations = open(&folder);
        registrations.cluster(nodes(None));
        let error = registrations.revoke(&node()).unwrap_err();
        assert!(matches!(error, RegistrationError::Unknown(_)), "{error}");
    }
}

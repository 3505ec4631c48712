//! Where a destination leads: from what a caller asked for to a node and what its agent dials.
//!
//! In comes an [`Inbound`]; out goes a [`Route`] or a refusal in words. The answer is read off a [`Table`],
//! a pure value that an [`index::Index`] builds out of the live keys and the nodes; a source ([`dir`], [`kube`]) feeds the
//! index and publishes each new table here, so that a change of configuration needs no restart.

use std::sync::Arc;

use arc_swap::ArcSwap;
use edge_tunnel_proto::id::{NodeName, Target};
use tokio::sync::watch;

use crate::inbound::Inbound;
use crate::refusal::Refusal;

pub mod beyond;
pub mod callers;
pub mod dir;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub mod index;
pub mod keys;
pub mod kube;
pub mod nodes;
pub mod ports;
pub mod publish;
pub mod selector;
pub mod table;

pub use beyond::{Beyond, Unmatched};
pub use table::{Here, Table};

/// Where a destination leads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Route {
    /// The node whose session carries the stream.
    pub node: NodeName,
    /// What its agent is asked to dial.
    pub target: Target,
}

/// Where a CONNECT leads, which may ask for what is no node's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leads {
    /// To a node.
    Node(Route),
    /// Beyond the nodes.
    Beyond(Beyond),
}

/// The table in force, as a live handle: clones see every later table. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Routes {
    /// What requests read: never waits for a publisher.
    current: Arc<ArcSwap<Table>>,
    /// What listeners follow.
    changes: watch::Sender<Arc<Table>>,
}

impl Routes {
    /// A handle on `table` until the first [`Routes::publish`].
    #[must_use]
    pub fn new(table: Table) -> Self {
        let table = Arc::new(table);
        Self {
            current: Arc::new(ArcSwap::new(Arc::clone(&table))),
            changes: watch::Sender::new(table),
        }
    }

    /// Puts `table` in force for every clone of this handle.
    pub fn publish(&self, table: Table) {
        let table = Arc::new(table);
        self.current.store(Arc::clone(&table));
        self.changes.send_replace(table);
    }

    /// The table in force.
    #[must_use]
    pub fn table(&self) -> Arc<Table> {
        self.current.load_full()
    }

    /// Follows the table, for what must change with it: the listeners of `https-proxy-ports`.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<Table>> {
        self.changes.subscribe()
    }

    /// Which node this wish leads to, if its caller may go there.
    ///
    /// # Errors
    /// Says in words which node is not known, or which key must be set for the port or the caller.
    pub fn resolve(&self, inbound: &Inbound, here: &impl Here) -> Result<Route, Refusal> {
        self.current.load().resolve(inbound, here)
    }

    /// Where this wish leads, if its caller may go there, be it to what is no node's.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn leads(&self, inbound: &Inbound, here: &impl Here) -> Result<Leads, Refusal> {
        self.current.load().leads(inbound, here)
    }
}

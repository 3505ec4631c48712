//! The table: from (name or address, port) to (node, target), or to what lies beyond the nodes, and whether this caller
//! may go there. Pure.

use edge_tunnel_proto::id::{Destination, Host, NodeName, Target, TargetHost};

use super::beyond::Unmatched;
use super::callers::Callers;
use super::keys::Problems;
use super::nodes::{Claim, Nodes, some_of};
use super::ports::Ports;
use super::{Beyond, Leads, Route};
use crate::inbound::Inbound;
use crate::refusal::{Kind, Refusal};

mod allow;
#[cfg(test)]
mod tests;

/// What the live keys say, ready to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    ports: Ports,
    nodes: Nodes,
    callers: Callers,
    unmatched: Unmatched,
    problems: Problems,
}

/// What the live keys and the Nodes do not say: which nodes there are besides.
pub trait Here {
    /// Whether this node is registered here, or has a session.
    fn knows(&self, node: &NodeName) -> bool;
    /// Whether this node has a session.
    fn connected(&self, node: &NodeName) -> bool;
}

/// Whose a destination is.
enum Found<'a> {
    Node(&'a NodeName, TargetHost),
    /// No tunnelled node's.
    Nobody,
    /// A node's that is reached without us.
    Plain,
}

impl Table {
    pub(super) const fn new(
        ports: Ports,
        nodes: Nodes,
        callers: Callers,
        unmatched: Unmatched,
        problems: Problems,
    ) -> Self {
        Self {
            ports,
            nodes,
            callers,
            unmatched,
            problems,
        }
    }

    /// The open ports.
    #[must_use]
    pub const fn ports(&self) -> &Ports {
        &self.ports
    }

    /// The nodes that have a line.
    #[must_use]
    pub const fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// What becomes of a CONNECT to what is no tunnelled node's.
    #[cfg(test)]
    pub(super) const fn unmatched(&self) -> &Unmatched {
        &self.unmatched
    }

    /// The entries that were skipped.
    #[must_use]
    pub const fn problems(&self) -> &Problems {
        &self.problems
    }

    /// Which node this wish leads to, if its caller may go there. A name leads to the node of that name whether the
    /// table lists it or not: who is connected is known to the sessions alone.
    ///
    /// # Errors
    /// Says in words which node is not known, or which key must be set for the port or the caller.
    pub fn resolve(&self, inbound: &Inbound, here: &impl Here) -> Result<Route, Refusal> {
        let destination = &inbound.destination;
        let (node, own) = match (self.find(destination, here)?, &destination.host) {
            (Found::Node(node, own), _) => (node, own),
            (Found::Nobody, Host::Name(name)) => (name, TargetHost::Node),
            (Found::Nobody, Host::Ip(_)) => return Err(unknown(destination)),
            (Found::Plain, _) => return Err(plain(destination)),
        };
        self.route(inbound, node, own)
    }

    /// Where this wish leads, if its caller may go there: to a node, or beyond them.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn leads(&self, inbound: &Inbound, here: &impl Here) -> Result<Leads, Refusal> {
        match self.find(&inbound.destination, here)? {
            Found::Node(node, own) => self.route(inbound, node, own).map(Leads::Node),
            Found::Nobody | Found::Plain if self.unmatched == Unmatched::Refuse => {
                self.resolve(inbound, here).map(Leads::Node)
            }
            Found::Nobody | Found::Plain => {
                self.allow_beyond(inbound)?;
                self.beyond(&inbound.destination, here).map(Leads::Beyond)
            }
        }
    }

    fn find<'a>(
        &'a self,
        destination: &'a Destination,
        here: &impl Here,
    ) -> Result<Found<'a>, Refusal> {
        let (claim, own) = match &destination.host {
            Host::Name(name) => (self.nodes.named(name), TargetHost::Node),
            Host::Ip(address) => (self.nodes.claim(*address), TargetHost::Address(*address)),
        };
        Ok(match (claim, &destination.host) {
            (Claim::One(node) | Claim::Pod(node), _) => Found::Node(node, own),
            (Claim::Many(nodes), _) => return Err(ambiguous(destination, nodes)),
            // One that is not selected and runs an agent all the same.
            (Claim::Plain, Host::Name(name)) if here.connected(name) => Found::Node(name, own),
            (Claim::Nobody, Host::Name(name)) if here.knows(name) => Found::Node(name, own),
            (Claim::Plain, _) => Found::Plain,
            (Claim::Nobody, _) => Found::Nobody,
        })
    }

    fn route(&self, inbound: &Inbound, node: &NodeName, own: TargetHost) -> Result<Route, Refusal> {
        let port = inbound.destination.port;
        self.allow(inbound, node, port)?;
        let pod = matches!(own, TargetHost::Address(address) if matches!(self.nodes.claim(address), Claim::Pod(_)));
        let host = if self.ports.localhost(port) && !pod {
            TargetHost::Loopback
        } else {
            own
        };
        Ok(Route {
            node: node.clone(),
            target: Target { host, port },
        })
    }

    fn beyond(&self, destination: &Destination, here: &impl Here) -> Result<Beyond, Refusal> {
        match &self.unmatched {
            Unmatched::Refuse => Err(unknown(destination)),
            Unmatched::Direct => Ok(Beyond::Direct),
            Unmatched::Via(selectors) => {
                let connected = self.nodes.via().iter().filter(|node| here.connected(node));
                let connected: Vec<_> = connected.cloned().collect();
                if connected.is_empty() {
                    let message = format!(
                        "{destination} is no tunnelled node, and none of the nodes that match {selectors} is connected, \
                         which are to carry such (--connect-unmatched via=)"
                    );
                    return Err(Refusal::new(Kind::Unavailable, "not_connected", message));
                }
                Ok(Beyond::Via(connected))
            }
        }
    }
}

fn unknown(destination: &Destination) -> Refusal {
    let message = match &destination.host {
        // What a request says that was sent to the listener itself.
        Host::Ip(address) if address.is_loopback() || address.is_unspecified() => format!(
            "{destination} is no node: say which is meant, as NODE:PORT (`-H 'Host: edge-1:9100'`)"
        ),
        _ => format!(
            "{destination}: no node has this address; give the node a line with it in the nodes key, or use the node's \
             name"
        ),
    };
    Refusal::new(Kind::Unavailable, "unknown_node", message)
}

fn plain(destination: &Destination) -> Refusal {
    let message = format!(
        "{destination} is a node of the cluster that is not tunnelled (--node-selector): reach it without edge-tunnel"
    );
    Refusal::new(Kind::Unavailable, "not_tunnelled", message)
}

fn ambiguous(destination: &Destination, nodes: &[NodeName]) -> Refusal {
    let message = format!(
        "{destination}: {} claim this; use a node's name, or give it to one of them only",
        some_of(nodes)
    );
    Refusal::new(Kind::Unavailable, "ambiguous_address", message)
}

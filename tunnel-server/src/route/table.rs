//! The table: from (name or address, port) to (node, target), and whether this caller may go there. Pure.

use edge_tunnel_proto::id::{Destination, Host, NodeName, Port, Target, TargetHost};

use super::Route;
use super::callers::{Callers, Rule};
use super::keys::Problems;
use super::nodes::{Claim, Nodes, some_of};
use super::ports::Ports;
use crate::identity::PortsGrant;
use crate::inbound::{Caller, Inbound, Way};
use crate::refusal::{Kind, Refusal};

#[cfg(test)]
mod tests;

/// What the live keys say, ready to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    ports: Ports,
    nodes: Nodes,
    callers: Callers,
    problems: Problems,
}

impl Table {
    pub(super) const fn new(
        ports: Ports,
        nodes: Nodes,
        callers: Callers,
        problems: Problems,
    ) -> Self {
        Self {
            ports,
            nodes,
            callers,
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

    /// The entries that were skipped.
    #[must_use]
    pub const fn problems(&self) -> &Problems {
        &self.problems
    }

    /// Where this wish leads, if its caller may go there. A name leads to the node of that name whether the
    /// table lists it or not: who is connected is known to the sessions alone.
    ///
    /// # Errors
    /// Says in words which node is not known, or which key must be set for the port or the caller.
    pub fn resolve(&self, inbound: &Inbound) -> Result<Route, Refusal> {
        let Destination { host, port } = &inbound.destination;
        let (node, own) = match host {
            Host::Name(name) => (name, TargetHost::Node),
            Host::Ip(address) => match self.nodes.claim(*address) {
                Claim::One(node) => (node, TargetHost::Address(*address)),
                Claim::Nobody => return Err(unknown(&inbound.destination)),
                Claim::Many(nodes) => return Err(ambiguous(&inbound.destination, nodes)),
            },
        };
        self.allow(inbound, node, *port)?;
        let host = if self.ports.localhost(*port) {
            TargetHost::Loopback
        } else {
            own
        };
        Ok(Route {
            node: node.clone(),
            target: Target { host, port: *port },
        })
    }

    fn allow(&self, inbound: &Inbound, node: &NodeName, port: Port) -> Result<(), Refusal> {
        match inbound.way {
            Way::Http if self.ports.http(port) => Ok(()),
            Way::Http if self.ports.https(port) => Err(port_refused(format!(
                "node {node}: port {port} is reached over TLS, by the tls or the connect way in, not over plain HTTP"
            ))),
            Way::Http => Err(not_open(node, port, "http-proxy-ports")),
            Way::Tls if self.ports.https(port) => Ok(()),
            Way::Tls => Err(not_open(node, port, "https-proxy-ports")),
            Way::Connect => self.allow_caller(inbound, node, port),
        }
    }

    fn allow_caller(&self, inbound: &Inbound, node: &NodeName, port: Port) -> Result<(), Refusal> {
        let caller = &inbound.caller;
        if let Some(reason) = self.callers.why_unread() {
            let message = format!(
                "the callers key of this server cannot be read, and until it can, nobody may reach anything by connect: \
                 {reason}"
            );
            return Err(caller_refused(message));
        }
        let rule = match self.callers.rule(caller) {
            None => None,
            Some(Ok(rule)) => Some(rule),
            Some(Err(reason)) => {
                let message = format!("the line of {caller} in callers cannot be read: {reason}");
                return Err(caller_refused(message));
            }
        };
        let grant = inbound.grant.as_deref();
        let built_in = match caller {
            Caller::UnixSocket => PortsGrant::All,
            Caller::Certificate(_) if rule.is_some() || grant.is_some() => PortsGrant::Configured,
            Caller::Certificate(_) | Caller::Anyone => {
                let message =
                    format!("{caller} may reach nothing by connect: give it a line in callers");
                return Err(caller_refused(message));
            }
        };
        let node_allowed = match rule.and_then(|rule| rule.nodes.as_ref()) {
            Some(patterns) => patterns.iter().any(|pattern| pattern.matches(node)),
            None => grant.is_none_or(|grant| grant.allows_node(node)),
        };
        if !node_allowed {
            let message = format!(
                "{caller} may not reach node {node}: see nodes= of {}",
                source(rule)
            );
            return Err(Refusal::new(Kind::Forbidden, "node_not_allowed", message));
        }
        let ports = rule
            .and_then(|rule| rule.ports.as_ref())
            .or(grant.map(|g| &g.ports))
            .unwrap_or(&built_in);
        match ports {
            PortsGrant::All => Ok(()),
            PortsGrant::Configured if self.ports.http(port) || self.ports.https(port) => Ok(()),
            PortsGrant::Configured => Err(not_open(
                node,
                port,
                "http-proxy-ports or https-proxy-ports",
            )),
            PortsGrant::List(ports) if ports.contains(&port) => Ok(()),
            PortsGrant::List(_) => Err(port_refused(format!(
                "{caller} may not reach port {port} of node {node}: see ports= of {}",
                source(rule)
            ))),
        }
    }
}

fn source(rule: Option<&Rule>) -> &'static str {
    match rule {
        Some(_) => "its line in callers",
        None => "its certificate, or give it a line in callers",
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

fn ambiguous(destination: &Destination, nodes: &[NodeName]) -> Refusal {
    let message = format!(
        "{destination}: the nodes key gives this address to {}; use a node's name, or give it to one only",
        some_of(nodes)
    );
    Refusal::new(Kind::Unavailable, "ambiguous_address", message)
}

fn not_open(node: &NodeName, port: Port, key: &str) -> Refusal {
    port_refused(format!(
        "node {node}: port {port} is not open; add it to {key}"
    ))
}

fn port_refused(message: String) -> Refusal {
    Refusal::new(Kind::Forbidden, "port_not_open", message)
}

fn caller_refused(message: String) -> Refusal {
    Refusal::new(Kind::Forbidden, "caller_not_allowed", message)
}

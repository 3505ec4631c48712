//! May this agent dial that target? Decided by the node's own flags and file alone: the server asks, it never
//! widens. In goes a [`Target`], out comes an address to dial or the reason why not.
//!
//! Allowed without any rule: every port of the node's own addresses, and on loopback the ports of
//! `--loopback-ports`. `--deny` wins over everything; `--allow` adds. What is never meant by accident (metadata
//! services, link-local, multicast, …) needs a rule that lies within that very range.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use edge_tunnel_proto::id::{NodeName, Port, Target, TargetHost};
use edge_tunnel_proto::special;
use ipnet::IpNet;

use rule::{PortSet, Rule, Scope};

pub mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub mod interfaces;
pub mod live;
pub mod rule;

/// The loopback ports that are allowed where nothing else is said: the kubelet's two, this agent's own admin port
/// and yurthub's, the same as the server's `localhost-proxy-ports`.
pub const LOOPBACK_PORTS: &str = "10250,10255,10266,10267";

/// The target is not allowed; says why and what would allow it, in one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Denied(String);

/// What the node's own flags or file say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Ports allowed on loopback without a rule.
    pub loopback_ports: PortSet,
    /// What is allowed besides.
    pub allow: Vec<Rule>,
    /// What is not, whatever else is said.
    pub deny: Vec<Rule>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            loopback_ports: LOOPBACK_PORTS
                .parse()
                .expect("the default loopback ports parse"),
            allow: Vec::new(),
            deny: Vec::new(),
        }
    }
}

/// The node's own addresses, as they are now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Addresses {
    /// What [`TargetHost::Node`] means: `--node-ip`, else the address of the outward session.
    pub node: Option<IpAddr>,
    /// What the interfaces bear.
    pub interfaces: BTreeSet<IpAddr>,
}

/// What kind of address a target is, on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Loopback,
    Special(IpNet, &'static str),
    Own,
    Elsewhere,
}

impl Addresses {
    fn place(&self, address: IpAddr) -> Place {
        if address.is_loopback() {
            return Place::Loopback;
        }
        if let Some((net, what)) = special::range(address) {
            return Place::Special(net, what);
        }
        if self.node == Some(address) || self.interfaces.contains(&address) {
            return Place::Own;
        }
        Place::Elsewhere
    }
}

impl Rules {
    /// The address to dial for `target`, on a node with these addresses.
    ///
    /// # Errors
    /// [`Denied`] when the rules do not allow it, or the node's own address is asked for and not known yet.
    pub fn judge(
        &self,
        node: &NodeName,
        addresses: &Addresses,
        target: &Target,
    ) -> Result<SocketAddr, Denied> {
        let address = match target.host {
            TargetHost::Loopback => IpAddr::V4(Ipv4Addr::LOCALHOST),
            TargetHost::Address(address) => address.to_canonical(),
            TargetHost::Node => addresses.node.map(|own| own.to_canonical()).ok_or_else(|| {
                Denied(format!("node {node} does not know its own address yet; start its agent with --node-ip"))
            })?,
        };
        let (port, place) = (target.port, addresses.place(address));
        let dial = SocketAddr::new(address, port.get());
        if let Some(rule) = self
            .deny
            .iter()
            .find(|rule| denies(rule, place, address, port))
        {
            return Err(Denied(format!(
                "{dial} is denied on node {node} by its agent's rule: deny {rule}"
            )));
        }
        let by_default = match place {
            Place::Loopback => self.loopback_ports.contains(port),
            Place::Own => true,
            Place::Special(..) | Place::Elsewhere => false,
        };
        if by_default
            || self
                .allow
                .iter()
                .any(|rule| allows(rule, place, address, port))
        {
            return Ok(dial);
        }
        Err(Denied(match place {
            Place::Loopback => format!(
                "port {port} on loopback is not allowed on node {node}; add --allow loopback:{port} on its agent"
            ),
            Place::Special(_, what) => format!(
                "{address} is {what}, which node {node} dials only if its agent is told --allow {dial}"
            ),
            Place::Own | Place::Elsewhere => format!(
                "{dial} is no address of node {node} itself; add --allow {dial} on its agent to reach beyond it"
            ),
        }))
    }
}

/// A denial reaches as far as its text: a wide network denies loopback and the node's own addresses within it.
fn denies(rule: &Rule, place: Place, address: IpAddr, port: Port) -> bool {
    let within = match rule.scope {
        Scope::Node => place == Place::Own,
        Scope::Loopback => place == Place::Loopback,
        Scope::Net(net) => net.contains(&address),
    };
    within && rule.ports.contains(port)
}

/// A permission opens loopback and the special ranges only where it names them: `0.0.0.0/0:*` does not.
fn allows(rule: &Rule, place: Place, address: IpAddr, port: Port) -> bool {
    let within = match (rule.scope, place) {
        (Scope::Node, _) => place == Place::Own,
        (Scope::Loopback, _) => place == Place::Loopback,
        (Scope::Net(net), Place::Special(range, _)) => {
            range.contains(&net) && net.contains(&address)
        }
        (Scope::Net(net), Place::Loopback) => net.addr().is_loopback() && net.contains(&address),
        (Scope::Net(net), Place::Own | Place::Elsewhere) => net.contains(&address),
    };
    within && rule.ports.contains(port)
}

#[cfg(test)]
mod tests;

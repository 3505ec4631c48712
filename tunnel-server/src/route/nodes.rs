//! The nodes: which are tunnelled, and what leads to them besides their names. Pure.
//!
//! In come [`Declared`] nodes, from the lines of the `nodes` key or from a cluster's Nodes; out comes what requests
//! read. What a node says of its own addresses is a claim, which nothing checks: [`claims`] decides whose it is.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use edge_tunnel_proto::id::NodeName;
use edge_tunnel_proto::special;
use ipnet::IpNet;

use super::keys::Problems;

mod claims;
pub(super) mod lines;
mod ranges;

pub use claims::Rules;
use ranges::Ranges;

/// A node as its source declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// What it is called: its name always leads to it.
    pub name: NodeName,
    /// Whether an agent of ours is to carry what is meant for it; what is not is reached without us.
    pub tunnelled: bool,
    /// Whether its agent may be asked for what is no node's (`--connect-unmatched via=`).
    pub via: bool,
    /// The addresses that it claims, IPv4-mapped ones as IPv4.
    pub addresses: Box<[IpAddr]>,
    /// The other names that it claims.
    pub hostnames: Box<[NodeName]>,
    /// The ranges of its pods.
    pub pods: Box<[IpNet]>,
}

/// Whose a name, an address or a range is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Owner {
    /// This tunnelled node's.
    One(NodeName),
    /// Several tunnelled nodes claim it, so it leads nowhere.
    Many(Arc<[NodeName]>),
    /// A node's that is reached without us.
    Plain,
}

/// What is said of an address or a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim<'a> {
    /// No node has it.
    Nobody,
    /// This tunnelled node has it.
    One(&'a NodeName),
    /// It is the address of a pod on this tunnelled node.
    Pod(&'a NodeName),
    /// These claim it, so it leads nowhere.
    Many(&'a [NodeName]),
    /// A node has it that is reached without us.
    Plain,
}

impl Owner {
    fn claim(&self) -> Claim<'_> {
        match self {
            Self::One(node) => Claim::One(node),
            Self::Many(nodes) => Claim::Many(nodes),
            Self::Plain => Claim::Plain,
        }
    }
}

/// All nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nodes {
    /// The tunnelled ones.
    tunnelled: BTreeSet<NodeName>,
    /// Of these, the ones whose agents may be asked for what is no node's.
    via: Vec<NodeName>,
    names: HashMap<NodeName, Owner>,
    addresses: HashMap<IpAddr, Owner>,
    pods: Ranges<Owner>,
}

impl Nodes {
    /// The tunnelled nodes, in order.
    #[must_use]
    pub fn tunnelled(&self) -> &BTreeSet<NodeName> {
        &self.tunnelled
    }

    /// The nodes whose agents may be asked for what is no node's.
    #[must_use]
    pub fn via(&self) -> &[NodeName] {
        &self.via
    }

    /// Whose this name is. A tunnelled node's own name is always its own.
    #[must_use]
    pub fn named(&self, name: &NodeName) -> Claim<'_> {
        if let Some(node) = self.tunnelled.get(name) {
            return Claim::One(node);
        }
        self.names.get(name).map_or(Claim::Nobody, Owner::claim)
    }

    /// Whose this address is.
    #[must_use]
    pub fn claim(&self, address: IpAddr) -> Claim<'_> {
        let address = address.to_canonical();
        if let Some(owner) = self.addresses.get(&address) {
            return owner.claim();
        }
        match self.pods.get(address) {
            Some((_, Owner::One(node))) => Claim::Pod(node),
            Some((_, owner)) => owner.claim(),
            None => Claim::Nobody,
        }
    }

    /// Settles what all these nodes claim.
    pub(super) fn settle<'a>(
        declared: &(impl Iterator<Item = &'a Declared> + Clone),
        rules: &Rules,
        problems: &mut Problems,
    ) -> Self {
        claims::settle(declared, rules, problems)
    }
}

/// The first few of `nodes`, and how many more there are.
pub(super) fn some_of(nodes: &[NodeName]) -> String {
    const FEW: usize = 3;
    let mut names: Vec<String> = nodes.iter().take(FEW).map(ToString::to_string).collect();
    if nodes.len() > FEW {
        names.push(format!("{} more", nodes.len() - FEW));
    }
    names.join(" and ")
}

/// Whether an address can belong to no one node as seen from elsewhere.
pub(crate) fn names_nobody(address: IpAddr) -> bool {
    address.to_canonical().is_loopback() || special::range(address).is_some()
}

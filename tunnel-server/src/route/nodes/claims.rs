//! Whose an address, a name or a range is, where nodes claim it. A kubelet writes its own addresses and nothing checks
//! them, so:
//!
//! - a node's name is its own, whatever others claim;
//! - what an untunnelled node has stays that node's;
//! - an edge node's address counts only where edge nodes may have one ([`Rules`]);
//! - what two edge nodes claim leads nowhere until one of them gives it up.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;

use edge_tunnel_proto::id::NodeName;
use ipnet::IpNet;

use super::ranges::Ranges;
use super::{Declared, Nodes, Owner, names_nobody, some_of};
use crate::route::keys::{Key, Problems};

/// Where an edge node's address may lie.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// In one of these, if they are given.
    pub edge: Option<Vec<IpNet>>,
    /// In none of these: Services and what else is the cluster's own.
    pub reserved: Vec<IpNet>,
    /// At none of these: the server's own.
    pub own: BTreeSet<IpAddr>,
}

impl Rules {
    /// Why an edge node may not have this address, if it may not.
    fn against(&self, address: IpAddr) -> Option<String> {
        if names_nobody(address) {
            return Some("names no one node".to_owned());
        }
        if self.own.contains(&address) {
            return Some("is this server's own".to_owned());
        }
        if let Some(range) = self.reserved.iter().find(|range| range.contains(&address)) {
            return Some(format!(
                "lies in {range}, which is the cluster's own (--service-cidrs)"
            ));
        }
        let inside = |ranges: &Vec<IpNet>| ranges.iter().any(|range| range.contains(&address));
        if self.edge.as_ref().is_some_and(|ranges| !inside(ranges)) {
            return Some("lies outside --edge-cidrs".to_owned());
        }
        None
    }
}

/// Who claims one thing.
#[derive(Default)]
struct Claimants {
    plain: Option<NodeName>,
    tunnelled: Vec<NodeName>,
}

pub(super) fn settle<'a>(
    declared: &(impl Iterator<Item = &'a Declared> + Clone),
    rules: &Rules,
    problems: &mut Problems,
) -> Nodes {
    let mut nodes = Nodes::default();
    let mut refuse = |node: &NodeName, what: &dyn ToString, why: &str| {
        let entry = format!("{node}: {}", what.to_string());
        problems.add(
            Key::Nodes,
            &entry,
            format!("{why}, so it does not lead to {node}"),
        );
    };
    let own: HashSet<&NodeName> = declared.clone().map(|node| &node.name).collect();
    let mut names: BTreeMap<&NodeName, Claimants> = BTreeMap::new();
    let mut addresses: BTreeMap<IpAddr, Claimants> = BTreeMap::new();
    let mut pods: BTreeMap<IpNet, Claimants> = BTreeMap::new();
    for node in declared.clone() {
        if node.tunnelled {
            nodes.tunnelled.insert(node.name.clone());
            if node.via {
                nodes.via.push(node.name.clone());
            }
        } else {
            nodes.names.insert(node.name.clone(), Owner::Plain);
        }
        for name in node.hostnames.iter().filter(|name| **name != node.name) {
            if own.contains(name) {
                if node.tunnelled {
                    refuse(&node.name, name, "is another node's name");
                }
            } else {
                names.entry(name).or_default().add(node);
            }
        }
        for address in &node.addresses {
            match rules.against(*address) {
                Some(why) if node.tunnelled => refuse(&node.name, address, &why),
                _ => addresses.entry(*address).or_default().add(node),
            }
        }
        for range in &node.pods {
            pods.entry(range.trunc()).or_default().add(node);
        }
    }
    overlaps(&mut pods);
    let ranges: Ranges<()> = pods.keys().map(|range| (*range, ())).collect();
    for (address, claimants) in &mut addresses {
        let Some((range, ())) = ranges.get(*address) else {
            continue;
        };
        match &claimants.plain {
            // A range around it would divert what is meant for that node.
            Some(plain) => {
                let around = pods.get_mut(&range).expect("it is one of them");
                around.plain = Some(plain.clone());
            }
            // The address would divert what is meant for a pod.
            None => {
                for node in std::mem::take(&mut claimants.tunnelled) {
                    refuse(
                        &node,
                        address,
                        &format!("lies in {range}, where a node has its pods"),
                    );
                }
            }
        }
    }
    let names = names.into_iter().map(|(name, by)| (name.clone(), by));
    nodes.names.extend(owners(names, problems));
    nodes.addresses = owners(addresses, problems).collect();
    nodes.pods = owners(pods, problems).collect();
    nodes
}

impl Claimants {
    fn add(&mut self, node: &Declared) {
        if node.tunnelled {
            self.tunnelled.push(node.name.clone());
        } else {
            self.plain = Some(node.name.clone());
        }
    }

    fn join(&mut self, other: &Self) {
        for node in &other.tunnelled {
            if !self.tunnelled.contains(node) {
                self.tunnelled.push(node.clone());
            }
        }
        self.plain = self.plain.take().or_else(|| other.plain.clone());
    }
}

/// Ranges that overlap without being the same are claims on the same addresses.
fn overlaps(pods: &mut BTreeMap<IpNet, Claimants>) {
    // A range sorts before all that lie in it, so what is around the next one is around this one, or is this one.
    let ranges: Vec<_> = pods.keys().copied().collect();
    let mut around: Vec<IpNet> = Vec::new();
    for inner in ranges {
        while around.last().is_some_and(|outer| !outer.contains(&inner)) {
            around.pop();
        }
        if let Some(outer) = around.first() {
            let (mut inside, mut outside) = (Claimants::default(), Claimants::default());
            inside.join(&pods[&inner]);
            outside.join(&pods[outer]);
            // Of one node alone it is no quarrel.
            pods.get_mut(&inner)
                .expect("it is among the keys")
                .join(&outside);
            pods.get_mut(outer)
                .expect("it is among the keys")
                .join(&inside);
        }
        around.push(inner);
    }
}

fn owners<K: ToString>(
    claims: impl IntoIterator<Item = (K, Claimants)>,
    problems: &mut Problems,
) -> impl Iterator<Item = (K, Owner)> {
    claims.into_iter().filter_map(|(what, claimants)| {
        let Claimants { plain, tunnelled } = claimants;
        let mut problem = |reason| problems.add(Key::Nodes, &what.to_string(), reason);
        let owner = match (plain, &tunnelled[..]) {
            (None, []) => return None,
            (None, [node]) => Owner::One(node.clone()),
            (None, nodes) => {
                problem(format!(
                    "claimed by {}: it leads nowhere until all but one of them give it up",
                    some_of(nodes)
                ));
                Owner::Many(nodes.into())
            }
            (Some(_), []) => Owner::Plain,
            (Some(plain), nodes) => {
                problem(format!(
                    "is of {plain}, which is no tunnelled node; that {} claims it too changes nothing",
                    some_of(nodes)
                ));
                Owner::Plain
            }
        };
        Some((what, owner))
    })
}

#[cfg(test)]
mod tests;

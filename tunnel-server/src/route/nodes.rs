//! The `nodes` key, which says outside Kubernetes what nodes there are. One line a node: its name, then
//! its addresses and `key=value` labels in any order, separated by blanks or commas:
//!
//! ```text
//! # name   addresses                labels
//! edge-1   192.0.2.10 2001:db8::10  zone=shop
//! ```
//!
//! A name routes whether it has a line here or not. An address routes only by a line here, and only if no
//! second node claims it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use edge_tunnel_proto::id::NodeName;

use super::keys::{Key, Problems, lines};

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Where it is reached besides its name, IPv4-mapped ones as IPv4.
    pub addresses: Vec<IpAddr>,
    /// What selectors match.
    pub labels: BTreeMap<String, String>,
}

/// All lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nodes {
    by_name: BTreeMap<NodeName, Node>,
    claims: HashMap<IpAddr, Vec<NodeName>>,
}

/// What the lines say of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim<'a> {
    /// No node has it.
    Nobody,
    /// This node has it.
    One(&'a NodeName),
    /// These claim it, so it leads nowhere.
    Many(&'a [NodeName]),
}

impl Nodes {
    /// The nodes by name.
    #[must_use]
    pub fn by_name(&self) -> &BTreeMap<NodeName, Node> {
        &self.by_name
    }

    /// Whose address this is.
    #[must_use]
    pub fn claim(&self, address: IpAddr) -> Claim<'_> {
        match self.claims.get(&address.to_canonical()).map(Vec::as_slice) {
            None | Some([]) => Claim::Nobody,
            Some([node]) => Claim::One(node),
            Some(nodes) => Claim::Many(nodes),
        }
    }

    pub(super) fn parse(text: &str, problems: &mut Problems) -> Self {
        let mut nodes = Self::default();
        for line in lines(text) {
            if let Err(reason) = nodes.add(line, problems) {
                problems.add(Key::Nodes, line, reason);
            }
        }
        for (address, claimants) in nodes.ambiguous() {
            let reason = format!(
                "claimed by {}: it leads nowhere until all but one of them give it up",
                some_of(claimants)
            );
            problems.add(Key::Nodes, &address.to_string(), reason);
        }
        nodes
    }

    /// The addresses that more than one node claims, in order.
    fn ambiguous(&self) -> BTreeMap<IpAddr, &[NodeName]> {
        self.claims
            .iter()
            .filter(|(_, by)| by.len() > 1)
            .map(|(a, by)| (*a, by.as_slice()))
            .collect()
    }

    fn add(&mut self, line: &str, problems: &mut Problems) -> Result<(), String> {
        let mut words = line.split([' ', '\t', ',']).filter(|word| !word.is_empty());
        let first = words.next().unwrap_or_default();
        if first.parse::<IpAddr>().is_ok() {
            return Err(
                "the line starts with an address: write the node's name before it".to_owned(),
            );
        }
        let name: NodeName = first
            .parse()
            .map_err(|e: edge_tunnel_proto::id::ParseError| e.to_string())?;
        if self.by_name.contains_key(&name) {
            return Err(format!(
                "{name} has a line already: put its addresses and labels on that one"
            ));
        }
        let mut node = Node {
            addresses: Vec::new(),
            labels: BTreeMap::new(),
        };
        for word in words {
            if let Err(reason) = node.add(word) {
                problems.add(Key::Nodes, &format!("{name}: {word}"), reason);
            }
        }
        let mut seen = HashSet::new();
        node.addresses.retain(|address| seen.insert(*address));
        for address in &node.addresses {
            self.claims.entry(*address).or_default().push(name.clone());
        }
        self.by_name.insert(name, node);
        Ok(())
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

impl Node {
    fn add(&mut self, word: &str) -> Result<(), &'static str> {
        if let Some((key, value)) = word.split_once('=') {
            if key.is_empty() {
                return Err("a label needs a key before its '='");
            }
            return match self.labels.insert(key.to_owned(), value.to_owned()) {
                None => Ok(()),
                Some(_) => Err("the line has this label already; the later value stands"),
            };
        }
        let Ok(address) = word.parse::<IpAddr>() else {
            return Err("neither an address nor a key=value label");
        };
        let address = address.to_canonical();
        if !names_one_node(address) {
            return Err(
                "names no one node: loopback, link-local, multicast and unspecified addresses are not routed",
            );
        }
        self.addresses.push(address);
        Ok(())
    }
}

/// Whether an address can belong to one node as seen from elsewhere.
fn names_one_node(address: IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(link_local || address.is_loopback() || address.is_multicast() || address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Nodes, Vec<String>) {
        let mut problems = Problems::default();
        let nodes = Nodes::parse(text, &mut problems);
        (
            nodes,
            problems.listed().iter().map(|p| p.entry.clone()).collect(),
        )
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_line_is_name_addresses_labels() {
        let (nodes, problems) =
            parse("# c\n\nedge-1 192.0.2.1, ::ffff:192.0.2.2 2001:db8::1 zone=a x=\r\nedge-2\n");
        assert!(problems.is_empty(), "{problems:?}");
        let node = &nodes.by_name()[&"edge-1".parse().unwrap()];
        assert_eq!(
            node.addresses,
            [ip("192.0.2.1"), ip("192.0.2.2"), ip("2001:db8::1")]
        );
        assert_eq!(node.labels["zone"], "a");
        assert_eq!(
            nodes.claim(ip("::ffff:192.0.2.1")),
            Claim::One(&"edge-1".parse().unwrap())
        );
        assert_eq!(nodes.claim(ip("192.0.2.9")), Claim::Nobody);
        assert_eq!(nodes.by_name().len(), 2);
    }

    #[test]
    fn bad_words_are_skipped_and_the_line_stands() {
        let (nodes, problems) =
            parse("edge-1 192.0.2.1 127.0.0.1 fe80::1 0.0.0.0 224.0.0.1 what =v 192.0.2.1");
        assert_eq!(
            nodes.by_name()[&"edge-1".parse().unwrap()].addresses,
            [ip("192.0.2.1")]
        );
        assert_eq!(problems.len(), 6, "{problems:?}");
    }

    #[test]
    fn bad_and_repeated_lines_are_skipped() {
        let (nodes, problems) =
            parse("Edge_1 192.0.2.1\n192.0.2.2 edge-2\nedge-3 192.0.2.3\nedge-3 192.0.2.4");
        assert_eq!(nodes.by_name().len(), 1);
        assert_eq!(nodes.claim(ip("192.0.2.4")), Claim::Nobody);
        assert_eq!(problems.len(), 3, "{problems:?}");
    }

    #[test]
    fn an_address_of_two_nodes_is_nobodys_and_said() {
        let (nodes, problems) = parse("edge-1 192.0.2.1 192.0.2.5\nedge-2 192.0.2.1");
        assert!(matches!(nodes.claim(ip("192.0.2.1")), Claim::Many([_, _])));
        assert!(matches!(nodes.claim(ip("192.0.2.5")), Claim::One(_)));
        assert_eq!(problems, ["192.0.2.1"]);
    }

    #[test]
    fn however_many_claim_an_address_few_are_named() {
        let names: Vec<NodeName> = (1..=1000)
            .map(|number| format!("edge-{number}").parse().unwrap())
            .collect();
        assert_eq!(some_of(&names[..2]), "edge-1 and edge-2");
        assert_eq!(some_of(&names), "edge-1 and edge-2 and edge-3 and 997 more");
    }
}

//! The `nodes` key, which says outside Kubernetes what nodes there are. One line a node: its name, then its addresses
//! and `key=value` labels in any order, separated by blanks or commas:
//!
//! ```text
//! # name   addresses                labels
//! edge-1   192.0.2.10 2001:db8::10  zone=shop
//! ```
//!
//! A name routes whether it has a line here or not. An address routes only by a line here, and only if no second node
//! claims it.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use edge_tunnel_proto::id::{NodeName, ParseError};

use super::{Declared, names_nobody};
use crate::route::keys::{Key, Problems, lines};
use crate::route::selector::Selectors;

/// The nodes of all good lines; `via` selects those whose agents may be asked for what is no node's.
pub(crate) fn parse(text: &str, via: &Selectors, problems: &mut Problems) -> Vec<Declared> {
    let mut nodes: Vec<Declared> = Vec::new();
    let mut names = HashSet::new();
    for line in lines(text) {
        match node(line, via, problems) {
            Ok(node) if names.insert(node.name.clone()) => nodes.push(node),
            Ok(node) => {
                let reason = format!(
                    "{} has a line already: put its addresses and labels on that one",
                    node.name
                );
                problems.add(Key::Nodes, line, reason);
            }
            Err(reason) => problems.add(Key::Nodes, line, reason),
        }
    }
    nodes
}

fn node(line: &str, via: &Selectors, problems: &mut Problems) -> Result<Declared, String> {
    let mut words = line.split([' ', '\t', ',']).filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default();
    if first.parse::<IpAddr>().is_ok() {
        return Err("the line starts with an address: write the node's name before it".to_owned());
    }
    let name: NodeName = first.parse().map_err(|e: ParseError| e.to_string())?;
    let (mut addresses, mut labels) = (Vec::new(), BTreeMap::new());
    for word in words {
        if let Err(reason) = add(word, &mut addresses, &mut labels) {
            problems.add(Key::Nodes, &format!("{name}: {word}"), reason);
        }
    }
    let mut seen = HashSet::new();
    addresses.retain(|address| seen.insert(*address));
    Ok(Declared {
        name,
        tunnelled: true,
        via: via.matches(&labels),
        addresses: addresses.into(),
        hostnames: Box::default(),
        pods: Box::default(),
    })
}

fn add(
    word: &str,
    addresses: &mut Vec<IpAddr>,
    labels: &mut BTreeMap<String, String>,
) -> Result<(), &'static str> {
    if let Some((key, value)) = word.split_once('=') {
        if key.is_empty() {
            return Err("a label needs a key before its '='");
        }
        return match labels.insert(key.to_owned(), value.to_owned()) {
            None => Ok(()),
            Some(_) => Err("the line has this label already; the later value stands"),
        };
    }
    let Ok(address) = word.parse::<IpAddr>() else {
        return Err("neither an address nor a key=value label");
    };
    let address = address.to_canonical();
    if names_nobody(address) {
        return Err(
            "names no one node: loopback, link-local, multicast and unspecified addresses are not routed",
        );
    }
    addresses.push(address);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::nodes::{Claim, Nodes, Rules, some_of};

    fn read(text: &str) -> (Vec<Declared>, Nodes, Vec<String>) {
        let mut problems = Problems::default();
        let via = "zone=a".parse().unwrap();
        let declared = parse(text, &via, &mut problems);
        let nodes = Nodes::settle(&declared.iter(), &Rules::default(), &mut problems);
        let entries = problems.listed().iter().map(|p| p.entry.clone()).collect();
        (declared, nodes, entries)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_line_is_name_addresses_labels() {
        let (declared, nodes, problems) =
            read("# c\n\nedge-1 192.0.2.1, ::ffff:192.0.2.2 2001:db8::1 zone=a x=\r\nedge-2\n");
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(
            *declared[0].addresses,
            [ip("192.0.2.1"), ip("192.0.2.2"), ip("2001:db8::1")]
        );
        assert_eq!((declared[0].via, declared[1].via), (true, false));
        assert_eq!(nodes.via(), ["edge-1".parse().unwrap()]);
        assert_eq!(
            nodes.claim(ip("::ffff:192.0.2.1")),
            Claim::One(&"edge-1".parse().unwrap())
        );
        assert_eq!(nodes.claim(ip("192.0.2.9")), Claim::Nobody);
        assert_eq!(nodes.tunnelled().len(), 2);
    }

    #[test]
    fn bad_words_are_skipped_and_the_line_stands() {
        let (declared, _, problems) =
            read("edge-1 192.0.2.1 127.0.0.1 fe80::1 0.0.0.0 224.0.0.1 what =v 192.0.2.1");
        assert_eq!(*declared[0].addresses, [ip("192.0.2.1")]);
        assert_eq!(problems.len(), 6, "{problems:?}");
    }

    #[test]
    fn bad_and_repeated_lines_are_skipped() {
        let (_, nodes, problems) =
            read("Edge_1 192.0.2.1\n192.0.2.2 edge-2\nedge-3 192.0.2.3\nedge-3 192.0.2.4");
        assert_eq!(nodes.tunnelled().len(), 1);
        assert_eq!(nodes.claim(ip("192.0.2.4")), Claim::Nobody);
        assert_eq!(problems.len(), 3, "{problems:?}");
    }

    #[test]
    fn an_address_of_two_nodes_is_nobodys_and_said() {
        let (_, nodes, problems) = read("edge-1 192.0.2.1 192.0.2.5\nedge-2 192.0.2.1");
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

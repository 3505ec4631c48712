use edge_tunnel_proto::id::NodeName;

use super::*;
use crate::route::nodes::Claim;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

/// A node in one line: `edge-1 192.0.2.1 other-name 10.244.1.0/24`; one that starts with `=` is no tunnelled one.
fn node(line: &str) -> Declared {
    let mut words = line.trim_start_matches('=').split(' ');
    let mut node = Declared {
        name: name(words.next().unwrap()),
        tunnelled: !line.starts_with('='),
        via: false,
        addresses: Box::default(),
        hostnames: Box::default(),
        pods: Box::default(),
    };
    let (mut addresses, mut hostnames, mut pods) = (vec![], vec![], vec![]);
    for word in words {
        match (word.parse::<IpAddr>(), word.parse::<IpNet>()) {
            (Ok(address), _) => addresses.push(address),
            (_, Ok(range)) => pods.push(range),
            _ => hostnames.push(name(word)),
        }
    }
    (node.addresses, node.hostnames, node.pods) = (addresses.into(), hostnames.into(), pods.into());
    node
}

fn settled(lines: &[&str], rules: &Rules) -> (Nodes, Vec<String>) {
    let declared: Vec<_> = lines.iter().map(|line| node(line)).collect();
    let mut problems = Problems::default();
    let nodes = Nodes::settle(&declared.iter(), rules, &mut problems);
    let said = problems
        .listed()
        .iter()
        .map(|p| format!("{}: {}", p.entry, p.reason));
    let said: Vec<_> = said.collect();
    // Whoever comes first, the outcome is the same.
    let mut other = Problems::default();
    let turned = Nodes::settle(&declared.iter().rev(), rules, &mut other);
    assert_eq!(turned.tunnelled, nodes.tunnelled);
    assert_eq!(other.total(), problems.total());
    (nodes, said)
}

#[test]
fn a_node_is_reached_by_its_name_its_other_names_and_its_addresses() {
    let (nodes, said) = settled(
        &[
            "edge-1 192.0.2.1 2001:db8::1 shop.example edge-1",
            "=cloud-1 198.51.100.1",
        ],
        &Rules::default(),
    );
    let edge = name("edge-1");
    for found in [
        nodes.named(&edge),
        nodes.named(&name("shop.example")),
        nodes.claim(ip("192.0.2.1")),
        nodes.claim(ip("::ffff:192.0.2.1")),
        nodes.claim(ip("2001:db8::1")),
    ] {
        assert_eq!(found, Claim::One(&edge));
    }
    assert_eq!(nodes.named(&name("cloud-1")), Claim::Plain);
    assert_eq!(nodes.claim(ip("198.51.100.1")), Claim::Plain);
    assert_eq!(nodes.named(&name("edge-9")), Claim::Nobody);
    assert_eq!(nodes.claim(ip("192.0.2.9")), Claim::Nobody);
    assert!(said.is_empty(), "{said:?}");
}

#[test]
fn an_edge_node_that_claims_the_control_planes_names_and_addresses_diverts_nothing() {
    let (nodes, said) = settled(
        &[
            "edge-1 198.51.100.1 cloud-1 master.example",
            "=cloud-1 198.51.100.1 master.example",
        ],
        &Rules::default(),
    );
    assert_eq!(nodes.claim(ip("198.51.100.1")), Claim::Plain);
    assert_eq!(nodes.named(&name("cloud-1")), Claim::Plain);
    assert_eq!(nodes.named(&name("master.example")), Claim::Plain);
    assert_eq!(nodes.named(&name("edge-1")), Claim::One(&name("edge-1")));
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said.iter().all(|line| line.contains("edge-1")), "{said:?}");
}

#[test]
fn what_two_edge_nodes_claim_is_nobodys_and_their_names_do_not_suffer() {
    let (nodes, said) = settled(
        &["edge-1 192.0.2.1 192.0.2.5 shop", "edge-2 192.0.2.1 shop"],
        &Rules::default(),
    );
    assert!(matches!(nodes.claim(ip("192.0.2.1")), Claim::Many([_, _])));
    assert!(matches!(nodes.named(&name("shop")), Claim::Many([_, _])));
    assert_eq!(nodes.claim(ip("192.0.2.5")), Claim::One(&name("edge-1")));
    assert_eq!(nodes.named(&name("edge-2")), Claim::One(&name("edge-2")));
    assert_eq!(said.len(), 2, "{said:?}");
    // One that bears another's name as its Hostname does not take it.
    let (nodes, said) = settled(&["edge-1 edge-2", "edge-2"], &Rules::default());
    assert_eq!(nodes.named(&name("edge-2")), Claim::One(&name("edge-2")));
    assert!(said[0].contains("is another node's name"), "{said:?}");
}

#[test]
fn an_address_counts_where_edge_nodes_may_have_one() {
    let rules = Rules {
        edge: Some(vec!["192.0.2.0/24".parse().unwrap()]),
        reserved: vec!["192.0.2.128/25".parse().unwrap()],
        own: [ip("192.0.2.7")].into(),
    };
    let line = "edge-1 192.0.2.1 192.0.2.7 192.0.2.200 203.0.113.1 127.0.0.1 169.254.0.9";
    let (nodes, said) = settled(&[line], &rules);
    assert_eq!(nodes.claim(ip("192.0.2.1")), Claim::One(&name("edge-1")));
    for (address, why) in [
        ("192.0.2.7", "this server's own"),
        ("192.0.2.200", "--service-cidrs"),
        ("203.0.113.1", "outside --edge-cidrs"),
        ("127.0.0.1", "names no one node"),
        ("169.254.0.9", "names no one node"),
    ] {
        assert_eq!(nodes.claim(ip(address)), Claim::Nobody, "{address}");
        let line = said.iter().find(|line| line.contains(address)).unwrap();
        assert!(line.contains(why), "{line}");
    }
    // What is no edge node's is believed to be where it says.
    let (nodes, said) = settled(&["=cloud-1 203.0.113.1"], &rules);
    assert_eq!(nodes.claim(ip("203.0.113.1")), Claim::Plain);
    assert!(said.is_empty(), "{said:?}");
}

#[test]
fn a_pods_address_leads_to_its_node() {
    let (nodes, said) = settled(
        &[
            "edge-1 192.0.2.1 10.244.1.0/24 2001:db8:1::/64",
            "edge-2 10.244.2.0/24",
            "=cloud-1 10.244.0.0/24",
        ],
        &Rules::default(),
    );
    assert_eq!(nodes.claim(ip("10.244.1.7")), Claim::Pod(&name("edge-1")));
    assert_eq!(
        nodes.claim(ip("2001:db8:1::7")),
        Claim::Pod(&name("edge-1"))
    );
    assert_eq!(nodes.claim(ip("10.244.2.7")), Claim::Pod(&name("edge-2")));
    assert_eq!(nodes.claim(ip("10.244.0.7")), Claim::Plain);
    assert_eq!(nodes.claim(ip("10.244.3.7")), Claim::Nobody);
    assert!(said.is_empty(), "{said:?}");
}

#[test]
fn a_range_of_pods_around_what_is_anothers_leads_nowhere_of_its_own() {
    // Everything, says edge-1.
    let (nodes, said) = settled(
        &[
            "edge-1 0.0.0.0/0",
            "edge-2 10.244.2.0/24",
            "=cloud-1 198.51.100.1 10.244.0.0/24",
        ],
        &Rules::default(),
    );
    assert_eq!(nodes.claim(ip("198.51.100.1")), Claim::Plain);
    assert_eq!(nodes.claim(ip("198.51.100.9")), Claim::Plain);
    assert_eq!(nodes.claim(ip("10.244.0.7")), Claim::Plain);
    assert!(!matches!(nodes.claim(ip("10.244.2.7")), Claim::Pod(node) if *node == name("edge-1")));
    assert!(!said.is_empty());
    // An address in another's range of pods.
    let (nodes, said) = settled(
        &["edge-1 10.244.0.7", "=cloud-1 10.244.0.0/24"],
        &Rules::default(),
    );
    assert_eq!(nodes.claim(ip("10.244.0.7")), Claim::Plain);
    assert!(said[0].contains("has its pods"), "{said:?}");
    // The same range twice.
    let (nodes, said) = settled(
        &["edge-1 10.244.1.0/24", "edge-2 10.244.1.0/24"],
        &Rules::default(),
    );
    assert!(matches!(nodes.claim(ip("10.244.1.7")), Claim::Many([_, _])));
    assert_eq!(said.len(), 1, "{said:?}");
}

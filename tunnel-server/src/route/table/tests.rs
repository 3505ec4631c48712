use std::sync::Arc;

use edge_tunnel_proto::id::{Port, RequestId};

use super::*;
use crate::identity::{Grant, PortsGrant};
use crate::inbound::{Caller, Way};
use crate::route::index::{Content, Index, Settings};
use crate::route::keys::Key;
use crate::route::nodes::Declared;

fn table(keys: &[(Key, &str)]) -> Table {
    let contents = keys
        .iter()
        .map(|(key, text)| (*key, Content::Text((*text).to_owned())));
    let mut index = Index::new(Settings::default());
    index.keys(contents);
    index.table()
}

/// These are registered and connected.
struct Agents<'a>(&'a [&'a str]);

impl Here for Agents<'_> {
    fn knows(&self, node: &NodeName) -> bool {
        self.0.contains(&node.as_str())
    }

    fn connected(&self, node: &NodeName) -> bool {
        self.knows(node)
    }
}

const NOBODY: Agents<'_> = Agents(&[]);

fn inbound(way: Way, caller: Caller, destination: &str) -> Inbound {
    Inbound {
        destination: destination.parse().unwrap(),
        way,
        caller,
        grant: None,
        client: None,
        request_id: RequestId(1),
    }
}

fn granted(destination: &str, nodes: &[&str], ports: PortsGrant) -> Inbound {
    let nodes = nodes.iter().map(|node| node.parse().unwrap()).collect();
    Inbound {
        grant: Some(Arc::new(Grant { nodes, ports })),
        ..inbound(Way::Connect, Caller::Certificate("ops".into()), destination)
    }
}

/// The route as `node target`, or the refusal as `status reason`.
fn answer(table: &Table, inbound: &Inbound) -> String {
    match table.resolve(inbound, &NOBODY) {
        Ok(route) => format!(
            "{} {:?} {}",
            route.node, route.target.host, route.target.port
        ),
        Err(refusal) => format!("{} {}", refusal.kind.status(), refusal.reason),
    }
}

#[test]
fn each_way_reaches_its_own_ports() {
    let table = table(&[
        (Key::HttpProxyPorts, "9100"),
        (Key::HttpsProxyPorts, "9445"),
    ]);
    let ask = |way, destination| answer(&table, &inbound(way, Caller::Anyone, destination));
    assert_eq!(ask(Way::Http, "edge-1:9100"), "edge-1 Node 9100");
    assert_eq!(ask(Way::Http, "edge-1:10255"), "edge-1 Loopback 10255");
    assert_eq!(ask(Way::Tls, "edge-1:10250"), "edge-1 Loopback 10250");
    assert_eq!(ask(Way::Tls, "edge-1:9445"), "edge-1 Node 9445");
    for (way, destination) in [
        (Way::Http, "edge-1:10250"),
        (Way::Http, "edge-1:9445"),
        (Way::Http, "edge-1:22"),
        (Way::Tls, "edge-1:9100"),
        (Way::Tls, "edge-1:22"),
        // Listed among the localhost ports, which opens nothing by itself.
        (Way::Http, "edge-1:10266"),
    ] {
        assert_eq!(
            ask(way, destination),
            "403 port_not_open",
            "{way:?} {destination}"
        );
    }
}

#[test]
fn a_refused_port_names_the_key_to_set() {
    let table = table(&[]);
    let text = |way, to| {
        table
            .resolve(&inbound(way, Caller::Anyone, to), &NOBODY)
            .unwrap_err()
            .message
    };
    assert!(text(Way::Http, "edge-1:9100").contains("add it to http-proxy-ports"));
    assert!(text(Way::Tls, "edge-1:9100").contains("add it to https-proxy-ports"));
    assert!(text(Way::Http, "edge-1:10250").contains("over TLS"));
}

#[test]
fn addresses_route_by_their_line_and_only_there() {
    let table = table(&[
        (
            Key::Nodes,
            "edge-1 192.0.2.1 192.0.2.3\nedge-2 192.0.2.2 192.0.2.3",
        ),
        (Key::HttpProxyPorts, "9100"),
    ]);
    let ask = |destination| answer(&table, &inbound(Way::Http, Caller::Anyone, destination));
    assert_eq!(ask("192.0.2.1:9100"), "edge-1 Address(192.0.2.1) 9100");
    assert_eq!(
        ask("[::ffff:192.0.2.2]:9100"),
        "edge-2 Address(192.0.2.2) 9100"
    );
    assert_eq!(ask("192.0.2.1:10255"), "edge-1 Loopback 10255");
    assert_eq!(ask("192.0.2.3:9100"), "503 ambiguous_address");
    assert_eq!(ask("192.0.2.4:9100"), "503 unknown_node");
    // A name without a line is the sessions' matter.
    assert_eq!(ask("edge-9:9100"), "edge-9 Node 9100");
}

#[test]
fn localhost_ports_are_a_key_like_the_others() {
    let table = table(&[
        (Key::LocalhostProxyPorts, "9100"),
        (Key::HttpProxyPorts, "9100"),
    ]);
    let ask = |way, destination| answer(&table, &inbound(way, Caller::Anyone, destination));
    assert_eq!(ask(Way::Http, "edge-1:9100"), "edge-1 Loopback 9100");
    assert_eq!(ask(Way::Tls, "edge-1:10250"), "edge-1 Node 10250");
}

#[test]
fn the_unix_socket_reaches_every_port_until_its_line_says_otherwise() {
    let ask = |table: &Table, to| answer(table, &inbound(Way::Connect, Caller::UnixSocket, to));
    assert_eq!(ask(&table(&[]), "edge-1:22"), "edge-1 Node 22");
    let narrowed = table(&[(Key::Callers, "unix-socket nodes=edge-1 ports=configured")]);
    assert_eq!(ask(&narrowed, "edge-1:22"), "403 port_not_open");
    assert_eq!(ask(&narrowed, "edge-1:10250"), "edge-1 Loopback 10250");
    assert_eq!(ask(&narrowed, "edge-2:10250"), "403 node_not_allowed");
    let broken = table(&[(Key::Callers, "unix-socket ports=x")]);
    assert_eq!(ask(&broken, "edge-1:10250"), "403 caller_not_allowed");
}

#[test]
fn a_certificate_reaches_what_it_was_issued_for() {
    let none = table(&[]);
    let list = PortsGrant::List(vec![Port::known(22)]);
    assert_eq!(
        answer(&none, &granted("edge-1:22", &["edge-1"], list.clone())),
        "edge-1 Node 22"
    );
    assert_eq!(
        answer(&none, &granted("edge-1:10250", &["edge-1"], list.clone())),
        "403 port_not_open"
    );
    assert_eq!(
        answer(&none, &granted("edge-2:22", &["edge-1"], list)),
        "403 node_not_allowed"
    );
    assert_eq!(
        answer(
            &none,
            &granted("edge-1:22", &["edge-1"], PortsGrant::Configured)
        ),
        "403 port_not_open"
    );
    assert_eq!(
        answer(
            &none,
            &granted("edge-1:10250", &["edge-1"], PortsGrant::Configured)
        ),
        "edge-1 Loopback 10250"
    );
    assert_eq!(
        answer(&none, &granted("edge-1:22", &["edge-1"], PortsGrant::All)),
        "edge-1 Node 22"
    );
}

#[test]
fn a_line_narrows_or_widens_a_certificate() {
    let line = table(&[(Key::Callers, "ops nodes=edge-2")]);
    assert_eq!(
        answer(&line, &granted("edge-2:22", &["edge-1"], PortsGrant::All)),
        "edge-2 Node 22"
    );
    assert_eq!(
        answer(&line, &granted("edge-1:22", &["edge-1"], PortsGrant::All)),
        "403 node_not_allowed"
    );
    let line = table(&[(Key::Callers, "ops ports=22")]);
    assert_eq!(
        answer(
            &line,
            &granted("edge-1:22", &["edge-1"], PortsGrant::Configured)
        ),
        "edge-1 Node 22"
    );
    assert_eq!(
        answer(
            &line,
            &granted("edge-1:10250", &["edge-1"], PortsGrant::All)
        ),
        "403 port_not_open"
    );
    assert_eq!(
        answer(&line, &granted("edge-2:22", &["edge-1"], PortsGrant::All)),
        "403 node_not_allowed"
    );
}

#[test]
fn a_certificate_without_grant_needs_a_line() {
    let ask = |table: &Table, to| {
        answer(
            table,
            &inbound(Way::Connect, Caller::Certificate("ops".into()), to),
        )
    };
    assert_eq!(ask(&table(&[]), "edge-1:10250"), "403 caller_not_allowed");
    let line = table(&[(Key::Callers, "ops")]);
    assert_eq!(ask(&line, "edge-1:10250"), "edge-1 Loopback 10250");
    assert_eq!(ask(&line, "edge-1:22"), "403 port_not_open");
    assert_eq!(
        answer(
            &table(&[]),
            &inbound(Way::Connect, Caller::Anyone, "edge-1:10250")
        ),
        "403 caller_not_allowed"
    );
}

/// A cluster: edge-1 and edge-2 tunnelled, cloud-1 not, pods of all three; and `unmatched`.
fn cluster(unmatched: &str, callers: &str) -> Table {
    let mut index = Index::new(Settings {
        unmatched: unmatched.parse().unwrap(),
        ..Settings::default()
    });
    for (name, address, pods) in [
        ("edge-1", "192.0.2.1", "10.244.1.0/24"),
        ("edge-2", "192.0.2.2", "10.244.2.0/24"),
        ("cloud-1", "198.51.100.1", "10.244.0.0/24"),
    ] {
        index.node(Declared {
            name: name.parse().unwrap(),
            tunnelled: name.starts_with("edge"),
            via: name == "edge-2",
            addresses: [address.parse().unwrap()].into(),
            hostnames: Box::default(),
            pods: [pods.parse().unwrap()].into(),
        });
    }
    index.keys([(Key::Callers, Content::Text(callers.to_owned()))]);
    index.table()
}

/// As [`answer`], of a CONNECT, with `beyond …` for what is no node's.
fn leads(table: &Table, inbound: &Inbound, here: &[&str]) -> String {
    match table.leads(inbound, &Agents(here)) {
        Ok(Leads::Node(Route { node, target })) => {
            format!("{node} {:?} {}", target.host, target.port)
        }
        Ok(Leads::Beyond(Beyond::Direct)) => "direct".to_owned(),
        Ok(Leads::Beyond(Beyond::Via(nodes))) => format!("via {nodes:?}"),
        Err(refusal) => format!("{} {}", refusal.kind.status(), refusal.reason),
    }
}

#[test]
fn what_is_no_tunnelled_nodes_is_dialled_directly_where_that_is_said() {
    let table = cluster("direct", "");
    let ask = |to| {
        leads(
            &table,
            &inbound(Way::Connect, Caller::UnixSocket, to),
            &["box-7", "cloud-1"],
        )
    };
    for (to, expected) in [
        ("edge-1:10250", "edge-1 Loopback 10250"),
        ("192.0.2.2:22", "edge-2 Address(192.0.2.2) 22"),
        // A pod, whose ports are its own.
        ("10.244.1.7:10250", "edge-1 Address(10.244.1.7) 10250"),
        ("10.244.0.7:8443", "direct"),
        ("198.51.100.1:10250", "direct"),
        ("webhook.default.svc:443", "direct"),
        ("203.0.113.9:443", "direct"),
        // Outside the cluster and registered here; in it, not selected, and with an agent all the same.
        ("box-7:22", "box-7 Node 22"),
        ("cloud-1:10250", "cloud-1 Loopback 10250"),
    ] {
        assert_eq!(ask(to), expected, "{to}");
    }
    assert_eq!(
        leads(
            &table,
            &inbound(Way::Connect, Caller::UnixSocket, "cloud-1:10250"),
            &[]
        ),
        "direct"
    );
}

#[test]
fn only_who_is_told_so_reaches_what_is_no_tunnelled_nodes() {
    let to = "203.0.113.9:443";
    let caller = |name: &str| Inbound {
        caller: Caller::Certificate(name.into()),
        ..granted(to, &["*"], PortsGrant::All)
    };
    let ask = |callers, inbound: &Inbound| leads(&cluster("direct", callers), inbound, &[]);
    assert_eq!(ask("", &caller("kube-apiserver")), "direct");
    assert_eq!(
        ask("kube-apiserver direct=no", &caller("kube-apiserver")),
        "403 direct_not_allowed"
    );
    assert_eq!(ask("", &caller("prometheus")), "403 direct_not_allowed");
    assert_eq!(
        ask("prometheus direct=yes", &caller("prometheus")),
        "direct"
    );
    assert_eq!(
        ask("prometheus direct=yes ports=80", &caller("prometheus")),
        "403 port_not_open"
    );
    let socket = inbound(Way::Connect, Caller::UnixSocket, to);
    assert_eq!(
        ask("unix-socket direct=no", &socket),
        "403 direct_not_allowed"
    );
    assert_eq!(
        leads(&cluster("refuse", ""), &socket, &[]),
        "503 unknown_node"
    );
    // By the other ways in nothing of the kind is served.
    let http = |to| {
        answer(
            &cluster("direct", ""),
            &inbound(Way::Http, Caller::Anyone, to),
        )
    };
    assert_eq!(http("203.0.113.9:10255"), "503 unknown_node");
    assert_eq!(http("198.51.100.1:10255"), "503 not_tunnelled");
}

#[test]
fn an_agent_carries_what_is_no_nodes_where_its_node_is_selected_and_connected() {
    let table = cluster("via=gateway=yes", "");
    let ask = |here: &[&str]| {
        leads(
            &table,
            &inbound(Way::Connect, Caller::UnixSocket, "203.0.113.9:443"),
            here,
        )
    };
    assert_eq!(ask(&["edge-1", "edge-2"]), "via [edge-2]");
    assert_eq!(ask(&["edge-1"]), "503 not_connected");
}

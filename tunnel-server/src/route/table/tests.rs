use std::sync::Arc;

use edge_tunnel_proto::id::RequestId;

use super::*;
use crate::identity::Grant;
use crate::route::index::{Content, Index};
use crate::route::keys::Key;
use crate::route::ports::Listeners;

fn table(keys: &[(Key, &str)]) -> Table {
    let contents = keys
        .iter()
        .map(|(key, text)| (*key, Content::Text((*text).to_owned())));
    Index::new(Listeners::default()).apply(contents)
}

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
    match table.resolve(inbound) {
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
            .resolve(&inbound(way, Caller::Anyone, to))
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

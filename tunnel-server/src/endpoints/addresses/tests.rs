use edge_tunnel_agent::config::ServerAddress;
use serde_json::{Value, json};

use super::*;

fn service(name: &str, mut object: Value) -> Service {
    object["metadata"]["name"] = name.into();
    serde_json::from_value(object).unwrap()
}

fn both() -> Value {
    json!([
        {"name": "tls", "port": 10262, "nodePort": 30262},
        {"name": "quic", "port": 10262, "protocol": "UDP", "nodePort": 30262},
    ])
}

fn one(protocol: &str, node_port: Option<u16>) -> Value {
    json!([{"port": 10262, "protocol": protocol, "nodePort": node_port}])
}

fn node(name: &str, external: &[&str], internal: &[&str]) -> NodeAddresses {
    let ips = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    NodeAddresses {
        name: name.to_owned(),
        external: ips(external),
        internal: ips(internal),
    }
}

fn found(services: &[&Service], nodes: &[NodeAddresses]) -> Vec<String> {
    let found = find(services, nodes);
    assert_eq!(found.complaints, [""; 0]);
    shown(&found)
}

/// As agents read them.
fn shown(found: &Found) -> Vec<String> {
    let shown = found.addresses.iter().map(ToString::to_string);
    shown
        .inspect(|text| {
            let taken = text.parse::<ServerAddress>();
            assert_eq!(taken.unwrap().to_string(), *text, "an agent reads another");
        })
        .collect()
}

#[test]
fn a_balancer_is_reached_by_its_name_or_address() {
    let balanced = |ingress: Value| {
        let status = json!({"loadBalancer": {"ingress": ingress}});
        service(
            "a",
            json!({"spec": {"ports": both(), "clusterIP": "10.0.0.1"}, "status": status}),
        )
    };
    let by_name = balanced(json!([{"hostname": "LB.example."}]));
    assert_eq!(found(&[&by_name], &[]), ["lb.example:10262"]);
    let both_said = balanced(json!([{"hostname": "lb.example", "ip": "192.0.2.1"}]));
    assert_eq!(found(&[&both_said], &[]), ["lb.example:10262"]);
    let two = balanced(json!([{"ip": "192.0.2.1"}, {"ip": "2001:db8::1", "hostname": ""}]));
    assert_eq!(
        found(&[&two], &[node("n", &["192.0.2.9"], &[])]),
        ["192.0.2.1:10262", "[2001:db8::1]:10262"]
    );
    assert!(!wants_nodes(&[&two]));
    // One that knows no UDP says so, or the Service would be dialled in vain.
    let failed = json!({"port": 10262, "protocol": "UDP", "error": "MixedProtocolNotSupported"});
    let served = json!({"port": 10262, "protocol": "TCP"});
    let half = balanced(json!([{"ip": "192.0.2.1", "ports": [served, failed]}]));
    assert_eq!(found(&[&half], &[]), ["tls://192.0.2.1:10262"]);
    let odd = balanced(json!([{"hostname": "no_name"}, {"ip": "192.0.2.1"}, {}]));
    let odd = find(&[&odd], &[]);
    assert_eq!(shown(&odd), ["192.0.2.1:10262"]);
    assert!(odd.complaints[0].contains("no_name"), "{odd:?}");
}

#[test]
fn two_balancers_have_a_transport_each_and_quic_comes_first() {
    let of = |name: &str, protocol: &str, ip: &str| {
        let spec = json!({"ports": one(protocol, None)});
        let status = json!({"loadBalancer": {"ingress": [{"ip": ip}]}});
        service(name, json!({"spec": spec, "status": status}))
    };
    let (tcp, udp) = (of("a", "TCP", "192.0.2.1"), of("b", "UDP", "192.0.2.2"));
    assert_eq!(
        found(&[&tcp, &udp], &[]),
        ["quic://192.0.2.2:10262", "tls://192.0.2.1:10262"]
    );
    // Some clouds give both the same address.
    let same = of("b", "UDP", "192.0.2.1");
    assert_eq!(found(&[&tcp, &same], &[]), ["192.0.2.1:10262"]);
    assert_eq!(found(&[&tcp], &[]), ["tls://192.0.2.1:10262"]);
}

#[test]
fn the_annotation_wins_with_its_own_port() {
    let said = |text: &str, ports: Value| {
        let status = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}});
        let metadata = json!({"annotations": {ANNOTATION: text}});
        service(
            "a",
            json!({"metadata": metadata, "spec": {"ports": ports}, "status": status}),
        )
    };
    let table = [
        ("nat.example:443", both(), vec!["nat.example:443"]),
        ("nat.example", both(), vec!["nat.example:10262"]),
        (
            "198.51.100.1:443",
            one("TCP", None),
            vec!["tls://198.51.100.1:443"],
        ),
        (
            "[2001:db8::1]:443",
            one("UDP", None),
            vec!["quic://[2001:db8::1]:443"],
        ),
        ("2001:db8::1", both(), vec!["[2001:db8::1]:10262"]),
        (
            "tls://a.example:443, quic://b.example",
            both(),
            vec!["quic://b.example:10262", "tls://a.example:443"],
        ),
        ("a.example:1", json!([]), vec!["a.example:1"]),
        // Nothing is said.
        (" ", both(), vec!["192.0.2.1:10262"]),
    ];
    for (text, ports, expected) in table {
        assert_eq!(found(&[&said(text, ports)], &[]), expected, "{text}");
    }
    let half = find(&[&said("https://x:1,a.example:1,b:99999", both())], &[]);
    assert_eq!(shown(&half), ["a.example:1"]);
    assert_eq!(half.complaints.len(), 2, "{half:?}");
    let wrong = find(&[&said("a_b", both())], &[]);
    assert_eq!(shown(&wrong), ["192.0.2.1:10262"]);
    assert!(wrong.complaints[0].contains(ANNOTATION), "{wrong:?}");
}

#[test]
fn node_ports_are_at_nodes_outside_ones_first_and_at_few() {
    // A balancer that nobody makes leaves its node ports.
    let spec = json!({"type": "LoadBalancer", "ports": both(), "clusterIP": "10.0.0.1"});
    let pending = service("a", json!({"spec": spec, "status": {"loadBalancer": {}}}));
    assert!(wants_nodes(&[&pending]));
    let nodes = [
        node("b", &[], &["10.1.0.2", "2001:db8::2"]),
        node("a", &["192.0.2.1"], &["10.1.0.1"]),
        node("c", &["192.0.2.3"], &["10.1.0.1"]),
    ];
    let expected = [
        "192.0.2.1:30262",
        "192.0.2.3:30262",
        "10.1.0.1:30262",
        "10.1.0.2:30262",
        "[2001:db8::2]:30262",
    ];
    assert_eq!(found(&[&pending], &nodes), expected);
    let mut reversed = nodes;
    reversed.reverse();
    assert_eq!(found(&[&pending], &reversed), expected, "another order");
    let many: Vec<_> = (1..=9)
        .map(|n| node(&format!("n{n}"), &[&format!("192.0.2.{n}")], &[]))
        .collect();
    assert_eq!(found(&[&pending], &many).len(), 5);

    // Two Services: nobody waits through all nodes of one transport for the other.
    let of = |name: &str, protocol: &str, port: u16| {
        service(name, json!({"spec": {"ports": one(protocol, Some(port))}}))
    };
    let (tcp, udp) = (of("a", "TCP", 30001), of("b", "UDP", 30002));
    assert_eq!(
        found(&[&tcp, &udp], &many[..2]),
        [
            "quic://192.0.2.1:30002",
            "tls://192.0.2.1:30001",
            "quic://192.0.2.2:30002",
            "tls://192.0.2.2:30001",
        ]
    );
}

#[test]
fn without_a_way_from_outside_there_is_the_clusters_own_address() {
    let spec =
        json!({"ports": both(), "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"]});
    let with_ports = service("a", json!({"spec": spec}));
    let expected = ["10.0.0.1:10262", "[fd00::1]:10262"];
    assert_eq!(found(&[&with_ports], &[]), expected);
    let spec = json!({"ports": one("TCP", None), "clusterIP": "10.0.0.1"});
    let plain = service("a", json!({"spec": spec}));
    assert!(!wants_nodes(&[&plain]));
    let nodes = [node("a", &["192.0.2.1"], &[])];
    assert_eq!(found(&[&plain], &nodes), ["tls://10.0.0.1:10262"]);
}

#[test]
fn a_service_that_leads_nowhere_is_told() {
    for spec in [
        json!({"ports": both(), "clusterIP": "None"}),
        json!({"ports": one("SCTP", None), "clusterIP": "10.0.0.1"}),
        json!({}),
        Value::Null,
    ] {
        let nowhere = service("nowhere", json!({"spec": spec}));
        let found = find(&[&nowhere], &[]);
        assert!(found.addresses.is_empty(), "{found:?}");
        assert!(found.complaints[0].contains("Service nowhere"), "{found:?}");
    }
}

#[test]
fn agents_are_told_no_more_than_they_use() {
    let ingress: Vec<_> = (1..=40)
        .map(|n| json!({"ip": format!("192.0.2.{n}")}))
        .collect();
    let status = json!({"loadBalancer": {"ingress": ingress}});
    let many = service("a", json!({"spec": {"ports": both()}, "status": status}));
    assert_eq!(found(&[&many], &[]).len(), 16);
}

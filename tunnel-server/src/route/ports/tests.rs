use super::*;

fn parse(http: &str, https: &str, dnat: &str, localhost: &str) -> (Ports, Vec<String>) {
    let mut problems = Problems::default();
    let texts = Texts {
        http,
        https,
        dnat,
        localhost,
    };
    let ports = Ports::parse(&texts, Listeners::default(), &mut problems);
    (
        ports,
        problems
            .listed()
            .iter()
            .map(|p| format!("{} {}", p.key, p.entry))
            .collect(),
    )
}

fn port(number: u16) -> Port {
    Port::new(number).unwrap()
}

#[test]
fn the_kubelets_ports_are_always_open_and_keep_their_scheme() {
    for (http, https) in [("", ""), ("10250", "10255"), ("10250,10255", "10250,10255")] {
        let (ports, _) = parse(http, https, "10250=10264,10255=10263", "");
        assert!(
            ports.https(KUBELET_TLS) && !ports.http(KUBELET_TLS),
            "{http} {https}"
        );
        assert!(
            ports.http(KUBELET_HTTP) && !ports.https(KUBELET_HTTP),
            "{http} {https}"
        );
        assert_eq!(ports.own_listeners().count(), 0);
    }
}

#[test]
fn bad_entries_are_skipped_alone() {
    let (ports, problems) = parse("9051, x,9052=1,\n70000, 9053", "0,9445, -1", "", "10250,no");
    assert!(ports.http(port(9051)) && ports.http(port(9053)) && !ports.http(port(9052)));
    assert!(ports.https(port(9445)) && ports.localhost(KUBELET_TLS));
    assert_eq!(
        problems,
        [
            "http-proxy-ports x",
            "http-proxy-ports 9052=1",
            "http-proxy-ports 70000",
            "https-proxy-ports 0",
            "https-proxy-ports -1",
            "localhost-proxy-ports no"
        ]
    );
}

#[test]
fn a_port_in_both_is_https() {
    let (ports, problems) = parse("9051,9052", "9052", "", "");
    assert!(ports.https(port(9052)) && !ports.http(port(9052)) && ports.http(port(9051)));
    assert!(problems.is_empty());
}

#[test]
fn pairs_name_the_servers_listeners() {
    let (ports, problems) = parse("", "", "9051=10264, 9052 = 10263,9053=9053,9054,=1,1=", "");
    assert!(ports.http(port(9051)) && ports.https(port(9052)) && ports.http(port(9054)));
    assert_eq!(
        problems,
        [
            "dnat-ports-pair 9053=9053",
            "dnat-ports-pair =1",
            "dnat-ports-pair 1="
        ]
    );
}

#[test]
fn listeners_are_bounded() {
    let list: Vec<String> = (1..=60_000).map(|port: u32| port.to_string()).collect();
    let (ports, problems) = parse("", &list.join(","), "", "");
    assert_eq!(ports.own_listeners().count(), OWN_LISTENERS_MAX);
    // As many as are listed: the other 58,900 are counted.
    assert_eq!(problems.len(), 100);
}

#[test]
fn each_https_port_gets_one_listener_and_each_listener_one_port() {
    let (ports, problems) = parse(
        "",
        "9445, 9446=11000,9446, 9447=11000, 9445=12000,10250=11001",
        "9448=10263",
        "",
    );
    let own: Vec<_> = ports
        .own_listeners()
        .map(|(p, l)| (p.get(), l.get()))
        .collect();
    assert_eq!(own, [(9445, 9445), (9446, 11000), (9448, 9448)]);
    assert_eq!(
        problems,
        [
            "https-proxy-ports 9447=11000",
            "https-proxy-ports 9445=12000",
            "https-proxy-ports 10250=11001"
        ]
    );
}

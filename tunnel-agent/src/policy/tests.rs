use super::*;

const NODE_V4: &str = "192.0.2.10";
const NODE_V6: &str = "2001:db8::10";

fn addresses() -> Addresses {
    let interfaces = [
        "127.0.0.1",
        "::1",
        NODE_V4,
        NODE_V6,
        "10.244.0.1",
        "169.254.20.10",
        "fe80::1",
    ];
    Addresses {
        node: Some(NODE_V4.parse().unwrap()),
        interfaces: interfaces.iter().map(|ip| ip.parse().unwrap()).collect(),
    }
}

fn rules(allow: &[&str], deny: &[&str]) -> Rules {
    let parse = |rules: &[&str]| rules.iter().map(|rule| rule.parse().unwrap()).collect();
    Rules {
        allow: parse(allow),
        deny: parse(deny),
        ..Rules::default()
    }
}

fn at(address: &str, port: u16) -> Target {
    let host = TargetHost::Address(address.parse().unwrap());
    Target {
        host,
        port: Port::known(port),
    }
}

fn judge(rules: &Rules, target: &Target) -> Result<String, String> {
    let node = "edge-1".parse().unwrap();
    let verdict = rules.judge(&node, &addresses(), target);
    verdict
        .map(|dial| dial.to_string())
        .map_err(|denied| denied.to_string())
}

fn allowed(rules: &Rules, address: &str, port: u16) -> bool {
    judge(rules, &at(address, port)).is_ok()
}

#[test]
fn by_default_the_nodes_own_addresses_and_four_loopback_ports() {
    let rules = Rules::default();
    let table = [
        (NODE_V4, 22, true),
        (NODE_V6, 65535, true),
        ("10.244.0.1", 80, true),
        ("127.0.0.1", 10250, true),
        ("127.0.0.1", 10255, true),
        ("127.0.0.53", 10266, true),
        ("::1", 10267, true),
        ("127.0.0.1", 22, false),
        ("::1", 6443, false),
        ("127.0.0.53", 53, false),
        ("192.0.2.11", 22, false),
        ("8.8.8.8", 53, false),
        ("2001:db8::11", 10250, false),
        ("169.254.169.254", 80, false),
        ("100.100.100.200", 80, false),
        ("fd00:ec2::254", 80, false),
        ("224.0.0.1", 80, false),
        ("ff02::1", 80, false),
        ("0.0.0.0", 10250, false),
        ("::", 10250, false),
        ("255.255.255.255", 80, false),
        // Borne by interfaces of this node, and still link-local.
        ("169.254.20.10", 53, false),
        ("fe80::1", 80, false),
    ];
    for (address, port, expected) in table {
        assert_eq!(
            allowed(&rules, address, port),
            expected,
            "{address} port {port}"
        );
    }
}

#[test]
fn ipv4_mapped_addresses_are_judged_as_ipv4() {
    let rules = Rules::default();
    assert_eq!(
        judge(&rules, &at("::ffff:192.0.2.10", 22)).unwrap(),
        "192.0.2.10:22"
    );
    for (address, port) in [
        ("::ffff:127.0.0.1", 22),
        ("::ffff:169.254.169.254", 80),
        ("::ffff:0.0.0.0", 10250),
    ] {
        assert!(!allowed(&rules, address, port), "{address}");
    }
    let denied = self::rules(&[], &["192.0.2.0/24:22"]);
    assert!(!allowed(&denied, "::ffff:192.0.2.10", 22));
}

#[test]
fn words_for_targets() {
    let of = |host| Target {
        host,
        port: Port::known(10250),
    };
    let rules = Rules::default();
    assert_eq!(
        judge(&rules, &of(TargetHost::Loopback)).unwrap(),
        "127.0.0.1:10250"
    );
    assert_eq!(
        judge(&rules, &of(TargetHost::Node)).unwrap(),
        "192.0.2.10:10250"
    );

    let unknown = rules.judge(
        &"edge-1".parse().unwrap(),
        &Addresses::default(),
        &of(TargetHost::Node),
    );
    assert!(unknown.unwrap_err().to_string().contains("--node-ip"));
    // An agent whose session runs over loopback does not open loopback by that.
    let local = Addresses {
        node: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ..Addresses::default()
    };
    let ssh = Target {
        host: TargetHost::Node,
        port: Port::known(22),
    };
    assert!(
        rules
            .judge(&"edge-1".parse().unwrap(), &local, &ssh)
            .is_err()
    );
}

#[test]
fn allow_adds_what_it_names() {
    let rules = rules(
        &[
            "loopback:9100",
            "198.51.100.0/24:80,443",
            "[2001:db8::/64]:8000-8100",
        ],
        &[],
    );
    let table = [
        ("127.0.0.1", 9100, true),
        ("127.0.0.1", 9101, false),
        ("198.51.100.7", 443, true),
        ("198.51.100.7", 22, false),
        ("2001:db8::77", 8050, true),
        ("2001:db8:1::77", 8050, false),
        ("127.0.0.1", 10250, true),
    ];
    for (address, port, expected) in table {
        assert_eq!(
            allowed(&rules, address, port),
            expected,
            "{address} port {port}"
        );
    }
}

#[test]
fn a_wide_allow_does_not_open_what_is_never_meant_by_accident() {
    let wide = rules(&["0.0.0.0/0:*", "[::/0]:*"], &[]);
    assert!(allowed(&wide, "8.8.8.8", 53));
    assert!(allowed(&wide, "2001:db8:9::1", 53));
    for address in [
        "127.0.0.1",
        "::1",
        "169.254.169.254",
        "169.254.1.1",
        "224.0.0.1",
        "0.0.0.0",
        "fe80::9",
        "ff02::1",
    ] {
        assert!(!allowed(&wide, address, 80), "{address}");
    }
    let named = rules(&["169.254.169.254:80", "127.0.0.0/8:22"], &[]);
    assert!(allowed(&named, "169.254.169.254", 80));
    assert!(allowed(&named, "127.0.0.1", 22));
    let link_local = rules(&["169.254.0.0/16:*"], &[]);
    assert!(allowed(&link_local, "169.254.20.10", 53));
    assert!(
        !allowed(&link_local, "169.254.169.254", 80),
        "the range around it does not name it"
    );
}

#[test]
fn deny_wins_and_reaches_as_far_as_it_is_wide() {
    let rules = rules(
        &["198.51.100.7:80", "loopback:9100"],
        &["node:22", "0.0.0.0/0:80", "loopback:9100"],
    );
    for (address, port) in [
        (NODE_V4, 22),
        (NODE_V6, 22),
        ("198.51.100.7", 80),
        (NODE_V4, 80),
        ("127.0.0.1", 9100),
    ] {
        assert!(!allowed(&rules, address, port), "{address} port {port}");
    }
    assert!(allowed(&rules, NODE_V4, 23));
    assert!(allowed(&rules, NODE_V6, 80));
}

#[test]
fn loopback_ports_narrow_and_widen() {
    let rules = Rules {
        loopback_ports: "9100".parse().unwrap(),
        ..Rules::default()
    };
    assert!(allowed(&rules, "127.0.0.1", 9100));
    assert!(!allowed(&rules, "127.0.0.1", 10250));
}

#[test]
fn a_denial_says_where_and_what_to_do() {
    let rules = rules(&[], &["node:22"]);
    let why = |address, port| judge(&rules, &at(address, port)).unwrap_err();
    assert_eq!(
        why("127.0.0.1", 9100),
        "port 9100 on loopback is not allowed on node edge-1; add --allow loopback:9100 on its agent"
    );
    assert_eq!(
        why(NODE_V4, 22),
        "192.0.2.10:22 is denied on node edge-1 by its agent's rule: deny node:22"
    );
    assert_eq!(
        why("169.254.169.254", 80),
        "169.254.169.254 is a cloud metadata service, which node edge-1 dials only if its agent is told \
         --allow 169.254.169.254:80"
    );
    // What a denial proposes is a rule, and does what it says.
    let denial = why("2001:db8::99", 80);
    let proposed = denial
        .split("--allow ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    assert!(
        allowed(&self::rules(&[proposed], &[]), "2001:db8::99", 80),
        "{denial}"
    );
}

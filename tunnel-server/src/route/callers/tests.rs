use super::*;

fn parse(text: &str) -> (Callers, usize) {
    let mut problems = Problems::default();
    (Callers::parse(text, &mut problems), problems.total())
}

fn certificate(name: &str) -> Caller {
    Caller::Certificate(name.into())
}

#[test]
fn a_line_says_nodes_ports_and_direct() {
    let (callers, problems) =
        parse("# c\nprometheus nodes=edge-*,shop ports=9100,9445 direct=yes\nops ports=all\n");
    assert_eq!(problems, 0);
    let rule = callers.rule(&certificate("prometheus")).unwrap().unwrap();
    assert_eq!(rule.direct, Some(true));
    assert_eq!(
        rule.ports,
        Some(PortsGrant::List(vec![Port::known(9100), Port::known(9445)]))
    );
    assert_eq!(rule.nodes.as_ref().unwrap().len(), 2);
    let rule = callers.rule(&certificate("ops")).unwrap().unwrap();
    assert_eq!(
        (&rule.nodes, &rule.ports, rule.direct),
        (&None, &Some(PortsGrant::All), None)
    );
    assert!(callers.rule(&certificate("else")).is_none());
}

#[test]
fn a_line_that_cannot_be_read_allows_nothing() {
    for bad in [
        "port=1",
        "ports=",
        "ports=0",
        "ports=1,,2",
        "nodes=Edge",
        "direct=maybe",
        "x",
        "ports=1 ports=2",
    ] {
        let (callers, problems) = parse(&format!("ops {bad}"));
        assert!(callers.rule(&certificate("ops")).unwrap().is_err(), "{bad}");
        assert_eq!(problems, 1, "{bad}");
    }
}

#[test]
fn a_line_for_a_name_that_nobody_can_bear_is_told() {
    for name in ["a\u{fffd}b", "\u{1b}[31mops", "unix_socket/", "\u{7f}"] {
        let (callers, problems) = parse(&format!("{name} ports=1\nops ports=2"));
        assert_eq!(problems, 1, "{name:?}");
        assert!(callers.rule(&certificate("ops")).is_some());
    }
}

#[test]
fn the_first_of_two_lines_stands() {
    let (callers, problems) = parse("ops ports=1\nops ports=all");
    assert_eq!(problems, 1);
    let rule = callers.rule(&certificate("ops")).unwrap().unwrap();
    assert_eq!(rule.ports, Some(PortsGrant::List(vec![Port::known(1)])));
}

#[test]
fn a_certificate_cannot_take_the_sockets_name() {
    let (callers, _) = parse("unix-socket ports=all");
    assert!(callers.rule(&Caller::UnixSocket).is_some());
    assert!(callers.rule(&certificate("unix-socket")).is_none());
    assert!(callers.rule(&Caller::Anyone).is_none());
}

#[test]
fn patterns() {
    let fits = |pattern: &str, name: &str| {
        Pattern::parse(pattern)
            .unwrap()
            .matches(&name.parse().unwrap())
    };
    for (pattern, name) in [
        ("*", "a"),
        ("edge-*", "edge-1"),
        ("edge-1", "edge-1"),
        ("*-1", "edge-1"),
        ("e*-*1", "edge-1-1"),
        ("a*b*a", "aba"),
        ("**", "x"),
        ("*.shop", "a.b.shop"),
    ] {
        assert!(fits(pattern, name), "{pattern} {name}");
    }
    for (pattern, name) in [
        ("edge-*", "xedge-1"),
        ("edge-1", "edge-11"),
        ("*-1", "edge-12"),
        ("a*a", "a"),
        ("ab*ba", "aba"),
        ("", "a"),
        ("a*b*c", "acb"),
    ] {
        assert!(!fits(pattern, name), "{pattern} {name}");
    }
}

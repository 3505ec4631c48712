use super::*;

/// The destination, and Host if it is changed; or "400".
fn ask(uri: &str, headers: &[(&str, &str)]) -> String {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| {
            (
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            )
        })
        .fold(HeaderMap::new(), |mut map, (name, value)| {
            map.append(name, value);
            map
        });
    match find(&uri.parse().unwrap(), &headers) {
        Ok(Asked {
            destination,
            host: None,
        }) => destination.to_string(),
        Ok(Asked {
            destination,
            host: Some(host),
        }) => format!("{destination} {}", host.to_str().unwrap()),
        Err(refusal) => refusal.kind.status().to_string(),
    }
}

#[test]
fn host_decides_where_nothing_else_does() {
    assert_eq!(ask("/", &[("host", "Edge-1:9100")]), "edge-1:9100");
    assert_eq!(ask("/", &[("host", "edge-1")]), "edge-1:80");
    assert_eq!(ask("/", &[("host", "192.0.2.1")]), "192.0.2.1:80");
    assert_eq!(ask("/", &[("host", "[2001:db8::1]")]), "[2001:db8::1]:80");
    assert_eq!(
        ask("/", &[("host", "[2001:db8::1]:81")]),
        "[2001:db8::1]:81"
    );
    assert_eq!(ask("*", &[("host", "edge-1:1")]), "edge-1:1");
}

#[test]
fn an_absolute_target_wins_over_host_and_becomes_it() {
    assert_eq!(
        ask("http://edge-1:9100/x", &[("host", "edge-2:1")]),
        "edge-1:9100 edge-1:9100"
    );
    assert_eq!(ask("http://edge-1/", &[]), "edge-1:80 edge-1");
}

#[test]
fn tunnel_headers_win_over_both() {
    let host = ("host", "anything.example:8080");
    assert_eq!(
        ask("/", &[host, ("x-tunnel-proxy-dest", "192.0.2.1:9100")]),
        "192.0.2.1:9100"
    );
    assert_eq!(
        ask("/", &[host, ("x-tunnel-proxy-host", "edge-1")]),
        "edge-1:8080"
    );
    assert_eq!(
        ask("/", &[host, ("x-tunnel-proxy-host", "edge-1:7")]),
        "edge-1:7"
    );
    let both = [
        host,
        ("x-tunnel-proxy-host", "edge-1:7"),
        ("x-tunnel-proxy-dest", "192.0.2.1:9100"),
    ];
    assert_eq!(ask("/", &both), "edge-1:9100");
    assert_eq!(
        ask("http://other/", &[("x-tunnel-proxy-host", "edge-1")]),
        "edge-1:80 other"
    );
    assert_eq!(
        ask("/", &[("x-tunnel-proxy-dest", "192.0.2.1:1")]),
        "192.0.2.1:1 192.0.2.1:1"
    );
}

#[test]
fn what_names_no_destination_is_a_400() {
    for (uri, headers) in [
        ("/", vec![]),
        ("/", vec![("host", "")]),
        ("/", vec![("host", "edge-1:")]),
        ("/", vec![("host", "edge-1:0")]),
        ("/", vec![("host", "a b")]),
        ("/", vec![("host", "2001:db8::1")]),
        ("/", vec![("host", "u@edge-1")]),
        ("/", vec![("host", "a"), ("host", "b")]),
        (
            "/",
            vec![("host", "a"), ("x-tunnel-proxy-dest", "192.0.2.1")],
        ),
        (
            "/",
            vec![
                ("host", "a"),
                ("x-tunnel-proxy-host", "a"),
                ("x-tunnel-proxy-host", "b"),
            ],
        ),
        ("https://edge-1/", vec![("host", "edge-1")]),
        ("http://u@edge-1/", vec![("host", "edge-1")]),
    ] {
        assert_eq!(ask(uri, &headers), "400", "{uri} {headers:?}");
    }
}

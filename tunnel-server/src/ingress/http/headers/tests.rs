use super::*;

fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    map
}

fn lines(map: &HeaderMap) -> Vec<String> {
    let mut lines: Vec<_> = map
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    lines.sort();
    lines
}

#[test]
fn what_concerns_one_hop_goes_and_what_names_the_caller_comes() {
    let mut headers = map(&[
        ("host", "edge-1:9100"),
        ("connection", "close, X-Mine, host, content-length"),
        ("connection", "x-forwarded-for"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic eA=="),
        ("upgrade", "h2c"),
        ("x-mine", "1"),
        ("x-tunnel-proxy-host", "edge-1"),
        ("x-tunnel-proxy-dest", "192.0.2.1:1"),
        ("x-forwarded-for", "198.51.100.1"),
        ("x-request-id", "the caller's"),
        ("content-length", "3"),
        ("trailer", "x-sum"),
    ]);
    onward(
        &mut headers,
        Some("192.0.2.9".parse().unwrap()),
        RequestId(1),
        None,
    );
    assert_eq!(
        lines(&headers),
        [
            "content-length: 3",
            "host: edge-1:9100",
            "trailer: x-sum",
            "x-forwarded-for: 192.0.2.9",
            "x-forwarded-proto: http",
            "x-request-id: 00000000000000000000000000000001",
        ]
    );
}

#[test]
fn forwarded_for_is_appended_and_proto_kept() {
    let mut headers = map(&[
        ("x-forwarded-for", "a"),
        ("x-forwarded-for", "b, c"),
        ("x-forwarded-proto", "https"),
        ("te", "gzip, trailers"),
    ]);
    onward(
        &mut headers,
        Some("2001:db8::1".parse().unwrap()),
        RequestId(1),
        None,
    );
    assert_eq!(headers[FORWARDED_FOR], "a, b, c, 2001:db8::1");
    assert_eq!(headers[FORWARDED_PROTO], "https");
    assert_eq!(
        (&headers[TE], &headers[CONNECTION]),
        (
            &HeaderValue::from_static("trailers"),
            &HeaderValue::from_static("TE")
        )
    );
}

#[test]
fn an_upgrade_needs_both_its_headers_and_goes_on_with_both() {
    let asked = map(&[
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "websocket"),
    ]);
    let protocol = upgrade(&asked);
    assert_eq!(protocol, Some(HeaderValue::from_static("websocket")));
    assert_eq!(upgrade(&map(&[("upgrade", "websocket")])), None);
    assert_eq!(
        upgrade(&map(&[("upgrade", "h2c"), ("connection", "upgrade")])),
        None
    );
    assert_eq!(upgrade(&map(&[("connection", "upgrade")])), None);
    let mut headers = asked;
    back(&mut headers, protocol);
    assert_eq!(
        lines(&headers),
        ["connection: Upgrade", "upgrade: websocket"]
    );
}

#[test]
fn a_chunked_body_is_said_to_be_one() {
    let mut headers = map(&[
        ("transfer-encoding", "chunked"),
        ("connection", "transfer-encoding"),
    ]);
    onward(&mut headers, None, RequestId(1), None);
    assert_eq!(headers[TRANSFER_ENCODING], "chunked");
}

#[test]
fn one_thing_says_how_long_a_response_is() {
    let both = [("content-length", "3"), ("transfer-encoding", "Chunked")];
    let mut headers = map(&both);
    assert_eq!(framing(&mut headers), Ok(false));
    assert_eq!(lines(&headers), ["transfer-encoding: Chunked"]);
    assert_eq!(framing(&mut map(&both[..1])), Ok(true));
    assert_eq!(framing(&mut map(&both[1..])), Ok(true));
    let mut headers = map(&[both[0], ("transfer-encoding", "identity")]);
    assert_eq!(framing(&mut headers), Ok(false));
    assert_eq!(headers[CONTENT_LENGTH], "3");
    for codings in [
        "gzip",
        "gzip, chunked",
        "chunked, identity",
        "chunked, chunked",
        "",
    ] {
        let mut headers = map(&[("transfer-encoding", codings)]);
        assert_eq!(framing(&mut headers), Err(codings.to_owned()));
    }
    let two = [
        ("transfer-encoding", "gzip"),
        ("transfer-encoding", "chunked"),
    ];
    assert_eq!(framing(&mut map(&two)), Err("gzip, chunked".to_owned()));
}

//! What changes in the headers on the way through (RFC 9110, 7.6.1). Pure.

use std::net::IpAddr;

use edge_tunnel_proto::id::RequestId;
use http::header::{
    CONNECTION, CONTENT_LENGTH, Entry, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What concerns one hop alone, besides what `Connection` names.
const HOP_BY_HOP: [HeaderName; 6] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// What the protocol needs to be understood at all: `Connection` cannot name it away.
const INDISPENSABLE: [HeaderName; 2] = [HOST, CONTENT_LENGTH];

/// How much of a `Transfer-Encoding` is shown to a person, in characters.
const CODINGS_MAX: usize = 80;

/// The protocol that these headers ask to go over to. HTTP/2 is none of them: its `h2c` upgrade is obsolete
/// (RFC 9113, 3.1) and concerns this hop alone.
pub(super) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let wanted = tokens(headers, &CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"));
    let protocol = headers
        .get(UPGRADE)
        .filter(|value| !value.as_bytes().eq_ignore_ascii_case(b"h2c"));
    protocol.filter(|_| wanted).cloned()
}

/// Makes a caller's headers those of a request to a node.
pub(super) fn onward(
    headers: &mut HeaderMap,
    client: Option<IpAddr>,
    id: RequestId,
    upgrade: Option<HeaderValue>,
) {
    let chunked = headers.contains_key(TRANSFER_ENCODING);
    let trailers = tokens(headers, &TE).any(|token| token.eq_ignore_ascii_case("trailers"));
    strip(headers);
    headers.remove(PROXY_AUTHORIZATION);
    headers.remove(super::destination::TUNNEL_HOST);
    headers.remove(super::destination::TUNNEL_DEST);
    if chunked {
        // Said outright, since a GET without it is sent without its body.
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if let Some(protocol) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, protocol);
    } else if trailers {
        // This hop takes trailers as well, and passes them on.
        headers.insert(CONNECTION, HeaderValue::from_static("TE"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if let Some(client) = client {
        append_list(headers, &client.to_string());
    }
    if let Entry::Vacant(entry) = headers.entry(FORWARDED_PROTO) {
        entry.insert(HeaderValue::from_static("http"));
    }
    headers.insert(
        REQUEST_ID,
        HeaderValue::from_str(&id.to_string()).expect("hexadecimal digits are a header's value"),
    );
}

/// Has one thing alone say how long a response is. `chunked` is the transfer coding that this hop undoes, and it
/// overrides `Content-Length`, which must not go on beside it: the caller would lose what is beyond that length
/// (RFC 9112, 6.3). Says whether the connection may carry another response, which it may not where the node
/// cannot frame this one, or which codings were used that would go on undone and unnamed.
pub(super) fn framing(headers: &mut HeaderMap) -> Result<bool, String> {
    let values = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(codings) = values
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .reduce(|list, value| list + ", " + value)
    else {
        return Ok(true);
    };
    match codings.trim().to_ascii_lowercase().as_str() {
        "chunked" => Ok(headers.remove(CONTENT_LENGTH).is_none()),
        // No coding at all, from before RFC 7230.
        "identity" => Ok(false),
        _ => Err(codings.chars().take(CODINGS_MAX).collect()),
    }
}

/// Makes a node's headers those of a response to the caller.
pub(super) fn back(headers: &mut HeaderMap, upgrade: Option<HeaderValue>) {
    strip(headers);
    if let Some(protocol) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, protocol);
    }
}

fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = tokens(headers, &CONNECTION)
        .filter_map(|token| token.parse().ok())
        .collect();
    for name in named
        .iter()
        .filter(|name| !INDISPENSABLE.contains(name))
        .chain(&HOP_BY_HOP)
    {
        headers.remove(name);
    }
}

/// Appends to `x-forwarded-for`, its earlier lines brought into one.
fn append_list(headers: &mut HeaderMap, client: &str) {
    let mut list = Vec::new();
    for value in headers.get_all(FORWARDED_FOR) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(client.as_bytes());
    headers.insert(
        FORWARDED_FOR,
        HeaderValue::from_bytes(&list).expect("values and an address make a value"),
    );
}

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
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
}

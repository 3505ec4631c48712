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
mod tests;

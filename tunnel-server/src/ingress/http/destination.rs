//! Where an HTTP request wants to go. Pure.
//!
//! In this order (a packet filter's original destination will come before all of them):
//! 1. `X-Tunnel-Proxy-Host` names the node, `X-Tunnel-Proxy-Dest` is `address:port`. Both: that node, that
//!    port. `Dest` alone: the node of that address. `Host` alone: that node, its port or, without one, the
//!    port that the request names otherwise. (OpenYurt `pkg/yurttunnel/handlerwrapper`.)
//! 2. An absolute-form request-target. `Host` is then set to it, whatever it said (RFC 9112, 3.2.2).
//! 3. `Host`.

use edge_tunnel_proto::id::{Destination, Host, Port};
use http::header::{HOST, HeaderMap, HeaderName};
use http::{HeaderValue, Uri};

use crate::refusal::{Kind, Refusal};

/// Names the node.
pub(super) const TUNNEL_HOST: HeaderName = HeaderName::from_static("x-tunnel-proxy-host");
/// Names address and port.
pub(super) const TUNNEL_DEST: HeaderName = HeaderName::from_static("x-tunnel-proxy-dest");

/// What a name without a port means in plain HTTP (RFC 9110, 4.2.1).
const HTTP: Port = Port::known(80);

/// Where a request wants to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// To whom.
    pub(super) destination: Destination,
    /// What `Host` must be on the way on, if it is not as the caller wrote it.
    pub(super) host: Option<HeaderValue>,
}

/// Finds where a request with this target and these headers wants to go.
pub(super) fn find(uri: &Uri, headers: &HeaderMap) -> Result<Asked, Refusal> {
    let absolute = absolute(uri)?;
    let header = one(headers, &HOST)?;
    let host = match (absolute, header) {
        (Some(authority), _) => Some(value(authority)?),
        (None, Some(_)) => None,
        (None, None) => Some(HeaderValue::from_static("")),
    };
    let written = absolute.or(header);
    let destination = match (one(headers, &TUNNEL_HOST)?, one(headers, &TUNNEL_DEST)?) {
        (None, None) => {
            let text = written.ok_or_else(|| {
                bad("the request names no destination: write node:port into Host")
            })?;
            with_port(text, HTTP)?
        }
        (None, Some(dest)) => exact(dest)?,
        (Some(node), Some(dest)) => Destination {
            host: with_port(node, HTTP)?.host,
            port: exact(dest)?.port,
        },
        (Some(node), None) => {
            let otherwise = written
                .and_then(|text| with_port(text, HTTP).ok())
                .map_or(HTTP, |d| d.port);
            with_port(node, otherwise)?
        }
    };
    // HTTP/1.1, which is spoken on the way on, demands a Host where HTTP/1.0 has none.
    let host = match host {
        Some(empty) if empty.is_empty() => Some(value(&destination.to_string())?),
        host => host,
    };
    Ok(Asked { destination, host })
}

/// The authority of an absolute-form target.
fn absolute(uri: &Uri) -> Result<Option<&str>, Refusal> {
    let Some(authority) = uri.authority().map(http::uri::Authority::as_str) else {
        return Ok(None);
    };
    if uri.scheme().is_none() {
        return Err(bad(format!(
            "{authority:?} is neither a path nor an http:// URL: write GET /path, and node:port into Host"
        )));
    }
    if uri.scheme() != Some(&http::uri::Scheme::HTTP) {
        return Err(bad(
            "only http:// targets are served here; for https:// use CONNECT (--connect-listen)",
        ));
    }
    if authority.contains('@') {
        return Err(bad(
            "a target with user@ before the host is not served (RFC 9110, 4.2.4)",
        ));
    }
    Ok(Some(authority))
}

fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match value.to_str() {
            Ok(text) => Ok(Some(text.trim())),
            Err(_not_ascii) => Err(bad(format!("the header {name} is no plain text"))),
        },
        (Some(_), Some(_)) => Err(bad(format!("the header {name} is there more than once"))),
    }
}

fn exact(text: &str) -> Result<Destination, Refusal> {
    text.parse()
        .map_err(|error: edge_tunnel_proto::id::ParseError| bad(error.to_string()))
}

/// `host` or `host:port`, IPv6 in brackets.
fn with_port(text: &str, otherwise: Port) -> Result<Destination, Refusal> {
    let has_port = text.rfind(':').is_some_and(|at| !text[at..].contains(']'));
    if has_port {
        return exact(text);
    }
    let host = text
        .parse::<Host>()
        .map_err(|error| bad(error.to_string()))?;
    Ok(Destination {
        host,
        port: otherwise,
    })
}

fn value(text: &str) -> Result<HeaderValue, Refusal> {
    HeaderValue::from_str(text)
        .map_err(|_invalid| bad("the destination cannot be written as a header"))
}

fn bad(message: impl Into<String>) -> Refusal {
    Refusal::new(Kind::BadRequest, "bad_destination", message)
}

#[cfg(test)]
mod tests;

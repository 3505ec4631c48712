//! The names of things: nodes, ports, targets, streams. Every raw string or number that comes from a
//! peer, a file or a person becomes one of these at the edge; the inside never sees the raw form.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU16;
use std::str::FromStr;
use std::sync::Arc;

use rand::RngExt as _;

/// The longest node name: a DNS-1123 subdomain (RFC 1123, Kubernetes `metadata.name`), in bytes.
pub const NODE_NAME_MAX: usize = 253;

/// Why a text is no name, port or address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not a DNS-1123 subdomain.
    #[error(
        "{0:?} is no node name: use lower-case letters, digits, '-' and '.', at most 253 in all, starting and \
         ending with a letter or a digit in each part"
    )]
    NodeName(String),
    /// Not a port.
    #[error("{0:?} is no port: use a number from 1 to 65535")]
    Port(String),
    /// No `host:port`.
    #[error("{0:?} is no host:port: write name:port, 192.0.2.1:port or [2001:db8::1]:port")]
    HostPort(String),
    /// Not an identifier of the form that this program writes.
    #[error("{0:?} is no identifier: {1} hexadecimal digits are expected")]
    Hex(String, usize),
}

/// A text shortened for an error message, so that hostile input cannot fill a log line.
fn excerpt(text: &str) -> String {
    const LIMIT: usize = 80;
    if text.chars().count() <= LIMIT {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(LIMIT).collect();
    short.push('…');
    short
}

/// The name of an edge node: a DNS-1123 subdomain, which is what Kubernetes allows as `metadata.name`.
/// Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeName(Arc<str>);

impl NodeName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeName {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let label_ok = |label: &str| {
            let bytes = label.as_bytes();
            let edge =
                |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
            edge(bytes.first())
                && edge(bytes.last())
                && bytes
                    .iter()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
        };
        if text.len() <= NODE_NAME_MAX && text.split('.').all(label_ok) {
            Ok(Self(text.into()))
        } else {
            Err(ParseError::NodeName(excerpt(text)))
        }
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A TCP port, never 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Port(NonZeroU16);

impl Port {
    /// The port as a number; `None` for 0, which names no port.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        match NonZeroU16::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// A port known when the program is written.
    ///
    /// # Panics
    /// When `number` is 0; evaluated at compile time in a `const`.
    #[must_use]
    pub const fn known(number: u16) -> Self {
        Self(NonZeroU16::new(number).expect("a known port is not 0"))
    }

    /// The port as a number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl FromStr for Port {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        // `u16::from_str` takes a leading '+', which no port list means.
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits
            .then(|| text.parse().ok())
            .flatten()
            .and_then(Self::new)
            .ok_or_else(|| ParseError::Port(excerpt(text)))
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A host as a caller wrote it: a name (lower-cased; names compare without case, RFC 4343) or an address.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A name of DNS form, lower-cased, without a final dot.
    Name(NodeName),
    /// An address literal. IPv4-mapped IPv6 addresses become IPv4.
    Ip(IpAddr),
}

impl Host {
    /// An address, with IPv4-mapped IPv6 brought to its IPv4 form so that it compares equal.
    #[must_use]
    pub fn ip(address: IpAddr) -> Self {
        Self::Ip(address.to_canonical())
    }
}

impl FromStr for Host {
    type Err = ParseError;

    /// Takes a name, an IPv4 address, or an IPv6 address with or without brackets.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
        if let Some(inner) = inner {
            return inner
                .parse::<Ipv6Addr>()
                .map(|address| Self::ip(address.into()))
                .map_err(|_not_ipv6| ParseError::HostPort(excerpt(text)));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::ip(address));
        }
        let lower = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        lower.parse().map(Self::Name)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => fmt::Display::fmt(name, f),
            Self::Ip(address) => fmt::Display::fmt(address, f),
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a caller asked for: `node:port`, before any routing.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Destination {
    /// The host as the caller named it.
    pub host: Host,
    /// The port as the caller named it.
    pub port: Port,
}

impl FromStr for Destination {
    type Err = ParseError;

    /// `name:port`, `192.0.2.1:port` or `[2001:db8::1]:port`. The port is never left out.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let bad = || ParseError::HostPort(excerpt(text));
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        // "2001:db8::1:443" would be taken for a host and a port; brackets decide.
        if host.contains(':') && !host.starts_with('[') {
            return Err(bad());
        }
        Ok(Self {
            host: host.parse()?,
            port: port.parse()?,
        })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            host => write!(f, "{host}:{}", self.port),
        }
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which address on, or at, the node the agent dials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TargetHost {
    /// `127.0.0.1`: what `localhost-proxy-ports` names.
    Loopback,
    /// The node's own address, which the agent knows best.
    Node,
    /// This address, if the agent's own policy allows it.
    Address(IpAddr),
}

/// What the agent is asked to dial over TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Target {
    /// Which address.
    pub host: TargetHost,
    /// Which port.
    pub port: Port,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host {
            TargetHost::Loopback => write!(f, "127.0.0.1:{}", self.port),
            TargetHost::Node => write!(f, "<node address>:{}", self.port),
            TargetHost::Address(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            TargetHost::Address(address) => write!(f, "{address}:{}", self.port),
        }
    }
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident, $int:ty, $digits:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub $int);

        impl $name {
            /// A fresh one, from the thread's cryptographic generator.
            #[must_use]
            pub fn random() -> Self {
                Self(rand::rng().random())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!("{:0", $digits, "x}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseError;

            fn from_str(text: &str) -> Result<Self, ParseError> {
                let hex = text.len() == $digits && text.bytes().all(|b| b.is_ascii_hexdigit());
                hex.then(|| <$int>::from_str_radix(text, 16).ok())
                    .flatten()
                    .map(Self)
                    .ok_or_else(|| ParseError::Hex(excerpt(text), $digits))
            }
        }
    };
}

random_id!(
    /// One stream, for its whole life, whatever carries it: 128 bits.
    StreamId, u128, 32
);
random_id!(
    /// One request of a caller, for logs at both ends and `x-request-id`: 128 bits.
    RequestId, u128, 32
);
random_id!(
    /// One start of an agent process: tells the same agent that redials from a second host with its identity.
    InstanceId, u128, 32
);
random_id!(
    /// One session: the link between one agent process and one replica, made of one or more lanes.
    SessionId, u128, 32
);
random_id!(
    /// One start of a server process.
    ReplicaId, u64, 16
);
random_id!(
    /// A node's registration: what a certificate is bound to besides the name.
    RegistrationId, u128, 32
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_names_are_dns_1123_subdomains() {
        for good in ["edge-1", "a", "0", "edge-1.shop.example", "1a-b"] {
            assert_eq!(good.parse::<NodeName>().unwrap().as_str(), good);
        }
        let long = "a".repeat(254);
        for bad in [
            "",
            "-a",
            "a-",
            "A",
            "a_b",
            "a..b",
            ".a",
            "a.",
            "a b",
            "ä",
            "a/b",
            "a\0",
            long.as_str(),
        ] {
            assert!(bad.parse::<NodeName>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn an_error_shows_at_most_an_excerpt() {
        let error = "X"
            .repeat(100_000)
            .parse::<NodeName>()
            .unwrap_err()
            .to_string();
        assert!(error.len() < 400, "{}", error.len());
    }

    #[test]
    fn ports_are_1_to_65535_in_digits() {
        assert_eq!("10250".parse::<Port>().unwrap().get(), 10250);
        for bad in ["", "0", "65536", "+1", "-1", "1 ", "0x1", "１"] {
            assert!(bad.parse::<Port>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn destinations() {
        let of = |t: &str| t.parse::<Destination>().map(|d| d.to_string());
        assert_eq!(of("Edge-1:9100").unwrap(), "edge-1:9100");
        assert_eq!(of("192.0.2.1:1").unwrap(), "192.0.2.1:1");
        assert_eq!(of("[2001:DB8::1]:443").unwrap(), "[2001:db8::1]:443");
        assert_eq!(of("[::ffff:192.0.2.1]:80").unwrap(), "192.0.2.1:80");
        for bad in [
            "",
            "edge-1",
            "edge-1:",
            ":80",
            "edge-1:0",
            "::1:80",
            "[::1]",
            "[edge-1]:80",
            "a:b:80",
            "[::1]:x",
        ] {
            assert!(of(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn identifiers_survive_their_text_form() {
        let id = StreamId::random();
        assert_eq!(id.to_string().parse::<StreamId>().unwrap(), id);
        assert_eq!(ReplicaId(7).to_string(), "0000000000000007");
        for bad in ["", "7", "+000000000000007", "000000000000000g"] {
            assert!(bad.parse::<ReplicaId>().is_err(), "{bad:?} was taken");
        }
    }
}

//! Where a caller wants to go, as it says it.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use super::{NodeName, ParseError, Port, excerpt};

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
        if text.is_empty() {
            return Err(ParseError::NoHost);
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
        let no_port = || ParseError::NoPort(excerpt(text));
        let (host, port) = if text.starts_with('[') {
            // The colons within brackets are the address's own.
            let end = text.rfind(']').ok_or_else(bad)? + 1;
            let (host, rest) = text.split_at(end);
            match rest.strip_prefix(':') {
                Some(port) => (host, port),
                None if rest.is_empty() => return Err(no_port()),
                None => return Err(bad()),
            }
        } else {
            if text.is_empty() {
                return Err(ParseError::NoHost);
            }
            text.rsplit_once(':').ok_or_else(no_port)?
        };
        // "2001:db8::1:443" would be taken for a host and a port; brackets decide.
        if host.contains(':') && !host.starts_with('[') {
            return Err(bad());
        }
        if port.is_empty() {
            return Err(no_port());
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

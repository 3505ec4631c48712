//! The names of nodes.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;
use std::sync::Arc;

use super::{ParseError, excerpt};

/// The longest node name: a DNS-1123 subdomain (RFC 1123, Kubernetes `metadata.name`), in bytes.
pub const NODE_NAME_MAX: usize = 253;

/// The name of an edge node: a DNS-1123 subdomain, which is what Kubernetes allows as `metadata.name`, and no IPv4
/// address, which it allows as well: a destination of that form is an address, and would never lead to the node.
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
        if text.len() > NODE_NAME_MAX || !text.split('.').all(label_ok) {
            return Err(ParseError::NodeName(excerpt(text)));
        }
        // Exactly what `Host` takes for an address; no label has the ':' of IPv6.
        if text.parse::<Ipv4Addr>().is_ok() {
            return Err(ParseError::AddressAsName(text.to_owned()));
        }
        Ok(Self(text.into()))
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

//! The names of things: nodes, ports, targets, streams. Every raw string or number that comes from a
//! peer, a file or a person becomes one of these at the edge; the inside never sees the raw form.

mod host;
mod name;
mod port;
mod random;
mod target;

pub use host::{Destination, Host};
pub use name::{NODE_NAME_MAX, NodeName};
pub use port::Port;
pub use random::{InstanceId, RegistrationId, ReplicaId, RequestId, SessionId, StreamId};
pub use target::{Target, TargetHost};

/// Why a text is no name, port or address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not a DNS-1123 subdomain.
    #[error(
        "{0:?} is no node name: use lower-case letters, digits, '-' and '.', at most 253 in all, starting and \
         ending with a letter or a digit in each part"
    )]
    NodeName(String),
    /// A name that everybody who dials it would take for an address.
    #[error(
        "{0:?} is no node name but an IP address, and would be taken for one by whoever dials it: use a name with a letter \
         in it, such as node-{0}"
    )]
    AddressAsName(String),
    /// Not a port.
    #[error("{0:?} is no port: use a number from 1 to 65535")]
    Port(String),
    /// No `host:port`.
    #[error("{0:?} is no host:port: write name:port, 192.0.2.1:port or [2001:db8::1]:port")]
    HostPort(String),
    /// A host and nothing behind it.
    #[error("{0:?} names no port: write name:port, 192.0.2.1:port or [2001:db8::1]:port")]
    NoPort(String),
    /// Nothing at all where a host should be.
    #[error("no destination is named: write name:port, 192.0.2.1:port or [2001:db8::1]:port")]
    NoHost,
    /// Not an identifier of the form that this program writes.
    #[error("{0:?} is no identifier: {1} hexadecimal digits are expected")]
    Hex(String, usize),
}

/// A text shortened for an error message, so that hostile input cannot fill a log line.
#[must_use]
pub fn excerpt(text: &str) -> String {
    const LIMIT: usize = 80;
    if text.chars().count() <= LIMIT {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(LIMIT).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests;

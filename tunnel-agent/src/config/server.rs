//! A server as the agent is told of it: an address, and which transports may be used to it.

use std::fmt;
use std::str::FromStr;

use edge_tunnel_proto::id::{Destination, ParseError, excerpt};

/// Why a text names no server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerAddressError {
    /// Another scheme than ours.
    #[error("{0:?} is no transport of edge-tunnel: use quic://, tls://, or neither to allow both")]
    Scheme(String),
    /// No `host:port`.
    #[error(transparent)]
    Address(#[from] ParseError),
}

/// Which transports may be used to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transports {
    /// Both, raced.
    Any,
    /// Only QUIC, over UDP.
    Quic,
    /// Only TLS, over TCP.
    Tls,
}

impl Transports {
    /// Whether QUIC may be used.
    #[must_use]
    pub const fn quic(self) -> bool {
        matches!(self, Self::Any | Self::Quic)
    }

    /// Whether TLS over TCP may be used.
    #[must_use]
    pub const fn tls(self) -> bool {
        matches!(self, Self::Any | Self::Tls)
    }
}

/// One `--server`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerAddress {
    /// Which transports.
    pub transports: Transports,
    /// Name or address, and port.
    pub address: Destination,
}

impl FromStr for ServerAddress {
    type Err = ServerAddressError;

    fn from_str(text: &str) -> Result<Self, ServerAddressError> {
        let (transports, rest) = match text.trim().split_once("://") {
            None => (Transports::Any, text.trim()),
            Some(("quic", rest)) => (Transports::Quic, rest),
            Some(("tls", rest)) => (Transports::Tls, rest),
            Some((other, _)) => {
                return Err(ServerAddressError::Scheme(excerpt(other)));
            }
        };
        Ok(Self {
            transports,
            address: rest.parse()?,
        })
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.transports {
            Transports::Any => {}
            Transports::Quic => f.write_str("quic://")?,
            Transports::Tls => f.write_str("tls://")?,
        }
        fmt::Display::fmt(&self.address, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_restricts_the_transport() {
        let table = [
            ("lb.example:10262", true, true),
            ("quic://lb.example:10262", true, false),
            ("tls://[2001:db8::1]:443", false, true),
        ];
        for (text, quic, tls) in table {
            let server: ServerAddress = text.parse().unwrap();
            assert_eq!(
                (server.transports.quic(), server.transports.tls()),
                (quic, tls),
                "{text}"
            );
            assert_eq!(server.to_string(), text);
        }
        for bad in [
            "",
            "lb.example",
            "https://lb.example:443",
            "tls://",
            "tls://tls://a:1",
        ] {
            assert!(bad.parse::<ServerAddress>().is_err(), "{bad:?} was taken");
        }
    }
}

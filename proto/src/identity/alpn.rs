//! The application protocols that a TLS handshake on the tunnel's own ports may agree on (RFC 7301).

/// What a connection is for, as the handshake says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Alpn {
    /// A lane of a session between an agent and a replica.
    Session,
    /// Evidence in, a certificate out. The only protocol that takes no client certificate, or an expired one.
    Enroll,
    /// One replica to another.
    Peer,
}

impl Alpn {
    const ALL: [Self; 3] = [Self::Session, Self::Enroll, Self::Peer];

    /// The name as it stands in the handshake.
    #[must_use]
    pub const fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Session => b"edge-tunnel/1",
            Self::Enroll => b"edge-tunnel-enroll/1",
            Self::Peer => b"edge-tunnel-peer/1",
        }
    }

    /// The protocol of this name; `None` for a name that is not ours.
    #[must_use]
    pub fn from_bytes(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|alpn| alpn.as_bytes() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exact() {
        for alpn in Alpn::ALL {
            assert_eq!(Alpn::from_bytes(alpn.as_bytes()), Some(alpn));
        }
        for other in [&b"edge-tunnel/2"[..], b"edge-tunnel", b"", b"h2"] {
            assert_eq!(Alpn::from_bytes(other), None);
        }
    }
}

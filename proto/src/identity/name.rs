//! The names in certificates: SPIFFE identifiers (<https://github.com/spiffe/spiffe>, SPIFFE-ID 2.1–2.3) of one trust
//! domain, `spiffe://<trust domain>/node/<name>`, `/server` and `/client/<name>`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::id::{NodeName, RegistrationId, excerpt};

/// The longest trust domain, in bytes (SPIFFE-ID 2.1).
const TRUST_DOMAIN_MAX: usize = 255;

/// The longest name of a client, in bytes: what fits a certificate's common name (RFC 5280, `ub-common-name`).
const CLIENT_NAME_MAX: usize = 64;

/// Why a text is no name in a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not a SPIFFE trust domain.
    #[error(
        "{0:?} is no trust domain: use lower-case letters, digits, '-', '_' and '.', at most 255 in all"
    )]
    TrustDomain(String),
    /// Not usable as a client's name.
    #[error(
        "{0:?} is no client name: use letters, digits, '-', '_' and '.', at most 64 in all, not only dots"
    )]
    Client(String),
}

/// The name space that one CA answers for. Identities of another trust domain are strangers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// The domain as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TrustDomain {
    fn default() -> Self {
        Self("edge-tunnel".into())
    }
}

impl FromStr for TrustDomain {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let allowed =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
        if (1..=TRUST_DOMAIN_MAX).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(NameError::TrustDomain(excerpt(text)))
        }
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a caller of the server's mutual-TLS way in: one segment of a SPIFFE path (SPIFFE-ID 2.2).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientName(Arc<str>);

impl ClientName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClientName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let dots = text.bytes().all(|b| b == b'.');
        if text.len() <= CLIENT_NAME_MAX && !dots && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(NameError::Client(excerpt(text)))
        }
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Who a certificate says its holder is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Identity {
    /// An agent: it *is* this node, as long as this registration is the node's current one.
    Node {
        /// The node.
        name: NodeName,
        /// The registration that the certificate is bound to.
        registration: RegistrationId,
    },
    /// Any replica of the server.
    Server,
    /// A caller of the mutual-TLS way in.
    Client {
        /// The caller.
        name: ClientName,
    },
}

impl Identity {
    /// The URI that names this identity in a certificate's subject alternative name.
    #[must_use]
    pub fn uri(&self, trust_domain: &TrustDomain) -> String {
        match self {
            Self::Node { name, .. } => format!("spiffe://{trust_domain}/node/{name}"),
            Self::Server => format!("spiffe://{trust_domain}/server"),
            Self::Client { name } => format!("spiffe://{trust_domain}/client/{name}"),
        }
    }

    /// Reads the URI of a certificate. `None`: of another trust domain, or of no form of ours. A node's URI needs the
    /// registration, which stands elsewhere in the certificate.
    pub(super) fn from_uri(
        uri: &str,
        registration: Option<RegistrationId>,
        trust_domain: &TrustDomain,
    ) -> Option<Self> {
        let path = uri
            .strip_prefix("spiffe://")?
            .strip_prefix(trust_domain.as_str())?
            .strip_prefix('/')?;
        match path.split_once('/') {
            None if path == "server" => Some(Self::Server),
            Some(("node", name)) => Some(Self::Node {
                name: name.parse().ok()?,
                registration: registration?,
            }),
            Some(("client", name)) => Some(Self::Client {
                name: name.parse().ok()?,
            }),
            _ => None,
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node { name, registration } => {
                write!(f, "node {name} (registration {registration})")
            }
            Self::Server => f.write_str("a server"),
            Self::Client { name } => write!(f, "client {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_survive_their_uri() {
        let domain: TrustDomain = "shop.example".parse().unwrap();
        let registration = RegistrationId::random();
        for identity in [
            Identity::Node {
                name: "edge-1.north".parse().unwrap(),
                registration,
            },
            Identity::Server,
            Identity::Client {
                name: "kube-apiserver".parse().unwrap(),
            },
        ] {
            assert_eq!(
                Identity::from_uri(&identity.uri(&domain), Some(registration), &domain),
                Some(identity)
            );
        }
    }

    #[test]
    fn strangers_have_no_identity_here() {
        let domain = TrustDomain::default();
        for uri in [
            "spiffe://edge-tunnel/server/",
            "spiffe://edge-tunnel/server/x",
            "spiffe://edge-tunnel/node/",
            "spiffe://edge-tunnel/node/Edge",
            "spiffe://edge-tunnel/node/a/b",
            "spiffe://edge-tunnel/node/%61",
            "spiffe://edge-tunnel/client/..",
            "spiffe://edge-tunnel/client/",
            "spiffe://edge-tunnel2/server",
            "spiffe://edge-tunnel.example/server",
            "spiffe://other/server",
            "SPIFFE://edge-tunnel/server",
            "https://edge-tunnel/server",
            "spiffe://edge-tunnel",
            "",
        ] {
            assert_eq!(
                Identity::from_uri(uri, Some(RegistrationId(1)), &domain),
                None,
                "{uri:?} was taken"
            );
        }
        assert_eq!(
            Identity::from_uri("spiffe://edge-tunnel/node/a", None, &domain),
            None,
            "no registration"
        );
    }

    #[test]
    fn names_are_what_spiffe_allows() {
        for bad in ["", "Edge", "a b", "a/b", "ä"] {
            assert!(bad.parse::<TrustDomain>().is_err(), "{bad:?} was taken");
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a b",
            "a@b",
            "ä",
            "x".repeat(65).as_str(),
        ] {
            assert!(bad.parse::<ClientName>().is_err(), "{bad:?} was taken");
        }
        assert_eq!(
            "Alice_2.x".parse::<ClientName>().unwrap().as_str(),
            "Alice_2.x"
        );
    }
}

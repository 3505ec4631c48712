//! What values are kept under.

use edge_tunnel_proto::id::NodeName;
use edge_tunnel_proto::identity::TokenId;

/// What a value is kept under. Built only from checked names, so it is always a plain relative path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::identity) struct Key {
    path: String,
    otherwise: &'static str,
}

/// Keys of one kind, which can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::identity) enum Kind {
    /// One a node.
    Registration,
    /// One a join token.
    Token,
}

impl Kind {
    pub(super) const fn folder(self) -> &'static str {
        match self {
            Self::Registration => "registrations",
            Self::Token => "tokens",
        }
    }
}

impl Key {
    /// The registration of a node. Without an ending: a node's name may fill a file name on its own.
    #[must_use]
    pub(in crate::identity) fn registration(node: &NodeName) -> Self {
        Self {
            path: format!("{}/{node}", Kind::Registration.folder()),
            otherwise: "move it away and enrol that node anew (`token create --node NAME`, certificate.pem removed on the \
                        node)",
        }
    }

    /// A join token.
    #[must_use]
    pub(in crate::identity) fn token(id: TokenId) -> Self {
        Self {
            path: format!("{}/{id}", Kind::Token.folder()),
            otherwise: "move it away and create another token",
        }
    }

    /// When each node was last here.
    #[must_use]
    pub(in crate::identity) fn visits() -> Self {
        Self {
            path: "visits".to_owned(),
            otherwise: "leave it: it is written anew",
        }
    }

    /// The embedded CA.
    #[must_use]
    pub(in crate::identity) fn authority() -> Self {
        Self {
            path: "ca".to_owned(),
            otherwise: "as a last resort move it away and restart the server: it then makes a new CA, and every agent has to \
                        enrol anew (`token create --node NAME --replace`) and every client's certificate to be issued \
                        anew",
        }
    }

    /// Where in the folder the value is.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// What a person does whose value is damaged and who has no backup of it.
    pub(super) const fn otherwise(&self) -> &'static str {
        self.otherwise
    }
}

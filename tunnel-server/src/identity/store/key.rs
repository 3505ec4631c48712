//! What values are kept under.

use edge_tunnel_proto::id::NodeName;
use edge_tunnel_proto::identity::TokenId;

/// What a value is kept under. Built only from checked names, so it is always a plain relative path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::identity) struct Key(pub(super) String);

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
        Self(format!("{}/{node}", Kind::Registration.folder()))
    }

    /// A join token.
    #[must_use]
    pub(in crate::identity) fn token(id: TokenId) -> Self {
        Self(format!("{}/{id}", Kind::Token.folder()))
    }

    /// The embedded CA.
    #[must_use]
    pub(in crate::identity) fn authority() -> Self {
        Self("ca".to_owned())
    }
}

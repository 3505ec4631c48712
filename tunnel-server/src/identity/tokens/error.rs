//! Why a token is not made, or opens nothing.

use edge_tunnel_proto::id::NodeName;
use edge_tunnel_proto::identity::TokenId;

use super::USES_MAX;
use crate::identity::store::StoreError;

/// Why a token was not made, listed or revoked.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A life that makes no sense.
    #[error("a token's --ttl is at least a second and at most 365 days")]
    Ttl,
    /// A number of uses that makes no sense.
    #[error("a token's --uses is a number from 1 to {USES_MAX}")]
    Uses,
    /// No such token.
    #[error("there is no token {0}; `edge-tunnel-server token list` shows them")]
    Unknown(TokenId),
}

/// Why a token opens nothing. The text is for whoever holds it.
#[derive(Debug, thiserror::Error)]
pub enum RedeemError {
    /// The store failed; the holder is not told how.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Wrong id or wrong secret: which of the two is not said.
    #[error(
        "the join token is not known here: it was removed, or is of another installation; create a new one"
    )]
    Unknown,
    /// An operator has withdrawn it.
    #[error("the join token was revoked; create a new one")]
    Revoked,
    /// Too late.
    #[error(
        "the join token expired at {expired} (the server's clock says {now}); create a new one, with a longer --ttl if need be"
    )]
    Expired {
        /// When.
        expired: String,
        /// The server's time.
        now: String,
    },
    /// All its uses are gone, to other keys.
    #[error(
        "the join token was used up, by {by}; if that was not this machine, revoke that node; create a new token"
    )]
    Used {
        /// The node that used it last.
        by: NodeName,
    },
    /// A token for others.
    #[error(
        "the join token is for {scope}, not for node {node:?}; create one for this name, or correct --node-name"
    )]
    WrongNode {
        /// Whom it is for.
        scope: String,
        /// Who asked.
        node: NodeName,
    },
    /// A pattern token without a name to go with it.
    #[error("the join token is for {scope}; the agent must say which node it is (--node-name)")]
    NameMissing {
        /// Whom it is for.
        scope: String,
    },
    /// The name is taken, and the token may not take it over.
    #[error(
        "node {0} is registered already, and this join token may not replace it; if the node was reinstalled, use \
         `token create --node {0} --replace`"
    )]
    Registered(NodeName),
    /// Somebody acted on the node meanwhile.
    #[error(
        "node {0} was registered anew or revoked since this join token was made; create a new one"
    )]
    Moved(NodeName),
}

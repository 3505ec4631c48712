//! A token as it stands in the store, and the rules of redeeming it.

use std::time::SystemTime;

use edge_tunnel_proto::id::{NodeName, RegistrationId};
use edge_tunnel_proto::identity::{Pin, SECRET_LEN, Secret, rfc3339};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{KEPT, RedeemError};
use crate::identity::grant::NodePattern;
use crate::identity::registrations::{Registrations, Standing, instant};
use crate::identity::text;

/// Whom a token lets in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// One node, once.
    Node {
        /// The node.
        #[serde(serialize_with = "text::write", deserialize_with = "text::read")]
        node: NodeName,
        /// Whether it may take the place of the node's current registration.
        replace: bool,
    },
    /// Nodes of this pattern that were never registered.
    Pattern {
        /// The names.
        #[serde(serialize_with = "text::write", deserialize_with = "text::read")]
        pattern: NodePattern,
        /// How many nodes.
        uses: u32,
    },
}

impl Scope {
    pub(super) const fn uses(&self) -> u32 {
        match self {
            Self::Node { .. } => 1,
            Self::Pattern { uses, .. } => *uses,
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) secret_sha256: [u8; 32],
    pub(super) scope: Scope,
    /// Times in milliseconds since 1970.
    pub(super) created: u64,
    pub(super) expires: u64,
    pub(super) revoked: Option<u64>,
    pub(super) redemptions: Vec<Redemption>,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Redemption {
    #[serde(serialize_with = "text::write", deserialize_with = "text::read")]
    pub(super) node: NodeName,
    #[serde(serialize_with = "text::write", deserialize_with = "text::read")]
    pub(super) key: Pin,
    #[serde(serialize_with = "text::write", deserialize_with = "text::read")]
    pub(super) registration: RegistrationId,
    /// What was current before, so that a repetition replaces that and nothing newer.
    #[serde(with = "text::maybe")]
    pub(super) replaces: Option<RegistrationId>,
}

impl Record {
    /// The secret first: without it nothing is told about the token.
    pub(super) fn admit(&self, secret: &Secret, now: SystemTime) -> Result<(), RedeemError> {
        if !same(&hash(secret.expose()), &self.secret_sha256) {
            return Err(RedeemError::Unknown);
        }
        if self.revoked.is_some() {
            return Err(RedeemError::Revoked);
        }
        let expires = instant(self.expires);
        if now >= expires {
            return Err(RedeemError::Expired {
                expired: rfc3339(expires),
                now: rfc3339(now),
            });
        }
        Ok(())
    }

    /// Whether it has ended so long ago that nobody asks for it any more.
    pub(super) fn is_old(&self, now: SystemTime) -> bool {
        let over = self.revoked.unwrap_or(u64::MAX).min(self.expires);
        let since = now.duration_since(instant(over));
        since.is_ok_and(|since| since > KEPT)
    }

    pub(super) fn one_use_left(&self) -> Result<(), RedeemError> {
        match self.redemptions.last() {
            Some(last) if self.redemptions.len() >= self.scope.uses() as usize => {
                Err(RedeemError::Used {
                    by: last.node.clone(),
                })
            }
            _ => Ok(()),
        }
    }
}

impl Scope {
    /// The node that the token is redeemed for.
    pub(super) fn node(&self, wanted: Option<&NodeName>) -> Result<NodeName, RedeemError> {
        match (self, wanted) {
            (Self::Node { node, .. }, None) => Ok(node.clone()),
            (Self::Node { node, .. }, Some(wanted)) if node == wanted => Ok(node.clone()),
            (Self::Pattern { pattern, .. }, Some(wanted)) if pattern.matches(wanted) => {
                Ok(wanted.clone())
            }
            (Self::Pattern { .. }, None) => Err(RedeemError::NameMissing {
                scope: self.to_string(),
            }),
            (_, Some(wanted)) => Err(RedeemError::WrongNode {
                scope: self.to_string(),
                node: wanted.clone(),
            }),
        }
    }

    /// The registration that a new one takes the place of; `given` is when the token was made.
    pub(super) fn replaces(
        &self,
        node: &NodeName,
        given: SystemTime,
        registrations: &Registrations,
    ) -> Result<Option<RegistrationId>, RedeemError> {
        let Some(latest) = registrations.get(node) else {
            return Ok(None);
        };
        match (self, latest.revoked()) {
            // Its Node was deleted, and with that it ended.
            (_, None) if registrations.standing(node, latest.id) == Standing::Replaced => {
                Ok(Some(latest.id))
            }
            // A name that was revoked is not free for all: only a token for that very node brings it back.
            (Self::Pattern { .. }, _) | (Self::Node { replace: false, .. }, None) => {
                Err(RedeemError::Registered(node.clone()))
            }
            (Self::Node { .. }, Some(revoked)) if revoked > given => {
                Err(RedeemError::Moved(node.clone()))
            }
            (Self::Node { .. }, _) => Ok(Some(latest.id)),
        }
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Node {
                node,
                replace: false,
            } => write!(f, "node {node}"),
            Self::Node {
                node,
                replace: true,
            } => write!(f, "node {node}, also where it is registered"),
            Self::Pattern { pattern, uses } => write!(f, "{uses} new nodes named {pattern}"),
        }
    }
}

pub(super) fn hash(secret: &[u8; SECRET_LEN]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// Compares in the same time wherever they differ.
fn same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    let differing = one
        .iter()
        .zip(other)
        .fold(0, |bits, (one, other)| bits | (one ^ other));
    std::hint::black_box(differing) == 0
}

//! Join tokens: made by an operator, redeemed once by a node's agent. The store keeps only a hash of the secret.
//!
//! A redemption names the key that it was made with. So an agent that lost the answer asks again with the same key and
//! gets the same registration; a second holder of the token has another key and gets nothing.

use std::time::{Duration, SystemTime};

use edge_tunnel_proto::clock::Clock;
use edge_tunnel_proto::id::{NodeName, RegistrationId};
use edge_tunnel_proto::identity::{Pin, Secret, Token, TokenId};

use self::record::{Record, Redemption, hash};
use super::registrations::{RegistrationError, Registrations, instant, millis};
use super::store::{Key, Kind, Store, StoreError, Version};

mod error;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod record;

pub use error::{RedeemError, TokensError};
pub use record::Scope;

/// The longest life of a token.
pub const TTL_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The most uses of a pattern token.
pub const USES_MAX: u32 = 5_000;

/// How long an expired or revoked token is still listed.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// One token, as `token list` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenInfo {
    /// Its name.
    pub id: TokenId,
    /// Whom it lets in.
    pub scope: Scope,
    /// When it was made.
    pub created: SystemTime,
    /// Until when it is good.
    pub expires: SystemTime,
    /// When it was withdrawn.
    pub revoked: Option<SystemTime>,
    /// Who has used it.
    pub used_by: Vec<NodeName>,
}

impl TokenInfo {
    /// How many nodes may still join by it, its time and its revocation aside.
    #[must_use]
    pub fn uses_left(&self) -> u32 {
        self.scope
            .uses()
            .saturating_sub(u32::try_from(self.used_by.len()).unwrap_or(u32::MAX))
    }
}

/// All join tokens. Every call blocks for a few file operations; listing, for one a token.
#[derive(Debug, Clone)]
pub struct Tokens {
    store: Store,
    clock: Clock,
}

impl Tokens {
    /// The tokens in this store.
    #[must_use]
    pub(super) const fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock }
    }

    /// Makes a token that lives for `ttl`, and says until when; `pin` tells its holder which CA to believe. The secret is
    /// in the result and nowhere else.
    pub fn create(
        &self,
        scope: Scope,
        ttl: Duration,
        pin: Pin,
    ) -> Result<(Token, SystemTime), TokensError> {
        if !(Duration::from_secs(1)..=TTL_MAX).contains(&ttl) {
            return Err(TokensError::Ttl);
        }
        if !(1..=USES_MAX).contains(&scope.uses()) {
            return Err(TokensError::Uses);
        }
        self.forget_old()?;
        let token = Token {
            id: TokenId::random(),
            secret: Secret::random(),
            pin,
        };
        let now = self.clock.now();
        let record = Record {
            secret_sha256: hash(token.secret.expose()),
            scope,
            created: millis(now),
            expires: millis(now + ttl),
            revoked: None,
            redemptions: Vec::new(),
        };
        self.store.write(&Key::token(token.id), &record, None)?;
        Ok((token, now + ttl))
    }

    /// All tokens, also those that expired or were revoked within the last week, in no order. One that cannot be read is
    /// left out.
    pub fn list(&self) -> Result<Vec<TokenInfo>, StoreError> {
        let (mut tokens, now) = (Vec::new(), self.clock.now());
        for id in self.ids()? {
            if let Some((record, _)) = self.look_at(id)?
                && !record.is_old(now)
            {
                tokens.push(TokenInfo {
                    id,
                    created: instant(record.created),
                    expires: instant(record.expires),
                    revoked: record.revoked.map(instant),
                    used_by: record
                        .redemptions
                        .into_iter()
                        .map(|redemption| redemption.node)
                        .collect(),
                    scope: record.scope,
                });
            }
        }
        Ok(tokens)
    }

    /// Withdraws a token. Nodes that have joined by it stay.
    pub fn revoke(&self, id: TokenId) -> Result<(), TokensError> {
        let now = millis(self.clock.now());
        self.store
            .update(&Key::token(id), |record: Option<Record>| {
                let mut record = record.ok_or(TokensError::Unknown(id))?;
                record.revoked.get_or_insert(now);
                Ok((Some(record), ()))
            })
    }

    /// Redeems a token for the node that `wanted` names (a token of one node needs no name), with the public key `key`,
    /// and registers that node.
    pub fn redeem(
        &self,
        id: TokenId,
        secret: &Secret,
        wanted: Option<&NodeName>,
        key: Pin,
        registrations: &Registrations,
    ) -> Result<(NodeName, RegistrationId), RedeemError> {
        let now = self.clock.now();
        let (redemption, given) =
            self.store
                .update(&Key::token(id), |record: Option<Record>| {
                    let mut record = record.ok_or(RedeemError::Unknown)?;
                    let given = instant(record.created);
                    record.admit(secret, now)?;
                    let node = record.scope.node(wanted)?;
                    if let Some(again) = record
                        .redemptions
                        .iter()
                        .find(|old| old.node == node && old.key == key)
                    {
                        return Ok::<_, RedeemError>((None, (again.clone(), given)));
                    }
                    record.one_use_left()?;
                    let replaces = record.scope.replaces(&node, given, registrations)?;
                    // A Node of the cluster is registered by itself; the token shows who is that node.
                    let fresh = registrations.of_cluster(&node);
                    let redemption = Redemption {
                        node,
                        key,
                        registration: fresh.unwrap_or_else(RegistrationId::random),
                        replaces,
                    };
                    record.redemptions.push(redemption.clone());
                    Ok((Some(record), (redemption, given)))
                })?;
        let Redemption {
            node,
            registration,
            replaces,
            ..
        } = redemption;
        registrations
            .register(&node, registration, replaces, given)
            .map_err(|error| match error {
                RegistrationError::Store(error) => RedeemError::Store(error),
                RegistrationError::Moved(node) | RegistrationError::Unknown(node) => {
                    RedeemError::Moved(node)
                }
            })?;
        Ok((node, registration))
    }

    fn forget_old(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        for id in self.ids()? {
            let Some((record, version)) = self.look_at(id)? else {
                continue;
            };
            if record.is_old(now) {
                match self.store.remove(&Key::token(id), &version) {
                    Ok(()) | Err(StoreError::Conflict { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// A token among others: one file that is no token is no reason to hide the rest, nor to make no more.
    fn look_at(&self, id: TokenId) -> Result<Option<(Record, Version)>, StoreError> {
        match self.store.read(&Key::token(id)) {
            Err(error) if error.is_of_one_file() => {
                tracing::error!(token = %id, %error, "a join token cannot be read and lets nobody in; no other is affected");
                Ok(None)
            }
            read => read,
        }
    }

    fn ids(&self) -> Result<Vec<TokenId>, StoreError> {
        let names = self.store.names(Kind::Token)?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }
}

#[cfg(test)]
mod tests;

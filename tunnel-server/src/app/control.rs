//! What commands ask of the running server, answered from the registry, the identities and the live keys.

use std::time::SystemTime;

use edge_tunnel_proto::clock::Clock;
use edge_tunnel_proto::id::{NodeName, ReplicaId};
use edge_tunnel_proto::identity::TokenId;

use crate::admin::control::{
    CaAuthority, CaStatus, Control as Asked, ControlError, CreatedToken, IssuedClient, NewClient,
    NewToken, NodeStatus, Overview, RevokedNode, SessionStatus, TokenStatus, TokenSubject,
};
use crate::identity::{
    CaError, Grant, GrantError, Identity, NodePattern, PortsGrant, RegistrationError, Scope, Step,
    StoreError, TokensError, Visit,
};
use crate::route::Routes;
use crate::sessions::{Session, Sessions};

use rotation::Rotation;

mod rotation;
mod tokens;

/// The running server.
#[derive(Debug)]
pub struct Control {
    replica: ReplicaId,
    sessions: Sessions,
    identity: Identity,
    routes: Routes,
    clock: Clock,
}

impl Control {
    pub(super) fn new(
        replica: ReplicaId,
        sessions: Sessions,
        identity: Identity,
        routes: Routes,
        clock: Clock,
    ) -> Self {
        Self {
            replica,
            sessions,
            identity,
            routes,
            clock,
        }
    }

    /// When a node was last here that takes no more streams: one that has not ended its session is just leaving.
    fn last_seen(&self, last: &Visit) -> SystemTime {
        if last.here && last.left.is_none() {
            return self.clock.now();
        }
        last.last_seen()
    }

    fn ca(&self) -> CaStatus {
        let info = self.identity.ca().show();
        let rotation = Rotation::of(&info, &self.identity, &self.sessions);
        let authorities = info.bundle.authorities().iter();
        CaStatus {
            authorities: authorities
                .map(|authority| CaAuthority {
                    subject: authority.subject.clone(),
                    pin: authority.pin,
                    not_after: authority.not_after,
                    signs: authority.pin == info.signs,
                })
                .collect(),
            phase: rotation.stands(),
            next: rotation.next(),
            pem: info.bundle.to_pem(),
        }
    }

    /// Runs `work`, which writes to the state folder, beside the runtime's workers.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Identity) -> Result<T, ControlError> + Send + 'static,
    ) -> Result<T, ControlError> {
        let identity = self.identity.clone();
        #[expect(
            clippy::disallowed_methods,
            reason = "a person's commands: a few file writes at a time"
        )]
        let done = tokio::task::spawn_blocking(move || work(&identity)).await;
        done.unwrap_or_else(|error| Err(ControlError::Internal(error.to_string())))
    }
}

impl Asked for Control {
    fn overview(&self) -> Overview {
        let table = self.routes.table();
        Overview {
            replica: self.replica,
            sessions: self.sessions.connected(),
            config_errors: table
                .problems()
                .listed()
                .iter()
                .map(ToString::to_string)
                .collect(),
        }
    }

    async fn nodes(&self) -> Result<Vec<NodeStatus>, ControlError> {
        let mut nodes = self.identity.registrations().list();
        nodes.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Ok(nodes
            .into_iter()
            .map(|(node, registration)| {
                let session = self.sessions.get(&node).map(|session| status(&session));
                let last = match session {
                    Some(_) => None,
                    None => self.identity.visits().get(&node),
                };
                NodeStatus {
                    registration: registration.id,
                    revoked: registration.revoked(),
                    session,
                    last_seen: last.as_ref().map(|last| self.last_seen(last)),
                    last_remote: last.as_ref().map(|last| last.remote),
                    last_end: last.and_then(|last| last.left).map(|left| left.reason),
                    node,
                }
            })
            .collect())
    }

    async fn revoke_node(&self, node: NodeName) -> Result<RevokedNode, ControlError> {
        let session_closed = self.sessions.get(&node).is_some();
        let revoked = self
            .blocking(move |identity| Ok(identity.registrations().revoke(&node)?))
            .await?;
        Ok(RevokedNode {
            registration: revoked.id,
            session_closed,
        })
    }

    async fn token_create(&self, wanted: NewToken) -> Result<CreatedToken, ControlError> {
        let scope = match wanted.subject {
            TokenSubject::Node { name, replace } => Scope::Node {
                node: name,
                replace,
            },
            TokenSubject::Pattern { pattern, uses } => Scope::Pattern {
                pattern: pattern.parse::<NodePattern>()?,
                uses,
            },
        };
        let ttl = wanted.ttl;
        self.blocking(move |identity| {
            let warning = tokens::warning(&scope, identity.registrations());
            let (token, expires) = identity.create_token(scope, ttl)?;
            Ok(CreatedToken {
                token: token.expose(),
                id: token.id,
                expires,
                warning,
            })
        })
        .await
    }

    async fn token_list(&self) -> Result<Vec<TokenStatus>, ControlError> {
        let now = self.clock.now();
        self.blocking(move |identity| Ok(tokens::listed(identity.tokens().list()?, now)))
            .await
    }

    async fn token_revoke(&self, id: TokenId) -> Result<(), ControlError> {
        self.blocking(move |identity| Ok(identity.tokens().revoke(id)?))
            .await
    }

    async fn issue_client(&self, wanted: NewClient) -> Result<IssuedClient, ControlError> {
        self.blocking(move |identity| {
            let patterns: Result<Vec<_>, GrantError> = wanted
                .nodes
                .split(',')
                .map(|pattern| pattern.trim().parse())
                .collect();
            let ports = if wanted.ports.is_empty() {
                PortsGrant::Configured
            } else {
                PortsGrant::List(wanted.ports)
            };
            let grant = Grant {
                nodes: patterns?,
                ports,
            };
            let files = identity.ca().issue_client(&wanted.name, &grant)?;
            Ok(IssuedClient {
                cert: files.certificate,
                key: files.key,
                ca: files.ca,
                expires: files.not_after,
            })
        })
        .await
    }

    async fn ca_show(&self) -> Result<CaStatus, ControlError> {
        Ok(self.ca())
    }

    async fn ca_rotate(&self, step: Step, at_once: bool) -> Result<CaStatus, ControlError> {
        let info = self.identity.ca().due(step)?;
        let rotation = Rotation::of(&info, &self.identity, &self.sessions);
        if let Some(why) = rotation.waits(self.clock.now())
            && !at_once
        {
            return Err(ControlError::Conflict(why));
        }
        self.blocking(move |identity| Ok(identity.ca().rotate(step)?))
            .await?;
        Ok(self.ca())
    }
}

// Whoever asks must not be told that there is no such node where the disk is full.
impl From<StoreError> for ControlError {
    fn from(error: StoreError) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<GrantError> for ControlError {
    fn from(error: GrantError) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl From<RegistrationError> for ControlError {
    fn from(error: RegistrationError) -> Self {
        match error {
            RegistrationError::Store(error) => error.into(),
            RegistrationError::Unknown(_) => Self::NotFound(error.to_string()),
            RegistrationError::Moved(_) => Self::Conflict(error.to_string()),
        }
    }
}

impl From<TokensError> for ControlError {
    fn from(error: TokensError) -> Self {
        match error {
            TokensError::Store(error) => error.into(),
            TokensError::Ttl | TokensError::Uses => Self::Invalid(error.to_string()),
            TokensError::Unknown(_) => Self::NotFound(error.to_string()),
        }
    }
}

impl From<CaError> for ControlError {
    fn from(error: CaError) -> Self {
        match error {
            CaError::Store(error) => error.into(),
            CaError::Grant(error) => error.into(),
            CaError::Operators | CaError::WrongStep { .. } | CaError::Expired(_) => {
                Self::Conflict(error.to_string())
            }
            CaError::Lost { .. } | CaError::Unusable(_) | CaError::Sign(_) | CaError::Key(_) => {
                Self::Internal(error.to_string())
            }
        }
    }
}

fn status(session: &Session) -> SessionStatus {
    SessionStatus {
        instance: session.instance,
        since: session.since,
        remote: session.remote,
        transport: session.transport().name().to_owned(),
        rtt_ms: session.rtt().map(|rtt| rtt.as_secs_f64() * 1000.0),
        streams: session.streams.len(),
        version: session.build.clone(),
    }
}

#[cfg(test)]
mod tests;

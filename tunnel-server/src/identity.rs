//! Who an agent is, and who a caller is: the CA, registrations, join tokens, and the one function that says who is at
//! the other end of a connection.
//!
//! In: evidence, certificate chains. Out: certificates, [`Peer`]s, and word of registrations that ended.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use edge_tunnel_proto::clock::Clock;
use edge_tunnel_proto::identity::{Alpn, Token, TrustDomain, agents_server, connect_server};
use edge_tunnel_proto::message::enroll::{
    EnrollRequest, EnrollResponse, RenewRequest, RenewResponse,
};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;

use self::enroll::Desk;
use self::queue::Queue;
use self::server_key::ServerKey;
use self::store::{Key, Store};

pub mod ca;
mod classify;
mod csr;
mod enroll;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod grant;
mod issue;
mod queue;
mod registrations;
mod server_key;
mod store;
mod text;
mod tokens;
mod visits;

pub use self::ca::{Ca, CaError, CaInfo, Files, OperatorCa, Phase, Step};
pub use self::classify::{ClassifyError, Holder, Peer};
pub use self::grant::{Grant, GrantError, NodePattern, PortsGrant};
pub use self::issue::{CLIENT_LIFETIME, NODE_LIFETIME};
pub use self::registrations::{Ended, Registration, RegistrationError, Registrations, Standing};
pub use self::store::StoreError;
pub use self::tokens::{RedeemError, Scope, TTL_MAX, TokenInfo, Tokens, TokensError, USES_MAX};
pub use self::visits::{Left, Visit, Visits};

/// For how long after its expiry a certificate may be renewed, unless told otherwise.
pub const RENEW_GRACE: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// Why the identities could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The state folder.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The CA.
    #[error(transparent)]
    Ca(#[from] CaError),
}

/// What identities are built from.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The state folder; created when it is missing.
    pub state_dir: PathBuf,
    /// The name space of this installation.
    pub trust_domain: TrustDomain,
    /// The time.
    pub clock: Clock,
    /// For how long after its expiry a certificate may be renewed.
    pub renew_grace: Duration,
    /// A CA of the operator's own, in place of the embedded one.
    pub operator_ca: Option<OperatorCa>,
}

/// Everything about identities on this server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Identity(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    ca: Arc<Ca>,
    tokens: Tokens,
    registrations: Registrations,
    visits: Visits,
    renew_grace: Duration,
    agents_key: Arc<ServerKey>,
    enrolments: Queue,
    /// Apart: any stranger may begin an enrolment, and however many do must keep no node from renewing.
    renewals: Queue,
}

impl Inner {
    fn desk(&self) -> Desk<'_> {
        Desk {
            ca: &self.ca,
            tokens: &self.tokens,
            registrations: &self.registrations,
        }
    }
}

impl Identity {
    /// Opens the state folder; at the first start makes it and the CA. Blocks for some file operations.
    pub fn open(settings: Settings) -> Result<Self, OpenError> {
        let Settings {
            state_dir,
            trust_domain,
            clock,
            renew_grace,
            operator_ca,
        } = settings;
        let store = Store::open(&state_dir)?;
        let registrations = Registrations::open(store.clone(), clock.clone())?;
        let ca = Arc::new(match operator_ca {
            None => {
                let registered = registrations.list().len();
                Ca::embedded(store.clone(), &trust_domain, &clock, registered)?
            }
            Some(files) => Ca::operator(files, &trust_domain, &clock)?,
        });
        store.warn_if_open(&Key::authority());
        Ok(Self(Arc::new(Inner {
            agents_key: Arc::new(ServerKey::new(&ca, &[])?),
            ca,
            tokens: Tokens::new(store.clone(), clock),
            registrations,
            visits: Visits::read(&store),
            store,
            renew_grace,
            enrolments: Queue::new("enrolling"),
            renewals: Queue::new("renewing"),
        })))
    }

    /// Takes over what others have changed in the state folder or in the operator's CA files. Blocks for some file
    /// operations.
    pub fn reload(&self) -> Result<(), OpenError> {
        self.0.ca.reload()?;
        self.0.registrations.reload()?;
        Ok(())
    }

    /// The CA.
    #[must_use]
    pub fn ca(&self) -> &Ca {
        &self.0.ca
    }

    /// Join tokens.
    #[must_use]
    pub fn tokens(&self) -> &Tokens {
        &self.0.tokens
    }

    /// Registrations of nodes.
    #[must_use]
    pub fn registrations(&self) -> &Registrations {
        &self.0.registrations
    }

    /// When nodes were last here.
    #[must_use]
    pub fn visits(&self) -> &Visits {
        &self.0.visits
    }

    /// Keeps what has changed of that. Blocks for some file operations.
    pub fn save_visits(&self) -> Result<(), StoreError> {
        self.0.visits.save(&self.0.store, &self.0.registrations)
    }

    /// Makes a join token that carries the pin of the CA, and says until when it is good.
    pub fn create_token(
        &self,
        scope: Scope,
        ttl: Duration,
    ) -> Result<(Token, SystemTime), TokensError> {
        self.0.tokens.create(scope, ttl, self.0.ca.pin())
    }

    /// The TLS settings of the agents' listener, for TLS and QUIC alike: sessions and enrolment.
    #[must_use]
    pub fn agents_config(&self) -> ServerConfig {
        agents_server(self.0.ca.trust(), Arc::clone(&self.0.agents_key) as _)
    }

    /// The TLS settings of the mutual-TLS way in; `names` are the DNS names and addresses by which callers dial it.
    pub fn connect_config(&self, names: &[String]) -> Result<ServerConfig, CaError> {
        let key = ServerKey::new(&self.0.ca, names)?;
        Ok(connect_server(self.0.ca.trust(), Arc::new(key)))
    }

    /// Who showed `chain` (leaf first) on a connection whose handshake agreed on `alpn`; `None` on the mutual-TLS way
    /// in. Called after every handshake, resumed or full, and before anything else is done with the connection.
    pub fn classify(
        &self,
        alpn: Option<Alpn>,
        chain: &[CertificateDer<'_>],
    ) -> Result<Peer, ClassifyError> {
        classify::classify(
            alpn,
            chain,
            self.0.ca.trust(),
            &self.0.registrations,
            self.0.renew_grace,
        )
    }

    /// Answers an enrolment of `peer`, as it was classified.
    pub async fn enroll(&self, request: EnrollRequest, peer: Peer) -> EnrollResponse {
        let inner = Arc::clone(&self.0);
        let work = move || inner.desk().enroll(&request, &peer);
        EnrollResponse {
            outcome: Some(self.0.enrolments.run(work).await),
        }
    }

    /// Answers a renewal over the session of `holder`, as it was classified.
    pub async fn renew(&self, request: RenewRequest, holder: Holder) -> RenewResponse {
        let inner = Arc::clone(&self.0);
        let work = move || inner.desk().renew(&request.csr, &holder);
        RenewResponse {
            outcome: Some(self.0.renewals.run(work).await),
        }
    }

    /// Renewals are not worked on before this is dropped.
    #[cfg(test)]
    pub(crate) async fn hold_renewals(&self) -> tokio::sync::OwnedSemaphorePermit {
        self.0.renewals.hold().await
    }
}

#[cfg(test)]
mod tests;

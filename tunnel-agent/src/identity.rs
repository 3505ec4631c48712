//! Who this node is: its key, its certificate, the servers that it believes, and how it comes by them.
//!
//! In: the state folder, a join token, the server's answers. Out: requests for certificates, and TLS settings whose
//! certificate and trust are live: what is renewed or reloaded is used at the next dial.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use edge_tunnel_proto::clock::Clock;
use edge_tunnel_proto::code::Code;
use edge_tunnel_proto::id::NodeName;
use edge_tunnel_proto::identity::{
    BACKDATE, Bundle, Live, LiveKey, Token, Trust, TrustDomain, check_client, enroll_client,
    renew_client, rfc3339, session_client,
};
use edge_tunnel_proto::message::enroll::{
    EnrollRequest, Evidence, Issued, JoinToken, Outcome, Renew, RenewRequest,
};
use edge_tunnel_proto::sync::Mutex;
use rcgen::{CertificateParams, KeyPair};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use tokio::sync::watch;

use self::state::{Loaded, State};

mod build_date;
mod error;
pub mod folder;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod held;
mod state;

pub use self::build_date::build_date;
pub use self::error::IdentityError;
pub use self::held::{Held, Standing};

/// What an identity is built from.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The state folder; made when it is missing.
    pub state_dir: PathBuf,
    /// The name space that the server and this node belong to.
    pub trust_domain: TrustDomain,
    /// The time. From now on it is never before the build of this program, nor before the certificate's issue.
    pub clock: Clock,
}

/// Who this node is. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Identity(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: State,
    trust_domain: TrustDomain,
    clock: Clock,
    loaded: Live<Loaded>,
    shown: LiveKey,
    /// There from the first bundle on; its bundle is live.
    trust: Mutex<Option<Trust>>,
    /// Held while the files are read or written and until what they hold is live.
    changing: Mutex<()>,
    changes: watch::Sender<u64>,
}

impl Identity {
    /// Opens the state folder; at the first start makes it and the key. Blocks for some file operations.
    pub fn open(settings: &Settings) -> Result<Self, IdentityError> {
        let Settings {
            state_dir,
            trust_domain,
            clock,
        } = settings;
        clock.not_before(build_date());
        let state = State::open(state_dir, trust_domain)?;
        let inner = Inner {
            loaded: Live::new(state.load()?),
            state,
            trust_domain: trust_domain.clone(),
            clock: clock.clone(),
            shown: Live::new(None),
            trust: Mutex::new(None),
            changing: Mutex::default(),
            changes: watch::Sender::new(0),
        };
        inner.apply();
        Ok(Self(Arc::new(inner)))
    }

    /// Takes over what others have put into the state folder; says whether anything was new. Blocks for some file
    /// operations. On an error everything stays as it was.
    pub fn reload(&self) -> Result<bool, IdentityError> {
        let _changing = self.0.changing.lock();
        self.0.reload()
    }

    /// Changes whenever another certificate or bundle has come into force.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// What there is to do.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match &self.0.loaded.get().certificate {
            None => Standing::Unenrolled,
            Some((held, _)) if self.0.clock.now() > held.not_after => {
                Standing::Expired(held.clone())
            }
            Some((held, _)) => Standing::Ready(held.clone()),
        }
    }

    /// The time by which its certificate is judged.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// How long until the certificate is to be renewed; zero when that is overdue, `None` without a certificate.
    #[must_use]
    pub fn renew_in(&self) -> Option<Duration> {
        let loaded = self.0.loaded.get();
        let (held, _) = loaded.certificate.as_ref()?;
        Some(
            held.renew_at
                .duration_since(self.0.clock.now())
                .unwrap_or_default(),
        )
    }

    /// The TLS settings of sessions.
    pub fn session_config(&self) -> Result<ClientConfig, IdentityError> {
        Ok(session_client(&self.trust()?, &self.0.shown))
    }

    /// The TLS settings of a renewal outside a session.
    pub fn renew_config(&self) -> Result<ClientConfig, IdentityError> {
        Ok(renew_client(&self.trust()?, &self.0.shown))
    }

    /// The TLS settings of an enrolment by `token`: its pin is what the server must match, whatever bundle there is.
    #[must_use]
    pub fn join_config(&self, token: &Token) -> ClientConfig {
        enroll_client(token.pin, &self.0.trust_domain, &self.0.clock)
    }

    /// Asks for a certificate by `token`, as `node` if told so; where neither names the node it is called as its `host`.
    /// Sending it again after a lost answer gets the same registration: the key in it is the same.
    pub fn join_request(
        &self,
        token: &Token,
        node: Option<&NodeName>,
        host: &NodeName,
    ) -> Result<EnrollRequest, IdentityError> {
        let secret = token.secret.expose().to_vec();
        let evidence = Evidence::JoinToken(JoinToken {
            id: token.id.to_string(),
            secret,
        });
        let mut request = self.request(evidence)?;
        request.node = node.map(ToString::to_string).unwrap_or_default();
        request.host = host.to_string();
        Ok(request)
    }

    /// Asks for a renewal on a connection of its own, which shows the old certificate.
    pub fn late_renew_request(&self) -> Result<EnrollRequest, IdentityError> {
        self.request(Evidence::Renew(Renew {}))
    }

    /// Asks for a renewal over a session.
    pub fn renew_request(&self) -> Result<RenewRequest, IdentityError> {
        Ok(RenewRequest { csr: self.csr()? })
    }

    /// Takes the server's answer to any of these requests: a certificate that fits is kept and used from the next dial
    /// on.
    pub async fn take_in(&self, outcome: Option<Outcome>) -> Result<Held, IdentityError> {
        let issued = match outcome {
            Some(Outcome::Issued(issued)) => issued,
            Some(Outcome::Refusal(refusal)) => {
                return Err(IdentityError::Refused {
                    code: Code::from_number(refusal.code),
                    retry_after: refusal.retry_after(),
                    message: refusal.message,
                });
            }
            None => {
                return Err(IdentityError::Answer(
                    "it is of a kind that this agent does not know".to_owned(),
                ));
            }
        };
        let inner = Arc::clone(&self.0);
        #[expect(clippy::disallowed_methods, reason = "a few file writes, once in days")]
        let kept = tokio::task::spawn_blocking(move || inner.keep(issued)).await?;
        kept
    }

    fn request(&self, evidence: Evidence) -> Result<EnrollRequest, IdentityError> {
        Ok(EnrollRequest {
            evidence: Some(evidence),
            csr: self.csr()?,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..EnrollRequest::default()
        })
    }

    fn csr(&self) -> Result<Vec<u8>, IdentityError> {
        csr(&self.0.loaded.get().key).map_err(IdentityError::Crypto)
    }

    fn trust(&self) -> Result<Trust, IdentityError> {
        if self.0.loaded.get().certificate.is_none() {
            return Err(IdentityError::NotEnrolled);
        }
        self.0.trust.lock().clone().ok_or(IdentityError::NoBundle)
    }
}

/// A certificate request. It names nobody: who this node is, is the server's to say.
fn csr(key: &KeyPair) -> Result<Vec<u8>, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    Ok(params.serialize_request(key)?.der().to_vec())
}

impl Inner {
    fn reload(&self) -> Result<bool, IdentityError> {
        let fresh = self.state.load()?;
        let new = fresh.differs(&self.loaded.get());
        if new {
            self.loaded.set(fresh);
            self.apply();
            self.changes.send_modify(|generation| *generation += 1);
        }
        Ok(new)
    }

    /// Puts what was loaded into force.
    fn apply(&self) {
        let loaded = self.loaded.get();
        if let Some((held, _)) = &loaded.certificate {
            self.clock.not_before(held.issued);
        }
        self.shown
            .set(loaded.certificate.as_ref().map(|(_, key)| Arc::clone(key)));
        let mut trust = self.trust.lock();
        match (&mut *trust, &loaded.bundle) {
            (Some(trust), Some(bundle)) => trust.bundle.set(bundle.clone()),
            (none @ None, Some(bundle)) => {
                *none = Some(Trust {
                    bundle: Live::new(bundle.clone()),
                    trust_domain: self.trust_domain.clone(),
                    clock: self.clock.clone(),
                });
            }
            // A bundle that was removed under a running agent: the last known one still holds.
            (_, None) => {}
        }
    }

    fn keep(&self, issued: Issued) -> Result<Held, IdentityError> {
        let _changing = self.changing.lock();
        let (chain, bundle) = self.check(issued).map_err(IdentityError::Answer)?;
        self.state.keep(&chain, &bundle)?;
        self.reload()?;
        let loaded = self.loaded.get();
        let (held, _) = loaded
            .certificate
            .as_ref()
            .ok_or(IdentityError::NotEnrolled)?;
        let Held {
            node,
            registration,
            not_after,
            ..
        } = held;
        tracing::info!(%node, %registration, until = rfc3339(*not_after), "certificate received");
        Ok(held.clone())
    }

    /// Whether the answer is a certificate for this key that its own bundle believes; nothing is kept before.
    fn check(&self, issued: Issued) -> Result<(Vec<CertificateDer<'static>>, Bundle), String> {
        let bundle = Bundle::new(issued.bundle.into_iter().map(CertificateDer::from))
            .map_err(|e| e.to_string())?;
        let chain: Vec<_> = issued.chain.into_iter().map(CertificateDer::from).collect();
        let (held, _) = state::held(chain.clone(), &self.loaded.get().key, &self.trust_domain)?;
        // The server has just issued it, so its time has come, whatever the clock here says.
        let at_least = Clock::fixed(self.clock.now().max(held.issued));
        check_client(&chain, &bundle, &self.trust_domain, &at_least)
            .map_err(|error| error.to_string())?;
        if self.clock.machine() + BACKDATE < held.issued {
            let (clock, issued) = (rfc3339(self.clock.machine()), rfc3339(held.issued));
            tracing::warn!(
                "this node's clock says {clock}, but the server issued its certificate at {issued}; set the clock (NTP)"
            );
        }
        Ok((chain, bundle))
    }
}

#[cfg(test)]
mod tests;

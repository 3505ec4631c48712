//! The embedded CA as it stands in the store, and what is made of it.

use std::time::SystemTime;

use edge_tunnel_proto::id::excerpt;
use edge_tunnel_proto::identity::{Bundle, Pin, TrustDomain, certificates_to_pem};
use rcgen::{Issuer, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};

use super::{CaError, Phase, Step};
use crate::identity::issue;
use crate::identity::registrations::{instant, millis};

/// The CA in the store. Certificates and keys are PEM texts; the file has mode 0600.
#[derive(Serialize, Deserialize)]
pub(super) struct Record {
    /// When this phase began, in milliseconds since 1970.
    since: u64,
    state: State,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "phase")]
enum State {
    Steady {
        current: Authority,
    },
    Introduced {
        current: Authority,
        next: Authority,
        /// The next CA's certificate, signed by the current one.
        cross: String,
    },
    Signing {
        current: Authority,
        cross: String,
        /// The certificate of the CA before; its key is gone.
        previous: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Authority {
    certificate: String,
    key: String,
}

/// What signs.
#[derive(Debug)]
pub(super) struct Signer {
    pub(super) issuer: Issuer<'static, KeyPair>,
    pub(super) pin: Pin,
    pub(super) not_after: SystemTime,
    /// What a server shows behind its own certificate, so that each pin that may be out there finds its CA.
    pub(super) shown: Vec<CertificateDer<'static>>,
}

/// A loaded CA.
#[derive(Debug)]
pub(super) struct Material {
    pub(super) phase: Phase,
    pub(super) since: Option<SystemTime>,
    pub(super) bundle: Bundle,
    pub(super) signer: Signer,
}

impl Signer {
    /// Checks that the key is the certificate's.
    pub(super) fn new(
        certificate: &CertificateDer<'static>,
        key: &str,
        shown: Vec<CertificateDer<'static>>,
    ) -> Result<Self, CaError> {
        // The parser's own words may hold a part of the key.
        let key = KeyPair::from_pem(key).map_err(|_unreadable| {
            CaError::Unusable(
                "the CA's private key cannot be read: it is no PKCS #8 key in PEM".to_owned(),
            )
        })?;
        let bundle = Bundle::new([certificate.clone()])
            .map_err(|error| CaError::Unusable(error.to_string()))?;
        let authority = &bundle.authorities()[0];
        let pin = Pin::of_key(&rcgen::PublicKeyData::subject_public_key_info(&key));
        if pin != authority.pin {
            let subject = &authority.subject;
            return Err(CaError::Unusable(format!(
                "the CA's private key does not belong to its certificate ({subject}); give the two that belong together"
            )));
        }
        let not_after = authority.not_after;
        let issuer = Issuer::from_ca_cert_der(certificate, key)?;
        Ok(Self {
            issuer,
            pin,
            not_after,
            shown,
        })
    }
}

impl Record {
    /// A CA for a new installation.
    pub(super) fn new(trust_domain: &TrustDomain, now: SystemTime) -> Result<Self, CaError> {
        let key = KeyPair::generate()?;
        let certificate = issue::authority(trust_domain, now).self_signed(&key)?.pem();
        let current = Authority {
            certificate,
            key: key.serialize_pem(),
        };
        Ok(Self {
            since: millis(now),
            state: State::Steady { current },
        })
    }

    /// The state after `step`.
    pub(super) fn step(
        self,
        step: Step,
        trust_domain: &TrustDomain,
        now: SystemTime,
    ) -> Result<Self, CaError> {
        let phase = self.phase();
        let state = match (self.state, step) {
            (State::Steady { current }, Step::Introduce) => {
                let params = issue::authority(trust_domain, now);
                let key = KeyPair::generate()?;
                let certificate = params.self_signed(&key)?.pem();
                let signer = current.signer(Vec::new())?;
                let cross = issue::cross(params, &key, &signer.issuer, signer.not_after)?;
                let next = Authority {
                    certificate,
                    key: key.serialize_pem(),
                };
                State::Introduced {
                    current,
                    next,
                    cross: certificates_to_pem(&[cross]),
                }
            }
            (
                State::Introduced {
                    current,
                    next,
                    cross,
                },
                Step::Sign,
            ) => State::Signing {
                current: next,
                cross,
                previous: current.certificate,
            },
            (State::Signing { current, .. }, Step::Finish) => State::Steady { current },
            _ => {
                return Err(CaError::WrongStep {
                    phase,
                    next: phase.next(),
                });
            }
        };
        Ok(Self {
            since: millis(now),
            state,
        })
    }

    /// Loads it.
    pub(super) fn material(&self) -> Result<Material, CaError> {
        let (believed, signer) = match &self.state {
            State::Steady { current } => {
                let own = certificate(&current.certificate)?;
                (vec![own.clone()], current.signer(vec![own])?)
            }
            State::Introduced { current, next, .. } => {
                let own = certificate(&current.certificate)?;
                (
                    vec![own.clone(), certificate(&next.certificate)?],
                    current.signer(vec![own])?,
                )
            }
            State::Signing {
                current,
                cross,
                previous,
            } => {
                let (own, previous) = (certificate(&current.certificate)?, certificate(previous)?);
                // The cross-signed certificate has the new CA's key, and so its pin, as well.
                let shown = vec![certificate(cross)?, previous.clone()];
                (vec![own, previous], current.signer(shown)?)
            }
        };
        let bundle = Bundle::new(believed).map_err(|error| CaError::Unusable(error.to_string()))?;
        Ok(Material {
            phase: self.phase(),
            since: Some(instant(self.since)),
            bundle,
            signer,
        })
    }

    const fn phase(&self) -> Phase {
        match self.state {
            State::Steady { .. } => Phase::Steady,
            State::Introduced { .. } => Phase::Introduced,
            State::Signing { .. } => Phase::Signing,
        }
    }
}

impl Authority {
    fn signer(&self, shown: Vec<CertificateDer<'static>>) -> Result<Signer, CaError> {
        Signer::new(&certificate(&self.certificate)?, &self.key, shown)
    }
}

fn certificate(pem: &str) -> Result<CertificateDer<'static>, CaError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| {
        CaError::Unusable(format!(
            "a certificate of the stored CA cannot be read: {}",
            excerpt(&error.to_string())
        ))
    })
}

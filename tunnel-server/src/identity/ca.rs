//! The tunnel's own CA: the bundle that is believed, the key that signs, and the change from one CA to the next.
//!
//! A rotation has two phases, so that no agent is cut off:
//! 1. *introduced*: the new CA is in the bundle, which agents get with each renewal; the old one still signs.
//! 2. *signing*: the new one signs. The old one stays in the bundle, and servers also show the new CA's certificate
//!    signed by the old one, so that agents which missed the first phase, and join tokens made before, still work.
//!
//! Finishing it drops the old CA. Agents that have not renewed since the new one signs hold a certificate of the old
//! one and must enrol anew; so each phase should last longer than it takes every agent to renew once.

use std::sync::Arc;
use std::time::SystemTime;

use edge_tunnel_proto::clock::Clock;
use edge_tunnel_proto::id::{NodeName, RegistrationId};
use edge_tunnel_proto::identity::{
    ClientName, Live, Pin, Trust, TrustDomain, certificates_to_pem, provider,
};
use edge_tunnel_proto::sync::Mutex;
use rcgen::{KeyPair, PublicKeyData};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use tracing::info;

use self::record::{Material, Record, Signer};
use super::grant::Grant;
use super::issue::{self, Subject};
use super::store::{Key, Store, StoreError};

mod error;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod operator;
mod phase;
mod record;

pub use error::CaError;
pub use operator::OperatorCa;
pub use phase::{CaInfo, Phase, Step};

/// A certificate with its private key, as PEM texts to be written to files of mode 0600.
#[derive(Clone)]
pub struct Files {
    /// The certificate, and what stands between it and the CA.
    pub certificate: String,
    /// Its private key, PKCS #8. Never for a log.
    pub key: String,
    /// The bundle to believe.
    pub ca: String,
    /// Until when the certificate is valid.
    pub not_after: SystemTime,
}

/// A certificate that was signed for someone else's key.
#[derive(Debug, Clone)]
pub struct Signed {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// Until when it is valid.
    pub not_after: SystemTime,
}

#[derive(Debug)]
enum Source {
    /// Made here, kept in the store.
    Embedded(Store),
    /// Given.
    Operator(OperatorCa),
}

/// The CA. Its bundle and its signing key are live: a rotation, or a reload, applies from the next handshake on.
/// Those two block for a few file operations.
#[derive(Debug)]
pub struct Ca {
    source: Source,
    trust: Trust,
    material: Live<Material>,
    /// Held while the source is read or changed and until what was found is live.
    changing: Mutex<()>,
}

impl Ca {
    /// Opens the CA in the store. Where there is none it makes one, unless so many nodes are `registered`, which hold
    /// certificates of one that was.
    pub(super) fn embedded(
        store: Store,
        trust_domain: &TrustDomain,
        clock: &Clock,
        registered: usize,
    ) -> Result<Self, CaError> {
        let mut made = false;
        if store.read::<Record>(&Key::authority())?.is_none() {
            if registered > 0 {
                return Err(CaError::Lost {
                    folder: store.folder().to_owned(),
                    nodes: registered,
                });
            }
            let record = Record::new(trust_domain, clock.now())?;
            match store.write(&Key::authority(), &record, None) {
                Ok(_) => made = true,
                // Another process was faster; its CA is as good.
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let ca = Self::open(Source::Embedded(store), trust_domain, clock)?;
        if made {
            info!(pin = %ca.pin(), "made a CA of this installation's own");
        }
        Ok(ca)
    }

    /// Opens a CA that the operator gives.
    pub(super) fn operator(
        files: OperatorCa,
        trust_domain: &TrustDomain,
        clock: &Clock,
    ) -> Result<Self, CaError> {
        Self::open(Source::Operator(files), trust_domain, clock)
    }

    fn open(source: Source, trust_domain: &TrustDomain, clock: &Clock) -> Result<Self, CaError> {
        let material = source.load()?;
        let trust = Trust {
            bundle: Live::new(material.bundle.clone()),
            trust_domain: trust_domain.clone(),
            clock: clock.clone(),
        };
        Ok(Self {
            source,
            trust,
            material: Live::new(material),
            changing: Mutex::default(),
        })
    }

    /// Takes over what has changed in the store or in the operator's files.
    pub fn reload(&self) -> Result<(), CaError> {
        let _changing = self.changing.lock();
        self.apply(self.source.load()?);
        Ok(())
    }

    fn apply(&self, material: Material) {
        self.trust.bundle.set(material.bundle.clone());
        self.material.set(material);
    }

    /// What is believed, live.
    #[must_use]
    pub const fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The pin of the CA that signs.
    #[must_use]
    pub fn pin(&self) -> Pin {
        self.material.get().signer.pin
    }

    /// The CA as people want to see it.
    #[must_use]
    pub fn show(&self) -> CaInfo {
        let material = self.material.get();
        CaInfo {
            phase: material.phase,
            since: material.since,
            signs: material.signer.pin,
            bundle: material.bundle.clone(),
        }
    }

    /// The CA as it stands, where `step` is what may come next.
    pub fn due(&self, step: Step) -> Result<CaInfo, CaError> {
        let info = self.show();
        let next = info.phase.next();
        match self.source {
            Source::Operator(_) => Err(CaError::Operators),
            Source::Embedded(_) if next == step => Ok(info),
            Source::Embedded(_) => Err(CaError::WrongStep {
                phase: info.phase,
                next,
            }),
        }
    }

    /// Takes the next step of a rotation, which must be `step`: said twice by mistake it does nothing twice.
    pub fn rotate(&self, step: Step) -> Result<Phase, CaError> {
        let Source::Embedded(store) = &self.source else {
            return Err(CaError::Operators);
        };
        let now = self.trust.clock.now();
        let _changing = self.changing.lock();
        store.update(&Key::authority(), |record: Option<Record>| {
            let record = record
                .ok_or_else(|| CaError::Unusable("the CA has gone from the store".to_owned()))?;
            Ok::<_, CaError>((Some(record.step(step, &self.trust.trust_domain, now)?), ()))
        })?;
        self.apply(self.source.load()?);
        Ok(self.material.get().phase)
    }

    /// Signs a node's certificate for `key`.
    pub fn sign_node(
        &self,
        key: &impl PublicKeyData,
        node: &NodeName,
        registration: RegistrationId,
    ) -> Result<Signed, CaError> {
        self.sign(
            &self.material.get().signer,
            &Subject::Node(node, registration),
            key,
        )
    }

    /// Makes a key and a certificate for a caller of the mutual-TLS way in.
    pub fn issue_client(&self, name: &ClientName, grant: &Grant) -> Result<Files, CaError> {
        self.issue(&Subject::Client(name, &grant.to_attribute()?))
    }

    /// Makes a key and a certificate for a TLS service of these DNS names and addresses. It is nobody in the tunnel.
    pub fn issue_service(&self, names: &[String]) -> Result<Files, CaError> {
        self.issue(&Subject::Service(names))
    }

    fn issue(&self, subject: &Subject<'_>) -> Result<Files, CaError> {
        let material = self.material.get();
        let key = KeyPair::generate()?;
        let signed = self.sign(&material.signer, subject, &key)?;
        Ok(Files {
            certificate: certificates_to_pem(&[signed.certificate]),
            key: key.serialize_pem(),
            ca: material.bundle.to_pem(),
            not_after: signed.not_after,
        })
    }

    /// Makes a key and a certificate for this server, with the CA behind it so that pins work. The names are what
    /// callers of the mutual-TLS way in dial; agents need none. Also says when to make the next.
    pub(super) fn issue_server(
        &self,
        names: &[String],
    ) -> Result<(Arc<CertifiedKey>, SystemTime), CaError> {
        let material = self.material.get();
        let key = KeyPair::generate()?;
        let signed = self.sign(&material.signer, &Subject::Server(names), &key)?;
        let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let private = provider().key_provider.load_private_key(private)?;
        let mut chain = vec![signed.certificate];
        chain.extend(material.signer.shown.iter().cloned());
        let now = self.trust.clock.now();
        let left = signed.not_after.duration_since(now).unwrap_or_default();
        Ok((Arc::new(CertifiedKey::new(chain, private)), now + left / 3))
    }

    fn sign(
        &self,
        signer: &Signer,
        subject: &Subject<'_>,
        key: &impl PublicKeyData,
    ) -> Result<Signed, CaError> {
        let Trust {
            trust_domain,
            clock,
            ..
        } = &self.trust;
        let now = clock.now();
        if now >= signer.not_after {
            return Err(CaError::Expired(edge_tunnel_proto::identity::rfc3339(
                signer.not_after,
            )));
        }
        let (certificate, not_after) = issue::leaf(
            subject,
            key,
            &signer.issuer,
            trust_domain,
            now,
            signer.not_after,
        )?;
        Ok(Signed {
            certificate,
            not_after,
        })
    }
}

impl Source {
    fn load(&self) -> Result<Material, CaError> {
        match self {
            Self::Embedded(store) => {
                let record = store.read::<Record>(&Key::authority())?;
                let (record, _) = record.ok_or_else(|| {
                    CaError::Unusable("the CA has gone from the store".to_owned())
                })?;
                record.material()
            }
            Self::Operator(files) => files.material(),
        }
    }
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files")
            .field("certificate", &self.certificate)
            .field("key", &"***")
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

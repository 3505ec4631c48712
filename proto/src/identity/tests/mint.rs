//! Certificates made to order, honest and hostile.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::clock::Clock;
use crate::id::RegistrationId;
use crate::identity::{Bundle, Identity, Live, LiveKey, Pin, Trust, TrustDomain, provider};

pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The time of the tests' clock when they start.
pub(super) fn noon() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// What a certificate is to say.
#[derive(Clone)]
pub(super) struct Order {
    pub(super) uris: Vec<String>,
    pub(super) serial: Option<String>,
    pub(super) description: Option<String>,
    pub(super) usages: Vec<ExtendedKeyUsagePurpose>,
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
}

impl Order {
    pub(super) fn of(identity: &Identity) -> Self {
        let domain = TrustDomain::default();
        let serial = match identity {
            Identity::Node { registration, .. } => Some(registration.to_string()),
            _ => None,
        };
        let usages = match identity {
            Identity::Server => {
                vec![
                    ExtendedKeyUsagePurpose::ServerAuth,
                    ExtendedKeyUsagePurpose::ClientAuth,
                ]
            }
            _ => vec![ExtendedKeyUsagePurpose::ClientAuth],
        };
        Self {
            uris: vec![identity.uri(&domain)],
            serial,
            description: None,
            usages,
            not_before: noon() - DAY,
            not_after: noon() + DAY,
        }
    }

    pub(super) fn node() -> Self {
        let name = "edge-1".parse().unwrap();
        Self::of(&Identity::Node {
            name,
            registration: RegistrationId(7),
        })
    }

    pub(super) fn server() -> Self {
        Self::of(&Identity::Server)
    }
}

pub(super) struct Mint {
    pub(super) certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

fn ca(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

impl Mint {
    pub(super) fn new(name: &str) -> Self {
        let (params, key) = (ca(name), KeyPair::generate().unwrap());
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    /// A CA that this one vouches for.
    pub(super) fn intermediate(&self, name: &str) -> Self {
        let (params, key) = (ca(name), KeyPair::generate().unwrap());
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    pub(super) fn pin(&self) -> Pin {
        Pin::of_certificate(&self.certificate).unwrap()
    }

    pub(super) fn bundle(&self) -> Bundle {
        Bundle::new([self.certificate.clone()]).unwrap()
    }

    pub(super) fn trust(&self) -> Trust {
        Trust {
            bundle: Live::new(self.bundle()),
            trust_domain: TrustDomain::default(),
            clock: Clock::fixed(noon()),
        }
    }

    /// The certificate, with its CA behind it as a server shows it, and its key.
    pub(super) fn issue(&self, order: &Order) -> CertifiedKey {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Some(serial) = &order.serial {
            params
                .distinguished_name
                .push(DnType::CustomDnType(vec![2, 5, 4, 5]), serial.as_str());
        }
        if let Some(text) = &order.description {
            params
                .distinguished_name
                .push(DnType::CustomDnType(vec![2, 5, 4, 13]), text.as_str());
        }
        let uri = |uri: &String| SanType::URI(uri.as_str().try_into().unwrap());
        params.subject_alt_names = order.uris.iter().map(uri).collect();
        params.extended_key_usages.clone_from(&order.usages);
        params.not_before = order.not_before.into();
        params.not_after = order.not_after.into();
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let signer = provider().key_provider.load_private_key(private).unwrap();
        CertifiedKey::new(vec![leaf, self.certificate.clone()], signer)
    }

    pub(super) fn live(&self, order: &Order) -> LiveKey {
        Live::new(Some(Arc::new(self.issue(order))))
    }

    pub(super) fn resolver(&self, order: &Order) -> Arc<SingleCertAndKey> {
        Arc::new(SingleCertAndKey::from(self.issue(order)))
    }
}

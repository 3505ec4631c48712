//! Certificates as the embedded CA issues them.

use std::sync::Arc;
use std::time::Duration;

use edge_tunnel_proto::clock::Clock;
use edge_tunnel_proto::id::RegistrationId;
use edge_tunnel_proto::identity::{Bundle, Identity, Live, LiveKey, Trust, TrustDomain, provider};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) struct Mint {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Mint {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    pub(crate) fn trust(&self) -> Trust {
        Trust {
            bundle: Live::new(Bundle::new([self.certificate.clone()]).unwrap()),
            trust_domain: TrustDomain::default(),
            clock: Clock::system(),
        }
    }

    pub(crate) fn agent(&self) -> LiveKey {
        let identity = Identity::Node {
            name: "edge-1".parse().unwrap(),
            registration: RegistrationId(7),
        };
        Live::new(Some(Arc::new(
            self.issue(&identity, &[ExtendedKeyUsagePurpose::ClientAuth]),
        )))
    }

    pub(crate) fn server(&self) -> Arc<SingleCertAndKey> {
        let usages = [
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        Arc::new(SingleCertAndKey::from(
            self.issue(&Identity::Server, &usages),
        ))
    }

    fn issue(&self, identity: &Identity, usages: &[ExtendedKeyUsagePurpose]) -> CertifiedKey {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Identity::Node { registration, .. } = identity {
            params.distinguished_name.push(
                DnType::CustomDnType(vec![2, 5, 4, 5]),
                registration.to_string(),
            );
        }
        let uri = identity.uri(&TrustDomain::default());
        params.subject_alt_names = vec![SanType::URI(uri.as_str().try_into().unwrap())];
        params.extended_key_usages = usages.to_vec();
        let now = Clock::system().now();
        params.not_before = (now - DAY).into();
        params.not_after = (now + DAY).into();
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let signer = provider().key_provider.load_private_key(private).unwrap();
        CertifiedKey::new(vec![leaf, self.certificate.clone()], signer)
    }
}

//! Certificates made to order, by the very CA that a server signs with or by another: such as no server makes, shown by
//! whoever has stolen a key, or been given a wrong file.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use edge_tunnel_proto::clock::Clock;
use edge_tunnel_proto::identity::{Alpn, Bundle, Live, Trust, TrustDomain, session_client};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, SignatureAlgorithm,
};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::server::Server;

/// A day.
pub const DAY: Duration = Duration::from_secs(86_400);

/// What a certificate is to say. By default it lives from yesterday to tomorrow.
#[derive(Clone, Debug)]
pub struct Order {
    /// The URIs among its names.
    pub uris: Vec<String>,
    /// The subject's serial number: a node's registration.
    pub serial: Option<String>,
    /// The subject's description: a client's grant.
    pub grant: Option<String>,
    /// What it may be used for.
    pub uses: Vec<ExtendedKeyUsagePurpose>,
    /// Whether it says that it is a CA.
    pub ca: bool,
    /// From when it is valid.
    pub not_before: SystemTime,
    /// Until when.
    pub not_after: SystemTime,
    /// The kind of its key.
    pub key: &'static SignatureAlgorithm,
}

impl Order {
    /// For `uri`, to be used in a client's part of handshakes, at `now`.
    #[must_use]
    pub fn of(uri: &str, now: SystemTime) -> Self {
        Self {
            uris: vec![uri.to_owned()],
            serial: None,
            grant: None,
            uses: vec![ExtendedKeyUsagePurpose::ClientAuth],
            ca: false,
            not_before: now - DAY,
            not_after: now + DAY,
            key: &rcgen::PKCS_ECDSA_P256_SHA256,
        }
    }

    /// As an agent's: of this node and registration.
    #[must_use]
    pub fn node(node: &str, registration: &impl ToString, now: SystemTime) -> Self {
        Self {
            serial: Some(registration.to_string()),
            ..Self::of(&format!("spiffe://edge-tunnel/node/{node}"), now)
        }
    }

    /// As a server's.
    #[must_use]
    pub fn server(now: SystemTime) -> Self {
        Self {
            uses: vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ],
            ..Self::of("spiffe://edge-tunnel/server", now)
        }
    }

    /// As a client's, who may reach everything.
    #[must_use]
    pub fn client(name: &str, now: SystemTime) -> Self {
        Self {
            grant: Some("nodes=*;ports=all".to_owned()),
            ..Self::of(&format!("spiffe://edge-tunnel/client/{name}"), now)
        }
    }

    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let attributes = [(5, &self.serial), (13, &self.grant)];
        for (number, text) in attributes {
            if let Some(text) = text {
                let kind = DnType::CustomDnType(vec![2, 5, 4, number]);
                params.distinguished_name.push(kind, text.as_str());
            }
        }
        let uri = |uri: &String| {
            let uri = uri.as_str().try_into().expect("tests order names in ASCII");
            SanType::URI(uri)
        };
        params.subject_alt_names = self.uris.iter().map(uri).collect();
        params.extended_key_usages.clone_from(&self.uses);
        if self.ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![
                KeyUsagePurpose::KeyCertSign,
                KeyUsagePurpose::DigitalSignature,
            ];
        }
        params.not_before = self.not_before.into();
        params.not_after = self.not_after.into();
        params
    }
}

/// A certificate with its key.
#[derive(Debug)]
pub struct Forged {
    /// Leaf first, without the CA.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: KeyPair,
    params: CertificateParams,
}

impl Forged {
    /// What a handshake shows.
    ///
    /// # Panics
    /// When the key is of no kind that TLS knows.
    #[must_use]
    pub fn shown(&self) -> Arc<CertifiedKey> {
        let private = PrivateKeyDer::Pkcs8(self.key.serialize_der().into());
        let provider = edge_tunnel_proto::identity::provider();
        let key = provider.key_provider.load_private_key(private);
        let key = key.expect("tests order keys that TLS knows");
        Arc::new(CertifiedKey::new(self.chain.clone(), key))
    }

    /// Signs another one with this one's key, whether it may or not.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn signs(&self, order: &Order) -> Self {
        let key = KeyPair::generate_for(order.key).expect("a key can be made");
        let own = KeyPair::from_pem(&self.key.serialize_pem()).expect("a key of tests is one");
        let issuer = Issuer::new(self.params.clone(), own);
        let params = order.params();
        let signed = params.signed_by(&key, &issuer);
        let leaf = signed.expect("a certificate can be made").der().clone();
        let mut chain = vec![leaf];
        chain.extend(self.chain.iter().cloned());
        Self { chain, key, params }
    }
}

/// A CA.
#[derive(Debug)]
pub struct Forge {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Forge {
    /// The CA that signs for `server`, out of its state folder.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn of(server: &Server) -> Self {
        let text = std::fs::read(server.state_dir().join("ca")).expect("a server keeps its CA");
        let json: serde_json::Value = serde_json::from_slice(&text).expect("it keeps it as JSON");
        let current = &json["value"]["state"]["current"];
        let pem = |name: &str| current[name].as_str().expect("a text in PEM").to_owned();
        let certificate = CertificateDer::from_pem_slice(pem("certificate").as_bytes());
        let certificate = certificate.expect("a certificate in PEM");
        let key = KeyPair::from_pem(&pem("key")).expect("a key in PEM");
        let issuer = Issuer::from_ca_cert_der(&certificate, key).expect("a CA's certificate");
        Self {
            certificate,
            issuer,
        }
    }

    /// A CA that nobody believes.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn foreign() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "nobody");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key can be made");
        let own = params.self_signed(&key).expect("a CA can be made");
        Self {
            certificate: own.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    /// Makes a certificate.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn makes(&self, order: &Order) -> Forged {
        let key = KeyPair::generate_for(order.key).expect("a key can be made");
        let params = order.params();
        let signed = params.signed_by(&key, &self.issuer);
        let leaf = signed.expect("a certificate can be made").der().clone();
        Forged {
            chain: vec![leaf],
            key,
            params,
        }
    }

    /// The settings of one who dials the agents' port, shows `key`, and believes servers of this CA.
    ///
    /// # Panics
    /// Never: a CA makes a bundle.
    #[must_use]
    pub fn dials(&self, key: Option<Arc<CertifiedKey>>, alpn: Option<Alpn>) -> ClientConfig {
        let bundle = Bundle::new([self.certificate.clone()]).expect("a CA makes a bundle");
        let trust = Trust {
            bundle: Live::new(bundle),
            trust_domain: TrustDomain::default(),
            clock: Clock::system(),
        };
        let mut config = session_client(&trust, &Live::new(key));
        config.alpn_protocols = alpn.iter().map(|alpn| alpn.as_bytes().to_vec()).collect();
        config
    }
}

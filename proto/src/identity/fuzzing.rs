//! The decoders of names, tokens and certificates.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::CertificateDer;

use super::{
    Bundle, Certificate, ClientName, Identity, Pin, Secret, Token, TokenId, TrustDomain,
    check_client, rfc3339,
};
use crate::clock::Clock;
use crate::id::RegistrationId;
use crate::testing::{Decoder, round_trip, said};

pub(crate) const TOKEN: Decoder = Decoder {
    name: "join-token",
    check: token,
    samples: || (0..3).map(|_| a_token().expose().into_bytes()).collect(),
};

pub(crate) const TOKEN_ID: Decoder = Decoder {
    name: "token-id",
    check: |bytes| {
        round_trip::<TokenId>(bytes);
    },
    samples: || vec![TokenId::random().to_string().into_bytes()],
};

pub(crate) const PIN: Decoder = Decoder {
    name: "pin",
    check: |bytes| {
        round_trip::<Pin>(bytes);
    },
    samples: || vec![Pin::of_key(b"key").to_string().into_bytes()],
};

pub(crate) const TRUST_DOMAIN: Decoder = Decoder {
    name: "trust-domain",
    check: |bytes| {
        round_trip::<TrustDomain>(bytes);
    },
    samples: || ["edge-tunnel", "shop.example"].map(Vec::from).into(),
};

pub(crate) const CLIENT_NAME: Decoder = Decoder {
    name: "client-name",
    check: |bytes| {
        round_trip::<ClientName>(bytes);
    },
    samples: || ["prometheus", "Alice_2.x"].map(Vec::from).into(),
};

pub(crate) const URI: Decoder = Decoder {
    name: "spiffe-uri",
    check: uri,
    samples: || {
        let uri = |identity: &Identity| identity.uri(&TrustDomain::default()).into_bytes();
        identities().iter().map(uri).collect()
    },
};

pub(crate) const CERTIFICATE: Decoder = Decoder {
    name: "certificate",
    check: certificate,
    samples: || identities().iter().map(leaf).collect(),
};

pub(crate) const BUNDLE: Decoder = Decoder {
    name: "bundle",
    check: bundle,
    samples: || {
        let two = [authority("one"), authority("two")].map(CertificateDer::from);
        vec![
            super::certificates_to_pem(&two[..1]).into_bytes(),
            super::certificates_to_pem(&two).into_bytes(),
        ]
    },
};

pub(crate) const AUTHORITY: Decoder = Decoder {
    name: "authority",
    check: |bytes| survives(Bundle::new([CertificateDer::from(bytes.to_vec())])),
    samples: || vec![authority("one")],
};

fn a_token() -> Token {
    Token {
        id: TokenId::random(),
        secret: Secret::random(),
        pin: Pin::of_key(b"key"),
    }
}

fn token(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match text.parse::<Token>() {
        Ok(token) => assert_eq!(token.expose(), text.trim(), "a token has one form"),
        Err(error) => said(&error),
    }
}

fn uri(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let domain = TrustDomain::default();
    if let Some(identity) = Identity::from_uri(&text, Some(RegistrationId(1)), &domain) {
        assert_eq!(identity.uri(&domain), text, "an identity has one form");
    }
}

fn certificate(bytes: &[u8]) {
    let domain = TrustDomain::default();
    let der = CertificateDer::from(bytes);
    match Certificate::read(&der, &domain) {
        Ok(read) => {
            let identity = &read.identity;
            let registration = match identity {
                Identity::Node { registration, .. } => Some(*registration),
                _ => None,
            };
            assert_eq!(
                Identity::from_uri(&identity.uri(&domain), registration, &domain).as_ref(),
                Some(identity)
            );
            for time in [read.not_before, read.not_after, read.issued()] {
                assert!(!rfc3339(time).is_empty());
            }
            // A stranger's certificate is none of ours, whatever it says.
            if read.not_before <= noon() {
                let stranger = check_client(&[der], stranger(), &domain, &Clock::fixed(noon()));
                said(&stranger.expect_err("another CA signed it"));
            }
        }
        Err(error) => said(&error),
    }
}

/// A bundle whose CA has signed none of the samples.
fn stranger() -> &'static Bundle {
    static STRANGER: std::sync::LazyLock<Bundle> = std::sync::LazyLock::new(|| {
        Bundle::new([authority("stranger").into()]).expect("an authority is one")
    });
    &STRANGER
}

fn bundle(bytes: &[u8]) {
    survives(Bundle::from_pem(bytes));
}

fn survives(bundle: Result<Bundle, super::BundleError>) {
    match bundle {
        Ok(bundle) => {
            let count = bundle.certificates().len();
            assert_eq!(bundle.authorities().len(), count);
            assert!((1..=16).contains(&count));
            let again = Bundle::from_pem(bundle.to_pem().as_bytes());
            assert!(again.is_ok_and(|again| again == bundle));
        }
        Err(error) => said(&error),
    }
}

fn identities() -> [Identity; 3] {
    let name = "edge-1.north".parse().expect("a node's name");
    [
        Identity::Node {
            name,
            registration: RegistrationId(7),
        },
        Identity::Server,
        Identity::Client {
            name: "prometheus".parse().expect("a client's name"),
        },
    ]
}

fn noon() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key can be made")
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn authority(name: &str) -> Vec<u8> {
    let signed = authority_params(name).self_signed(&key());
    signed.expect("a certificate can be made").der().to_vec()
}

fn leaf(identity: &Identity) -> Vec<u8> {
    let mut params = CertificateParams::default();
    if let Identity::Node { registration, .. } = identity {
        let serial = DnType::CustomDnType(vec![2, 5, 4, 5]);
        params
            .distinguished_name
            .push(serial, registration.to_string());
    } else {
        let grant = DnType::CustomDnType(vec![2, 5, 4, 13]);
        params
            .distinguished_name
            .push(grant, "nodes=edge-*;ports=9100");
    }
    let uri = identity.uri(&TrustDomain::default());
    params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("ASCII"))];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = (noon() - Duration::from_secs(86_400)).into();
    params.not_after = (noon() + Duration::from_secs(86_400)).into();
    let issuer = Issuer::new(authority_params("one"), key());
    let signed = params.signed_by(&key(), &issuer);
    signed.expect("a certificate can be made").der().to_vec()
}

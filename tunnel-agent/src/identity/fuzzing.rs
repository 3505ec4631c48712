//! The state folder's files, and the server's answer to an enrolment.

use std::sync::LazyLock;

use bytes::BytesMut;
use edge_tunnel_proto::codec::{HEADER, Kind, message, put_message};
use edge_tunnel_proto::id::RegistrationId;
use edge_tunnel_proto::identity::{Bundle, Identity, TrustDomain, certificates_to_pem};
use edge_tunnel_proto::message::enroll::{EnrollResponse, Issued, Outcome};
use edge_tunnel_proto::testing::{Decoder, said};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType,
};
use rustls::pki_types::CertificateDer;

use super::state::{held, read_chain, read_key};

pub(crate) const KEY: Decoder = Decoder {
    name: "state-key",
    check: |bytes| match read_key(bytes) {
        Ok(key) => {
            let again = read_key(key.serialize_pem().as_bytes());
            let again = again.map(|again| again.serialize_der());
            assert_eq!(again, Ok(key.serialize_der()));
        }
        Err(error) => said(&error),
    },
    samples: || vec![OURS.key.serialize_pem().into_bytes()],
};

pub(crate) const CERTIFICATE: Decoder = Decoder {
    name: "state-certificate",
    check: |bytes| match read_chain(bytes) {
        Ok(chain) => holds(chain),
        Err(error) => said(&error),
    },
    samples: || vec![certificates_to_pem(&OURS.chain).into_bytes()],
};

pub(crate) const ISSUED: Decoder = Decoder {
    name: "issued",
    check: |bytes| {
        let answer = message::<EnrollResponse>(Kind::Enrolled, bytes);
        if let Ok(Some(Outcome::Issued(issued))) = answer.map(|answer| answer.outcome) {
            match Bundle::new(issued.bundle.into_iter().map(CertificateDer::from)) {
                Ok(bundle) => assert!(!bundle.certificates().is_empty()),
                Err(error) => said(&error),
            }
            holds(issued.chain.into_iter().map(CertificateDer::from).collect());
        }
    },
    samples: || {
        let der = |chain: &[CertificateDer<'_>]| chain.iter().map(|der| der.to_vec()).collect();
        let issued = Issued {
            chain: der(&OURS.chain),
            bundle: der(&OURS.chain[1..]),
        };
        let answer = EnrollResponse {
            outcome: Some(Outcome::Issued(issued)),
        };
        let mut frame = BytesMut::new();
        put_message(&mut frame, Kind::Enrolled, &answer);
        vec![frame[HEADER..].to_vec()]
    },
};

fn holds(chain: Vec<CertificateDer<'static>>) {
    match held(chain, &OURS.key, &TrustDomain::default()) {
        Ok((held, _)) => assert!(held.renew_at >= held.issued),
        Err(error) => said(&error),
    }
}

/// A node's key, and a chain for it with its CA.
struct Ours {
    key: KeyPair,
    chain: Vec<CertificateDer<'static>>,
}

static OURS: LazyLock<Ours> = LazyLock::new(|| {
    let key = || KeyPair::generate().expect("a key can be made");
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = key();
    let signed = authority.self_signed(&authority_key);
    let root = signed.expect("a certificate can be made").der().clone();

    let registration = RegistrationId(7);
    let identity = Identity::Node {
        name: "edge-1".parse().expect("a node's name"),
        registration,
    };
    let uri = identity.uri(&TrustDomain::default());
    let mut params = CertificateParams::default();
    let serial = DnType::CustomDnType(vec![2, 5, 4, 5]);
    params
        .distinguished_name
        .push(serial, registration.to_string());
    params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("ASCII"))];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let own = key();
    let signed = params.signed_by(&own, &Issuer::new(authority, authority_key));
    let leaf = signed.expect("a certificate can be made").der().clone();
    Ours {
        key: own,
        chain: vec![leaf, root],
    }
});

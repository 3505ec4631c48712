//! The certificate request of an agent: proves that the sender holds the key. The names in it are the sender's wishes
//! and are not read.

use edge_tunnel_proto::identity::Pin;
use edge_tunnel_proto::message::enroll::CSR_MAX;
use rcgen::{
    CertificateSigningRequestParams, PKCS_ECDSA_P256_SHA256, PublicKeyData, SubjectPublicKeyInfo,
};
use rustls::pki_types::CertificateSigningRequestDer;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;

/// Why a request is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CsrError {
    /// More than any honest request.
    #[error("the certificate request has {0} bytes, at most {CSR_MAX} are taken")]
    TooLarge(usize),
    /// Not PKCS #10, or its signature is wrong.
    #[error("the certificate request is not valid PKCS #10, signed by its own key: {0}")]
    Invalid(String),
    /// Another kind of key.
    #[error(
        "the certificate request is for another key than ECDSA P-256: remove key.pem from the agent's state folder and restart \
         the agent, which makes one"
    )]
    Algorithm,
}

/// A public key whose holder has signed the request.
pub(super) struct Requester {
    pub(super) key: SubjectPublicKeyInfo,
    pub(super) pin: Pin,
}

/// Reads a request in DER.
pub(super) fn read(der: &[u8]) -> Result<Requester, CsrError> {
    if der.len() > CSR_MAX {
        return Err(CsrError::TooLarge(der.len()));
    }
    // The signature first; this reader guesses the key's kind from it, so the key itself is read by the next.
    CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(der))
        .map_err(|error| CsrError::Invalid(error.to_string()))?;
    let (rest, request) = X509CertificationRequest::from_der(der)
        .map_err(|error| CsrError::Invalid(error.to_string()))?;
    if !rest.is_empty() {
        return Err(CsrError::Invalid("bytes follow its end".to_owned()));
    }
    let spki = request.certification_request_info.subject_pki.raw;
    match SubjectPublicKeyInfo::from_der(spki) {
        Ok(key) if key.algorithm() == &PKCS_ECDSA_P256_SHA256 => Ok(Requester {
            key,
            pin: Pin::of_key(spki),
        }),
        _ => Err(CsrError::Algorithm),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

    use super::*;

    fn request(key: &KeyPair) -> Vec<u8> {
        CertificateParams::default()
            .serialize_request(key)
            .unwrap()
            .der()
            .to_vec()
    }

    #[test]
    fn only_whole_requests_of_p256_keys() {
        let key = KeyPair::generate().unwrap();
        let der = request(&key);
        assert_eq!(
            read(&der).ok().unwrap().pin,
            Pin::of_key(&key.subject_public_key_info())
        );
        for algorithm in [&PKCS_ED25519, &PKCS_ECDSA_P384_SHA384] {
            let other = request(&KeyPair::generate_for(algorithm).unwrap());
            assert_eq!(read(&other).err(), Some(CsrError::Algorithm));
        }
        let mut forged = der.clone();
        let last = forged.len() - 1;
        forged[last] ^= 1;
        assert!(matches!(read(&forged).err(), Some(CsrError::Invalid(_))));
        assert!(matches!(
            read(&der[..last]).err(),
            Some(CsrError::Invalid(_))
        ));
        assert!(matches!(read(b"").err(), Some(CsrError::Invalid(_))));
        let longer = [&der[..], b"x"].concat();
        assert!(matches!(read(&longer).err(), Some(CsrError::Invalid(_))));
        assert_eq!(
            read(&vec![0; CSR_MAX + 1]).err(),
            Some(CsrError::TooLarge(CSR_MAX + 1))
        );
    }
}

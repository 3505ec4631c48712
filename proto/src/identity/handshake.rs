//! The verifiers that rustls calls in a handshake: they carry the rules of [`super::verify`] into TLS.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme,
};

use super::bundle::{Bundle, Pin};
use super::live::Live;
use super::name::TrustDomain;
use super::tls::{Trust, provider};
use super::verify::{VerifyError, check_pinned_server, check_server};
use crate::clock::Clock;

/// What a dialler believes.
#[derive(Debug)]
enum Believed {
    /// Any CA of the bundle, as it is at the time of the handshake.
    Bundle(Live<Bundle>),
    /// The one CA with this pin, which the server must show in its chain.
    Pinned(Pin),
}

/// Believes servers of the trust domain.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    believed: Believed,
    trust_domain: TrustDomain,
    clock: Clock,
    provider: Arc<CryptoProvider>,
}

impl ServerVerifier {
    /// Believes servers whose chain leads to the live bundle: a reloaded bundle applies from the next handshake on.
    #[must_use]
    pub(super) fn new(trust: &Trust) -> Self {
        Self::of(
            Believed::Bundle(trust.bundle.clone()),
            &trust.trust_domain,
            &trust.clock,
        )
    }

    /// Believes servers whose chain holds a CA with this pin, for an agent that has no bundle yet.
    #[must_use]
    pub(super) fn pinned(pin: Pin, trust_domain: &TrustDomain, clock: &Clock) -> Self {
        Self::of(Believed::Pinned(pin), trust_domain, clock)
    }

    fn of(believed: Believed, trust_domain: &TrustDomain, clock: &Clock) -> Self {
        Self {
            believed,
            trust_domain: trust_domain.clone(),
            clock: clock.clone(),
            provider: provider(),
        }
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _dialled: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = whole(end_entity, intermediates);
        match &self.believed {
            Believed::Bundle(bundle) => {
                check_server(&chain, &bundle.get(), &self.trust_domain, &self.clock)
            }
            Believed::Pinned(pin) => {
                check_pinned_server(&chain, *pin, &self.trust_domain, &self.clock)
            }
        }
        .map_err(as_rustls)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Takes whatever certificate a client shows, and asks only that it holds the key. Whether it may come in is for the one
/// judgement after the handshake, which a resumed handshake needs anyway, and which can say why: an alert has no words,
/// and over TLS 1.3 the client takes the handshake for done before the alert comes (RFC 8446, section 4.4.2).
#[derive(Debug)]
pub(super) struct AnyClient {
    mandatory: bool,
    provider: Arc<CryptoProvider>,
}

impl AnyClient {
    /// Takes handshakes without a certificate too; where enrolment is offered.
    #[must_use]
    pub(super) fn or_nobody() -> Self {
        Self {
            mandatory: false,
            provider: provider(),
        }
    }

    /// Refuses handshakes without a certificate.
    #[must_use]
    pub(super) fn mandatory() -> Self {
        Self {
            mandatory: true,
            provider: provider(),
        }
    }
}

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // No hints: the bundle changes under us, and callers have one certificate to show anyway.
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn whole(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
) -> Vec<CertificateDer<'static>> {
    std::iter::once(leaf)
        .chain(intermediates)
        .map(|certificate| certificate.clone().into_owned())
        .collect()
}

/// As `InvalidCertificate`, so that the peer is sent the alert of a bad certificate rather than a vague one.
fn as_rustls(error: VerifyError) -> rustls::Error {
    rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Said(error)))))
}

/// rustls prints an `InvalidCertificate` by `Debug`, and transports pass that text on: so `Debug` says the sentence.
struct Said(VerifyError);

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for Said {}

/// Never reached: the settings in [`super::tls`] offer TLS 1.3 alone.
fn only_tls13() -> rustls::Error {
    rustls::Error::General("TLS 1.2 is not spoken here".to_owned())
}

//! The trust bundle: the CAs that are believed at this moment, usually one, two while `ca rotate` is under way. And the
//! pin of a CA: what a join token carries so that an agent knows the server before it holds a bundle.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, TrustAnchor};
use sha2::{Digest as _, Sha256};

use super::certificate::{ReadError, instant, parse};
use crate::id::excerpt;

/// The largest bundle, as PEM, in bytes. It travels in one message of at most 64 KiB.
pub const BUNDLE_MAX: usize = 32 * 1024;

/// The most CAs in a bundle: two phases of a rotation need two, an operator's own scheme perhaps a few more.
const AUTHORITIES_MAX: usize = 16;

/// Why something is no pin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is no CA pin: 43 characters of URL-safe base64 are expected, as `edge-tunnel-server ca show` prints them"
)]
pub struct PinError;

/// SHA-256 of a public key (its DER `SubjectPublicKeyInfo`): names a CA, or any key, whatever certificate carries it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pin([u8; 32]);

impl Pin {
    /// The pin of a public key, from its DER `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn of_key(spki: &[u8]) -> Self {
        Self(Sha256::digest(spki).into())
    }

    /// The pin of the key in a certificate.
    pub fn of_certificate(der: &CertificateDer<'_>) -> Result<Self, ReadError> {
        Ok(Self::of_key(parse(der)?.public_key().raw))
    }
}

impl FromStr for Pin {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, PinError> {
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_not_base64| PinError)?;
        bytes.try_into().map(Self).map_err(|_wrong_length| PinError)
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why something is no bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Nothing in it: everything would be refused.
    #[error(
        "the trust bundle holds no certificate; at least one `BEGIN CERTIFICATE` block is expected"
    )]
    Empty,
    /// Larger than any honest bundle.
    #[error(
        "the trust bundle is too large: at most {BUNDLE_MAX} bytes and {AUTHORITIES_MAX} certificates are taken"
    )]
    TooLarge,
    /// Not PEM.
    #[error("the trust bundle is no PEM text: {0}")]
    Pem(String),
    /// A certificate in it is unusable.
    #[error("certificate {index} of the trust bundle cannot be used as a CA: {reason}")]
    Authority {
        /// Counted from 1.
        index: usize,
        /// Why.
        reason: String,
    },
}

/// One CA of a bundle, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// The CA's name.
    pub subject: String,
    /// The pin of its key.
    pub pin: Pin,
    /// Until when its certificate is valid.
    pub not_after: SystemTime,
}

/// The CAs that are believed: never none, never too many, each of them usable.
#[derive(Clone, PartialEq, Eq)]
pub struct Bundle {
    certificates: Vec<CertificateDer<'static>>,
    anchors: Vec<TrustAnchor<'static>>,
    authorities: Vec<Authority>,
}

impl Bundle {
    /// A bundle of these CA certificates, in this order. One that stands there twice counts once.
    pub fn new(
        certificates: impl IntoIterator<Item = CertificateDer<'static>>,
    ) -> Result<Self, BundleError> {
        let mut bundle = Self {
            certificates: Vec::new(),
            anchors: Vec::new(),
            authorities: Vec::new(),
        };
        let mut size = 0;
        for (index, certificate) in certificates.into_iter().enumerate() {
            size += certificate.len();
            // PEM is a third larger than DER.
            if index >= AUTHORITIES_MAX || size > BUNDLE_MAX / 4 * 3 {
                return Err(BundleError::TooLarge);
            }
            if !bundle.certificates.contains(&certificate) {
                bundle
                    .push(certificate)
                    .map_err(|reason| BundleError::Authority {
                        index: index + 1,
                        reason,
                    })?;
            }
        }
        if bundle.certificates.is_empty() {
            Err(BundleError::Empty)
        } else {
            Ok(bundle)
        }
    }

    fn push(&mut self, certificate: CertificateDer<'static>) -> Result<(), String> {
        let parsed = parse(&certificate).map_err(|error| error.to_string())?;
        if !parsed.is_ca() {
            return Err("it is not marked as a CA (basicConstraints)".to_owned());
        }
        let authority = Authority {
            // It goes into logs and onto terminals, and its certificate may be anybody's.
            subject: excerpt(&parsed.subject().to_string()).replace(|c: char| c.is_control(), " "),
            pin: Pin::of_key(parsed.public_key().raw),
            not_after: instant(parsed.validity().not_after),
        };
        let anchor = webpki::anchor_from_trusted_cert(&certificate)
            .map_err(|error| error.to_string())?
            .to_owned();
        self.anchors.push(anchor);
        self.authorities.push(authority);
        self.certificates.push(certificate);
        Ok(())
    }

    /// Reads PEM text of at most [`BUNDLE_MAX`] bytes; blocks other than certificates are skipped.
    pub fn from_pem(pem: &[u8]) -> Result<Self, BundleError> {
        if pem.len() > BUNDLE_MAX {
            return Err(BundleError::TooLarge);
        }
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        Self::new(certificates.map_err(|error| BundleError::Pem(excerpt(&error.to_string())))?)
    }

    /// The bundle as PEM text.
    #[must_use]
    pub fn to_pem(&self) -> String {
        certificates_to_pem(&self.certificates)
    }

    /// The CA certificates.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// The CAs as people want to see them.
    #[must_use]
    pub fn authorities(&self) -> &[Authority] {
        &self.authorities
    }

    /// The pins of the CAs, in the bundle's order.
    pub fn pins(&self) -> impl Iterator<Item = Pin> {
        self.authorities.iter().map(|authority| authority.pin)
    }

    pub(super) fn anchors(&self) -> &[TrustAnchor<'static>] {
        &self.anchors
    }
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.authorities).finish()
    }
}

/// Certificates as PEM text (RFC 7468), in this order.
#[must_use]
pub fn certificates_to_pem(certificates: &[CertificateDer<'_>]) -> String {
    const LINE: usize = 64;
    let mut pem = String::new();
    for certificate in certificates {
        let mut rest = STANDARD.encode(certificate);
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        while !rest.is_empty() {
            let tail = rest.split_off(rest.len().min(LINE));
            pem.push_str(&rest);
            pem.push('\n');
            rest = tail;
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    pem
}

//! What a certificate says: who its holder is, from when, until when, with which key. Reading believes nothing; whether
//! the certificate is to be believed is decided in [`super::verify`].
//!
//! Where things stand in a certificate of ours (RFC 5280):
//! - the identity: the one URI in the subject alternative name; addresses and DNS names beside it mean nothing here,
//! - a node's registration: the subject's `serialNumber` (2.5.4.5), 32 hexadecimal digits,
//! - a client's grant: the subject's `description` (2.5.4.13), up to 1024 characters; the server gives it its form.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::asn1_rs::Oid;
use x509_parser::der_parser::oid;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;

use super::bundle::Pin;
use super::name::{Identity, TrustDomain};
use crate::id::{RegistrationId, excerpt};

/// How long before its issue a certificate is valid already, so that a node whose clock is a little behind can use it.
pub const BACKDATE: Duration = Duration::from_secs(60 * 60);

/// The tag number of a URI among general names (RFC 5280, section 4.2.1.6).
const URI_TAG: u32 = 6;

/// Why a certificate cannot be read, or names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Not X.509.
    #[error("the certificate is no X.509 certificate: {0}")]
    Malformed(String),
    /// None, or several URIs.
    #[error(
        "the certificate names {0} identities where exactly one is expected; it is not one that edge-tunnel issued"
    )]
    Uris(usize),
    /// A URI that means nothing here.
    #[error(
        "the certificate's identity {uri:?} is none of the trust domain {trust_domain:?}; it is of another \
         installation, or --trust-domain differs between the two ends"
    )]
    Foreign {
        /// What it says, shortened.
        uri: String,
        /// What is expected here.
        trust_domain: String,
    },
}

/// What one certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Who its holder is.
    pub identity: Identity,
    /// What a client's certificate was issued for, in the server's own form.
    pub grant: Option<String>,
    /// From when it is valid.
    pub not_before: SystemTime,
    /// Until when it is valid.
    pub not_after: SystemTime,
    /// The holder's public key.
    pub key: Pin,
}

impl Certificate {
    /// Reads a certificate of `trust_domain`.
    pub fn read(der: &CertificateDer<'_>, trust_domain: &TrustDomain) -> Result<Self, ReadError> {
        let parsed = parse(der)?;
        let uri = only_uri(&parsed)?;
        let registration =
            attribute(&parsed, &oid!(2.5.4.5)).and_then(|hex| hex.parse::<RegistrationId>().ok());
        let identity = Identity::from_uri(uri, registration, trust_domain).ok_or_else(|| {
            ReadError::Foreign {
                uri: excerpt(uri),
                trust_domain: trust_domain.to_string(),
            }
        })?;
        Ok(Self {
            identity,
            grant: attribute(&parsed, &oid!(2.5.4.13)).map(str::to_owned),
            not_before: instant(parsed.validity().not_before),
            not_after: instant(parsed.validity().not_after),
            key: Pin::of_key(parsed.public_key().raw),
        })
    }

    /// When it was issued.
    #[must_use]
    pub fn issued(&self) -> SystemTime {
        self.not_before + BACKDATE
    }
}

pub(super) fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, ReadError> {
    match X509Certificate::from_der(der) {
        Ok(([], parsed)) => Ok(parsed),
        Ok(_) => Err(ReadError::Malformed("bytes follow its end".to_owned())),
        Err(error) => Err(ReadError::Malformed(error.to_string())),
    }
}

fn only_uri<'a>(parsed: &'a X509Certificate<'_>) -> Result<&'a str, ReadError> {
    let names = parsed
        .subject_alternative_name()
        .map_err(|error| ReadError::Malformed(error.to_string()))?;
    let Some(names) = names else {
        return Err(ReadError::Uris(0));
    };
    let mut only = None;
    let mut count = 0;
    for name in &names.value.general_names {
        match name {
            GeneralName::URI(uri) => {
                only = Some(*uri);
                count += 1;
            }
            // A second URI must not slip through by being unreadable.
            GeneralName::Invalid(tag, _) if tag.0 == URI_TAG => count += 1,
            _ => {}
        }
    }
    only.filter(|_| count == 1).ok_or(ReadError::Uris(count))
}

/// The subject's attribute of this kind, if it has exactly one that is text.
fn attribute<'a>(parsed: &'a X509Certificate<'_>, kind: &Oid<'static>) -> Option<&'a str> {
    let mut found = parsed
        .subject()
        .iter_attributes()
        .filter(|attribute| attribute.attr_type() == kind);
    let first = found.next()?;
    found
        .next()
        .is_none()
        .then(|| first.as_str().ok())
        .flatten()
}

/// A certificate's time; one before 1970 counts as 1970, which is as good as "always".
pub(super) fn instant(time: ASN1Time) -> SystemTime {
    let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A time as people read it in messages, `2026-03-01T12:00:00Z`.
#[must_use]
pub fn rfc3339(time: SystemTime) -> String {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("{seconds} seconds after 1970"))
}

/// How long, as people say it: "3 days", "26 h", "40 min".
#[must_use]
pub(super) fn span(time: Duration) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / MINUTE),
        7_200..172_800 => format!("{} h", seconds / HOUR),
        _ => format!("{} days", seconds / DAY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_said_in_the_unit_that_fits() {
        let table = [
            (0, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (7_199, "119 min"),
            (7_200, "2 h"),
            (172_799, "47 h"),
            (172_800, "2 days"),
            (86_400 * 365, "365 days"),
        ];
        for (seconds, words) in table {
            assert_eq!(span(Duration::from_secs(seconds)), words);
        }
    }
}

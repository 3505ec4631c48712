//! Which certificates are believed. The address or name that was dialled plays no part: a server is known by its
//! identity, so that a changed load balancer breaks nothing.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use super::bundle::{Bundle, Pin};
use super::certificate::{Certificate, ReadError, rfc3339};
use super::name::{Identity, TrustDomain};
use crate::clock::Clock;

/// What kind of holder a listener or a dialler expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// An agent.
    Node,
    /// A server, or another replica.
    Server,
    /// A caller of the mutual-TLS way in.
    Client,
}

impl Role {
    const fn matches(self, identity: &Identity) -> bool {
        matches!(
            (self, identity),
            (Self::Node, Identity::Node { .. })
                | (Self::Server, Identity::Server)
                | (Self::Client, Identity::Client { .. })
        )
    }

    /// Refuses the certificate of anyone else.
    pub fn expect(self, certificate: &Certificate) -> Result<(), VerifyError> {
        if self.matches(&certificate.identity) {
            return Ok(());
        }
        Err(VerifyError::Role {
            expected: self,
            found: certificate.identity.clone(),
        })
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Node => "a node's agent",
            Self::Server => "a server",
            Self::Client => "a client",
        })
    }
}

/// Why a certificate is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// None was shown.
    #[error("no certificate was shown where one is needed")]
    Missing,
    /// It belongs to someone else than is expected here.
    #[error("the certificate is that of {found}; here {expected} is expected")]
    Role {
        /// Who is expected.
        expected: Role,
        /// Who it is.
        found: Identity,
    },
    /// It leads to no CA that is believed.
    #[error(
        "the certificate leads to no CA that is trusted here ({reason}); trusted CA pins: {trusted}. Compare with \
         `edge-tunnel-server ca show`; after a change of the CA a node must enrol anew"
    )]
    Untrusted {
        /// What the check of the chain said.
        reason: String,
        /// The pins that would have been believed.
        trusted: String,
    },
    /// The server that answered does not hold the CA that the join token names.
    #[error(
        "the server shows no CA with the pin of the join token ({pin}); the token is of another installation, its CA \
         was rotated since, or someone answers in the server's place"
    )]
    NotPinned {
        /// The pin that was looked for.
        pin: Pin,
    },
    /// Its time has not come, by this machine's clock.
    #[error(
        "the certificate of {holder} is valid from {not_before} only, but this machine's clock says {now}: this clock \
         is behind, or the issuer's was ahead; set the clocks (NTP) and try again"
    )]
    NotYetValid {
        /// Whose certificate.
        holder: Identity,
        /// From when it is valid.
        not_before: String,
        /// What the clock here says.
        now: String,
    },
    /// Its time is over, by this machine's clock.
    #[error(
        "the certificate of {holder} was valid until {not_after}, and this machine's clock says {now}: this clock is \
         ahead, or the certificate was not renewed"
    )]
    Expired {
        /// Whose certificate.
        holder: Identity,
        /// Until when it was valid.
        not_after: String,
        /// What the clock here says.
        now: String,
    },
}

/// Checks a client's chain (leaf first) against `bundle`.
///
/// An expired leaf passes, judged as of its last second: who may still renew with it is for the server's
/// classification to say, which reads [`Certificate::not_after`]. One that is not valid yet does not pass.
pub fn check_client(
    chain: &[CertificateDer<'_>],
    bundle: &Bundle,
    trust_domain: &TrustDomain,
    clock: &Clock,
) -> Result<Certificate, VerifyError> {
    let (leaf, intermediates) = chain.split_first().ok_or(VerifyError::Missing)?;
    let certificate = Certificate::read(leaf, trust_domain)?;
    let now = clock.now();
    refuse_early(&certificate, now)?;
    let at = now.min(certificate.not_after);
    check_chain(
        leaf,
        intermediates,
        bundle.anchors(),
        at,
        KeyUsage::client_auth(),
    )
    .map_err(|reason| untrusted(&reason, bundle))?;
    Ok(certificate)
}

/// Checks a server's chain (leaf first) against `bundle`, by the clock: neither too early nor too late.
pub fn check_server(
    chain: &[CertificateDer<'_>],
    bundle: &Bundle,
    trust_domain: &TrustDomain,
    clock: &Clock,
) -> Result<Certificate, VerifyError> {
    let (leaf, intermediates) = chain.split_first().ok_or(VerifyError::Missing)?;
    let (certificate, now) = read_server(leaf, trust_domain, clock)?;
    check_chain(
        leaf,
        intermediates,
        bundle.anchors(),
        now,
        KeyUsage::server_auth(),
    )
    .map_err(|reason| untrusted(&reason, bundle))?;
    Ok(certificate)
}

/// Checks a server's chain (leaf first), which must hold a CA with this pin: for an agent that has no bundle yet.
pub(super) fn check_pinned_server(
    chain: &[CertificateDer<'_>],
    pin: Pin,
    trust_domain: &TrustDomain,
    clock: &Clock,
) -> Result<Certificate, VerifyError> {
    let (leaf, intermediates) = chain.split_first().ok_or(VerifyError::Missing)?;
    let (certificate, now) = read_server(leaf, trust_domain, clock)?;
    // The certificate around the pinned key may be anyone's making; only its key counts, and the leaf must be signed
    // with that.
    let anchors: Vec<_> = intermediates
        .iter()
        .filter(|certificate| Pin::of_certificate(certificate).is_ok_and(|found| found == pin))
        .filter_map(|certificate| webpki::anchor_from_trusted_cert(certificate).ok())
        .collect();
    if anchors.is_empty() {
        return Err(VerifyError::NotPinned { pin });
    }
    check_chain(leaf, intermediates, &anchors, now, KeyUsage::server_auth()).map_err(|reason| {
        VerifyError::Untrusted {
            reason: reason.to_string(),
            trusted: pin.to_string(),
        }
    })?;
    Ok(certificate)
}

fn read_server(
    leaf: &CertificateDer<'_>,
    trust_domain: &TrustDomain,
    clock: &Clock,
) -> Result<(Certificate, SystemTime), VerifyError> {
    let certificate = Certificate::read(leaf, trust_domain)?;
    Role::Server.expect(&certificate)?;
    let now = clock.now();
    refuse_early(&certificate, now)?;
    refuse_late(&certificate, now)?;
    Ok((certificate, now))
}

fn refuse_early(certificate: &Certificate, now: SystemTime) -> Result<(), VerifyError> {
    if now >= certificate.not_before {
        return Ok(());
    }
    Err(VerifyError::NotYetValid {
        holder: certificate.identity.clone(),
        not_before: rfc3339(certificate.not_before),
        now: rfc3339(now),
    })
}

fn refuse_late(certificate: &Certificate, now: SystemTime) -> Result<(), VerifyError> {
    if now <= certificate.not_after {
        return Ok(());
    }
    Err(VerifyError::Expired {
        holder: certificate.identity.clone(),
        not_after: rfc3339(certificate.not_after),
        now: rfc3339(now),
    })
}

fn untrusted(reason: &webpki::Error, bundle: &Bundle) -> VerifyError {
    let trusted: Vec<_> = bundle.pins().map(|pin| pin.to_string()).collect();
    VerifyError::Untrusted {
        reason: reason.to_string(),
        trusted: trusted.join(", "),
    }
}

fn check_chain(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    anchors: &[TrustAnchor<'_>],
    at: SystemTime,
    usage: KeyUsage,
) -> Result<(), webpki::Error> {
    let at = UnixTime::since_unix_epoch(at.duration_since(UNIX_EPOCH).unwrap_or_default());
    EndEntityCert::try_from(leaf)?
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            anchors,
            intermediates,
            at,
            usage,
            None,
            None,
        )
        .map(|_path| ())
}

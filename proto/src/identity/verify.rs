//! Which certificates are believed. The address or name that was dialled plays no part: a server is known by its
//! identity, so that a changed load balancer breaks nothing.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use super::bundle::{Bundle, Pin};
use super::certificate::{Certificate, ReadError, rfc3339, span};
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
    /// It leads to a CA that is believed, and is none of those that are issued for this.
    #[error(
        "the certificate was not issued for this use ({reason}); it is none that edge-tunnel makes, whoever signed it"
    )]
    Use {
        /// What the check of the chain said.
        reason: String,
    },
    /// An agent's or a client's time has not come, by the server's clock, which is also the one that such certificates
    /// are issued by.
    #[error(
        "the certificate of {holder} is valid from {} only, and the server's clock says {}, which is {} earlier: the server's \
         clock is behind, or was ahead when it issued the certificate. Set it (NTP); if it is right now, this certificate is \
         of no use before its time: have another issued",
        .apart.bound, .apart.clock, .apart.by
    )]
    ClientEarly {
        /// Whose certificate.
        holder: Identity,
        /// From when it is valid.
        apart: Box<Apart>,
    },
    /// A server's time has not come, by this node's clock.
    #[error(
        "the certificate of {holder} is valid from {} only, and this node's clock says {}, which is {} earlier: this node's \
         clock is behind by at least that, or the server's is ahead, and by years; set the wrong one (NTP)",
        .apart.bound, .apart.clock, .apart.by
    )]
    ServerEarly {
        /// Whose certificate.
        holder: Identity,
        /// From when it is valid.
        apart: Box<Apart>,
    },
    /// A server's time is over, by this node's clock. Servers make their certificates anew all the time.
    #[error(
        "the certificate of {holder} was valid until {}, and this node's clock says {}, which is {} later: this node's clock \
         is ahead by at least that, or the server's is behind; set the wrong one (NTP)",
        .apart.bound, .apart.clock, .apart.by
    )]
    ServerLate {
        /// Whose certificate.
        holder: Identity,
        /// Until when it was valid.
        apart: Box<Apart>,
    },
}

/// A time in a certificate, the clock that it is judged by, and how far the two are apart, as people read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Apart {
    /// The first or the last second of the certificate.
    pub bound: String,
    /// What the clock shows, and what the machine's own does where that is not believed.
    pub clock: String,
    /// How far they are apart.
    pub by: String,
}

impl Apart {
    /// Of a time and a clock.
    #[must_use]
    pub fn new(bound: SystemTime, clock: &Clock) -> Self {
        let now = clock.now();
        let by = now
            .duration_since(bound)
            .unwrap_or_else(|before| before.duration());
        Self {
            bound: rfc3339(bound),
            clock: shown(clock),
            by: span(by),
        }
    }
}

/// Checks a client's chain (leaf first) against `bundle`.
///
/// An expired leaf passes, judged as of its last second: who may still renew with it is for the server's
/// classification to say, which reads [`Certificate::not_after`]. One that is not valid yet does not pass. `clock` is the
/// server's.
pub fn check_client(
    chain: &[CertificateDer<'_>],
    bundle: &Bundle,
    trust_domain: &TrustDomain,
    clock: &Clock,
) -> Result<Certificate, VerifyError> {
    let (leaf, intermediates) = chain.split_first().ok_or(VerifyError::Missing)?;
    let certificate = Certificate::read(leaf, trust_domain)?;
    let now = clock.now();
    let at = now.clamp(
        certificate.not_before,
        certificate.not_after.max(certificate.not_before),
    );
    check_chain(
        leaf,
        intermediates,
        bundle.anchors(),
        at,
        KeyUsage::client_auth(),
    )
    .map_err(|reason| refused(&reason, bundle.pins()))?;
    // After the chain: whose clock is wrong matters only where the certificate is ours.
    if now < certificate.not_before {
        return Err(VerifyError::ClientEarly {
            holder: certificate.identity,
            apart: Box::new(Apart::new(certificate.not_before, clock)),
        });
    }
    Ok(certificate)
}

/// Checks a server's chain (leaf first) against `bundle`, by the clock of this node: neither too early nor too late.
pub fn check_server(
    chain: &[CertificateDer<'_>],
    bundle: &Bundle,
    trust_domain: &TrustDomain,
    clock: &Clock,
) -> Result<Certificate, VerifyError> {
    let (leaf, intermediates) = chain.split_first().ok_or(VerifyError::Missing)?;
    let certificate = read_server(leaf, trust_domain)?;
    check_server_chain(leaf, intermediates, bundle.anchors(), &certificate, clock)
        .map_err(|reason| refused(&reason, bundle.pins()))?;
    in_time(certificate, clock)
}

/// Checks a server's chain (leaf first), which must hold a CA with this pin: for an agent that has no bundle yet.
pub(super) fn check_pinned_server(
    chain: &[CertificateDer<'_>],
    pin: Pin,
    trust_domain: &TrustDomain,
    clock: &Clock,
) -> Result<Certificate, VerifyError> {
    let (leaf, intermediates) = chain.split_first().ok_or(VerifyError::Missing)?;
    let certificate = read_server(leaf, trust_domain)?;
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
    check_server_chain(leaf, intermediates, &anchors, &certificate, clock)
        .map_err(|reason| refused(&reason, std::iter::once(pin)))?;
    in_time(certificate, clock)
}

fn read_server(
    leaf: &CertificateDer<'_>,
    trust_domain: &TrustDomain,
) -> Result<Certificate, VerifyError> {
    let certificate = Certificate::read(leaf, trust_domain)?;
    Role::Server.expect(&certificate)?;
    Ok(certificate)
}

/// The chain of a server's certificate as of a time at which that one is valid.
fn check_server_chain(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    anchors: &[TrustAnchor<'_>],
    certificate: &Certificate,
    clock: &Clock,
) -> Result<(), webpki::Error> {
    let at = clock.now().clamp(
        certificate.not_before,
        certificate.not_after.max(certificate.not_before),
    );
    check_chain(leaf, intermediates, anchors, at, KeyUsage::server_auth())
}

/// Whether a server that is ours is in its time. Asked after the chain: whose clock is wrong matters only then.
fn in_time(certificate: Certificate, clock: &Clock) -> Result<Certificate, VerifyError> {
    let now = clock.now();
    if now < certificate.not_before {
        return Err(VerifyError::ServerEarly {
            holder: certificate.identity,
            apart: Box::new(Apart::new(certificate.not_before, clock)),
        });
    }
    if now > certificate.not_after {
        return Err(VerifyError::ServerLate {
            holder: certificate.identity,
            apart: Box::new(Apart::new(certificate.not_after, clock)),
        });
    }
    Ok(certificate)
}

/// What a clock says, and what the machine's own says where that is not believed.
fn shown(clock: &Clock) -> String {
    let (now, machine) = (clock.now(), clock.machine());
    if machine >= now {
        return rfc3339(now);
    }
    format!(
        "{} (the machine's own says {}, which is not believed: it is before this program was built, or this node's \
         certificate issued)",
        rfc3339(now),
        rfc3339(machine)
    )
}

fn refused(reason: &webpki::Error, pins: impl Iterator<Item = Pin>) -> VerifyError {
    match reason {
        webpki::Error::RequiredEkuNotFoundContext(_) | webpki::Error::CaUsedAsEndEntity => {
            VerifyError::Use {
                reason: reason.to_string(),
            }
        }
        _ => VerifyError::Untrusted {
            reason: reason.to_string(),
            trusted: pins
                .map(|pin| pin.to_string())
                .collect::<Vec<_>>()
                .join(", "),
        },
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

//! Who is at the other end. One function answers after every handshake, resumed or full, and is the only reader of
//! certificates: a handshake proves that the peer holds the key, not that it may come in.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use edge_tunnel_proto::code::Code;
use edge_tunnel_proto::id::{NodeName, RegistrationId};
use edge_tunnel_proto::identity::{
    Alpn, Apart, ClientName, Identity, Role, Trust, VerifyError, check_client, rfc3339,
};
use rustls::pki_types::CertificateDer;

use super::grant::{Grant, GrantError};
use super::registrations::{Registrations, Standing};

/// Who is at the other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// The agent of a node.
    Agent(Holder),
    /// Someone who wants a certificate, by evidence to come or by the one that it holds.
    Enrolling {
        /// The certificate that was shown: valid, or expired within the grace. It is good for a renewal only.
        holder: Option<Holder>,
    },
    /// Another replica.
    Peer,
    /// A caller of the mutual-TLS way in.
    Client {
        /// Its name.
        name: ClientName,
        /// What it may reach.
        grant: Arc<Grant>,
    },
}

/// The holder of a node's certificate whose registration is the current one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The node.
    pub node: NodeName,
    /// Its registration.
    pub registration: RegistrationId,
    /// When the certificate was issued, to the second.
    pub issued: SystemTime,
    /// Until when the certificate is valid.
    pub not_after: SystemTime,
}

/// Why a peer is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClassifyError {
    /// The certificate is not believed, or not meant for this.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// It is an expired one; on another protocol it could renew.
    #[error(
        "the certificate of {holder} was valid until {}, and the server's clock says {}, which is {} later; until {grace_ends} \
         it can be used to renew, which the agent does by itself, and for nothing else",
        .apart.bound, .apart.clock, .apart.by
    )]
    Expired {
        /// Whose.
        holder: Identity,
        /// Since when, by the server's clock.
        apart: Box<Apart>,
        /// Until when it may renew.
        grace_ends: String,
    },
    /// It is a client's, or another replica's, and expired.
    #[error(
        "the certificate of {holder} was valid until {}, and the server's clock says {}, which is {} later; issue a new one \
         with `edge-tunnel-server issue-client`, unless that clock is wrong",
        .apart.bound, .apart.clock, .apart.by
    )]
    ClientExpired {
        /// Whose.
        holder: Identity,
        /// Since when, by the server's clock.
        apart: Box<Apart>,
    },
    /// Expired for too long to renew.
    #[error(
        "the certificate of {holder} was valid until {}, and the server's clock says {}, which is {} later; that is too long \
         ago to renew (--renew-grace). Unless that clock is wrong, enrol the node anew: remove certificate.pem from its state \
         folder, and give it a token of `token create --node NAME --replace`",
        .apart.bound, .apart.clock, .apart.by
    )]
    GraceOver {
        /// Whose.
        holder: Identity,
        /// Since when, by the server's clock.
        apart: Box<Apart>,
    },
    /// The registration was revoked.
    #[error("node {0} was revoked; to let it in again, create a join token for it and enrol it")]
    Revoked(NodeName),
    /// The node was registered anew, by another machine or after a reinstall.
    #[error(
        "node {0} was registered anew since this certificate was issued; if both machines exist, give one of them \
         another name, else enrol this one with `token create --node {0} --replace`"
    )]
    Replaced(NodeName),
    /// This server never registered the node.
    #[error(
        "node {0} is not registered at this server, though its CA issued the certificate; if the server's state was \
         lost, enrol the node again"
    )]
    NotRegistered(NodeName),
    /// The cluster has to say, and has not been seen yet.
    #[error(
        "this server has just started and has not seen the Nodes of its cluster yet, so it cannot tell whether {0} is one; \
         the agent tries again"
    )]
    NotYetKnown(NodeName),
    /// A client's certificate without a grant that can be read.
    #[error("the certificate of client {name} does not say what it may reach: {error}")]
    Grant {
        /// Whose.
        name: ClientName,
        /// What is wrong with it.
        error: GrantError,
    },
}

impl ClassifyError {
    /// The reason as it is told to the peer.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Revoked(_) | Self::Replaced(_) | Self::NotRegistered(_) => Code::Revoked,
            Self::Expired { .. } => Code::Expired,
            Self::NotYetKnown(_) => Code::Overloaded,
            _ => Code::NotAllowed,
        }
    }
}

/// Says who showed `chain` (leaf first) on a connection of protocol `alpn`; `None` is the mutual-TLS way in, whose
/// callers speak no protocol of ours.
///
/// The chain is checked here and nowhere else, against the bundle of this moment: a handshake shows that the peer holds
/// the key, and a resumed one not even a chain of this moment.
pub(super) fn classify(
    alpn: Option<Alpn>,
    chain: &[CertificateDer<'_>],
    trust: &Trust,
    registrations: &Registrations,
    renew_grace: Duration,
) -> Result<Peer, ClassifyError> {
    if alpn == Some(Alpn::Enroll) && chain.is_empty() {
        return Ok(Peer::Enrolling { holder: None });
    }
    let certificate = check_client(
        chain,
        &trust.bundle.get(),
        &trust.trust_domain,
        &trust.clock,
    )?;
    let now = trust.clock.now();
    let apart = || Box::new(Apart::new(certificate.not_after, &trust.clock));
    match (alpn, &certificate.identity) {
        (Some(Alpn::Session | Alpn::Enroll), Identity::Node { name, registration }) => {
            let over = now
                .duration_since(certificate.not_after)
                .unwrap_or_default();
            if over > renew_grace {
                return Err(ClassifyError::GraceOver {
                    holder: certificate.identity.clone(),
                    apart: apart(),
                });
            }
            if !over.is_zero() && alpn == Some(Alpn::Session) {
                return Err(ClassifyError::Expired {
                    holder: certificate.identity.clone(),
                    apart: apart(),
                    grace_ends: rfc3339(certificate.not_after + renew_grace),
                });
            }
            current(registrations, name, *registration)?;
            let holder = Holder {
                node: name.clone(),
                registration: *registration,
                issued: certificate.issued(),
                not_after: certificate.not_after,
            };
            Ok(match alpn {
                Some(Alpn::Session) => Peer::Agent(holder),
                _ => Peer::Enrolling {
                    holder: Some(holder),
                },
            })
        }
        (Some(Alpn::Peer), Identity::Server) if now <= certificate.not_after => Ok(Peer::Peer),
        (None, Identity::Client { name }) if now <= certificate.not_after => {
            let grant = certificate.grant.as_deref().unwrap_or_default().parse();
            let grant = grant.map_err(|error| ClassifyError::Grant {
                name: name.clone(),
                error,
            })?;
            Ok(Peer::Client {
                name: name.clone(),
                grant: Arc::new(grant),
            })
        }
        (Some(Alpn::Peer), Identity::Server) | (None, Identity::Client { .. }) => {
            Err(ClassifyError::ClientExpired {
                holder: certificate.identity.clone(),
                apart: apart(),
            })
        }
        (alpn, _) => {
            let expected = match alpn {
                Some(Alpn::Session | Alpn::Enroll) => Role::Node,
                Some(Alpn::Peer) => Role::Server,
                None => Role::Client,
            };
            Err(VerifyError::Role {
                expected,
                found: certificate.identity,
            }
            .into())
        }
    }
}

/// Whether this registration is the node's current one.
pub(super) fn current(
    registrations: &Registrations,
    node: &NodeName,
    registration: RegistrationId,
) -> Result<(), ClassifyError> {
    match registrations.standing(node, registration) {
        Standing::Current => Ok(()),
        Standing::Revoked => Err(ClassifyError::Revoked(node.clone())),
        Standing::Replaced => Err(ClassifyError::Replaced(node.clone())),
        Standing::Unknown => Err(ClassifyError::NotRegistered(node.clone())),
        Standing::NotYetKnown => Err(ClassifyError::NotYetKnown(node.clone())),
    }
}

//! The certificate that this node holds, and what there is to do about it.

use std::time::SystemTime;

use edge_tunnel_proto::id::{NodeName, RegistrationId};
use edge_tunnel_proto::identity::{Certificate, renewal};
use rand::RngExt as _;

/// The certificate that this node holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Which node it makes this one.
    pub node: NodeName,
    /// The registration that it is bound to.
    pub registration: RegistrationId,
    /// When it was issued.
    pub issued: SystemTime,
    /// Until when it is valid.
    pub not_after: SystemTime,
    /// When it is to be renewed: after a third of its life and a little, so that not all nodes come at once.
    pub renew_at: SystemTime,
}

impl Held {
    pub(super) fn new(
        node: NodeName,
        registration: RegistrationId,
        certificate: &Certificate,
    ) -> Self {
        let issued = certificate.issued();
        let life = certificate
            .not_after
            .duration_since(issued)
            .unwrap_or_default();
        let jitter = renewal::spread(life).mul_f64(rand::rng().random());
        Self {
            node,
            registration,
            issued,
            not_after: certificate.not_after,
            renew_at: issued + renewal::begins(life) + jitter,
        }
    }
}

/// What there is to do about this node's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It has none: enrol with a join token.
    Unenrolled,
    /// It has expired, by this node's clock: it can be renewed on a connection for enrolment, and nothing else.
    Expired(Held),
    /// Sessions can be dialled; renew over one of them when `renew_at` has come.
    Ready(Held),
}

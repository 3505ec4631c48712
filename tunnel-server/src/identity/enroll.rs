//! Evidence in, a certificate out. The node's name and registration are the server's decision, never the request's.

use std::time::{Duration, SystemTime};

use edge_tunnel_proto::code::Code;
use edge_tunnel_proto::id::{NodeName, ParseError, RegistrationId};
use edge_tunnel_proto::identity::Secret;
use edge_tunnel_proto::message::capped;
use edge_tunnel_proto::message::enroll::{
    EnrollRequest, Evidence, Issued, JoinToken, Outcome, Refusal,
};

use super::ca::{Ca, CaError};
use super::classify::{ClassifyError, Holder, Peer, current};
use super::csr::{self, CsrError, Requester};
use super::registrations::Registrations;
use super::store::StoreError;
use super::tokens::{RedeemError, Tokens};

/// How much of the agent's version is logged, in bytes.
const VERSION_MAX: usize = 100;

/// When an agent may come back after a fault of the server's own.
const AFTER_FAULT: Duration = Duration::from_secs(30);

/// Why there is no certificate. The text goes to the agent's log, except where the fault is the server's.
#[derive(Debug, thiserror::Error)]
pub(super) enum EnrollError {
    #[error(
        "this server does not know the kind of evidence that the agent sent, or it sent none; is the agent newer?"
    )]
    Unsupported,
    #[error(transparent)]
    Csr(#[from] CsrError),
    #[error("the node's name in the request: {0}")]
    Name(#[from] ParseError),
    #[error(transparent)]
    Token(RedeemError),
    #[error("to renew, the agent must show its certificate in the handshake; it showed none")]
    NothingShown,
    #[error(transparent)]
    Standing(Box<ClassifyError>),
    #[error(transparent)]
    Store(StoreError),
    #[error(transparent)]
    Ca(#[from] CaError),
}

impl From<RedeemError> for EnrollError {
    fn from(error: RedeemError) -> Self {
        match error {
            RedeemError::Store(error) => Self::Store(error),
            error => Self::Token(error),
        }
    }
}

impl From<ClassifyError> for EnrollError {
    fn from(error: ClassifyError) -> Self {
        Self::Standing(Box::new(error))
    }
}

impl EnrollError {
    fn refusal(&self) -> Refusal {
        let code = match self {
            Self::Unsupported => Code::Unsupported,
            Self::Csr(_) | Self::Name(_) => Code::Protocol,
            Self::Token(_) | Self::NothingShown => Code::NotAllowed,
            Self::Standing(error) => error.code(),
            Self::Store(_) | Self::Ca(_) => {
                let words = "the server could not issue a certificate; its log says why";
                return Refusal::new(Code::Internal, words, Some(AFTER_FAULT));
            }
        };
        Refusal::new(code, self.to_string(), None)
    }
}

/// What enrolment needs of the house.
#[derive(Debug, Clone, Copy)]
pub(super) struct Desk<'a> {
    pub(super) ca: &'a Ca,
    pub(super) tokens: &'a Tokens,
    pub(super) registrations: &'a Registrations,
}

impl Desk<'_> {
    /// Answers an enrolment of a peer that was classified.
    pub(super) fn enroll(self, request: &EnrollRequest, peer: &Peer) -> Outcome {
        let result = match &request.evidence {
            Some(Evidence::JoinToken(token)) => self.join(request, token),
            Some(Evidence::Renew(_)) => match peer {
                Peer::Enrolling {
                    holder: Some(holder),
                } => self.extend(holder, &request.csr),
                _ => Err(EnrollError::NothingShown),
            },
            None => Err(EnrollError::Unsupported),
        };
        answer(result, capped(&request.version, VERSION_MAX))
    }

    /// Answers a renewal over the session of `holder`.
    pub(super) fn renew(self, csr: &[u8], holder: &Holder) -> Outcome {
        answer(self.extend(holder, csr), "")
    }

    fn join(self, request: &EnrollRequest, token: &JoinToken) -> Result<Granted, EnrollError> {
        let requester = csr::read(&request.csr)?;
        let name = |text: &str| match text {
            "" => Ok(None),
            name => name.parse::<NodeName>().map(Some),
        };
        let (wanted, host) = (name(&request.node)?, name(&request.host)?);
        // A token that is none is answered like one that is wrong.
        let (Ok(id), Some(secret)) = (token.id.parse(), Secret::from_bytes(&token.secret)) else {
            return Err(EnrollError::Token(RedeemError::Unknown));
        };
        let redeem = |wanted: Option<&NodeName>| {
            self.tokens
                .redeem(id, &secret, wanted, requester.pin, self.registrations)
        };
        let (node, registration) = match redeem(wanted.as_ref()) {
            Err(RedeemError::NameMissing { .. }) if host.is_some() => redeem(host.as_ref())?,
            redeemed => redeemed?,
        };
        tracing::info!(%node, %registration, token = %id, "node registered by a join token");
        self.sign(&requester, node, registration)
    }

    fn extend(self, holder: &Holder, csr: &[u8]) -> Result<Granted, EnrollError> {
        let requester = csr::read(csr)?;
        // Asked again: a session may be much older than a revocation that is just ending it.
        current(self.registrations, &holder.node, holder.registration)?;
        self.sign(&requester, holder.node.clone(), holder.registration)
    }

    fn sign(
        self,
        requester: &Requester,
        node: NodeName,
        registration: RegistrationId,
    ) -> Result<Granted, EnrollError> {
        let signed = self.ca.sign_node(&requester.key, &node, registration)?;
        let bundle = self.ca.trust().bundle.get();
        let issued = Issued {
            chain: vec![signed.certificate.to_vec()],
            bundle: bundle
                .certificates()
                .iter()
                .map(|certificate| certificate.to_vec())
                .collect(),
        };
        Ok(Granted {
            node,
            registration,
            not_after: signed.not_after,
            issued,
        })
    }
}

struct Granted {
    node: NodeName,
    registration: RegistrationId,
    not_after: SystemTime,
    issued: Issued,
}

fn answer(result: Result<Granted, EnrollError>, version: &str) -> Outcome {
    match result {
        Ok(Granted {
            node,
            registration,
            not_after,
            issued,
        }) => {
            let until = edge_tunnel_proto::identity::rfc3339(not_after);
            tracing::info!(%node, %registration, until, version, "certificate issued");
            Outcome::Issued(issued)
        }
        Err(error) => {
            match &error {
                EnrollError::Store(_) | EnrollError::Ca(_) => {
                    tracing::error!(%error, "no certificate could be issued");
                }
                // Whoever asked writes the line: a stranger may ask as often as he likes.
                _ => tracing::debug!(%error, version, "certificate refused"),
            }
            Outcome::Refusal(error.refusal())
        }
    }
}

//! What this node holds to prove who it is, and with it how the handshakes can be tried.

use std::sync::Arc;

use edge_tunnel_proto::clock::Clock;
use edge_tunnel_proto::id::{NodeName, RequestId};
use edge_tunnel_proto::identity::{Pin, enroll_client, rfc3339};
use rustls::ClientConfig;

use super::{Outcome, advice};
use crate::config::Uplink;
use crate::identity::{Identity, IdentityError, Settings, Standing};

/// How the handshakes with servers are tried.
#[derive(Debug)]
pub(super) struct Handshake {
    pub(super) config: Arc<ClientConfig>,
    pub(super) believes: Believes,
}

/// What the server must show for the handshake to succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Believes {
    /// A server's certificate by the node's bundle; the node's own is shown.
    Bundle,
    /// The CA that the join token names.
    Token,
    /// A CA with this pin, which there is none of: a handshake can only get as far as the server's certificate. That
    /// tells as much about the way there as one that succeeds.
    Nothing(Pin),
}

/// What was found.
#[derive(Debug)]
pub(super) struct Enrolment {
    pub(super) outcome: Outcome,
    pub(super) handshake: Handshake,
    /// Which node the certificate is of, if there is one.
    pub(super) node: Option<NodeName>,
}

/// Looks into the state folder, without changing it, and at the join token. `readable` says whether the folder is this
/// user's to read.
pub(super) async fn check(uplink: &Uplink, clock: &Clock, readable: bool) -> Enrolment {
    if !readable {
        return Enrolment {
            outcome: Outcome::Skipped(
                "what the state folder holds cannot be read; without it it cannot be told whether a server is the right one"
                    .to_owned(),
            ),
            handshake: nothing(uplink, clock),
            node: None,
        };
    }
    // Opening a folder makes the key where there is none; that is the agent's to do.
    let is_there = |file: &str| uplink.state_dir.join(file).exists();
    if !(is_there("key.pem") && is_there("certificate.pem")) {
        let (outcome, handshake) = unenrolled(uplink, clock).await;
        return Enrolment {
            outcome,
            handshake,
            node: None,
        };
    }
    let settings = Settings {
        state_dir: uplink.state_dir.clone(),
        trust_domain: uplink.trust_domain.clone(),
        clock: clock.clone(),
    };
    match Identity::open(&settings).and_then(|identity| enrolled(&identity)) {
        Ok(found) => found,
        Err(error) => Enrolment {
            outcome: advice::identity(&error),
            handshake: nothing(uplink, clock),
            node: None,
        },
    }
}

fn enrolled(identity: &Identity) -> Result<Enrolment, IdentityError> {
    let (outcome, config, held) = match identity.standing() {
        Standing::Unenrolled => return Err(IdentityError::NotEnrolled),
        Standing::Ready(held) => {
            let found = format!(
                "this is node {}, its certificate is valid until {}; whether another host holds it too is not tried",
                held.node,
                rfc3339(held.not_after)
            );
            (Outcome::Passed(found), identity.session_config()?, held)
        }
        Standing::Expired(held) => {
            let found = format!(
                "the certificate of node {} was valid until {} only",
                held.node,
                rfc3339(held.not_after)
            );
            let remedy = "if the clock is right (see the last line), start the agent: it renews the certificate, if that ended within \
                          the server's --renew-grace; if not, remove certificate.pem from the state folder and give the \
                          agent a new join token";
            let outcome = Outcome::warning(found, remedy);
            (outcome, identity.renew_config()?, held)
        }
    };
    Ok(Enrolment {
        outcome,
        handshake: Handshake {
            config: Arc::new(config),
            believes: Believes::Bundle,
        },
        node: Some(held.node),
    })
}

async fn unenrolled(uplink: &Uplink, clock: &Clock) -> (Outcome, Handshake) {
    let Some(source) = uplink.token() else {
        let remedy = "make a join token (edge-tunnel-server token create --node NAME) and give it with --token-file; without \
                      one it cannot be told whether the server is the right one";
        return (
            Outcome::warning(
                "this node has no certificate yet, and no join token",
                remedy,
            ),
            nothing(uplink, clock),
        );
    };
    match source.token().await {
        Ok(token) => {
            let config = enroll_client(token.pin, &uplink.trust_domain, clock);
            let found = "this node has no certificate yet; its join token is whole, and whether the server still takes it is \
                         not tried";
            (
                Outcome::Passed(found.to_owned()),
                Handshake {
                    config: Arc::new(config),
                    believes: Believes::Token,
                },
            )
        }
        Err(error) => (advice::token(&error), nothing(uplink, clock)),
    }
}

fn nothing(uplink: &Uplink, clock: &Clock) -> Handshake {
    let pin = Pin::of_key(RequestId::random().to_string().as_bytes());
    let config = enroll_client(pin, &uplink.trust_domain, clock);
    Handshake {
        config: Arc::new(config),
        believes: Believes::Nothing(pin),
    }
}

//! What this node holds to prove who it is, and with it how the handshakes can be tried.

use std::sync::Arc;

use edge_tunnel_proto::clock::Clock;
use edge_tunnel_proto::id::RequestId;
use edge_tunnel_proto::identity::{Pin, Token, enroll_client, rfc3339};
use rustls::ClientConfig;

use super::Outcome;
use crate::config::{TokenSource, Uplink};
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

/// Looks into the state folder, without changing it, and at the join token.
pub(super) async fn check(uplink: &Uplink, clock: &Clock) -> (Outcome, Handshake) {
    // Opening a folder makes the key where there is none; that is the agent's to do.
    let is_there = |file: &str| uplink.state_dir.join(file).exists();
    if !(is_there("key.pem") && is_there("certificate.pem")) {
        return unenrolled(uplink, clock).await;
    }
    let settings = Settings {
        state_dir: uplink.state_dir.clone(),
        trust_domain: uplink.trust_domain.clone(),
        clock: clock.clone(),
    };
    match Identity::open(&settings).and_then(|identity| enrolled(&identity)) {
        Ok(found) => found,
        Err(error) => {
            let remedy =
                "run the check as the agent's own user, with its --state-dir and --trust-domain";
            (
                Outcome::failed(error.to_string(), remedy),
                nothing(uplink, clock),
            )
        }
    }
}

fn enrolled(identity: &Identity) -> Result<(Outcome, Handshake), IdentityError> {
    let (outcome, config) = match identity.standing() {
        Standing::Unenrolled => return Err(IdentityError::NotEnrolled),
        Standing::Ready(held) => {
            let until = rfc3339(held.not_after);
            let found = format!(
                "this is node {}, its certificate is valid until {until}",
                held.node
            );
            (Outcome::Passed(found), identity.session_config()?)
        }
        Standing::Expired(held) => {
            let found = format!(
                "the certificate of node {} was valid until {} only",
                held.node,
                rfc3339(held.not_after)
            );
            let remedy = "start the agent: it renews the certificate, if that ended within the server's --renew-grace; if \
                          not, remove certificate.pem from the state folder and give the agent a new join token";
            (Outcome::warning(found, remedy), identity.renew_config()?)
        }
    };
    Ok((
        outcome,
        Handshake {
            config: Arc::new(config),
            believes: Believes::Bundle,
        },
    ))
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
    match read(&source).await {
        Ok(token) => {
            let config = enroll_client(token.pin, &uplink.trust_domain, clock);
            let found = "this node has no certificate yet; its join token is whole".to_owned();
            (
                Outcome::Passed(found),
                Handshake {
                    config: Arc::new(config),
                    believes: Believes::Token,
                },
            )
        }
        Err(what) => {
            let remedy = "make a new one: edge-tunnel-server token create --node NAME";
            (Outcome::failed(what, remedy), nothing(uplink, clock))
        }
    }
}

async fn read(source: &TokenSource) -> Result<Token, String> {
    let text = source.read().await.map_err(|error| error.to_string())?;
    text.expose()
        .parse()
        .map_err(|error: edge_tunnel_proto::identity::TokenError| error.to_string())
}

fn nothing(uplink: &Uplink, clock: &Clock) -> Handshake {
    let pin = Pin::of_key(RequestId::random().to_string().as_bytes());
    let config = enroll_client(pin, &uplink.trust_domain, clock);
    Handshake {
        config: Arc::new(config),
        believes: Believes::Nothing(pin),
    }
}

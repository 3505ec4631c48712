//! What is said over the admin socket, in both directions.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use edge_tunnel_proto::id::{InstanceId, Port, RegistrationId};
use edge_tunnel_proto::identity::{Pin, TokenId};
use edge_tunnel_proto::testing::Decoder;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::control::{
    CaAuthority, CaStatus, CreatedToken, IssuedClient, NewClient, NewToken, NodeStatus,
    RevokedNode, SessionStatus, TokenState, TokenStatus, TokenSubject,
};

/// What a command asks of the server.
pub(crate) const REQUESTS: Decoder = Decoder {
    name: "admin-request",
    check: |bytes| {
        survives::<NewToken>(bytes);
        survives::<NewClient>(bytes);
    },
    samples: requests,
};

/// What the server answers a command.
pub(crate) const ANSWERS: Decoder = Decoder {
    name: "admin-answer",
    check: |bytes| {
        survives_but::<Vec<NodeStatus>>(bytes, |nodes| {
            // A fraction may come back with another last digit, which nobody sees.
            for session in nodes.iter_mut().filter_map(|node| node.session.as_mut()) {
                session.rtt_ms = None;
            }
        });
        survives::<RevokedNode>(bytes);
        survives::<CreatedToken>(bytes);
        survives::<Vec<TokenStatus>>(bytes);
        survives::<IssuedClient>(bytes);
        survives::<CaStatus>(bytes);
    },
    samples: answers,
};

/// What is read is written, and read again, without a change.
fn survives<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    survives_but::<T>(bytes, |_all| {});
}

/// The same, but for what is forgotten first.
fn survives_but<T: Serialize + DeserializeOwned>(bytes: &[u8], forget: fn(&mut T)) {
    match serde_json::from_slice::<T>(bytes) {
        Ok(mut read) => {
            forget(&mut read);
            let own = json(&read);
            let again: T = serde_json::from_slice(&own).expect("what was written is read");
            assert_eq!(json(&again), own, "it changes when it is written");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("it can be written")
}

fn requests() -> Vec<Vec<u8>> {
    let token = |subject| NewToken {
        subject,
        ttl: Duration::from_secs(3600),
    };
    vec![
        json(&token(node())),
        json(&token(pattern())),
        json(&NewClient {
            name: "prometheus".parse().expect("a client's name"),
            nodes: "edge-*,shop".to_owned(),
            ports: vec![Port::known(22), Port::known(9100)],
        }),
    ]
}

fn node() -> TokenSubject {
    TokenSubject::Node {
        name: "edge-1".parse().expect("a node's name"),
        replace: true,
    }
}

fn pattern() -> TokenSubject {
    TokenSubject::Pattern {
        pattern: "edge-*".to_owned(),
        uses: 3,
    }
}

fn noon() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn answers() -> Vec<Vec<u8>> {
    let session = SessionStatus {
        instance: InstanceId(1),
        since: noon(),
        remote: SocketAddr::from(([192, 0, 2, 1], 5000)),
        transport: "quic".to_owned(),
        rtt_ms: Some(1.5),
        streams: 3,
        version: "0.1.0".to_owned(),
    };
    let status = |session, last_seen: Option<SystemTime>| NodeStatus {
        node: "edge-1".parse().expect("a node's name"),
        registration: RegistrationId(7),
        revoked: last_seen,
        session,
        last_remote: last_seen.map(|_| SocketAddr::from(([192, 0, 2, 2], 5001))),
        last_end: last_seen.map(|_| "the agent left".to_owned()),
        last_seen,
    };
    let token = |subject| TokenStatus {
        id: TokenId::random(),
        subject,
        state: TokenState::Used,
        uses_left: 1,
        used_by: vec!["edge-1".parse().expect("a node's name")],
        expires: noon(),
    };
    vec![
        json(&[status(Some(session), None), status(None, Some(noon()))]),
        json(&RevokedNode {
            registration: RegistrationId(7),
            session_closed: true,
        }),
        json(&CreatedToken {
            token: "et1.x".to_owned(),
            id: TokenId::random(),
            expires: noon(),
            warning: Some("edge-1 is registered".to_owned()),
        }),
        json(&[token(node()), token(pattern())]),
        json(&IssuedClient {
            cert: "-----BEGIN CERTIFICATE-----".to_owned(),
            key: "a key".to_owned(),
            ca: "a CA".to_owned(),
            expires: noon(),
        }),
        json(&CaStatus {
            authorities: vec![CaAuthority {
                subject: "CN=edge-tunnel".to_owned(),
                pin: Pin::of_key(b"key"),
                not_after: noon(),
                signs: true,
            }],
            phase: "steady".to_owned(),
            next: "next".to_owned(),
            pem: String::new(),
        }),
    ]
}

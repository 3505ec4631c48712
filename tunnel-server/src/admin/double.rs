//! A server that only remembers: the tests' second implementation of [`Control`].

use std::time::{Duration, SystemTime};

use edge_tunnel_proto::id::{InstanceId, NodeName, RegistrationId, ReplicaId};
use edge_tunnel_proto::identity::{Pin, TokenId};
use edge_tunnel_proto::sync::Mutex;

use super::control::{
    CaAuthority, CaStatus, Control, ControlError, CreatedToken, IssuedClient, NewClient, NewToken,
    NodeStatus, Overview, RevokedNode, SessionStatus, TokenState, TokenStatus, TokenSubject,
};
use crate::identity::Step;

/// Noon of some day.
pub(crate) fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_774_958_400)
}

#[derive(Debug, Default)]
pub(crate) struct Double {
    pub(crate) tokens: Mutex<Vec<TokenStatus>>,
    pub(crate) revoked: Mutex<Vec<NodeName>>,
    pub(crate) issued: Mutex<Vec<NewClient>>,
    pub(crate) steps: Mutex<Vec<(Step, bool)>>,
}

impl Double {
    fn ca() -> CaStatus {
        let authority = CaAuthority {
            subject: "CN=edge-tunnel CA".to_owned(),
            pin: Pin::of_key(b"a key"),
            not_after: noon(),
            signs: true,
        };
        let pem = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n".to_owned();
        CaStatus {
            authorities: vec![authority],
            phase: "steady".to_owned(),
            next: "next: `ca rotate introduce`".to_owned(),
            pem,
        }
    }
}

impl Control for Double {
    fn overview(&self) -> Overview {
        Overview {
            replica: ReplicaId(7),
            sessions: 1,
            config_errors: vec!["nodes, line 3: no name".to_owned()],
        }
    }

    async fn nodes(&self) -> Result<Vec<NodeStatus>, ControlError> {
        let session = SessionStatus {
            instance: InstanceId(1),
            since: noon(),
            remote: "203.0.113.9:40000".parse().unwrap(),
            transport: "quic".to_owned(),
            rtt_ms: Some(12.34),
            streams: 2,
            version: "0.1.0".to_owned(),
        };
        let node = |name: &str, session, last_seen: Option<SystemTime>| NodeStatus {
            node: name.parse().unwrap(),
            registration: RegistrationId(5),
            revoked: None,
            session,
            last_remote: last_seen.map(|_| "203.0.113.8:40001".parse().unwrap()),
            last_end: last_seen.map(|_| "the agent left".to_owned()),
            last_seen,
        };
        Ok(vec![
            node("edge-1", Some(session), None),
            node("edge-2", None, Some(noon())),
            node("edge-3", None, None),
            NodeStatus {
                revoked: Some(noon()),
                ..node("edge-4", None, Some(noon()))
            },
        ])
    }

    async fn revoke_node(&self, node: NodeName) -> Result<RevokedNode, ControlError> {
        if node.as_str() != "edge-1" {
            return Err(ControlError::NotFound(format!(
                "no node {node} is registered"
            )));
        }
        self.revoked.lock().push(node);
        Ok(RevokedNode {
            registration: RegistrationId(5),
            session_closed: true,
        })
    }

    async fn token_create(&self, wanted: NewToken) -> Result<CreatedToken, ControlError> {
        let (uses_left, warning) = match &wanted.subject {
            TokenSubject::Node {
                name,
                replace: false,
            } if name.as_str() == "edge-1" => (1, Some("edge-1 is registered".to_owned())),
            TokenSubject::Node { .. } => (1, None),
            TokenSubject::Pattern { uses, .. } => (*uses, None),
        };
        let (id, expires) = (TokenId::random(), noon() + wanted.ttl);
        self.tokens.lock().push(TokenStatus {
            id,
            subject: wanted.subject,
            state: TokenState::Usable,
            uses_left,
            used_by: Vec::new(),
            expires,
        });
        Ok(CreatedToken {
            token: format!("et1.{id}"),
            id,
            expires,
            warning,
        })
    }

    async fn token_list(&self) -> Result<Vec<TokenStatus>, ControlError> {
        Ok(self.tokens.lock().clone())
    }

    async fn token_revoke(&self, id: TokenId) -> Result<(), ControlError> {
        let mut tokens = self.tokens.lock();
        let before = tokens.len();
        tokens.retain(|token| token.id != id);
        if tokens.len() == before {
            return Err(ControlError::NotFound(format!("there is no token {id}")));
        }
        Ok(())
    }

    async fn issue_client(&self, wanted: NewClient) -> Result<IssuedClient, ControlError> {
        self.issued.lock().push(wanted);
        let [cert, key, ca] = ["a certificate\n", "a key\n", "a CA\n"].map(str::to_owned);
        Ok(IssuedClient {
            cert,
            key,
            ca,
            expires: noon(),
        })
    }

    async fn ca_show(&self) -> Result<CaStatus, ControlError> {
        Ok(Self::ca())
    }

    async fn ca_rotate(&self, step: Step, at_once: bool) -> Result<CaStatus, ControlError> {
        self.steps.lock().push((step, at_once));
        if at_once {
            Ok(Self::ca())
        } else {
            Err(ControlError::Internal("the disk is full".to_owned()))
        }
    }
}

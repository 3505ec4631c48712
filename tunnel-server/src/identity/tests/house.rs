//! A server's identities, real agents, and handshakes between them over buffers; one clock for all.

use std::io;
use std::path::Path;

use edge_tunnel_agent::identity as agent;
use edge_tunnel_proto::id::NodeName;
use edge_tunnel_proto::identity::Token;
use rustls::{ClientConfig, ClientConnection, ServerConnection};
use tempfile::TempDir;

use super::super::*;

pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) struct House {
    pub(super) folder: TempDir,
    pub(super) clock: Clock,
    pub(super) identity: Identity,
}

/// An agent and its state folder.
pub(super) struct Node {
    pub(super) identity: agent::Identity,
    pub(super) folder: TempDir,
}

pub(super) fn open(folder: &Path, clock: &Clock) -> Identity {
    Identity::open(Settings {
        state_dir: folder.to_owned(),
        trust_domain: TrustDomain::default(),
        clock: clock.clone(),
        renew_grace: RENEW_GRACE,
        operator_ca: None,
    })
    .unwrap()
}

impl House {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Far enough ahead that no build of the agent is later.
        let clock = Clock::fixed(SystemTime::UNIX_EPOCH + Duration::from_secs(2_200_000_000));
        let identity = open(folder.path(), &clock);
        Self {
            folder,
            clock,
            identity,
        }
    }

    pub(super) fn pass(&self, time: Duration) {
        self.clock.set(self.clock.now() + time);
    }

    pub(super) fn node(&self) -> Node {
        let folder = tempfile::tempdir().unwrap();
        let settings = agent::Settings {
            state_dir: folder.path().to_owned(),
            trust_domain: TrustDomain::default(),
            clock: Clock::fixed(self.clock.now()),
        };
        Node {
            identity: agent::Identity::open(&settings).unwrap(),
            folder,
        }
    }

    pub(super) fn token(&self, node: &str, replace: bool) -> Token {
        let scope = Scope::Node {
            node: node.parse().unwrap(),
            replace,
        };
        self.identity.create_token(scope, DAY).unwrap().0
    }

    /// A handshake on the agents' port, and who the server says it was.
    pub(super) fn meet(&self, config: ClientConfig) -> Result<Peer, String> {
        let (_, server) = handshake(&Arc::new(config), &Arc::new(self.identity.agents_config()))?;
        let alpn = server.alpn_protocol().and_then(Alpn::from_bytes);
        let chain = server.peer_certificates().unwrap_or_default();
        self.identity
            .classify(alpn, chain)
            .map_err(|error| error.to_string())
    }

    pub(super) async fn join(&self, node: &Node, token: &Token) -> Result<agent::Held, String> {
        let peer = self.meet(node.identity.join_config(token))?;
        let request = node
            .identity
            .join_request(token, None, &"host".parse().unwrap())
            .unwrap();
        let response = self.identity.enroll(request, peer).await;
        node.identity
            .take_in(response.outcome)
            .await
            .map_err(|error| error.to_string())
    }

    /// A node that has joined under this name.
    pub(super) async fn joined(&self, name: &str) -> Node {
        let node = self.node();
        self.join(&node, &self.token(name, false)).await.unwrap();
        node
    }

    /// A session's handshake.
    pub(super) fn dial(&self, node: &Node) -> Result<Holder, String> {
        match self.meet(node.identity.session_config().unwrap())? {
            Peer::Agent(holder) => Ok(holder),
            other => Err(format!("{other:?}")),
        }
    }

    /// A renewal over a session.
    pub(super) async fn renew(&self, node: &Node) -> Result<agent::Held, String> {
        let holder = self.dial(node)?;
        let response = self
            .identity
            .renew(node.identity.renew_request().unwrap(), holder)
            .await;
        node.identity
            .take_in(response.outcome)
            .await
            .map_err(|error| error.to_string())
    }

    /// A renewal on a connection of its own.
    pub(super) async fn renew_late(&self, node: &Node) -> Result<agent::Held, String> {
        let peer = self.meet(node.identity.renew_config().unwrap())?;
        let response = self
            .identity
            .enroll(node.identity.late_renew_request().unwrap(), peer)
            .await;
        node.identity
            .take_in(response.outcome)
            .await
            .map_err(|error| error.to_string())
    }

    pub(super) fn revoke(&self, node: &str) {
        let node: NodeName = node.parse().unwrap();
        self.identity.registrations().revoke(&node).unwrap();
    }
}

/// Runs a handshake, and moves what follows it (tickets), until both are silent.
pub(super) fn handshake(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
) -> Result<(ClientConnection, ServerConnection), String> {
    let dialled = "lb.example".try_into().unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), dialled).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    loop {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let sent = !wire.is_empty();
        deliver(&wire, |rest| server.read_tls(rest));
        server
            .process_new_packets()
            .map_err(|error| format!("server: {error}"))?;
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        if !sent && wire.is_empty() {
            return Ok((client, server));
        }
        deliver(&wire, |rest| client.read_tls(rest));
        client
            .process_new_packets()
            .map_err(|error| format!("client: {error}"))?;
    }
}

fn deliver(mut wire: &[u8], mut read: impl FnMut(&mut dyn io::Read) -> io::Result<usize>) {
    while !wire.is_empty() {
        read(&mut wire).unwrap();
    }
}

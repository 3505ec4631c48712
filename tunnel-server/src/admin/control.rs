//! What a person may ask of a running server, as one seam: the admin socket and the status page ask, the composition
//! root answers with what the registry of sessions, the identities and the live keys know.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use edge_tunnel_proto::id::{InstanceId, NodeName, Port, RegistrationId, ReplicaId};
use edge_tunnel_proto::identity::{ClientName, Pin, TokenId};
use serde::{Deserialize, Serialize};

use super::wire;
use crate::identity::Step;

/// A server that runs. Every answer that changes something is given after the change is on disk and in force.
pub trait Control: Send + Sync + 'static {
    /// What the status page shows.
    fn overview(&self) -> Overview;

    /// Every registered node, connected or not, and every revoked one, in the order of names.
    fn nodes(&self) -> impl Future<Output = Result<Vec<NodeStatus>, ControlError>> + Send;

    /// Ends a node's registration and with it its session, at once and for good.
    fn revoke_node(
        &self,
        node: NodeName,
    ) -> impl Future<Output = Result<RevokedNode, ControlError>> + Send;

    /// Makes a join token.
    fn token_create(
        &self,
        wanted: NewToken,
    ) -> impl Future<Output = Result<CreatedToken, ControlError>> + Send;

    /// The tokens that can still be used, and those that could within the last week; the one that ends last comes last.
    fn token_list(&self) -> impl Future<Output = Result<Vec<TokenStatus>, ControlError>> + Send;

    /// Makes a token unusable.
    fn token_revoke(&self, id: TokenId) -> impl Future<Output = Result<(), ControlError>> + Send;

    /// Issues a client certificate.
    fn issue_client(
        &self,
        wanted: NewClient,
    ) -> impl Future<Output = Result<IssuedClient, ControlError>> + Send;

    /// The trust bundle.
    fn ca_show(&self) -> impl Future<Output = Result<CaStatus, ControlError>> + Send;

    /// Takes the next step of replacing the CA; unless `at_once`, not before every connected agent has followed the last.
    fn ca_rotate(
        &self,
        step: Step,
        at_once: bool,
    ) -> impl Future<Output = Result<CaStatus, ControlError>> + Send;
}

/// Why something that was asked is not done; the text says what to do instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// What was asked makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// There is no such node or token.
    #[error("{0}")]
    NotFound(String),
    /// It does not fit the present state.
    #[error("{0}")]
    Conflict(String),
    /// The server's own fault, such as a full disk.
    #[error("{0}")]
    Internal(String),
}

/// The server in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    /// This replica's id.
    pub replica: ReplicaId,
    /// How many agents have a session with this replica.
    pub sessions: usize,
    /// Entries of the live keys that are skipped, each in words.
    pub config_errors: Vec<String>,
}

/// One registered node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its name.
    #[serde(with = "wire::text")]
    pub node: NodeName,
    /// Its latest registration.
    #[serde(with = "wire::text")]
    pub registration: RegistrationId,
    /// When that was revoked; `None`: it is good.
    #[serde(default, with = "wire::maybe_time")]
    pub revoked: Option<SystemTime>,
    /// Its session, where it has one.
    pub session: Option<SessionStatus>,
    /// Where it has no session: when its last one ended, or began where the end was not seen; `None`: it had none yet.
    #[serde(with = "wire::maybe_time")]
    pub last_seen: Option<SystemTime>,
    /// Where that one came from.
    #[serde(default)]
    pub last_remote: Option<SocketAddr>,
    /// Why that one ended, where that was seen.
    #[serde(default)]
    pub last_end: Option<String>,
}

/// A live session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionStatus {
    /// Which start of the agent.
    #[serde(with = "wire::text")]
    pub instance: InstanceId,
    /// Since when.
    #[serde(with = "wire::time")]
    pub since: SystemTime,
    /// Where the agent's connection comes from.
    pub remote: SocketAddr,
    /// `quic` or `tls`.
    pub transport: String,
    /// The last measured round trip, in milliseconds.
    pub rtt_ms: Option<f64>,
    /// Streams open now.
    pub streams: usize,
    /// The agent's version.
    pub version: String,
}

/// A registration that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedNode {
    /// The registration that is worth nothing from now on.
    #[serde(with = "wire::text")]
    pub registration: RegistrationId,
    /// Whether a session was closed by it.
    pub session_closed: bool,
}

/// Which nodes a token is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenSubject {
    /// One node; `replace` lets it take the name over from a registration that exists.
    Node {
        /// Its name.
        #[serde(with = "wire::text")]
        name: NodeName,
        /// Whether an existing registration of that name is replaced.
        replace: bool,
    },
    /// Names that fit a pattern and have no registration yet.
    Pattern {
        /// `*` stands for anything. Checked by the server.
        pattern: String,
        /// How many nodes may join, at least 1.
        uses: u32,
    },
}

/// A token that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewToken {
    /// For whom.
    pub subject: TokenSubject,
    /// For how long from now.
    #[serde(with = "wire::seconds")]
    pub ttl: Duration,
}

/// A token that was made.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedToken {
    /// The token itself, shown this once.
    pub token: String,
    /// Its id in lists.
    #[serde(with = "wire::text")]
    pub id: TokenId,
    /// Until when it can be used.
    #[serde(with = "wire::time")]
    pub expires: SystemTime,
    /// Why it will be of no use as things stand, in words.
    #[serde(default)]
    pub warning: Option<String>,
}

/// Whether a token lets a node in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenState {
    /// It does.
    Usable,
    /// All its uses are gone.
    Used,
    /// Its time is over.
    Expired,
    /// It was withdrawn.
    Revoked,
}

impl TokenState {
    /// As it stands in lists.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Usable => "usable",
            Self::Used => "used",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// A token in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenStatus {
    /// Its id.
    #[serde(with = "wire::text")]
    pub id: TokenId,
    /// For whom.
    pub subject: TokenSubject,
    /// Whether it can be used.
    pub state: TokenState,
    /// How many uses are left, its state aside.
    pub uses_left: u32,
    /// The nodes that have joined by it.
    #[serde(default, with = "wire::texts")]
    pub used_by: Vec<NodeName>,
    /// Until when it can be used.
    #[serde(with = "wire::time")]
    pub expires: SystemTime,
}

/// A client certificate that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewClient {
    /// The caller's name.
    #[serde(with = "wire::text")]
    pub name: ClientName,
    /// Which nodes: names in which `*` stands for anything, separated by commas. Checked by the server.
    pub nodes: String,
    /// Which ports; none: those that the live keys name.
    #[serde(with = "wire::ports")]
    pub ports: Vec<Port>,
}

/// A client certificate that was issued.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedClient {
    /// The certificate and what leads to the CA, as PEM.
    pub cert: String,
    /// Its private key, as PEM. The server does not keep it.
    pub key: String,
    /// The trust bundle by which the server is known, as PEM.
    pub ca: String,
    /// Until when it is valid.
    #[serde(with = "wire::time")]
    pub expires: SystemTime,
}

/// The CAs that are believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaStatus {
    /// Each of them.
    pub authorities: Vec<CaAuthority>,
    /// In words: where a rotation stands.
    pub phase: String,
    /// In words: what its next step would do, and for whom it waits.
    #[serde(default)]
    pub next: String,
    /// All of them, as PEM.
    pub pem: String,
}

/// One CA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaAuthority {
    /// Its name.
    pub subject: String,
    /// SHA-256 of its key, as it stands in join tokens.
    #[serde(with = "wire::text")]
    pub pin: Pin,
    /// Until when it is valid.
    #[serde(with = "wire::time")]
    pub not_after: SystemTime,
    /// Whether new certificates are signed by it.
    pub signs: bool,
}

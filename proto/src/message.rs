//! The messages of the wire, as protobuf. Unknown fields are skipped, so that agents and servers two minor
//! versions apart understand each other; golden bytes are kept in the tests.
//!
//! These are the raw forms. What arrives is turned into the types of [`crate::id`] by [`Open::parse`] and its
//! like before anything acts on it.

pub mod enroll;

use std::net::IpAddr;
use std::time::Duration;

use crate::code::Code;
use crate::id::{InstanceId, Port, RequestId, SessionId, StreamId, Target, TargetHost};

/// The version of the protocol that this build speaks.
pub const PROTOCOL_VERSION: u32 = 1;

/// The longest caller name that travels in an [`Open`], in bytes.
pub const CALLER_MAX: usize = 256;

/// The longest reason or message text that is sent, in bytes.
pub const REASON_MAX: usize = 1024;

/// A message that is well-formed protobuf and still makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a malformed {message} message: {problem}")]
pub struct Malformed {
    message: &'static str,
    problem: &'static str,
}

/// Everything that travels on a control stream, one a frame.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Control {
    /// Which message. `None` is a kind of a newer version.
    #[prost(oneof = "control::Kind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9")]
    pub kind: Option<control::Kind>,
}

/// The kinds of [`Control`].
pub mod control {
    /// The kinds of control message.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Kind {
        /// Agent to server, first.
        #[prost(message, tag = "1")]
        Hello(super::Hello),
        /// Server to agent, in answer to `Hello`.
        #[prost(message, tag = "2")]
        Welcome(super::Welcome),
        /// Either way: are you there?
        #[prost(message, tag = "3")]
        Ping(super::Ping),
        /// The answer to `Ping`.
        #[prost(message, tag = "4")]
        Pong(super::Pong),
        /// Server to agent: how many lanes the session should have.
        #[prost(message, tag = "5")]
        Lanes(super::Lanes),
        /// Either way: this session ends, why, and when to come back.
        #[prost(message, tag = "6")]
        GoAway(super::GoAway),
        /// Agent to server: a fresh certificate for the key that the agent holds.
        #[prost(message, tag = "7")]
        Renew(super::enroll::RenewRequest),
        /// The answer to `Renew`.
        #[prost(message, tag = "8")]
        Renewed(super::enroll::RenewResponse),
        /// The answer to a kind that the receiver does not know.
        #[prost(message, tag = "9")]
        Refused(super::Refused),
    }
}

impl From<control::Kind> for Control {
    fn from(kind: control::Kind) -> Self {
        Self { kind: Some(kind) }
    }
}

/// The agent introduces itself. Its name is not in here: that comes from its certificate only.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Hello {
    /// The agent's build, for people.
    #[prost(string, tag = "1")]
    pub build: String,
    /// [`PROTOCOL_VERSION`] of the agent.
    #[prost(uint32, tag = "2")]
    pub version: u32,
    /// Names of optional abilities.
    #[prost(string, repeated, tag = "3")]
    pub capabilities: Vec<String>,
    /// 16 bytes: one start of the agent's process.
    #[prost(bytes = "vec", tag = "4")]
    pub instance: Vec<u8>,
    /// 16 bytes: the session that this lane belongs to.
    #[prost(bytes = "vec", tag = "5")]
    pub session: Vec<u8>,
    /// The lane's number within its session, from 0.
    #[prost(uint32, tag = "6")]
    pub lane: u32,
}

impl Hello {
    /// The identifiers in it.
    ///
    /// # Errors
    /// When one has not 16 bytes.
    pub fn parse(&self) -> Result<(InstanceId, SessionId), Malformed> {
        let bad = |problem| Malformed {
            message: "Hello",
            problem,
        };
        let instance = u128_of(&self.instance).ok_or_else(|| bad("instance is not 16 bytes"))?;
        let session = u128_of(&self.session).ok_or_else(|| bad("session is not 16 bytes"))?;
        Ok((InstanceId(instance), SessionId(session)))
    }
}

/// The server names itself.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Welcome {
    /// The replica: one start of a server process.
    #[prost(fixed64, tag = "1")]
    pub replica: u64,
    /// The server's build, for people.
    #[prost(string, tag = "2")]
    pub build: String,
    /// [`PROTOCOL_VERSION`] of the server.
    #[prost(uint32, tag = "3")]
    pub version: u32,
    /// Names of optional abilities.
    #[prost(string, repeated, tag = "4")]
    pub capabilities: Vec<String>,
}

/// A heartbeat or a probe.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Ping {
    /// Comes back in the answer.
    #[prost(uint64, tag = "1")]
    pub nonce: u64,
    /// The round-trip time that the sender last measured, in microseconds; 0: not yet.
    #[prost(uint32, tag = "2")]
    pub rtt_micros: u32,
}

/// The answer to a [`Ping`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Pong {
    /// The `Ping`'s.
    #[prost(uint64, tag = "1")]
    pub nonce: u64,
}

/// How many lanes the server wants of this session.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Lanes {
    /// At least 1.
    #[prost(uint32, tag = "1")]
    pub want: u32,
}

/// The end of a session, announced.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GoAway {
    /// [`Code`] as a number.
    #[prost(uint32, tag = "1")]
    pub code: u32,
    /// For people.
    #[prost(string, tag = "2")]
    pub reason: String,
    /// When to come back, in milliseconds; 0: as the agent's own back-off says.
    #[prost(uint32, tag = "3")]
    pub retry_after_millis: u32,
}

impl GoAway {
    /// An announcement with its reason capped.
    #[must_use]
    pub fn new(code: Code, reason: &str, retry_after: Option<Duration>) -> Self {
        let millis = retry_after.map_or(0, |after| {
            u32::try_from(after.as_millis()).unwrap_or(u32::MAX)
        });
        Self {
            code: code.number(),
            reason: capped(reason, REASON_MAX).to_owned(),
            retry_after_millis: millis,
        }
    }
}

/// The header of a stream.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Open {
    /// 16 bytes: the stream, for its whole life.
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    /// 16 bytes: the caller's request, for the logs of both ends.
    #[prost(bytes = "vec", tag = "2")]
    pub request_id: Vec<u8>,
    /// Who asks, for the agent's log; at most [`CALLER_MAX`] bytes.
    #[prost(string, tag = "3")]
    pub caller: String,
    /// How many replicas it passed; at most 1.
    #[prost(uint32, tag = "4")]
    pub hops: u32,
    /// How long the opener waits for `Opened`, in milliseconds; 0: the acceptor's own limit.
    #[prost(uint32, tag = "5")]
    pub deadline_millis: u32,
    /// What is asked for. `None` is a kind of a newer version.
    #[prost(oneof = "open::Kind", tags = "16")]
    pub kind: Option<open::Kind>,
}

/// The kinds of [`Open`].
pub mod open {
    /// What a stream is for.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Kind {
        /// A TCP connection to a target.
        #[prost(message, tag = "16")]
        Tcp(super::Tcp),
    }
}

/// A TCP target.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Tcp {
    /// 1 to 65535.
    #[prost(uint32, tag = "1")]
    pub port: u32,
    /// Where.
    #[prost(oneof = "tcp::Host", tags = "2, 3, 4")]
    pub host: Option<tcp::Host>,
}

/// Where a TCP target is.
pub mod tcp {
    /// Where a TCP target is.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Host {
        /// The node's loopback.
        #[prost(message, tag = "2")]
        Loopback(super::Empty),
        /// The node's own address, which the agent knows.
        #[prost(message, tag = "3")]
        Node(super::Empty),
        /// An address: 4 bytes IPv4 or 16 bytes IPv6.
        #[prost(bytes, tag = "4")]
        Address(Vec<u8>),
    }
}

/// No content.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Empty {}

/// What an [`Open`] asks for, after checking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRequest {
    /// The stream.
    pub id: StreamId,
    /// The request, for logs.
    pub request_id: RequestId,
    /// Who asks, for logs.
    pub caller: String,
    /// Replicas passed.
    pub hops: u32,
    /// How long the opener waits.
    pub deadline: Option<Duration>,
    /// What to dial.
    pub target: Target,
}

impl OpenRequest {
    /// The message for it.
    #[must_use]
    pub fn to_message(&self) -> Open {
        let host = match self.target.host {
            TargetHost::Loopback => tcp::Host::Loopback(Empty {}),
            TargetHost::Node => tcp::Host::Node(Empty {}),
            TargetHost::Address(IpAddr::V4(address)) => {
                tcp::Host::Address(address.octets().to_vec())
            }
            TargetHost::Address(IpAddr::V6(address)) => {
                tcp::Host::Address(address.octets().to_vec())
            }
        };
        let millis = self.deadline.map_or(0, |limit| {
            u32::try_from(limit.as_millis()).unwrap_or(u32::MAX)
        });
        Open {
            id: self.id.0.to_be_bytes().to_vec(),
            request_id: self.request_id.0.to_be_bytes().to_vec(),
            caller: capped(&self.caller, CALLER_MAX).to_owned(),
            hops: self.hops,
            deadline_millis: millis,
            kind: Some(open::Kind::Tcp(Tcp {
                port: self.target.port.get().into(),
                host: Some(host),
            })),
        }
    }
}

impl Open {
    /// What it asks for; `Ok(None)` for a kind of stream that this build does not know.
    ///
    /// # Errors
    /// When a field makes no sense.
    pub fn parse(self) -> Result<Option<OpenRequest>, Malformed> {
        let bad = |problem| Malformed {
            message: "Open",
            problem,
        };
        let id = u128_of(&self.id).ok_or_else(|| bad("id is not 16 bytes"))?;
        let request_id =
            u128_of(&self.request_id).ok_or_else(|| bad("request_id is not 16 bytes"))?;
        if self.caller.len() > CALLER_MAX {
            return Err(bad("caller is longer than 256 bytes"));
        }
        let Some(open::Kind::Tcp(tcp)) = self.kind else {
            return Ok(None);
        };
        let port = u16::try_from(tcp.port)
            .ok()
            .and_then(Port::new)
            .ok_or_else(|| bad("no such port"))?;
        let host = match tcp.host {
            None => return Ok(None),
            Some(tcp::Host::Loopback(Empty {})) => TargetHost::Loopback,
            Some(tcp::Host::Node(Empty {})) => TargetHost::Node,
            Some(tcp::Host::Address(bytes)) => {
                let address = address_of(&bytes)
                    .ok_or_else(|| bad("the address has neither 4 nor 16 bytes"))?;
                TargetHost::Address(address.to_canonical())
            }
        };
        let deadline =
            (self.deadline_millis > 0).then(|| Duration::from_millis(self.deadline_millis.into()));
        Ok(Some(OpenRequest {
            id: StreamId(id),
            request_id: RequestId(request_id),
            caller: self.caller,
            hops: self.hops,
            deadline,
            target: Target { host, port },
        }))
    }
}

/// A refusal of a stream or of a message.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Refused {
    /// [`Code`] as a number.
    #[prost(uint32, tag = "1")]
    pub code: u32,
    /// For people: what failed and what to do.
    #[prost(string, tag = "2")]
    pub message: String,
}

impl Refused {
    /// A refusal with its message capped.
    #[must_use]
    pub fn new(code: Code, message: &str) -> Self {
        Self {
            code: code.number(),
            message: capped(message, REASON_MAX).to_owned(),
        }
    }
}

/// A stream broken off.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Abort {
    /// [`Code`] as a number.
    #[prost(uint32, tag = "1")]
    pub code: u32,
    /// For people.
    #[prost(string, tag = "2")]
    pub reason: String,
}

impl Abort {
    /// An abort with its reason capped.
    #[must_use]
    pub fn new(code: Code, reason: &str) -> Self {
        Self {
            code: code.number(),
            reason: capped(reason, REASON_MAX).to_owned(),
        }
    }
}

/// The longest prefix of `text` that has at most `limit` bytes and ends between characters.
#[must_use]
pub fn capped(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

fn u128_of(bytes: &[u8]) -> Option<u128> {
    bytes.try_into().ok().map(u128::from_be_bytes)
}

fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

#[cfg(test)]
mod tests;

//! What travels on a lane's control stream.

use std::time::Duration;

use super::{Malformed, REASON_MAX, Refused, capped, enroll, u128_of};
use crate::code::Code;
use crate::id::{InstanceId, SessionId};

/// Everything that travels on a control stream, one a frame.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Control {
    /// Which message. `None` is a kind of a newer version.
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9")]
    pub kind: Option<Kind>,
}

/// The kinds of control message.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Kind {
    /// Agent to server, first.
    #[prost(message, tag = "1")]
    Hello(Hello),
    /// Server to agent, in answer to `Hello`.
    #[prost(message, tag = "2")]
    Welcome(Welcome),
    /// Either way: are you there?
    #[prost(message, tag = "3")]
    Ping(Ping),
    /// The answer to `Ping`.
    #[prost(message, tag = "4")]
    Pong(Pong),
    /// Server to agent: how many lanes the session should have.
    #[prost(message, tag = "5")]
    Lanes(Lanes),
    /// Either way: this session ends, why, and when to come back.
    #[prost(message, tag = "6")]
    GoAway(GoAway),
    /// Agent to server: a fresh certificate for the key that the agent holds.
    #[prost(message, tag = "7")]
    Renew(enroll::RenewRequest),
    /// The answer to `Renew`.
    #[prost(message, tag = "8")]
    Renewed(enroll::RenewResponse),
    /// The answer to a kind that the receiver does not know.
    #[prost(message, tag = "9")]
    Refused(Refused),
}

impl From<Kind> for Control {
    fn from(kind: Kind) -> Self {
        Self { kind: Some(kind) }
    }
}

/// The agent introduces itself. Its name is not in here: that comes from its certificate only.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Hello {
    /// The agent's build, for people.
    #[prost(string, tag = "1")]
    pub build: String,
    /// [`PROTOCOL_VERSION`](super::PROTOCOL_VERSION) of the agent.
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
    /// [`PROTOCOL_VERSION`](super::PROTOCOL_VERSION) of the server.
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

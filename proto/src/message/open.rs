//! The header of a stream: what is asked for.

use std::net::IpAddr;
use std::time::Duration;

use super::{Malformed, capped, u128_of};
use crate::id::{Port, RequestId, StreamId, Target, TargetHost};

/// The longest caller name that travels in an [`Open`], in bytes.
pub const CALLER_MAX: usize = 256;

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
    #[prost(oneof = "Kind", tags = "16")]
    pub kind: Option<Kind>,
}

/// What a stream is for.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Kind {
    /// A TCP connection to a target.
    #[prost(message, tag = "16")]
    Tcp(Tcp),
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
            kind: Some(Kind::Tcp(Tcp {
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
        let Some(Kind::Tcp(tcp)) = self.kind else {
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

fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

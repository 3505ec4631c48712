//! The messages of the wire, as protobuf. Unknown fields are skipped, so that agents and servers two minor
//! versions apart understand each other; golden bytes are kept in the tests.
//!
//! These are the raw forms. What arrives is turned into the types of [`crate::id`] by [`Open::parse`] and its
//! like before anything acts on it.

pub mod control;
pub mod enroll;
pub mod open;

use crate::code::Code;
pub use control::{Control, GoAway, Hello, Lanes, Ping, Pong, Welcome};
pub use open::{CALLER_MAX, Empty, Open, OpenRequest, Tcp, tcp};

/// The version of the protocol that this build speaks.
pub const PROTOCOL_VERSION: u32 = 1;

/// The longest reason or message text that is sent, in bytes.
pub const REASON_MAX: usize = 1024;

/// A message that is well-formed protobuf and still makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a malformed {message} message: {problem}")]
pub struct Malformed {
    message: &'static str,
    problem: &'static str,
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

#[cfg(test)]
mod tests;

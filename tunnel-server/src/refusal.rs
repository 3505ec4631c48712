//! Why a caller does not get its connection: one answer for every way in, in words for a person.

use std::time::Duration;

use edge_tunnel_proto::code::Code;

/// Whose fault it is, and with it the HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// 400: the request names no usable destination.
    BadRequest,
    /// 403: policy says no: the caller, the port, or the agent's own rules.
    Forbidden,
    /// 502: the node was reached and its target was not.
    BadGateway,
    /// 503: the node has no live session, is unknown, or the server has no room.
    Unavailable,
    /// 504: the node or its target did not answer in time.
    Timeout,
}

impl Kind {
    /// The HTTP status code.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Forbidden => 403,
            Self::BadGateway => 502,
            Self::Unavailable => 503,
            Self::Timeout => 504,
        }
    }
}

/// A refusal: what it is, a stable reason for metrics, and one line that says what failed, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Whose fault.
    pub kind: Kind,
    /// A snake-case reason out of a closed set, for metrics and logs: `unknown_node`, `not_connected`, …
    pub reason: &'static str,
    /// One line without control characters, fit for a status line's reason phrase.
    pub message: String,
    /// When to come back, where the server knows.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal; control characters in `message` become spaces, since it travels in a status line.
    #[must_use]
    pub fn new(kind: Kind, reason: &'static str, message: impl Into<String>) -> Self {
        let message = message.into().replace(|c: char| c.is_control(), " ");
        Self {
            kind,
            reason,
            message,
            retry_after: None,
        }
    }

    /// What an agent's own refusal means to the caller.
    #[must_use]
    pub fn from_agent(code: Code, message: impl Into<String>) -> Self {
        let kind = match code {
            Code::NotAllowed => Kind::Forbidden,
            Code::TimedOut => Kind::Timeout,
            Code::Draining
            | Code::Overloaded
            | Code::TooManyOpenFiles
            | Code::Revoked
            | Code::TransportLost => Kind::Unavailable,
            _ => Kind::BadGateway,
        };
        Self::new(kind, code.name(), message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cannot_break_a_status_line() {
        let refusal = Refusal::new(Kind::BadGateway, "x", "one\r\ntwo\0");
        assert_eq!(refusal.message, "one  two ");
    }

    #[test]
    fn an_agents_no_is_the_callers_403_and_its_silence_a_504() {
        assert_eq!(Refusal::from_agent(Code::NotAllowed, "").kind.status(), 403);
        assert_eq!(Refusal::from_agent(Code::TimedOut, "").kind.status(), 504);
        assert_eq!(
            Refusal::from_agent(Code::ConnectionRefused, "")
                .kind
                .status(),
            502
        );
        assert_eq!(
            Refusal::from_agent(Code::TransportLost, "").kind.status(),
            503
        );
    }
}

//! Why a stream was refused or broken off: the closed set of reasons that both ends agree on.

use std::fmt;

/// A reason, as it travels in `Refused` and `Abort`. Numbers are part of the wire and never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Code {
    /// The other side uses a code, a message or a kind of stream that this side does not know.
    Unsupported = 1,
    /// The other side broke the protocol.
    Protocol = 2,
    /// A fault of this side's own.
    Internal = 3,
    /// The agent's own policy does not allow the target.
    NotAllowed = 4,
    /// The target answered with a reset: nothing listens there.
    ConnectionRefused = 5,
    /// There is no way to the target: no route, host or network unreachable.
    Unreachable = 6,
    /// The target, or the agent, did not answer in time.
    TimedOut = 7,
    /// The side that should connect is out of file descriptors.
    TooManyOpenFiles = 8,
    /// Too many streams, too many pending dials, or too little memory.
    Overloaded = 9,
    /// The side is shutting down.
    Draining = 10,
    /// The connection behind the stream was reset by its far end.
    Reset = 11,
    /// Whoever wanted the stream went away.
    Cancelled = 12,
    /// The identity behind the session was revoked or replaced.
    Revoked = 13,
    /// The transport under the stream ended without a word.
    TransportLost = 14,
    /// The certificate has expired; it may still be good for a renewal.
    Expired = 15,
}

impl Code {
    const ALL: [Self; 15] = [
        Self::Unsupported,
        Self::Protocol,
        Self::Internal,
        Self::NotAllowed,
        Self::ConnectionRefused,
        Self::Unreachable,
        Self::TimedOut,
        Self::TooManyOpenFiles,
        Self::Overloaded,
        Self::Draining,
        Self::Reset,
        Self::Cancelled,
        Self::Revoked,
        Self::TransportLost,
        Self::Expired,
    ];

    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The code of a number; a number of a newer version reads as [`Code::Unsupported`].
    #[must_use]
    pub fn from_number(number: u32) -> Self {
        Self::ALL
            .into_iter()
            .find(|code| code.number() == number)
            .unwrap_or(Self::Unsupported)
    }

    /// A stable snake-case name, for metrics labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unsupported => "unsupported",
            Self::Protocol => "protocol",
            Self::Internal => "internal",
            Self::NotAllowed => "not_allowed",
            Self::ConnectionRefused => "connection_refused",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::TooManyOpenFiles => "too_many_open_files",
            Self::Overloaded => "overloaded",
            Self::Draining => "draining",
            Self::Reset => "reset",
            Self::Cancelled => "cancelled",
            Self::Revoked => "revoked",
            Self::TransportLost => "transport_lost",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsupported => "not supported",
            Self::Protocol => "protocol error",
            Self::Internal => "internal error",
            Self::NotAllowed => "not allowed",
            Self::ConnectionRefused => "connection refused",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed out",
            Self::TooManyOpenFiles => "too many open files",
            Self::Overloaded => "overloaded",
            Self::Draining => "shutting down",
            Self::Reset => "connection reset",
            Self::Cancelled => "cancelled",
            Self::Revoked => "identity revoked or replaced",
            Self::TransportLost => "tunnel connection lost",
            Self::Expired => "certificate expired",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_stable_and_unknown_ones_are_unsupported() {
        for (index, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(code.number() as usize, index + 1);
            assert_eq!(Code::from_number(code.number()), code);
        }
        assert_eq!(Code::from_number(0), Code::Unsupported);
        assert_eq!(Code::from_number(u32::MAX), Code::Unsupported);
    }
}

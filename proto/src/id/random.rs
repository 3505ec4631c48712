//! Identifiers that are drawn at random: of streams, requests, processes, sessions.

use std::fmt;
use std::str::FromStr;

use rand::RngExt as _;

use super::{ParseError, excerpt};

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident, $int:ty, $digits:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub $int);

        impl $name {
            /// A fresh one, from the thread's cryptographic generator.
            #[must_use]
            pub fn random() -> Self {
                Self(rand::rng().random())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!("{:0", $digits, "x}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseError;

            fn from_str(text: &str) -> Result<Self, ParseError> {
                let hex = text.len() == $digits && text.bytes().all(|b| b.is_ascii_hexdigit());
                hex.then(|| <$int>::from_str_radix(text, 16).ok())
                    .flatten()
                    .map(Self)
                    .ok_or_else(|| ParseError::Hex(excerpt(text), $digits))
            }
        }
    };
}

random_id!(
    /// One stream, for its whole life, whatever carries it: 128 bits.
    StreamId, u128, 32
);
random_id!(
    /// One request of a caller, for logs at both ends and `x-request-id`: 128 bits.
    RequestId, u128, 32
);
random_id!(
    /// One start of an agent process: tells the same agent that redials from a second host with its identity.
    InstanceId, u128, 32
);
random_id!(
    /// One session: the link between one agent process and one replica, made of one or more lanes.
    SessionId, u128, 32
);
random_id!(
    /// One start of a server process.
    ReplicaId, u64, 16
);
random_id!(
    /// A node's registration: what a certificate is bound to besides the name.
    RegistrationId, u128, 32
);

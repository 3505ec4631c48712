//! Where the agent serves its pages, if anywhere.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// Why a text is no place to listen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no place to listen: write IP:PORT, such as 127.0.0.1:10266 or [::1]:10266, or none"
)]
pub struct ListenError(String);

/// An address and a port, or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen(pub Option<SocketAddr>);

impl FromStr for Listen {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        if text == "none" {
            return Ok(Self(None));
        }
        let address = text.parse();
        address
            .map(|address| Self(Some(address)))
            .map_err(|_no_address| ListenError(text.chars().take(80).collect()))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => fmt::Display::fmt(&address, f),
            None => f.write_str("none"),
        }
    }
}

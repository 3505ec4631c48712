//! Where something listens, if at all.

use std::fmt;
use std::net::SocketAddr;

/// How much of a text that is no place to listen is shown, in characters.
const SHOWN: usize = 80;

/// Why a text is no place to listen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no place to listen: write IP:PORT, such as {such_as}, or none")]
pub struct ListenError {
    text: String,
    such_as: &'static str,
}

/// An address and a port, or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen(pub Option<SocketAddr>);

impl Listen {
    /// Reads a flag's value; `such_as` is what its error shows for an example.
    ///
    /// # Errors
    /// When it is neither an address with a port nor `none`.
    pub fn parse(text: &str, such_as: &'static str) -> Result<Self, ListenError> {
        if text == "none" {
            return Ok(Self(None));
        }
        let address = text.parse().map_err(|_no_address| ListenError {
            text: text.chars().take(SHOWN).collect(),
            such_as,
        })?;
        Ok(Self(Some(address)))
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

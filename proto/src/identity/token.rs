//! A join token as people carry it: `et1.<id>.<secret>.<pin>.<check>`.
//!
//! Every part has a fixed length, so a token that lost its end on the way (a terminal, a chat) is told from a wrong one;
//! the check (four bytes of SHA-256 over all before it) finds the rest. The pin is that of the CA, so that the agent
//! knows the server before it sends the secret.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::bundle::Pin;
use crate::id::ParseError;

const PREFIX: &str = "et1";

/// Bytes in a token's secret: 160 bits.
pub const SECRET_LEN: usize = 20;

/// Characters of a whole token: prefix, id, secret, pin, check, and four dots.
const TEXT_LEN: usize = 3 + 16 + 27 + 43 + 8 + 4;

/// Why a text is no join token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No token at all, or of a later form.
    #[error(
        "this is no join token: it starts with `et1.`, as `edge-tunnel-server token create` prints it"
    )]
    NoToken,
    /// It lost its end.
    #[error(
        "the join token was cut short: it has {0} characters of {TEXT_LEN}; copy it again, whole"
    )]
    Truncated(usize),
    /// Right length or longer, but not what was issued.
    #[error(
        "the join token was damaged on the way: its check does not match; copy it again, exactly"
    )]
    Damaged,
}

/// Names a token in lists and logs; no secret. 64 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId(u64);

impl TokenId {
    /// A fresh one.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }
}

impl FromStr for TokenId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        // The same 16 digits as a replica's id; one reader for both.
        text.parse::<crate::id::ReplicaId>().map(|id| Self(id.0))
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What proves the right to join. Prints as stars.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; SECRET_LEN]);

impl Secret {
    /// A fresh one, from the thread's cryptographic generator.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// A secret that came over the wire; `None` when it has not [`SECRET_LEN`] bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes, for the wire and for hashing. Never for a log.
    #[must_use]
    pub fn expose(&self) -> &[u8; SECRET_LEN] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A join token. `Debug` masks the secret; [`Token::expose`] is the only way to the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its name.
    pub id: TokenId,
    /// What proves it.
    pub secret: Secret,
    /// The CA to which the server's certificate must lead.
    pub pin: Pin,
}

impl Token {
    /// The text that a person carries to the node.
    #[must_use]
    pub fn expose(&self) -> String {
        let secret = URL_SAFE_NO_PAD.encode(self.secret.expose());
        let body = format!("{PREFIX}.{}.{secret}.{}", self.id, self.pin);
        let check = check(&body);
        format!("{body}.{check}")
    }
}

impl FromStr for Token {
    type Err = TokenError;

    /// Takes the text as [`Token::expose`] gave it; spaces and line ends around it are let through.
    fn from_str(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if !text.starts_with(PREFIX) && !PREFIX.starts_with(text) || text.is_empty() {
            return Err(TokenError::NoToken);
        }
        if text.len() < TEXT_LEN {
            return Err(TokenError::Truncated(text.chars().count()));
        }
        let (body, given) = text.rsplit_once('.').ok_or(TokenError::Damaged)?;
        if text.len() > TEXT_LEN || check(body) != given {
            return Err(TokenError::Damaged);
        }
        let mut parts = body.split('.');
        let (Some(PREFIX), Some(id), Some(secret), Some(pin), None) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) else {
            return Err(TokenError::Damaged);
        };
        let secret = URL_SAFE_NO_PAD
            .decode(secret)
            .ok()
            .and_then(|bytes| Secret::from_bytes(&bytes));
        match (id.parse(), secret, pin.parse()) {
            (Ok(id), Some(secret), Ok(pin)) => Ok(Self { id, secret, pin }),
            _ => Err(TokenError::Damaged),
        }
    }
}

fn check(body: &str) -> String {
    let digest = Sha256::digest(body);
    digest
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token {
            id: TokenId::random(),
            secret: Secret::random(),
            pin: Pin::of_key(b"key"),
        }
    }

    #[test]
    fn a_token_survives_its_text_form() {
        let token = token();
        let text = token.expose();
        assert_eq!(text.len(), TEXT_LEN);
        assert_eq!(text.parse::<Token>(), Ok(token.clone()));
        assert_eq!(format!("  {text}\r\n").parse::<Token>(), Ok(token));
    }

    #[test]
    fn every_truncation_is_told_as_one() {
        let text = token().expose();
        for length in 1..text.len() {
            let cut = text.get(..length).unwrap();
            assert_eq!(
                cut.parse::<Token>(),
                Err(TokenError::Truncated(length)),
                "{cut}"
            );
        }
    }

    #[test]
    fn every_changed_character_is_found() {
        let text = token().expose();
        for index in 4..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[index] = if bytes[index] == b'a' { b'b' } else { b'a' };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(
                changed.parse::<Token>(),
                Err(TokenError::Damaged),
                "{changed}"
            );
        }
        assert_eq!(
            format!("{text}x").parse::<Token>(),
            Err(TokenError::Damaged)
        );
    }

    #[test]
    fn other_texts_are_no_tokens() {
        for other in ["", "  ", "K10abc::node:secret", "hunter2", "ä"] {
            assert_eq!(
                other.parse::<Token>(),
                Err(TokenError::NoToken),
                "{other:?}"
            );
        }
    }

    #[test]
    fn debug_masks_the_secret() {
        let token = token();
        let shown = format!("{token:?}");
        assert!(
            !shown.contains(&URL_SAFE_NO_PAD.encode(token.secret.expose())),
            "{shown}"
        );
        assert!(
            shown.contains("***") && shown.contains(&token.id.to_string()),
            "{shown}"
        );
    }
}

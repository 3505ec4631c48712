//! Where the join token comes from: a file, standard input, the environment. Never an argument.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use edge_tunnel_proto::files::{self, Unread};
use edge_tunnel_proto::identity::{Token, TokenError as ParseError};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tracing::info;

/// The longest text that is read as a token, in bytes; a real one has about a hundred.
const TOKEN_MAX: u64 = 4096;

/// Why there is no token to be had. Each names where it was looked for, by its flag.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file, or standard input, cannot be read.
    #[error("the join token cannot be read from {0}: {1}")]
    Read(String, #[source] io::Error),
    /// A folder, or a pipe, which says everything once: it may be asked several times.
    #[error(
        "{0} is no file; a join token that comes through a pipe is read from standard input (--token-file -)"
    )]
    NoFile(String),
    /// There is nothing in it.
    #[error("{0} holds no join token; make one with `edge-tunnel-server token create`")]
    Empty(String),
    /// Longer than any token.
    #[error("{0} is longer than {TOKEN_MAX} bytes, which no join token is; is it the right file?")]
    TooLong(String),
    /// What was read is no token.
    #[error("the join token in {0} cannot be used: {1}")]
    Unfit(String, #[source] ParseError),
}

/// A token's text. Prints masked.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenText(String);

impl TokenText {
    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for TokenText {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.trim().to_owned()))
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<join token>")
    }
}

/// Where a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// In a file.
    File(PathBuf),
    /// On standard input.
    Stdin,
    /// Here: it was in the environment.
    Environment(TokenText),
    /// Here: it has come from standard input.
    Piped(TokenText),
}

impl fmt::Display for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the file {} (--token-file)", path.display()),
            Self::Stdin | Self::Piped(_) => f.write_str("standard input (--token-file -)"),
            Self::Environment(_) => f.write_str("EDGE_TUNNEL_TOKEN"),
        }
    }
}

impl TokenSource {
    pub(super) fn from_path(path: PathBuf) -> Self {
        if path.as_os_str() == "-" {
            return Self::Stdin;
        }
        Self::File(path)
    }

    /// What there is to read the token from whenever the agent has to enrol, be it for the tenth time. A file is left
    /// where it is, since a better token may be put into it. Standard input says everything once, so it is read here, and
    /// only for an agent that is not `enrolled`: what is there may be a terminal, or meant for others.
    ///
    /// # Errors
    /// When standard input cannot be read, is empty, or is longer than any token.
    pub async fn at_start(self, enrolled: bool) -> Result<Option<Self>, TokenError> {
        self.settle(enrolled, tokio::io::stdin()).await
    }

    async fn settle(
        self,
        enrolled: bool,
        stdin: impl AsyncRead + Unpin,
    ) -> Result<Option<Self>, TokenError> {
        match self {
            Self::Stdin if enrolled => Ok(None),
            Self::Stdin => {
                info!("waiting for the join token on standard input, and for its end");
                let text = read(Self::Stdin.to_string(), stdin).await?;
                Ok(Some(Self::Piped(text)))
            }
            source => Ok(Some(source)),
        }
    }

    /// Reads the token. Only called when the agent has to enrol.
    ///
    /// # Errors
    /// When it cannot be read, is empty, or is no token.
    pub async fn token(&self) -> Result<Token, TokenError> {
        let text = self.read().await?;
        let token = text.expose().parse();
        token.map_err(|error| TokenError::Unfit(self.to_string(), error))
    }

    async fn read(&self) -> Result<TokenText, TokenError> {
        let from = self.to_string();
        match self {
            Self::File(path) => {
                let read = files::read_beside(path, TOKEN_MAX).await;
                match read.and_then(|bytes| files::text(&bytes)) {
                    Ok(text) => check(from, &text),
                    Err(Unread::Io(error)) => Err(TokenError::Read(from, error)),
                    Err(Unread::NoFile) => Err(TokenError::NoFile(from)),
                    Err(Unread::TooLarge(_)) => Err(TokenError::TooLong(from)),
                    Err(error @ Unread::NoText) => {
                        Err(TokenError::Read(from, io::Error::other(error)))
                    }
                }
            }
            Self::Stdin => read(from, tokio::io::stdin()).await,
            Self::Environment(text) | Self::Piped(text) => check(from, text.expose()),
        }
    }
}

async fn read(from: String, source: impl AsyncRead + Unpin) -> Result<TokenText, TokenError> {
    let mut text = String::new();
    match source.take(TOKEN_MAX + 1).read_to_string(&mut text).await {
        Ok(_length) => check(from, &text),
        Err(error) => Err(TokenError::Read(from, error)),
    }
}

fn check(from: String, text: &str) -> Result<TokenText, TokenError> {
    if text.len() as u64 > TOKEN_MAX {
        return Err(TokenError::TooLong(from));
    }
    match text.trim() {
        "" => Err(TokenError::Empty(from)),
        token => Ok(TokenText(token.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_read_trimmed_and_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let source = TokenSource::from_path(path.clone());
        assert!(matches!(source.read().await, Err(TokenError::Read(..))));
        std::fs::write(&path, " et1.abc\n").unwrap();
        let token = source.read().await.unwrap();
        assert_eq!(token.expose(), "et1.abc");
        assert_eq!(format!("{token:?}"), "<join token>");
        std::fs::write(&path, "\u{feff}et1.abc\r\n").unwrap();
        assert_eq!(source.read().await.unwrap().expose(), "et1.abc");
        std::fs::write(&path, "\n").unwrap();
        assert!(matches!(source.read().await, Err(TokenError::Empty(_))));
        std::fs::write(&path, "x".repeat(4097)).unwrap();
        assert!(matches!(source.read().await, Err(TokenError::TooLong(_))));
        std::fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(matches!(source.read().await, Err(TokenError::NoFile(_))));
    }

    #[tokio::test]
    async fn a_dash_is_standard_input_and_the_environment_is_read_as_it_is() {
        assert_eq!(TokenSource::from_path("-".into()), TokenSource::Stdin);
        let text = TokenSource::Environment("et1.abc".parse().unwrap());
        assert_eq!(text.read().await.unwrap().expose(), "et1.abc");
    }

    #[tokio::test]
    async fn whatever_is_wrong_with_a_token_names_the_flag_that_it_came_by() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let file = TokenSource::from_path(path.clone());
        let said = async |source: &TokenSource| source.token().await.unwrap_err().to_string();
        let missing = said(&file).await;
        assert!(missing.contains("--token-file"), "{missing}");
        for bad in ["", "et1.cut", "no token", &"x".repeat(5_000)] {
            std::fs::write(&path, bad).unwrap();
            let said = said(&file).await;
            assert!(said.contains("--token-file"), "{said}");
            assert!(said.contains(&path.display().to_string()), "{said}");
        }
        let cut: TokenText = "et1.cut".parse().unwrap();
        let piped = said(&TokenSource::Piped(cut.clone())).await;
        assert!(piped.contains("--token-file -"), "{piped}");
        let environment = said(&TokenSource::Environment(cut)).await;
        assert!(environment.contains("EDGE_TUNNEL_TOKEN"), "{environment}");
    }

    #[tokio::test]
    async fn standard_input_is_read_once_and_its_token_good_for_every_attempt() {
        let mut piped = &b"et1.abc\n"[..];
        let source = TokenSource::Stdin.settle(false, &mut piped).await.unwrap();
        assert!(piped.is_empty(), "nothing is left for another reading");
        let source = source.unwrap();
        for attempt in 1..3 {
            let token = source.read().await.unwrap();
            assert_eq!(token.expose(), "et1.abc", "attempt {attempt}");
        }
        let nothing = TokenSource::Stdin.settle(false, &b""[..]).await;
        assert!(nothing.is_err_and(|error| {
            error
                .to_string()
                .starts_with("standard input (--token-file -) holds no")
        }));
    }

    #[tokio::test]
    async fn an_enrolled_agent_leaves_standard_input_alone_and_keeps_its_file() {
        let mut piped = &b"et1.abc\n"[..];
        let source = TokenSource::Stdin.settle(true, &mut piped).await.unwrap();
        assert_eq!((source, piped.len()), (None, 8));
        let file = TokenSource::from_path("token".into());
        let kept = file.clone().settle(true, &mut piped).await.unwrap();
        assert_eq!((kept, piped.len()), (Some(file), 8));
    }
}

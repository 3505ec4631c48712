//! Why this node's identity cannot be used or had.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use edge_tunnel_proto::code::Code;

/// Why the agent's identity cannot be used or had. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The folder, or a file in it, cannot be read or written.
    #[error("{path} cannot be used: {error}; {}", advice(.error))]
    Folder {
        /// The folder or the file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Another agent has the folder.
    #[error(
        "another edge-tunnel-agent runs on {path} already; stop it, or give this one another --state-dir, and a name of its \
         own"
    )]
    Shared {
        /// The folder.
        path: PathBuf,
    },
    /// A file holds something else than expected.
    #[error(
        "{path} cannot be used: {reason}; restore it, or remove {} from that folder and restart the agent with a new join \
         token (`edge-tunnel-server token create --node NAME --replace`)",
        removed(.path)
    )]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// There is no certificate yet.
    #[error(
        "this node has no certificate yet; give the agent a join token (`edge-tunnel-server token create`)"
    )]
    NotEnrolled,
    /// There is no bundle, so no server can be believed.
    #[error(
        "this node has a certificate but no bundle.pem, so it can believe no server; restore it, or remove certificate.pem \
         from the state folder (--state-dir) and restart the agent with a new join token (`edge-tunnel-server token \
         create --node NAME --replace`)"
    )]
    NoBundle,
    /// The server said no.
    #[error("the server issued no certificate ({code}): {message}")]
    Refused {
        /// Why, for programs.
        code: Code,
        /// Why, and what to do, for people.
        message: String,
        /// When to ask again; `None`: not before someone has done something about it.
        retry_after: Option<Duration>,
    },
    /// The server's answer makes no sense.
    #[error("the server's answer to the request for a certificate cannot be used: {0}")]
    Answer(String),
    /// Making a key or a request failed.
    #[error("a key or a certificate request could not be made: {0}")]
    Crypto(rcgen::Error),
    /// The task that writes the files died.
    #[error("the new certificate could not be kept: {0}")]
    Keep(#[from] tokio::task::JoinError),
}

impl IdentityError {
    /// When the server wants to be asked again, if it has said.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// What to do about an error of the system.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room on the disk that holds the state folder (--state-dir); the agent tries again by itself while it runs"
        }
        _ => "the state folder (--state-dir) must be writable for the agent's user",
    }
}

/// What has to go with a file that is of no use: a token is read only while there is no certificate, and a certificate is
/// of no use without the key that it was issued for.
fn removed(file: &Path) -> &'static str {
    match file.file_name().and_then(|name| name.to_str()) {
        Some("key.pem") => "key.pem and certificate.pem",
        Some("bundle.pem") => "bundle.pem and certificate.pem",
        _ => "certificate.pem",
    }
}

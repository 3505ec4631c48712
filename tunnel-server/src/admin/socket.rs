//! The admin socket: `STATE/admin.sock`, for whoever may open it (mode 0600). HTTP/1.1 with JSON, so that curl can
//! speak it too:
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /v1/nodes` | `[NodeStatus]` |
//! | `POST /v1/nodes/NAME/revoke` | `RevokedNode` |
//! | `GET /v1/tokens`, `POST /v1/tokens` with `NewToken` | `[TokenStatus]`, `CreatedToken` |
//! | `DELETE /v1/tokens/ID` | `null` |
//! | `POST /v1/clients` with `NewClient` | `IssuedClient` |
//! | `GET /v1/ca`, `POST /v1/ca/rotate/STEP`, and `?now` behind it for one that does not wait | `CaStatus` |
//!
//! Errors are `{"error": TEXT}` with a fitting status. The shapes are those of [`control`](super::control).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use super::control::Control;
use super::http1;
use crate::ingress::unix::file::SocketFile;

mod api;

/// The socket's name in the state folder.
pub const SOCKET_FILE: &str = "admin.sock";

/// Its owner alone may connect.
const MODE: u32 = 0o600;

/// The longest path of a state folder, in bytes, that leaves room for `/admin.sock.` and a process id of 7 digits: the
/// kernel's are below 2^22.
const STATE_DIR_MAX: usize = 107 - "/admin.sock.4194304".len();

/// Why the socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody answers on it.
    #[error(
        "another edge-tunnel-server runs on {0} already; stop it, or give this one another --state-dir"
    )]
    InUse(PathBuf),
    /// Its path is longer than the kernel takes (`unix(7)`: `sun_path` has 108 bytes, the last of them 0).
    #[error(
        "the admin socket {0} cannot be made: its path would be too long for a unix socket, which has at most 107 bytes; \
         give a --state-dir of at most {STATE_DIR_MAX} bytes"
    )]
    TooLong(PathBuf),
    /// The file system says no.
    #[error(
        "the admin socket {0} cannot be made: {1}; the state folder (--state-dir) must be writable for the user that the \
         server runs as"
    )]
    Io(PathBuf, io::Error),
}

/// A bound admin socket. Its file goes when this drops, unless a successor has replaced it.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    file: SocketFile,
}

impl AdminSocket {
    /// Binds the socket in `state_dir`. A file that is left of a dead server is replaced, one on which somebody
    /// answers is not. Call it within a tokio runtime.
    ///
    /// # Errors
    /// [`SocketError::InUse`] when another server answers, [`SocketError::TooLong`] when the folder's path is, else what
    /// the file system says.
    pub fn bind(state_dir: &Path) -> Result<Self, SocketError> {
        let path = state_dir.join(SOCKET_FILE);
        match SocketFile::bind(&path, MODE) {
            Ok((listener, file)) => Ok(Self { listener, file }),
            Err(error) => Err(match error.kind() {
                io::ErrorKind::AddrInUse => SocketError::InUse(path),
                io::ErrorKind::InvalidInput => SocketError::TooLong(path),
                _ => SocketError::Io(path, error),
            }),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Answers commands until `stop`, then removes the file.
    pub async fn serve<C: Control>(self, control: Arc<C>, stop: CancellationToken) {
        let Self { listener, file } = self;
        let answer = move |request| api::answer(Arc::clone(&control), request);
        http1::serve(http1::Listener::Unix(listener), answer, stop).await;
        drop(file);
    }
}

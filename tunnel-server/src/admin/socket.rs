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
//! | `GET /v1/ca`, `POST /v1/ca/rotate/STEP` | `CaStatus` |
//!
//! Errors are `{"error": TEXT}` with a fitting status. The shapes are those of [`control`](super::control).

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use super::control::Control;
use super::http1;

mod api;

/// The socket's name in the state folder.
pub const SOCKET_FILE: &str = "admin.sock";

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

#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: u64,
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
        if UnixStream::connect(&path).is_ok() {
            return Err(SocketError::InUse(path));
        }
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::InvalidInput => SocketError::TooLong(path.clone()),
            _ => SocketError::Io(path.clone(), error),
        };
        // Made under another name and moved when its mode is right: between bind(2) and chmod(2) anybody might
        // connect. The move also replaces a stale file in one step.
        let fresh = state_dir.join(format!("{SOCKET_FILE}.{}", std::process::id()));
        remove(&fresh).map_err(failed)?;
        let listener = UnixListener::bind(&fresh).map_err(failed)?;
        let finish = || {
            std::fs::set_permissions(&fresh, Permissions::from_mode(0o600))?;
            let inode = std::fs::metadata(&fresh)?.ino();
            std::fs::rename(&fresh, &path)?;
            Ok(inode)
        };
        match finish() {
            Ok(inode) => Ok(Self {
                listener,
                file: SocketFile { path, inode },
            }),
            Err(error) => {
                let _left = remove(&fresh);
                Err(failed(error))
            }
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// Answers commands until `stop`, then removes the file.
    pub async fn serve<C: Control>(self, control: Arc<C>, stop: CancellationToken) {
        let Self { listener, file } = self;
        let answer = move |request| api::answer(Arc::clone(&control), request);
        http1::serve(http1::Listener::Unix(listener), answer, stop).await;
        drop(file);
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = std::fs::metadata(&self.path).is_ok_and(|now| now.ino() == self.inode);
        if ours && let Err(error) = remove(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the admin socket's file cannot be removed");
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

//! The unix socket listener of callers.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use tokio::net::{UnixListener, UnixStream};

use super::accept::Listener;
use super::bind::Error;
use file::SocketFile;

pub mod file;

/// Owner and group may connect: whoever can, reaches every port of every node unless `callers` says less.
const MODE: u32 = 0o660;

/// A bound unix socket. Its file goes when this drops.
#[derive(Debug)]
pub struct Unix {
    listener: UnixListener,
    file: SocketFile,
}

impl Unix {
    /// Listens on a socket file at `path`. Must be called inside a runtime.
    ///
    /// # Errors
    /// The path is no socket, a living process answers there, or the file cannot be made; the text names
    /// `flag`, which gave it.
    pub fn bind(path: &Path, flag: &'static str) -> Result<Self, Error> {
        SocketFile::bind(path, MODE)
            .map(|(listener, file)| Self { listener, file })
            .map_err(|source| Error::new(path.display().to_string(), flag, source))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }
}

impl Listener for Unix {
    type Io = UnixStream;

    async fn accept(&self) -> io::Result<(UnixStream, Option<SocketAddr>)> {
        let (stream, _) = self.listener.accept().await?;
        Ok((stream, None))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_living_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("connect.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let unix = Unix::bind(&path, "--connect-uds").unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            MODE
        );
        let error = Unix::bind(&path, "--connect-uds").unwrap_err().to_string();
        assert!(
            error.contains("--connect-uds") && error.contains("living process"),
            "{error}"
        );
        drop(unix);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_path_that_is_too_long_says_how_long_it_may_be() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x".repeat(120));
        let error = Unix::bind(&path, "--connect-uds").unwrap_err().to_string();
        assert!(error.contains("at most 107 bytes"), "{error}");
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("precious");
        std::fs::write(&path, "data").unwrap();
        assert!(
            Unix::bind(&path, "--connect-uds")
                .unwrap_err()
                .to_string()
                .contains("no socket")
        );
        assert_eq!(std::fs::read(&path).unwrap(), b"data");
    }

    #[tokio::test]
    async fn a_successors_file_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("connect.sock");
        let old = Unix::bind(&path, "--connect-uds").unwrap();
        std::fs::remove_file(&path).unwrap();
        let _new = Unix::bind(&path, "--connect-uds").unwrap();
        drop(old);
        assert!(path.exists());
    }
}

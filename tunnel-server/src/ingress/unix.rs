//! The unix socket listener: its file appears with its final permissions, replaces a dead one, and never a
//! living one.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

use super::accept::Listener;
use super::bind::Error;

/// Owner and group may connect: whoever can, reaches every port of every node unless `callers` says less.
const MODE: u32 = 0o660;

/// A bound unix socket. Its file goes when this drops.
#[derive(Debug)]
pub struct Unix {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of our file, so that a successor's is left alone.
    id: (u64, u64),
}

impl Unix {
    /// Listens on a socket file at `path`. Must be called inside a runtime.
    ///
    /// # Errors
    /// The path is no socket, a living process answers there, or the file cannot be made; the text names
    /// `flag`, which gave it.
    pub fn bind(path: &Path, flag: &'static str) -> Result<Self, Error> {
        bind(path).map_err(|source| Error::new(path.display().to_string(), flag, source))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn bind(path: &Path) -> io::Result<Unix> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if !meta.file_type().is_socket() => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "there is a file that is no socket",
            ));
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "a living process answers there",
            ));
        }
        // A dead socket file is replaced below; a missing folder is the bind's error.
        Ok(_) | Err(_) => {}
    }
    // Bound under another name first: between bind and chmod the file has the umask's permissions, and a
    // rename puts it in place at once.
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&new)?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(MODE))?;
    std::fs::rename(&new, path)?;
    let meta = std::fs::symlink_metadata(path)?;
    Ok(Unix {
        listener,
        path: path.to_owned(),
        id: (meta.dev(), meta.ino()),
    })
}

impl Drop for Unix {
    fn drop(&mut self) {
        let current = std::fs::symlink_metadata(&self.path).map(|meta| (meta.dev(), meta.ino()));
        if current.is_ok_and(|id| id == self.id) {
            // Nothing to do about a folder that turned read-only; the next start replaces a dead file.
            let _ = std::fs::remove_file(&self.path);
        }
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

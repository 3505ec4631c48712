//! A unix socket's file: it appears with its final permissions, replaces a dead one and never a living one, and goes
//! with its owner, unless it is a successor's by then.

use std::fs::{Metadata, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// The file of a bound socket. It goes when this drops.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode: another's file may have come to the path.
    id: (u64, u64),
}

impl SocketFile {
    /// Binds a socket at `path`, which appears with `mode`. Must be called inside a runtime.
    ///
    /// # Errors
    /// `AlreadyExists` when there is a file that is no socket, `AddrInUse` when somebody answers there, else what the
    /// file system says; a path of more than 100 bytes or so is too long for a unix socket.
    pub fn bind(path: &Path, mode: u32) -> io::Result<(UnixListener, Self)> {
        match std::fs::symlink_metadata(path) {
            Ok(meta) if !meta.file_type().is_socket() => {
                return Err(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    "there is a file that is no socket",
                ));
            }
            Ok(_) if UnixStream::connect(path).is_ok() => {
                return Err(io::Error::new(
                    io::ErrorKind::AddrInUse,
                    "a living process answers there",
                ));
            }
            // A dead socket file is replaced below; a missing folder is the bind's error.
            Ok(_) | Err(_) => {}
        }
        // Bound under a name of this process's own first: between bind(2) and chmod(2) the file has the umask's
        // permissions, and a rename puts it in place, and a dead one away, at once.
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}", std::process::id()));
        let fresh = path.with_file_name(name);
        remove(&fresh)?;
        let listener = UnixListener::bind(&fresh)?;
        let placed = || {
            std::fs::set_permissions(&fresh, Permissions::from_mode(mode))?;
            // Before the rename: after it the path may be a successor's.
            let id = id(&std::fs::symlink_metadata(&fresh)?);
            std::fs::rename(&fresh, path)?;
            Ok(id)
        };
        match placed() {
            Ok(id) => {
                let path = path.to_owned();
                Ok((listener, Self { path, id }))
            }
            Err(error) => {
                let _left = remove(&fresh);
                Err(error)
            }
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = std::fs::symlink_metadata(&self.path).is_ok_and(|now| id(&now) == self.id);
        if ours && let Err(error) = remove(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a socket's file cannot be removed; the next start replaces it");
        }
    }
}

fn id(meta: &Metadata) -> (u64, u64) {
    (meta.dev(), meta.ino())
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_on_another_device_with_the_same_inode_is_not_ours() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.sock");
        let (_listener, mut file) = SocketFile::bind(&path, 0o600).unwrap();
        file.id.0 += 1;
        drop(file);
        assert!(path.exists());
    }
}

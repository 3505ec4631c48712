//! The state folder itself: it is one agent's alone, it must be the agent's to use, and nobody else may write into it.

use std::fmt;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{AccessFlags, Uid, User, eaccess, geteuid};

use super::IdentityError;

/// How often, and how long between, an agent asks for the folder before it says that another has it: one that was
/// killed may still be going, and `check` holds it for a moment to see whether it is held.
const ASKED: u32 = 40;
const PAUSE: Duration = Duration::from_millis(50);

/// Makes the folder if it is missing, for this user alone.
pub(super) fn make(folder: &Path) -> Result<(), IdentityError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| IdentityError::Folder {
        path: folder.to_owned(),
        error,
    })
}

/// The folder is this agent's for as long as this lives: two that share it would shut each other out at the server, as
/// two hosts with one identity. The kernel gives it back when the process ends, however it does (flock(2)).
#[derive(Debug)]
pub struct Lock {
    /// None on a file system that knows no locks.
    _folder: Option<File>,
}

impl Lock {
    /// Takes the folder, which is made if it is missing.
    ///
    /// # Errors
    /// When it cannot be made or opened, or another agent has it.
    pub async fn take(folder: &Path) -> Result<Self, IdentityError> {
        make(folder)?;
        let open = File::open(folder).map_err(|error| IdentityError::Folder {
            path: folder.to_owned(),
            error,
        })?;
        for asked in 1.. {
            match open.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if asked < ASKED => tokio::time::sleep(PAUSE).await,
                Err(TryLockError::WouldBlock) => {
                    return Err(IdentityError::Shared {
                        path: folder.to_owned(),
                    });
                }
                Err(TryLockError::Error(error)) => {
                    let path = folder.display();
                    tracing::debug!(%error, "{path} cannot be locked; two agents on it would not notice each other");
                    return Ok(Self { _folder: None });
                }
            }
        }
        Ok(Self {
            _folder: Some(open),
        })
    }

    /// Whether an agent has the folder now; `false` also where that cannot be told.
    #[must_use]
    pub fn is_taken(folder: &Path) -> bool {
        let tried = File::open(folder).map(|open| open.try_lock_shared());
        matches!(tried, Ok(Err(TryLockError::WouldBlock)))
    }
}

/// What is there to work with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The folder, for this user to read and to write.
    Usable,
    /// None, and this user may make it.
    Missing,
}

/// The folder, or a file in it, is not this user's to use.
#[derive(Debug)]
pub struct Unusable {
    /// What was tried.
    pub path: PathBuf,
    /// Whose it is, if it could be looked at.
    pub owner: Option<String>,
    /// What the system says.
    pub error: io::Error,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(f, "user {} cannot use {path}", user())?;
        if let Some(owner) = &self.owner {
            write!(f, ", which belongs to {owner}")?;
        }
        write!(f, ": {}", self.error)
    }
}

/// Whether this user can do with the folder what an agent does with it; changes nothing.
///
/// # Errors
/// With what is not this user's to use.
pub fn look(folder: &Path) -> Result<Found, Unusable> {
    let (read, write) = (AccessFlags::R_OK, AccessFlags::W_OK | AccessFlags::X_OK);
    match fs::metadata(folder) {
        Ok(metadata) if !metadata.is_dir() => Err(Unusable {
            path: folder.to_owned(),
            owner: None,
            error: io::ErrorKind::NotADirectory.into(),
        }),
        Ok(_) => {
            may(folder, read | write)?;
            for file in ["key.pem", "certificate.pem", "bundle.pem"] {
                let path = folder.join(file);
                match may(&path, read) {
                    Err(unusable) if unusable.error.kind() != io::ErrorKind::NotFound => {
                        return Err(unusable);
                    }
                    _ => {}
                }
            }
            Ok(Found::Usable)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let there = folder.ancestors().skip(1);
            // Of a relative path the last one is the empty one, which is here.
            let named = |path: &Path| match path.as_os_str().is_empty() {
                true => PathBuf::from("."),
                false => path.to_owned(),
            };
            if let Some(parent) = there.map(named).find(|path| path.exists()) {
                may(&parent, write)?;
            }
            Ok(Found::Missing)
        }
        Err(error) => Err(Unusable {
            path: folder.to_owned(),
            owner: None,
            error,
        }),
    }
}

fn may(path: &Path, access: AccessFlags) -> Result<(), Unusable> {
    eaccess(path, access).map_err(|errno| Unusable {
        path: path.to_owned(),
        owner: owner(path),
        error: errno.into(),
    })
}

fn owner(path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    Some(name(Uid::from_raw(metadata.uid())))
}

/// Who else may put something into the folder, and with it another identity, or servers that are to be believed; with
/// what to do about it.
#[must_use]
pub fn open_to_others(folder: &Path) -> Option<String> {
    let metadata = fs::metadata(folder).ok()?;
    let (path, owner) = (folder.display(), Uid::from_raw(metadata.uid()));
    // Root can do everything anyway.
    if owner != geteuid() && !owner.is_root() {
        return Some(format!(
            "{path} belongs to user {0}, but this runs as {1}: {0} can put another identity, or other servers to believe, \
             into it; run the agent, and its check, as {0}, or give it a folder of its own (chown -R {1} {path})",
            name(owner),
            user()
        ));
    }
    let mode = metadata.mode() & 0o7777;
    (mode & 0o022 != 0).then(|| {
        format!(
            "other users of this machine may write into {path} (mode {mode:04o}): they can put another identity, or other \
             servers to believe, into it; shut it with chmod 700 {path}"
        )
    })
}

/// The user that this process runs as.
#[must_use]
pub fn user() -> String {
    name(geteuid())
}

fn name(uid: Uid) -> String {
    match User::from_uid(uid) {
        Ok(Some(user)) => user.name,
        _ => uid.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_folder_is_one_agents_until_that_ends() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("state");
        assert!(!Lock::is_taken(&folder));
        let first = Lock::take(&folder).await.unwrap();
        let mode = fs::metadata(&folder).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o700, "{mode:o}");
        assert!(Lock::is_taken(&folder));
        let refused = Lock::take(&folder).await.unwrap_err().to_string();
        assert!(
            refused.contains("another edge-tunnel-agent runs on")
                && refused.contains("--state-dir"),
            "{refused}"
        );
        drop(first);
        assert!(!Lock::is_taken(&folder));
        Lock::take(&folder).await.unwrap();
    }

    #[test]
    fn a_folder_that_others_may_write_into_is_told_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        for fine in [0o700, 0o755] {
            chmod(folder.path(), fine);
            assert_eq!(open_to_others(folder.path()), None, "{fine:o}");
        }
        for open in [0o777, 0o1777, 0o720, 0o702] {
            chmod(folder.path(), open);
            let said = open_to_others(folder.path()).unwrap();
            assert!(
                said.contains(&format!("{open:04o}")) && said.contains("chmod 700"),
                "{said}"
            );
        }
        assert_eq!(open_to_others(Path::new("/nonexistent")), None);
    }

    #[test]
    fn a_folder_of_another_user_is_told() {
        if !geteuid().is_root() {
            // Only root can give a folder away.
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(folder.path(), Some(12_345), None).unwrap();
        let said = open_to_others(folder.path()).unwrap();
        assert!(
            said.contains("belongs to user 12345") && said.contains("chown -R root"),
            "{said}"
        );
    }

    #[test]
    fn what_is_there_is_looked_at_and_left() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("a/b");
        assert_eq!(look(&folder).unwrap(), Found::Missing);
        assert!(!outer.path().join("a").exists());
        assert_eq!(look(outer.path()).unwrap(), Found::Usable);
        let file = outer.path().join("file");
        fs::write(&file, "").unwrap();
        let said = look(&file).unwrap_err().to_string();
        assert!(
            said.contains(&user()) && said.contains("not a directory"),
            "{said}"
        );
    }
}

//! `edge-tunnel-agent prepare`: makes the state folder somebody's, before the agent runs as that user.
//!
//! Runs as root with no capability but CAP_CHOWN, in an image without a shell: an init container. Such a root may give
//! files away, but may not enter a folder that is another's; so it takes the folder first and gives it back last. While
//! it has the folder, nobody else can change what is in it.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown, lchown,
};
use std::path::{Path, PathBuf};

use nix::libc::{O_DIRECTORY, O_NOFOLLOW};
use nix::unistd::geteuid;

/// For its owner alone.
const MODE: u32 = 0o700;

/// Why the folder is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The path leads elsewhere.
    #[error(
        "{0} is a symbolic link, and what it points at is not given away; name the folder itself with --state-dir"
    )]
    Link(PathBuf),
    /// The path is taken.
    #[error("{0} is no folder; remove it, or choose another --state-dir")]
    NoFolder(PathBuf),
    /// A file that is also somewhere else.
    #[error(
        "{0} has another name elsewhere (a hard link), so it is not given away; replace it by a copy of its own"
    )]
    Shared(PathBuf),
    /// Only root, with its capability, gives files away.
    #[error(
        "{path} cannot be given to user {owner}: {error}; run prepare as root, in a container with the capability CHOWN"
    )]
    Give {
        /// What.
        path: PathBuf,
        /// To whom.
        owner: u32,
        /// What the system says.
        error: io::Error,
    },
    /// Anything else.
    #[error("{path} cannot be {what}: {error}")]
    Io {
        /// Which path.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the system says.
        error: io::Error,
    },
}

/// Makes `folder` if it is missing, and makes it and the files in it `owner`'s, for nobody else to enter. Blocks for a
/// few file operations. Doing it again changes nothing.
///
/// # Errors
/// When that cannot be done. What was done until then stays, and the next time goes on from there.
pub fn prepare(folder: &Path, owner: u32) -> Result<(), PrepareError> {
    // A slash at the end would follow a link.
    let folder: &Path = &folder.components().collect::<PathBuf>();
    make(folder)?;
    let me = geteuid().as_raw();
    let found = fs::symlink_metadata(folder).map_err(failed(folder, "looked at"))?;
    if found.file_type().is_symlink() {
        return Err(PrepareError::Link(folder.to_owned()));
    }
    if !found.is_dir() {
        return Err(PrepareError::NoFolder(folder.to_owned()));
    }
    if found.uid() != me {
        // Of a link that has just taken its place, this is the link.
        lchown(folder, Some(me), None).map_err(not_given(folder, me))?;
    }
    let mut options = OpenOptions::new();
    let options = options.read(true).custom_flags(O_DIRECTORY | O_NOFOLLOW);
    let open = options.open(folder).map_err(failed(folder, "opened"))?;
    let shut = open.set_permissions(Permissions::from_mode(MODE));
    shut.map_err(failed(folder, "shut to others"))?;
    let files = give_files(folder, owner);
    // Also where a file could not be given away: the folder was its owner's before.
    let given = fchown(&open, Some(owner), None).map_err(not_given(folder, owner));
    files.and(given)?;
    sync(&open);
    Ok(())
}

fn make(folder: &Path) -> Result<(), PrepareError> {
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent).map_err(failed(parent, "made"))?;
    }
    match DirBuilder::new().mode(MODE).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(failed(folder, "made")(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Gives the files in the folder away; the agent keeps no folders in it, and links lead to what is another's.
fn give_files(folder: &Path, owner: u32) -> Result<(), PrepareError> {
    for entry in fs::read_dir(folder).map_err(failed(folder, "read"))? {
        let path = entry.map_err(failed(folder, "read"))?.path();
        let found = fs::symlink_metadata(&path).map_err(failed(&path, "looked at"))?;
        if !found.is_file() || found.uid() == owner {
            continue;
        }
        if found.nlink() > 1 {
            return Err(PrepareError::Shared(path));
        }
        lchown(&path, Some(owner), None).map_err(not_given(&path, owner))?;
    }
    Ok(())
}

/// A disk that keeps no folders safe keeps them no worse than without.
fn sync(folder: &File) {
    if let Err(error) = folder.sync_all() {
        tracing::debug!(%error, "the folder is not synced");
    }
}

fn failed(path: &Path, what: &'static str) -> impl Fn(io::Error) -> PrepareError {
    move |error| PrepareError::Io {
        path: path.to_owned(),
        what,
        error,
    }
}

fn not_given(path: &Path, owner: u32) -> impl Fn(io::Error) -> PrepareError {
    move |error| PrepareError::Give {
        path: path.to_owned(),
        owner,
        error,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const OTHER: u32 = 65_532;

    fn mode_and_owner(path: &Path) -> (u32, u32) {
        let found = fs::symlink_metadata(path).unwrap();
        (found.mode() & 0o7777, found.uid())
    }

    fn me() -> u32 {
        geteuid().as_raw()
    }

    #[test]
    fn a_folder_is_made_for_its_owner_alone_and_made_so_again() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("lib/agent");
        prepare(&folder, me()).unwrap();
        assert_eq!(mode_and_owner(&folder), (0o700, me()));
        fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
        fs::write(folder.join("key.pem"), "secret").unwrap();
        prepare(&folder, me()).unwrap();
        assert_eq!(mode_and_owner(&folder), (0o700, me()));
        assert_eq!(fs::read(folder.join("key.pem")).unwrap(), b"secret");
    }

    #[test]
    fn what_is_no_folder_is_refused() {
        let outer = tempfile::tempdir().unwrap();
        let at = |name: &str| outer.path().join(name);
        fs::create_dir(at("real")).unwrap();
        symlink(at("real"), at("link")).unwrap();
        fs::write(at("file"), "").unwrap();
        let before = mode_and_owner(&at("real"));
        let refused = |name| prepare(&at(name), me()).unwrap_err().to_string();
        for link in ["link", "link/", "link/."] {
            assert!(refused(link).contains("is a symbolic link"), "{link}");
        }
        assert!(refused("file").contains("is no folder"));
        let below = refused("file/below");
        assert!(below.contains("cannot be made"), "{below}");
        assert_eq!(mode_and_owner(&at("real")), before);
    }

    /// As root; elsewhere what happens without root is looked at.
    #[test]
    fn files_are_given_away_and_nothing_else_is() {
        let outer = tempfile::tempdir().unwrap();
        let at = |name: &str| outer.path().join(name);
        let folder = at("state");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("key.pem"), "").unwrap();
        fs::write(at("not-ours"), "").unwrap();
        symlink(at("not-ours"), folder.join("link")).unwrap();
        fs::create_dir(folder.join("lost+found")).unwrap();
        if me() != 0 {
            let error = prepare(&folder, OTHER).unwrap_err().to_string();
            assert!(error.contains("capability CHOWN"), "{error}");
            return;
        }
        for _twice in 0..2 {
            prepare(&folder, OTHER).unwrap();
            assert_eq!(mode_and_owner(&folder), (0o700, OTHER));
            assert_eq!(mode_and_owner(&folder.join("key.pem")).1, OTHER);
            for kept in ["state/link", "state/lost+found", "not-ours"] {
                assert_eq!(mode_and_owner(&at(kept)).1, 0, "{kept}");
            }
        }
        fs::hard_link(at("not-ours"), folder.join("shared")).unwrap();
        let error = prepare(&folder, OTHER).unwrap_err().to_string();
        assert!(error.contains("hard link"), "{error}");
        assert_eq!(mode_and_owner(&at("not-ours")).1, 0);
        assert_eq!(mode_and_owner(&folder), (0o700, OTHER));
    }
}

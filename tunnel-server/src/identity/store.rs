//! Where the server keeps what must survive it: registrations, join tokens, its CA. One small store with
//! compare-and-swap, so that several processes may share it; here a folder, one JSON file a key.
//!
//! A write goes to a temporary file beside its target, is synced, and takes the target's place by a rename: a reader
//! sees the old file or the new one, never half of one. Writers hold the folder's lock file (`flock`, which the kernel
//! releases when its holder dies) for the moment between looking at the version and the rename.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use edge_tunnel_proto::files::{self, Unread};
use edge_tunnel_proto::id::RequestId;
use edge_tunnel_proto::identity::{TEMPORARY, write_private};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

mod error;
mod key;

pub use error::StoreError;
pub(super) use key::{Key, Kind};

/// The largest file that is read, in bytes: a token of 5,000 uses, all redeemed, stays below, and so do the last visits of
/// 20,000 nodes.
const FILE_MAX: u64 = 16 * 1024 * 1024;

/// How often an update is tried again when another writer came between.
const ATTEMPTS: usize = 64;

const LOCK: &str = ".lock";

/// Which state of a value was read; a write names the one that it replaces. Never the same twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Version(String);

/// A value and its version, as they stand in a file.
#[derive(Serialize, Deserialize)]
struct Entry<T> {
    version: Version,
    value: T,
}

/// The folder. Cheap to clone. Every operation is a few file operations and blocks for as long.
#[derive(Debug, Clone)]
pub(super) struct Store {
    folder: Arc<Path>,
}

impl Store {
    /// Opens the folder, creates what is missing (mode 0700) and checks that it can be written.
    pub(super) fn open(folder: &Path) -> Result<Self, StoreError> {
        let store = Self {
            folder: folder.into(),
        };
        for path in store.folders() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .map_err(|error| StoreError::Open { path, error })?;
        }
        store.sweep()?;
        Ok(store)
    }

    /// Where it is.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    fn folders(&self) -> [PathBuf; 3] {
        let of = |kind: Kind| self.folder.join(kind.folder());
        [
            self.folder.to_path_buf(),
            of(Kind::Registration),
            of(Kind::Token),
        ]
    }

    /// Removes what a writer that died has left. Under the lock no temporary file is anyone's.
    fn sweep(&self) -> Result<(), StoreError> {
        let _lock = self.lock()?;
        for folder in self.folders() {
            let failed = |path: &Path| {
                let path = path.to_owned();
                move |error| StoreError::Open { path, error }
            };
            for entry in fs::read_dir(&folder).map_err(failed(&folder))? {
                let entry = entry.map_err(failed(&folder))?;
                if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                    let path = entry.path();
                    fs::remove_file(&path).map_err(failed(&path))?;
                }
            }
        }
        Ok(())
    }

    /// The value under `key` and its version.
    pub(super) fn read<T: DeserializeOwned>(
        &self,
        key: &Key,
    ) -> Result<Option<(T, Version)>, StoreError> {
        let path = self.path(key);
        let damaged = |path, reason| StoreError::Damaged {
            path,
            reason,
            otherwise: key.otherwise(),
        };
        let bytes = match files::read(&path, FILE_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.is_missing() => return Ok(None),
            Err(Unread::Io(error)) => {
                return Err(match fs::metadata(&path) {
                    Ok(_) => StoreError::unopened(path, error),
                    // To ask needs nothing of the file itself: it is the folder, or the disk.
                    Err(error) => StoreError::Read { path, error },
                });
            }
            Err(error) => return Err(damaged(path, error.to_string())),
        };
        decode(&bytes)
            .map(Some)
            .map_err(|error| damaged(path, error.to_string()))
    }

    /// Puts `value` in the place of the state `expected` (`None`: in the place of nothing), mode 0600.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when another state stands there; nothing is changed then.
    pub(super) fn write<T: Serialize>(
        &self,
        key: &Key,
        value: &T,
        expected: Option<&Version>,
    ) -> Result<Version, StoreError> {
        let version = Version(RequestId::random().to_string());
        let json = self.json(key, value, &version)?;
        let _lock = self.lock()?;
        self.expect(key, expected)?;
        self.write_json(key, &json)?;
        Ok(version)
    }

    /// Puts `value` in the place of whatever stands there, be it damaged: for what nobody decides by.
    pub(super) fn put<T: Serialize>(&self, key: &Key, value: &T) -> Result<(), StoreError> {
        let json = self.json(key, value, &Version(RequestId::random().to_string()))?;
        let _lock = self.lock()?;
        self.write_json(key, &json)
    }

    fn json<T: Serialize>(
        &self,
        key: &Key,
        value: &T,
        version: &Version,
    ) -> Result<Vec<u8>, StoreError> {
        encode(value, version).map_err(|error| StoreError::Write {
            path: self.path(key),
            error: error.into(),
        })
    }

    fn write_json(&self, key: &Key, json: &[u8]) -> Result<(), StoreError> {
        let path = self.path(key);
        write_private(&path, json).map_err(|error| StoreError::Write { path, error })
    }

    /// Removes the state `expected`.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when another state stands there.
    pub(super) fn remove(&self, key: &Key, expected: &Version) -> Result<(), StoreError> {
        let path = self.path(key);
        let _lock = self.lock()?;
        self.expect(key, Some(expected))?;
        fs::remove_file(&path).map_err(|error| StoreError::Write { path, error })
    }

    /// Reads, lets `change` decide, and writes; again from the start when another writer came between. `change` gives
    /// `None` for the value to leave all as it is.
    pub(super) fn update<T, R, E>(
        &self,
        key: &Key,
        mut change: impl FnMut(Option<T>) -> Result<(Option<T>, R), E>,
    ) -> Result<R, E>
    where
        T: Serialize + DeserializeOwned,
        E: From<StoreError>,
    {
        for _ in 0..ATTEMPTS {
            let (value, version) = self.read::<T>(key)?.unzip();
            let (value, result) = change(value)?;
            let Some(value) = value else {
                return Ok(result);
            };
            match self.write(key, &value, version.as_ref()) {
                Ok(_) => return Ok(result),
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Conflict {
            path: self.path(key),
        }
        .into())
    }

    /// The names of all keys of one kind.
    pub(super) fn names(&self, kind: Kind) -> Result<Vec<String>, StoreError> {
        let path = self.folder.join(kind.folder());
        let names = || -> io::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in fs::read_dir(&path)? {
                let name = entry?.file_name().to_string_lossy().into_owned();
                // Neither nodes nor tokens have names that start with a dot; editors and writers do.
                if !name.starts_with('.') {
                    names.push(name);
                }
            }
            Ok(names)
        };
        names().map_err(|error| StoreError::Read {
            path: path.clone(),
            error,
        })
    }

    fn expect(&self, key: &Key, expected: Option<&Version>) -> Result<(), StoreError> {
        let found = self
            .read::<serde::de::IgnoredAny>(key)?
            .map(|(_, version)| version);
        if found.as_ref() == expected {
            Ok(())
        } else {
            Err(StoreError::Conflict {
                path: self.path(key),
            })
        }
    }

    /// Waits for the folder's lock; it is given back when the file is dropped.
    fn lock(&self) -> Result<File, StoreError> {
        let path = self.folder.join(LOCK);
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path)
            .and_then(|file| file.lock().map(|()| file))
            .map_err(|error| StoreError::Open { path, error })
    }

    /// Says so where others can read what only this server should.
    pub(super) fn warn_if_open(&self, key: &Key) {
        let path = self.path(key);
        let mode = fs::metadata(&path).map_or(0, |metadata| metadata.permissions().mode());
        if mode & 0o077 != 0 {
            let path = path.display();
            tracing::warn!("{path} can be read by other users of this machine; give it mode 0600");
        }
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.folder.join(key.path())
    }
}

/// A value and its version out of a file's bytes.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<(T, Version)> {
    serde_json::from_slice(bytes).map(|Entry { version, value }| (value, version))
}

/// The bytes of the file for a value.
pub(super) fn encode<T: Serialize>(value: &T, version: &Version) -> serde_json::Result<Vec<u8>> {
    let version = version.clone();
    serde_json::to_vec_pretty(&Entry { version, value })
}

#[cfg(test)]
mod tests;

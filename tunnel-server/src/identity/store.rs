//! Where the server keeps what must survive it: registrations, join tokens, its CA. One small store with
//! compare-and-swap, so that several processes may share it; here a folder, one JSON file a key.
//!
//! A write goes to a temporary file beside its target, is synced, and takes the target's place by a rename: a reader
//! sees the old file or the new one, never half of one. Writers hold the folder's lock file (`flock`, which the kernel
//! releases when its holder dies) for the moment between looking at the version and the rename.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use edge_tunnel_proto::id::RequestId;
use edge_tunnel_proto::identity::{TEMPORARY, write_private};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

mod key;

pub(super) use key::{Key, Kind};

/// The largest file that is read, in bytes: a token of 5,000 uses, all redeemed, stays below.
const FILE_MAX: u64 = 4 * 1024 * 1024;

/// How often an update is tried again when another writer came between.
const ATTEMPTS: usize = 64;

const LOCK: &str = ".lock";

/// Why the store failed. Each names the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder cannot be used.
    #[error(
        "the state folder {path} cannot be used: {error}; it must exist or be creatable, and be writable for the user \
         that the server runs as (--state-dir)"
    )]
    Open {
        /// The folder, or what in it.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file cannot be read.
    #[error("{path} cannot be read: {error}; check its owner and mode")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file cannot be written.
    #[error("{path} cannot be written: {error}; check the space and the mode of the state folder")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file holds something else than the server wrote.
    #[error(
        "{path} is damaged: {reason}; restore it from a backup, or move it away and register or create anew"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Another writer was faster.
    #[error("{path} was changed by another process at the same time; try again")]
    Conflict {
        /// The file.
        path: PathBuf,
    },
}

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
        store.sweep().map_err(|error| StoreError::Open {
            path: folder.to_owned(),
            error,
        })?;
        Ok(store)
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
    fn sweep(&self) -> io::Result<()> {
        let _lock = self.lock()?;
        for folder in self.folders() {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                    fs::remove_file(entry.path())?;
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
        let mut bytes = Vec::new();
        match File::open(&path).and_then(|file| file.take(FILE_MAX + 1).read_to_end(&mut bytes)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::Read { path, error }),
            Ok(_) => {}
        }
        if bytes.len() as u64 > FILE_MAX {
            let reason = format!("it is larger than {FILE_MAX} bytes");
            return Err(StoreError::Damaged { path, reason });
        }
        match serde_json::from_slice::<Entry<T>>(&bytes) {
            Ok(Entry { version, value }) => Ok(Some((value, version))),
            Err(error) => Err(StoreError::Damaged {
                path,
                reason: error.to_string(),
            }),
        }
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
        let path = self.path(key);
        let failed = |error| StoreError::Write {
            path: path.clone(),
            error,
        };
        let version = Version(RequestId::random().to_string());
        let entry = Entry {
            version: version.clone(),
            value,
        };
        let json = serde_json::to_vec_pretty(&entry).map_err(|error| failed(error.into()))?;
        let _lock = self.lock().map_err(failed)?;
        self.expect(key, expected)?;
        write_private(&path, &json).map_err(failed)?;
        Ok(version)
    }

    /// Removes the state `expected`.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when another state stands there.
    pub(super) fn remove(&self, key: &Key, expected: &Version) -> Result<(), StoreError> {
        let path = self.path(key);
        let _lock = self.lock().map_err(|error| StoreError::Write {
            path: path.clone(),
            error,
        })?;
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
    fn lock(&self) -> io::Result<File> {
        let path = self.folder.join(LOCK);
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)?;
        file.lock()?;
        Ok(file)
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.folder.join(&key.0)
    }
}

#[cfg(test)]
mod tests;

//! One reading of the directory: all keys of one moment.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use edge_tunnel_proto::files::{self, Unread};

use crate::route::index::Content;
use crate::route::keys::Key;

/// The largest file that is read: a whole ConfigMap has at most 1 MiB (etcd's limit).
const FILE_MAX: u64 = 1 << 20;
/// How many names of files that are no key are kept for the log.
const STRANGERS_MAX: usize = 20;
/// The symlink that a mounted ConfigMap swaps (kubernetes `pkg/volume/util/atomic_writer.go`).
const DATA: &str = "..data";
/// How often a reading is begun anew when the mount is swapped under it.
const ATTEMPTS: usize = 5;

/// What a directory holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Every key.
    pub(super) keys: Vec<(Key, Content)>,
    /// Files that are no key, for a person who misspelt one.
    pub(super) strangers: BTreeSet<String>,
}

pub(super) async fn read(dir: &Path) -> io::Result<Found> {
    for _ in 1..ATTEMPTS {
        let before = generation(dir).await?;
        let found = read_once(before.as_deref().unwrap_or(dir)).await;
        // The old folder is deleted after a swap: its keys would read as absent.
        if generation(dir).await? == before {
            return found;
        }
    }
    read_once(dir).await
}

/// The timestamped folder of a mounted ConfigMap; `None` for files by hand.
async fn generation(dir: &Path) -> io::Result<Option<PathBuf>> {
    match tokio::fs::read_link(dir.join(DATA)).await {
        Ok(target) => Ok(Some(dir.join(target))),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::InvalidInput
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn read_once(dir: &Path) -> io::Result<Found> {
    let mut strangers = BTreeSet::new();
    let mut entries = tokio::fs::read_dir(dir).await?;
    while let Some(entry) = entries.next_entry().await? {
        let name = entry.file_name().to_string_lossy().into_owned();
        // Hidden files are a mount's and editors' own, and so are backups.
        let own = name.starts_with('.') || name.ends_with('~') || Key::from_name(&name).is_some();
        if !own && strangers.len() < STRANGERS_MAX {
            strangers.insert(name);
        }
    }
    let mut keys = Vec::with_capacity(Key::ALL.len());
    for key in Key::ALL {
        let content = match read_file(&dir.join(key.name())).await {
            Ok(text) => Content::Text(text),
            Err(error) if error.is_missing() => Content::Absent,
            Err(error) => Content::Unreadable(error.to_string()),
        };
        keys.push((key, content));
    }
    Ok(Found { keys, strangers })
}

async fn read_file(path: &Path) -> Result<String, Unread> {
    // What is no text is no good entry either, and is skipped as one.
    files::text(&files::read_beside(path, FILE_MAX).await?)
}

//! The live keys from a directory with one file a key: a mounted ConfigMap, or files by hand.
//!
//! Changes are noticed by the kernel's file notifications, gathered for a moment so that one edit is one
//! reload, and by a slow re-read as a net under them (network file systems notify nobody). A mounted
//! ConfigMap changes by a swap of the symlink `..data` to another timestamped folder; an editor by a rename
//! over the file. So the directory is watched, never a file.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, io};

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::read::Found;
use super::Routes;
use super::index::Index;
use super::keys::Key;
use super::publish::{Metrics, Publisher};

mod read;
#[cfg(test)]
mod tests;

/// How long a change may go on before it is read: a mount's swap and an editor's save are several events.
const GATHER: Duration = Duration::from_millis(100);
/// How often the directory is read without being told.
const NET: Duration = Duration::from_secs(30);

/// Why the keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory itself cannot be read.
    #[error("cannot read the configuration directory {dir} (--config-dir): {source}")]
    Read {
        /// Which.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A directory that was read once and can be followed.
pub struct Source {
    dir: PathBuf,
    index: Index,
    publisher: Publisher,
    last: Found,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

impl Source {
    /// Reads `dir` for the first time.
    ///
    /// # Errors
    /// The directory cannot be read. A single key that cannot is an entry among the table's problems.
    pub async fn open(
        dir: PathBuf,
        mut index: Index,
        metrics: Metrics,
    ) -> Result<(Self, Routes), Error> {
        let found = read::read(&dir).await.map_err(|source| Error::Read {
            dir: dir.clone(),
            source,
        })?;
        index.keys(found.keys.clone());
        let publisher = Publisher::new(index.table(), metrics);
        log_strangers(&dir, &found.strangers);
        let routes = publisher.routes();
        let source = Self {
            dir,
            index,
            publisher,
            last: found,
        };
        Ok((source, routes))
    }

    /// Follows the directory until `shutdown`, and publishes each new table.
    pub async fn run(mut self, shutdown: CancellationToken) {
        // One waiting signal says all there is to say.
        let (signal, mut changed) = mpsc::channel(1);
        let mut watch = Watch::default();
        loop {
            watch.renew(&self.dir, &signal);
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = changed.recv() => {
                    tokio::time::sleep(GATHER).await;
                    let _ = changed.try_recv();
                }
                () = tokio::time::sleep(NET) => {}
            }
            self.reload().await;
        }
    }

    async fn reload(&mut self) {
        let found = match read::read(&self.dir).await {
            Ok(found) => found,
            Err(source) => {
                self.publisher.failed();
                let error = Error::Read {
                    dir: self.dir.clone(),
                    source,
                };
                tracing::error!(%error, "the configuration stays as last read");
                return;
            }
        };
        if found == self.last {
            return;
        }
        if found.strangers != self.last.strangers {
            log_strangers(&self.dir, &found.strangers);
        }
        self.index.keys(found.keys.clone());
        self.last = found;
        let table = self.index.table();
        tracing::info!(dir = %self.dir.display(), problems = table.problems().total(), "configuration changed");
        self.publisher.publish(table);
    }
}

fn log_strangers(dir: &Path, names: &BTreeSet<String>) {
    if !names.is_empty() {
        let keys = Key::ALL.map(Key::name).join(", ");
        tracing::warn!(dir = %dir.display(), ?names, "files that are no key of the configuration; the keys are {keys}");
    }
}

/// The kernel's notifications for one directory. A directory that is replaced takes its watch with it, so
/// the watch is renewed when the path leads to another one.
#[derive(Default)]
struct Watch {
    watcher: Option<RecommendedWatcher>,
    on: Option<(u64, u64)>,
}

impl Watch {
    fn renew(&mut self, dir: &Path, signal: &mpsc::Sender<()>) {
        let on = std::fs::metadata(dir)
            .ok()
            .map(|meta| (meta.dev(), meta.ino()));
        if on == self.on {
            return;
        }
        // Whatever happens, it is tried again only when the path leads elsewhere; the slow re-read goes on.
        self.on = on;
        self.watcher = None;
        if on.is_none() {
            return;
        }
        match start(dir, signal.clone()) {
            Ok(watcher) => self.watcher = Some(watcher),
            Err(error) => {
                let seconds = NET.as_secs();
                tracing::warn!(dir = %dir.display(), %error, "no file notifications; reading every {seconds} s instead");
            }
        }
        // What changed before the watch began told nobody.
        let _ = signal.try_send(());
    }
}

fn start(dir: &Path, signal: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Our own reading opens files, which is an event too: only what can change content counts.
        let quiet = event.is_ok_and(|event| {
            matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write))
        });
        if !quiet {
            let _ = signal.try_send(());
        }
    })?;
    watcher.watch(dir, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

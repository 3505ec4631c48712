//! Why the store failed, and what to do about it.

use std::io;
use std::path::PathBuf;

use nix::libc::{EMFILE, ENFILE};

/// Why the store failed. Each names the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder cannot be used.
    #[error(
        "{path} cannot be used: {error}; {}",
        advice(.error, "the state folder (--state-dir) must exist or be creatable, and be writable for the user that the \
                        server runs as")
    )]
    Open {
        /// The folder, or what in it.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file is there, and not for the server.
    #[error(
        "{path} cannot be opened: {error}; the user that the server runs as must own it, with mode 0600"
    )]
    Closed {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file or a folder cannot be read, which says nothing about this one alone.
    #[error(
        "{path} cannot be read: {error}; {}",
        advice(.error, "check the disk, and the owner and mode of the state folder and of what is in it")
    )]
    Read {
        /// The file or the folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file cannot be written.
    #[error(
        "{path} cannot be written: {error}; {}",
        advice(.error, "check the space and the mode of the state folder")
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file holds something else than the server wrote.
    #[error("{path} is damaged: {reason}; restore it from a backup, or {otherwise}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
        /// What to do without a backup.
        otherwise: &'static str,
    },
    /// Another writer was faster.
    #[error("{path} was changed by another process at the same time; try again")]
    Conflict {
        /// The file.
        path: PathBuf,
    },
}

impl StoreError {
    /// Of a file that is there and was not opened.
    pub(super) fn unopened(path: PathBuf, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::Closed { path, error },
            _ => Self::Read { path, error },
        }
    }

    /// Whether it is a matter of this one file, so that the others are as good as before. A process that is out of open
    /// files, a disk that does not answer or a folder that is closed say nothing about what a file holds.
    #[must_use]
    pub(in crate::identity) const fn is_of_one_file(&self) -> bool {
        matches!(self, Self::Closed { .. } | Self::Damaged { .. })
    }
}

/// What to do about an error of the system: by its kind where that says it, else `usual`.
fn advice(error: &io::Error, usual: &'static str) -> &'static str {
    match (error.raw_os_error(), error.kind()) {
        (Some(EMFILE), _) => {
            "the server may open no more files: raise its limit (ulimit -n; LimitNOFILE in a systemd unit) and restart it"
        }
        (Some(ENFILE), _) => {
            "the whole machine may open no more files: see who holds them, or raise fs.file-max (sysctl)"
        }
        (_, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            "make room on the disk that holds the state folder; nothing was changed, and what was asked for can be asked for again"
        }
        (_, io::ErrorKind::IsADirectory) => {
            "a folder is where the server keeps a file: move it away"
        }
        (_, io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists) => {
            "a file is where the server needs a folder: move it away, or give another --state-dir"
        }
        _ => usual,
    }
}

//! Where `issue-client` puts what it was given: three files, never over existing ones, the key for its owner alone.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;

use super::CliError;
use crate::admin::control::IssuedClient;

/// The files, none of which exists yet.
#[derive(Debug)]
pub(super) struct Files {
    cert: PathBuf,
    key: PathBuf,
    ca: PathBuf,
}

/// What was written where.
#[derive(Debug, Serialize)]
pub(super) struct Kept {
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
    pub(super) ca: PathBuf,
    #[serde(serialize_with = "as_rfc3339")]
    pub(super) expires: SystemTime,
}

fn as_rfc3339<S: serde::Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&edge_tunnel_proto::identity::rfc3339(*time))
}

impl Files {
    /// Makes the folder and looks that nothing is in the way, before a certificate is asked for.
    pub(super) fn in_folder(folder: &Path) -> Result<Self, CliError> {
        let failed = |error| CliError::Folder(folder.to_owned(), error);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(failed)?;
        let files = Self {
            cert: folder.join("client.crt"),
            key: folder.join("client.key"),
            ca: folder.join("ca.crt"),
        };
        for file in [&files.cert, &files.key, &files.ca] {
            if fs::symlink_metadata(file).is_ok() {
                return Err(CliError::Exists(file.clone()));
            }
        }
        Ok(files)
    }

    /// Writes all of them, or leaves none: a part of them would be in the way of the next attempt.
    pub(super) fn keep(self, issued: &IssuedClient) -> Result<Kept, CliError> {
        let contents = [
            (&self.key, &issued.key, 0o600),
            (&self.cert, &issued.cert, 0o644),
            (&self.ca, &issued.ca, 0o644),
        ];
        for (at, (path, text, mode)) in contents.iter().enumerate() {
            if let Err(error) = write(path, text, *mode) {
                for (written, ..) in &contents[..at] {
                    fs::remove_file(written).ok();
                }
                return Err(CliError::Keep((*path).clone(), error));
            }
        }
        Ok(Kept {
            cert: self.cert,
            key: self.key,
            ca: self.ca,
            expires: issued.expires,
        })
    }
}

fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    written.inspect_err(|_failed| {
        fs::remove_file(path).ok();
    })
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn of_files_that_cannot_all_be_written_none_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::in_folder(folder.path()).unwrap();
        // Somebody was faster.
        let theirs = folder.path().join("ca.crt");
        fs::write(&theirs, "theirs").unwrap();
        let issued = IssuedClient {
            cert: "a certificate".to_owned(),
            key: "a key".to_owned(),
            ca: "a CA".to_owned(),
            expires: UNIX_EPOCH,
        };
        let failed = files.keep(&issued).unwrap_err().to_string();
        assert!(
            failed.contains("ca.crt") && failed.contains("again"),
            "{failed}"
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(fs::read(theirs).unwrap(), b"theirs");
    }
}

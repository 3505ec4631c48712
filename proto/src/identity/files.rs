//! How both ends write what must not be read by others, nor be half written: keys, certificates, tokens' records.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::id::RequestId;

/// How the names of files begin that [`write_private`] has not finished; one that stays after a crash may be removed.
pub const TEMPORARY: &str = ".tmp-";

/// Puts `bytes` in the place of the file `path`, mode 0600. A reader, and a machine that loses its power, has the old
/// content or the new one, never half of one.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let temporary = folder.join(format!("{TEMPORARY}{}", RequestId::random()));
    // Opened first: what lacks the descriptor for it must not be told that it failed when it has been done.
    let synced = File::open(folder)?;
    let written = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path))
        // The rename itself must survive a power cut too.
        .and_then(|()| synced.sync_all());
    if written.is_err() {
        // Best effort: what failed is what is reported.
        fs::remove_file(&temporary).ok();
    }
    written
}

//! How both ends read a file that a person, a mount or another program put there: never more of it than a limit, and
//! never anything but a file. A named pipe would hold its reader up until somebody writes, a device has no end.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::libc::O_NONBLOCK;

/// The content of the file at `path`, links followed. Blocks for as long as the disk does.
///
/// # Errors
/// [`Unread::NoFile`] and [`Unread::TooLarge`] are about this one path; of what the system says the kind tells.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Unread> {
    // Asked of what was opened, since the path may lead elsewhere a moment later; without O_NONBLOCK the opening of a
    // named pipe itself would wait.
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(O_NONBLOCK).open(path);
    let file = match file {
        Ok(file) => file,
        // A socket cannot be opened at all (ENXIO).
        Err(_) if path.metadata().is_ok_and(|found| !found.is_file()) => {
            return Err(Unread::NoFile);
        }
        Err(error) => return Err(Unread::Io(error)),
    };
    if !file.metadata()?.is_file() {
        return Err(Unread::NoFile);
    }
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(Unread::TooLarge(limit));
    }
    Ok(bytes)
}

/// As [`read`], beside the runtime's workers.
///
/// # Errors
/// As [`read`].
pub async fn read_beside(path: &Path, limit: u64) -> Result<Vec<u8>, Unread> {
    let path = path.to_owned();
    #[expect(
        clippy::disallowed_methods,
        reason = "reads one small file; whoever asks waits for it"
    )]
    let reading = tokio::task::spawn_blocking(move || read(&path, limit));
    match reading.await {
        Ok(read) => read,
        Err(broken_off) => Err(io::Error::other(broken_off).into()),
    }
}

/// What a person wrote, as text without the mark (U+FEFF) that some editors put before it. Bytes that are no UTF-8 become
/// U+FFFD, which no name and no number has.
///
/// # Errors
/// [`Unread::NoText`] when there is a NUL, as in UTF-16: every line would read as another one.
pub fn text(bytes: &[u8]) -> Result<String, Unread> {
    if bytes.contains(&0) {
        return Err(Unread::NoText);
    }
    let text = String::from_utf8_lossy(bytes);
    Ok(text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned())
}

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// A folder, a pipe, a device or a socket.
    #[error("it is no file")]
    NoFile,
    /// Longer than this many bytes.
    #[error("it is larger than {0} bytes")]
    TooLarge(u64),
    /// Not written for people.
    #[error("there is a NUL in it: it is no text, or in UTF-16; save it as UTF-8")]
    NoText,
    /// What the system says.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Unread {
    /// Whether nothing is there.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use nix::sys::stat::Mode;

    use super::*;

    #[test]
    fn what_is_no_file_is_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        nix::unistd::mkfifo(&at("pipe"), Mode::S_IRWXU).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        symlink("/dev/zero", at("zero")).unwrap();
        symlink(at("pipe"), at("to-pipe")).unwrap();
        for name in ["pipe", "to-pipe", "socket", "zero", "."] {
            let error = read(&at(name), 10).unwrap_err();
            assert!(matches!(error, Unread::NoFile), "{name}: {error}");
        }
        symlink(at("loop"), at("loop")).unwrap();
        for name in ["loop", "missing", "pipe/x"] {
            let error = read(&at(name), 10).unwrap_err();
            assert!(matches!(error, Unread::Io(_)), "{name}: {error}");
            assert_eq!(error.is_missing(), name == "missing", "{error}");
        }
    }

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert!(matches!(read(&path, 4), Err(Unread::TooLarge(4))));
    }

    #[test]
    fn text_is_what_a_person_wrote() {
        assert_eq!(text(b"\xef\xbb\xbfedge-1\r\n").unwrap(), "edge-1\r\n");
        assert_eq!(text(b"a\xffb").unwrap(), "a\u{fffd}b");
        assert!(matches!(text(b"\xff\xfea\0"), Err(Unread::NoText)));
    }
}

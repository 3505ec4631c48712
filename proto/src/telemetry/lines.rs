//! One line of the log is one line, whoever had a part in its words: a line end in a text that came from outside would
//! begin a line of its own, which nobody wrote.

use std::fmt::Write as _;
use std::io::{self, Write};

use tracing_subscriber::fmt::MakeWriter;

/// Standard error, to which each write is one event and the line end behind it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lines;

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

impl Write for Lines {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        match escaped(event) {
            Some(line) => io::stderr().write_all(&line)?,
            None => io::stderr().write_all(event)?,
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// `event` with its control characters written out; `None` where it has none. ESC is left to the subscriber, which colours
/// with it and writes out that of others.
fn escaped(event: &[u8]) -> Option<Vec<u8>> {
    let (body, end) = match event.strip_suffix(b"\n") {
        Some(body) => (body, "\n"),
        None => (event, ""),
    };
    let steers = |byte: &u8| byte.is_ascii_control() && *byte != 0x1b;
    if !body.iter().any(steers) {
        return None;
    }
    let mut line = String::with_capacity(event.len() + 16);
    for c in String::from_utf8_lossy(body).chars() {
        if u8::try_from(c).is_ok_and(|byte| steers(&byte)) {
            // Writing to a String cannot fail.
            let _ = write!(line, "{}", c.escape_default());
        } else {
            line.push(c);
        }
    }
    line.push_str(end);
    Some(line.into_bytes())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::sync::Mutex;

    #[test]
    fn only_what_steers_is_written_out() {
        assert_eq!(escaped(b"plain \x1b[32mgreen\x1b[0m\n"), None);
        assert_eq!(
            escaped("a\r\nb\tc\0d\x7f \u{e9}\n".as_bytes()).unwrap(),
            "a\\r\\nb\\tc\\u{0}d\\u{7f} \u{e9}\n".as_bytes()
        );
    }

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, event: &[u8]) -> io::Result<usize> {
            let line = escaped(event).unwrap_or_else(|| event.to_vec());
            self.0.lock().extend(line);
            Ok(event.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nobody_writes_a_line_of_his_own() {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .finish();
        let evil = "x\r\n2026-01-01T00:00:00Z ERROR edge: the disk burns\x1b[2J\x07\u{9b}31m\n";
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(text = evil, shown = %evil, debug = ?evil, "refused: {evil}");
        });
        let log = String::from_utf8(kept.0.lock().clone()).unwrap();
        assert_eq!(log.matches('\n').count(), 1, "{log:?}");
        assert!(log.ends_with('\n'), "{log:?}");
        let steers = |c: char| c.is_control() && c != '\n';
        assert!(!log.contains(steers), "{log:?}");
    }
}

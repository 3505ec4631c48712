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

/// `event` with its control characters written out; `None` where it has none. Colours stay: the subscriber sets them, and
/// they are all that they can do.
fn escaped(event: &[u8]) -> Option<Vec<u8>> {
    let (body, end) = match event.strip_suffix(b"\n") {
        Some(body) => (body, "\n"),
        None => (event, ""),
    };
    let text = String::from_utf8_lossy(body);
    let steers = |(at, c): &(usize, char)| c.is_control() && !is_colour(&text[*at..]);
    if !text.char_indices().any(|found| steers(&found)) {
        return None;
    }
    let mut line = String::with_capacity(event.len() + 16);
    for found in text.char_indices() {
        if steers(&found) {
            // Writing to a String cannot fail.
            let _ = write!(line, "{}", found.1.escape_default());
        } else {
            line.push(found.1);
        }
    }
    line.push_str(end);
    Some(line.into_bytes())
}

/// Whether `text` begins with a sequence that sets a colour or a weight: ESC, `[`, numbers, `m` (ECMA-48, SGR).
fn is_colour(text: &str) -> bool {
    let Some(sequence) = text.strip_prefix("\x1b[") else {
        return false;
    };
    let numbers = |c: char| c.is_ascii_digit() || c == ';';
    sequence.trim_start_matches(numbers).starts_with('m')
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

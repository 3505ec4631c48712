//! What the programs in this process log, kept so that scenarios can look for a line. Lines of all tests of a process
//! come together: look for a name that is the test's own.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, LazyLock, Once};

use edge_tunnel_proto::sync::Mutex;
use tracing_subscriber::fmt::MakeWriter;

/// How many lines are kept.
const KEPT: usize = 20_000;

static LINES: LazyLock<Arc<Mutex<VecDeque<String>>>> = LazyLock::new(Arc::default);

/// Begins to keep lines of level info and above. With `EDGE_TUNNEL_TEST_LOG` set they go to standard error as well.
pub fn keep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing_subscriber::filter::LevelFilter::INFO)
            .with_writer(Keeper {
                aloud: std::env::var_os("EDGE_TUNNEL_TEST_LOG").is_some(),
            });
        // Another subscriber in this process keeps what this one would.
        let _ = subscriber.try_init();
    });
}

/// The kept lines that hold every one of `words`.
#[must_use]
pub fn with(words: &[&str]) -> Vec<String> {
    let lines = LINES.lock();
    let fits = |line: &&String| words.iter().all(|word| line.contains(word));
    lines.iter().filter(fits).cloned().collect()
}

#[derive(Clone, Copy)]
struct Keeper {
    aloud: bool,
}

impl Write for Keeper {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.aloud {
            io::stderr().write_all(line)?;
        }
        let mut lines = LINES.lock();
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(String::from_utf8_lossy(line).trim_end().to_owned());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Keeper {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

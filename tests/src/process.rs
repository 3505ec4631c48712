//! The programs as they are installed: the binaries that cargo has put beside the tests.

use std::ffi::OsStr;
use std::fmt::Debug;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::wait::{SOON, give_up, within};

mod built;

pub use built::{Built, bound, line};

/// What a binary is looked for under, and what makes a missing one a failure.
pub const REQUIRE: &str = "EDGE_TUNNEL_REQUIRE";

/// The program `name`; `None`, said loudly, when it was not built.
///
/// # Panics
/// When it was not built and `EDGE_TUNNEL_REQUIRE` names `binaries`.
#[must_use]
pub fn binary(name: &str) -> Option<PathBuf> {
    let own = std::env::current_exe().expect("a test knows its own path");
    // target/debug/deps/scenarios-… → target/debug
    let folder = own
        .parent()
        .and_then(|deps| deps.parent())
        .expect("cargo's layout");
    let path = folder.join(name);
    if path.is_file() {
        return Some(path);
    }
    let words = format!("there is no {}; `cargo build` makes it", path.display());
    skip("binaries", &words);
    None
}

/// Says loudly that a test does not run, and why.
///
/// # Panics
/// When `EDGE_TUNNEL_REQUIRE` names `what` is missing.
pub fn skip(what: &str, why: &str) {
    let required = std::env::var(REQUIRE).unwrap_or_default();
    if required.split(',').any(|required| required == what) {
        give_up(format!("{REQUIRE} names {what}, but {why}"));
    }
    #[expect(clippy::print_stderr, reason = "a test that does not run says so")]
    {
        eprintln!("SKIPPED: {why}");
    }
}

/// A command without the environment twins of its flags, which whoever runs the tests may have set.
#[must_use]
pub fn command(program: &PathBuf, words: &[impl AsRef<OsStr>]) -> Command {
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null()).kill_on_drop(true);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("EDGE_TUNNEL_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a program that ends by itself.
///
/// # Panics
/// When it cannot be run, or does not end soon.
pub async fn run(program: &PathBuf, words: &[impl AsRef<OsStr> + Debug]) -> Output {
    let output = command(program, words).output();
    within(&format!("{words:?} ends"), SOON, output)
        .await
        .expect("the program can be run")
}

/// A program that runs until it is told to stop, with its log.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: tokio::io::Lines<BufReader<tokio::process::ChildStderr>>,
    seen: Vec<String>,
}

impl Process {
    /// Starts it.
    ///
    /// # Panics
    /// When it cannot be run.
    #[must_use]
    pub fn start(program: &PathBuf, words: &[impl AsRef<OsStr>]) -> Self {
        let mut child = command(program, words)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program can be run");
        let stderr = child.stderr.take().expect("its standard error is piped");
        Self {
            child,
            log: BufReader::new(stderr).lines(),
            seen: Vec::new(),
        }
    }

    /// Waits for a line of the log with these words.
    ///
    /// # Panics
    /// When it does not come soon.
    pub async fn says(&mut self, words: &str) -> String {
        let Self { log, seen, .. } = self;
        let look = async {
            while let Ok(Some(line)) = log.next_line().await {
                seen.push(line.clone());
                if line.contains(words) {
                    return Some(line);
                }
            }
            None
        };
        match tokio::time::timeout(SOON, look).await {
            Ok(Some(line)) => line,
            _ => give_up(format!(
                "the program does not say {words:?}; it said {seen:#?}"
            )),
        }
    }

    /// Sends a signal, by its name: `STOP`, `CONT`.
    ///
    /// # Panics
    /// When it has ended.
    pub async fn signal(&self, name: &str) {
        signal(&self.child, name).await;
    }

    /// What it has said up to the line that was last waited for.
    #[must_use]
    pub fn seen(&self) -> &[String] {
        &self.seen
    }

    /// Sends SIGTERM and waits for the exit code; none when a signal ended it.
    ///
    /// # Panics
    /// When it does not end soon.
    pub async fn terminate(mut self) -> Option<i32> {
        // What waits in the pipe must not hold it up.
        let drained = async { while let Ok(Some(_)) = self.log.next_line().await {} };
        let ended = async {
            signal(&self.child, "TERM").await;
            self.child.wait().await.expect("a child can be waited for")
        };
        let (ended, ()) = within("the program ends", SOON, async {
            tokio::join!(ended, drained)
        })
        .await;
        ended.code()
    }
}

async fn signal(child: &Child, name: &str) {
    let pid = child
        .id()
        .expect("a program that was not waited for has an id");
    let sent = Command::new("sh")
        .args(["-c", &format!("kill -{name} {pid}")])
        .status()
        .await;
    assert!(
        sent.is_ok_and(|sent| sent.success()),
        "SIG{name} cannot be sent"
    );
}

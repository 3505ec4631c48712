//! A server and agents as processes of their own, where what goes wrong is a signal, a limit of the system, or a disk.
//! They write their logs into files, so that nobody has to read along.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::process::Child;

use crate::process::{self, command};
use crate::wait::{SOON, give_up, until, within};

mod cloud;
mod edge;
mod usage;

pub use cloud::Cloud;
pub use edge::Edge;
pub use usage::{Memory, worked};

/// What a program finds around it.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// What runs the shell that becomes the program.
    runner: Vec<&'static str>,
    /// What that shell does first; `$STATE` is the state folder.
    prelude: String,
}

impl Surroundings {
    /// So many open files are allowed, and no more.
    #[must_use]
    pub fn open_files(count: usize) -> Self {
        Self {
            runner: Vec::new(),
            prelude: format!("ulimit -n {count}"),
        }
    }

    /// The state folder is a disk of its own, of this size; `None`, said loudly, where no mounts can be made.
    ///
    /// # Panics
    /// When they cannot and `EDGE_TUNNEL_REQUIRE` names `mounts`.
    pub async fn disk(size: &str) -> Option<Self> {
        // As root; and else as the root of a user namespace, where the system lets everybody have one.
        for flags in ["-m", "-rm"] {
            let words = [flags, "mount", "-t", "tmpfs", "tmpfs", "/mnt"];
            let tried = process::run(&PathBuf::from("unshare"), &words).await;
            if tried.status.success() {
                return Some(Self {
                    runner: vec!["unshare", flags],
                    prelude: format!("mount -t tmpfs -o size={size},mode=700 tmpfs \"$STATE\""),
                });
            }
        }
        process::skip("mounts", "no private mounts can be made here: run as root");
        None
    }

    /// And then this line of the shell's.
    #[must_use]
    pub fn then(mut self, line: &str) -> Self {
        self.prelude = format!("{} && {line}", self.prelude);
        self
    }
}

/// A process. Dropping it kills it.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    pid: u32,
    log: PathBuf,
}

impl Daemon {
    fn start(
        program: &Path,
        around: &Surroundings,
        state: &Path,
        words: &[String],
        log: PathBuf,
    ) -> Self {
        let script = format!(
            "{} && exec \"$0\" \"$@\"",
            if around.prelude.is_empty() {
                "true"
            } else {
                &around.prelude
            }
        );
        let mut line: Vec<String> = around.runner.iter().map(ToString::to_string).collect();
        line.extend(["sh", "-c", &script].map(str::to_owned));
        line.push(program.display().to_string());
        line.extend_from_slice(words);
        let words: Vec<&str> = line.iter().skip(1).map(String::as_str).collect();
        let file = std::fs::File::create(&log).expect("a log can be made");
        let child = command(&PathBuf::from(&line[0]), &words)
            .env("STATE", state)
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .expect("the program can be run");
        let pid = child
            .id()
            .expect("a program that was just started has an id");
        Self { child, pid, log }
    }

    /// Which process it is.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// What it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until the log has a line with every one of `words`, and gives the last such line.
    ///
    /// # Panics
    /// When it has none soon, or the program ends before.
    pub async fn says(&mut self, words: &[&str]) -> String {
        let look = async || {
            let log = self.log();
            let fits = |line: &&str| words.iter().all(|word| line.contains(word));
            if let Some(line) = log.lines().rev().find(fits) {
                return Ok(line.to_owned());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                give_up(format!("the program ended ({status}) and said {log}"));
            }
            Err(log)
        };
        until(&format!("the program says {words:?}"), 2 * SOON, look)
            .await
            .0
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When it has ended.
    pub fn signal(&mut self, signal: Signal) {
        let ended = self.child.try_wait().expect("a child can be looked at");
        if let Some(status) = ended {
            give_up(format!("the program has ended ({status}): {}", self.log()));
        }
        let pid = Pid::from_raw(i32::try_from(self.pid).expect("ids of processes are small"));
        kill(pid, signal).expect("a child can be sent signals");
    }

    /// Waits for it to end with a failure, and gives what it said.
    async fn fails(mut self) -> String {
        let status = within("the program ends", SOON, self.child.wait()).await;
        let status = status.expect("a child can be waited for");
        assert!(!status.success(), "{}", self.log());
        self.log()
    }

    /// Sends SIGKILL and waits for the end.
    ///
    /// # Panics
    /// When it has ended already: then something else did it.
    pub async fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        let _ = within("a killed program ends", SOON, self.child.wait()).await;
    }
}

fn folder() -> TempDir {
    let mut made = tempfile::Builder::new();
    // Sockets in it have short paths, also below /proc/PID/root.
    made.prefix("et-").rand_bytes(6);
    made.tempdir_in("/tmp")
        .expect("a temporary folder can be made")
}

/// A path as the process `pid` sees it, which may have mounts of its own.
fn seen_by(pid: u32, path: &Path) -> PathBuf {
    let inside = path.strip_prefix("/").expect("the path is absolute");
    Path::new(&format!("/proc/{pid}/root")).join(inside)
}

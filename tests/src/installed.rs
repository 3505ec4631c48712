//! A server as it is installed: a process of its own, whose memory can be looked at.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Child;

use crate::metrics::{Metrics, page};
use crate::wait::{SOON, until};
use crate::{ports, process};

/// A server in a process of its own. Dropping it kills it and removes its folders.
#[derive(Debug)]
pub struct Installed {
    child: Child,
    dir: TempDir,
    /// Where agents dial in.
    pub agents: SocketAddr,
    /// Its CONNECT way in over TLS.
    pub connect: SocketAddr,
    admin: SocketAddr,
}

/// What a process has of the machine's memory, in bytes (proc_pid_status(5)).
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Now.
    pub now: usize,
    /// The most so far.
    pub peak: usize,
}

impl Installed {
    /// A server on a state folder that `prepare` may fill; `None`, said loudly, where it was not built.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(flags: &[&str], prepare: impl FnOnce(&Path)) -> Option<Self> {
        let program = process::binary("edge-tunnel-server")?;
        let dir = tempfile::Builder::new()
            .prefix("et-")
            .tempdir()
            .expect("a temporary folder can be made");
        let state = dir.path().join("state");
        prepare(&state);
        let free = || SocketAddr::from(([127, 0, 0, 1], ports::free()));
        let (agents, connect, admin) = (free(), free(), free());
        let uds = dir.path().join("connect.sock");
        let own = [
            ("--agents-listen", agents.to_string()),
            ("--tls-listen", "none".to_owned()),
            ("--http-listen", "none".to_owned()),
            ("--connect-listen", connect.to_string()),
            ("--connect-uds", uds.display().to_string()),
            ("--admin-listen", admin.to_string()),
            ("--state-dir", state.display().to_string()),
            ("--log-level", "error".to_owned()),
        ];
        let mut line = vec!["run"];
        for (flag, value) in &own {
            line.extend([flag, value.as_str()]);
        }
        line.extend(flags);
        let child = process::command(&program, &line)
            .stdout(Stdio::null())
            .spawn()
            .expect("the program can be run");
        let server = Self {
            child,
            dir,
            agents,
            connect,
            admin,
        };
        let ready = async || match page(admin, "/readyz").await {
            Ok(answer) if answer.status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        };
        until("the server is ready", SOON, ready).await;
        Some(server)
    }

    /// Its CONNECT way in over a unix socket.
    #[must_use]
    pub fn uds(&self) -> PathBuf {
        self.dir.path().join("connect.sock")
    }

    /// Its state folder.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// What its `/metrics` says.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn metrics(&self) -> Metrics {
        let read = Metrics::read(self.admin).await;
        read.expect("a server that runs shows its metrics")
    }

    /// What it has of the machine's memory.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn memory(&self) -> Memory {
        let pid = self.child.id().expect("it was not waited for");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
            .expect("a process that runs has a status");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib: usize = line
                .and_then(|rest| rest.trim().strip_suffix(" kB"))
                .and_then(|number| number.trim().parse().ok())
                .expect("the kernel writes so many kB");
            kib * 1024
        };
        Memory {
            now: field("VmRSS:"),
            peak: field("VmHWM:"),
        }
    }

    /// How long it has kept a core busy, its work in the kernel included; in steps of 10 ms (proc_pid_stat(5)).
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn worked(&self) -> Duration {
        let pid = self.child.id().expect("it was not waited for");
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .expect("a process that runs has a status");
        // Behind the name, which may hold anything: utime and stime are the 12th and 13th.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks: u64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<u64>().ok())
            .sum();
        Duration::from_millis(10 * ticks)
    }
}

//! A server that is a process of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;

use tempfile::TempDir;

use super::{Daemon, Surroundings, folder, seen_by};
use crate::census::Counted;
use crate::metrics::Metrics;
use crate::ports;
use crate::process::{self, binary, bound};

/// A server.
#[derive(Debug)]
pub struct Cloud {
    program: PathBuf,
    dir: TempDir,
    bound: Bound,
    flags: Vec<String>,
    around: Surroundings,
    starts: usize,
    running: Option<Daemon>,
}

/// Where it listens: the same after every start.
#[derive(Debug, Clone, Copy)]
struct Bound {
    agents: SocketAddr,
    tls: SocketAddr,
    http: SocketAddr,
    connect: SocketAddr,
    admin: SocketAddr,
}

impl Bound {
    fn free() -> Self {
        let any = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            // No agent's own socket may come by it while the server is away.
            agents: any(ports::free()),
            tls: any(0),
            http: any(0),
            connect: any(0),
            admin: any(0),
        }
    }
}

impl Cloud {
    /// A server that runs, its live keys in [`Cloud::config_dir`]; `None`, said loudly, when it was not built.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(around: &Surroundings, flags: &[&str]) -> Option<Self> {
        let made = |state: &Path| std::fs::create_dir(state).expect("a folder can be made");
        Self::start_on(around, flags, made).await
    }

    /// The same, on a state folder that `prepare` puts at the path that it is given.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_on(
        around: &Surroundings,
        flags: &[&str],
        prepare: impl FnOnce(&Path),
    ) -> Option<Self> {
        let program = binary("edge-tunnel-server")?;
        let dir = folder();
        std::fs::create_dir(dir.path().join("config")).expect("a folder can be made");
        prepare(&dir.path().join("state"));
        let mut cloud = Self {
            program,
            dir,
            bound: Bound::free(),
            flags: flags.iter().map(ToString::to_string).collect(),
            around: around.clone(),
            starts: 0,
            running: None,
        };
        cloud.start_again().await;
        Some(cloud)
    }

    /// What the server says in these surroundings, where it is not to start; `None`, said loudly, when it was not built.
    ///
    /// # Panics
    /// When it does not end by itself, with a failure.
    pub async fn fails(around: &Surroundings) -> Option<String> {
        let program = binary("edge-tunnel-server")?;
        let dir = folder();
        let state = dir.path().join("state");
        std::fs::create_dir(&state).expect("a folder can be made");
        let words = Self::words(dir.path(), Bound::free(), &[]);
        let log = dir.path().join("log");
        Some(
            Daemon::start(&program, around, &state, &words, log)
                .fails()
                .await,
        )
    }

    fn words(dir: &Path, bound: Bound, flags: &[String]) -> Vec<String> {
        let path = |name: &str| dir.join(name).display().to_string();
        let mut words = vec!["run".to_owned()];
        for (flag, value) in [
            ("--agents-listen", bound.agents.to_string()),
            ("--tls-listen", bound.tls.to_string()),
            ("--http-listen", bound.http.to_string()),
            ("--connect-listen", bound.connect.to_string()),
            ("--connect-uds", path("connect.sock")),
            ("--admin-listen", bound.admin.to_string()),
            ("--state-dir", path("state")),
            ("--config-dir", path("config")),
        ] {
            words.extend([flag.to_owned(), value]);
        }
        words.extend_from_slice(flags);
        words
    }

    /// Starts a server that does not run, in place.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_again(&mut self) {
        let words = Self::words(self.dir.path(), self.bound, &self.flags);
        self.starts += 1;
        let log = self.dir.path().join(format!("log-{}", self.starts));
        let state = self.dir.path().join("state");
        let mut daemon = Daemon::start(&self.program, &self.around, &state, &words, log);
        let line = daemon.says(&["server starts"]).await;
        let bound = |name: &str| bound(&line, name);
        self.bound = Bound {
            agents: bound("agents"),
            tls: bound("tls"),
            http: bound("http"),
            connect: bound("connect"),
            admin: bound("admin"),
        };
        self.running = Some(daemon);
    }

    /// Which process it is.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.running.as_ref().expect("the server runs").pid()
    }

    /// The process.
    ///
    /// # Panics
    /// When it does not run.
    pub fn daemon(&mut self) -> &mut Daemon {
        self.running.as_mut().expect("the server runs")
    }

    /// Ends it by SIGKILL.
    ///
    /// # Panics
    /// When it does not run.
    pub async fn kill(&mut self) {
        let daemon = self.running.take().expect("a server that runs is killed");
        daemon.kill().await;
    }

    /// Where agents dial in.
    #[must_use]
    pub const fn agents(&self) -> SocketAddr {
        self.bound.agents
    }

    /// Its TLS way in.
    #[must_use]
    pub const fn tls(&self) -> SocketAddr {
        self.bound.tls
    }

    /// Its HTTP way in.
    #[must_use]
    pub const fn http(&self) -> SocketAddr {
        self.bound.http
    }

    /// Its CONNECT way in over TLS.
    #[must_use]
    pub const fn connect(&self) -> SocketAddr {
        self.bound.connect
    }

    /// Its CONNECT way in over a unix socket.
    #[must_use]
    pub fn uds(&self) -> PathBuf {
        self.dir.path().join("connect.sock")
    }

    /// The folder of its live keys.
    #[must_use]
    pub fn config_dir(&self) -> PathBuf {
        self.dir.path().join("config")
    }

    /// Its state folder as others see it, whatever is mounted there for the server itself.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        seen_by(self.pid(), &self.dir.path().join("state"))
    }

    /// What is counted of it.
    #[must_use]
    pub fn counted(&self) -> Counted {
        Counted {
            admin: self.bound.admin,
            pid: self.running.as_ref().map(Daemon::pid),
        }
    }

    /// What its `/metrics` says.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn metrics(&self) -> std::io::Result<Metrics> {
        Metrics::read(self.bound.admin).await
    }

    /// The certificate of a caller that may reach every port of every node.
    ///
    /// # Panics
    /// When there is none to be had.
    pub async fn issue_client(&self, name: &str) -> PathBuf {
        let dir = self.dir.path().join(format!("client-{name}"));
        let out = dir.display().to_string();
        let words = ["issue-client", name, "--out", &out];
        let made = self.command(&words).await;
        assert!(made.status.success(), "{made:?}");
        std::fs::write(
            self.config_dir().join("callers"),
            format!("{name} ports=all\n"),
        )
        .expect("a key can be written");
        dir
    }

    /// Runs a command of a person's: `["nodes", "revoke", "edge-1"]`.
    pub async fn command(&self, words: &[&str]) -> Output {
        let state = self.state_dir().display().to_string();
        let mut line = words.to_vec();
        line.extend(["--state-dir", &state]);
        process::run(&self.program, &line).await
    }

    /// A file with a join token for `node`.
    ///
    /// # Panics
    /// When there is none to be had.
    pub async fn token(&self, node: &str) -> PathBuf {
        let made = self.command(&["token", "create", "--node", node]).await;
        assert!(made.status.success(), "{made:?}");
        let file = self.dir.path().join(format!("token-{node}"));
        std::fs::write(&file, made.stdout).expect("the token can be written");
        file
    }
}

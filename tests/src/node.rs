//! An edge node with its agent: joined by a token, started, stopped, killed and started again in place.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use edge_tunnel_agent::app::App;
use edge_tunnel_agent::config::{Cli, Command, Config};
use edge_tunnel_proto::clock::Clock;
use tempfile::TempDir;

use crate::runtime::Program;
use crate::server::{Server, copy_files};
use crate::wait::give_up;

mod says;

/// How soon agents of scenarios try QUIC again, unless told otherwise: never, as far as a test can tell.
const QUIC_RETRY: Duration = Duration::from_secs(3600);

/// An edge node. Dropping it kills its agent and removes its folder.
#[derive(Debug)]
pub struct Node {
    name: String,
    dir: TempDir,
    clock: Clock,
    quic_retry: Duration,
    /// Where its agent dials, as `--server` says it; `None` where a folder says it.
    server: Option<String>,
    flags: Vec<String>,
    token_file: Option<PathBuf>,
    running: Option<(Program, SocketAddr)>,
}

impl Node {
    /// A node whose agent does not run yet. It dials `server` and may reach every port on loopback, where the harness
    /// has its services.
    ///
    /// # Panics
    /// When it can have no folder.
    #[must_use]
    pub fn new(name: &str, server: &impl ToString) -> Self {
        crate::logs::keep();
        let dir = tempfile::Builder::new()
            .prefix("et-")
            .tempdir()
            .expect("a temporary folder can be made");
        Self {
            name: name.to_owned(),
            dir,
            clock: Clock::system(),
            quic_retry: QUIC_RETRY,
            server: Some(server.to_string()),
            flags: Vec::new(),
            token_file: None,
            running: None,
        }
    }

    /// A node that has joined `server` and is connected to it directly.
    ///
    /// # Panics
    /// When it does not connect soon.
    pub async fn join(name: &str, server: &Server) -> Self {
        let mut node = Self::new(name, &server.agents());
        node.enrol(server).await;
        node
    }

    /// Gives the agent a join token of `server`, starts it and waits until it is connected.
    ///
    /// # Panics
    /// When it does not connect soon.
    pub async fn enrol(&mut self, server: &Server) {
        let token = server.token(&self.name).await;
        self.token_file = Some(token);
        self.start().await;
        self.ready().await;
    }

    /// With more flags.
    #[must_use]
    pub fn flags(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(ToString::to_string));
        self
    }

    /// Which is not told where the server is: this folder says it.
    #[must_use]
    pub fn endpoints_dir(mut self, dir: &Path) -> Self {
        self.server = None;
        let dir = dir.display().to_string();
        self.flags.extend(["--endpoints-dir".to_owned(), dir]);
        self
    }

    /// By another clock.
    #[must_use]
    pub fn clock(mut self, clock: &Clock) -> Self {
        self.clock = clock.clone();
        self
    }

    /// Which tries QUIC again after this time.
    #[must_use]
    pub const fn quic_retry(mut self, after: Duration) -> Self {
        self.quic_retry = after;
        self
    }

    /// With a file that holds a join token, or what is taken for one.
    #[must_use]
    pub fn token_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.token_file = Some(file.into());
        self
    }

    /// With a copy of `other`'s state folder: another host with the same identity.
    #[must_use]
    pub fn identity_of(self, other: &Self) -> Self {
        copy_files(&other.state_dir(), &self.state_dir());
        self
    }

    /// Starts the agent.
    ///
    /// # Panics
    /// When it does not start. That it does not connect is another matter.
    pub async fn start(&mut self) {
        if let Err(error) = self.try_start().await {
            give_up(format!(
                "the agent of {} does not start: {error:#}",
                self.name
            ));
        }
    }

    /// As [`Node::start`].
    ///
    /// # Errors
    /// What the agent says when it does not start.
    pub async fn try_start(&mut self) -> anyhow::Result<()> {
        let (config, clock, retry) = (self.config()?, self.clock.clone(), self.quic_retry);
        let bind = async move {
            let app = App::bind_with(config, clock, retry).await?;
            let (shutdown, admin) = (app.shutdown(), app.admin_addr()?);
            Ok((shutdown, admin, app.run(std::future::pending())))
        };
        self.running = Some(Program::start(bind).await?);
        Ok(())
    }

    fn config(&self) -> anyhow::Result<Config> {
        let state = self.state_dir().display().to_string();
        let token = self
            .token_file
            .as_ref()
            .map(|file| file.display().to_string());
        let own = [
            ("--node-name", Some(self.name.as_str())),
            ("--server", self.server.as_deref()),
            ("--state-dir", Some(&state)),
            ("--admin-listen", Some("127.0.0.1:0")),
            ("--drain-timeout", Some("2s")),
            ("--allow", Some("loopback:*")),
            ("--token-file", token.as_deref()),
        ];
        let mut line = vec!["edge-tunnel-agent", "run"];
        for (flag, value) in own {
            if let Some(value) = value
                && !self.flags.iter().any(|given| given == flag)
            {
                line.extend([flag, value]);
            }
        }
        line.extend(self.flags.iter().map(String::as_str));
        match Cli::parse_from(line)?.command {
            Command::Run(config) => Ok(*config),
            Command::Check(_) | Command::Prepare(_) => anyhow::bail!("the command line says run"),
        }
    }

    /// Stops the agent as a signal would, and says how long that took.
    ///
    /// # Panics
    /// When it does not run.
    pub async fn stop(&mut self) -> Duration {
        let (program, _) = self.running.take().expect("an agent that runs is stopped");
        program.stop().await
    }

    /// Tells the agent to stop, and leaves it to it.
    ///
    /// # Panics
    /// When it does not run.
    pub fn tell_to_stop(&self) {
        self.running().0.shutdown.draining().cancel();
    }

    /// Ends the agent as SIGKILL would.
    pub fn kill(&mut self) {
        self.running = None;
    }

    fn running(&self) -> &(Program, SocketAddr) {
        self.running.as_ref().expect("the agent runs")
    }

    /// The node's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A destination on it.
    #[must_use]
    pub fn at(&self, port: u16) -> String {
        format!("{}:{port}", self.name)
    }

    /// The agent's admin port.
    ///
    /// # Panics
    /// When the agent does not run.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.running().1
    }

    /// The agent's state folder.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// How many of the agent's tasks run.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.running().0.tasks()
    }
}

/// Removes what the agent got by enrolling, but not its key: as a person would who wants it to join anew.
pub fn forget_certificate(state_dir: &Path) {
    std::fs::remove_file(state_dir.join("certificate.pem")).expect("the agent holds a certificate");
}

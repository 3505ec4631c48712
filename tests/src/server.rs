//! A server with its folders: started, stopped, killed and started again in place, and told what a person would type.

use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser as _;
use edge_tunnel_proto::clock::Clock;
use edge_tunnel_server::app::{App, Bound};
use edge_tunnel_server::config::{Cli, Command, RunConfig};
use edge_tunnel_server::pace::Pace;
use tempfile::TempDir;

use crate::ports;
use crate::runtime::Program;
use crate::wait::{SOON, give_up, until};

mod ask;

/// A server. Dropping it kills it and removes its folders.
#[derive(Debug)]
pub struct Server {
    dir: TempDir,
    clock: Clock,
    flags: Vec<String>,
    pace: Option<u32>,
    /// The agents' address, the same after every start.
    agents: SocketAddr,
    running: Option<(Program, Bound)>,
}

impl Server {
    /// A server that runs, with the program's defaults where `flags` say nothing else.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(flags: &[&str]) -> Self {
        Self::start_with(flags, &[], Clock::system()).await
    }

    /// As [`Server::start`], with live keys that hold from the beginning.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn with_keys(keys: &[(&str, &str)]) -> Self {
        Self::start_with(&[], keys, Clock::system()).await
    }

    /// As [`Server::start`], with live keys and by another clock.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_with(flags: &[&str], keys: &[(&str, &str)], clock: Clock) -> Self {
        crate::logs::keep();
        let dir = tempfile::Builder::new()
            .prefix("et-")
            .tempdir()
            .expect("a temporary folder can be made");
        let mut server = Self {
            dir,
            clock,
            flags: flags.iter().map(ToString::to_string).collect(),
            pace: None,
            // No agent's own socket may come by it while the server is away.
            agents: SocketAddr::from(([127, 0, 0, 1], ports::free())),
            running: None,
        };
        std::fs::create_dir(server.config_dir()).expect("a folder can be made");
        for (key, text) in keys {
            server.key(key, text);
        }
        server.start_again().await;
        server
    }

    /// From its next start on it takes so many new sessions a second.
    pub const fn at_pace(&mut self, per_second: u32) {
        self.pace = Some(per_second);
    }

    /// Starts a server that does not run, on the same folders and the same port for agents.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_again(&mut self) {
        // The end of a process frees its ports. Here connections that are dying, thousands of them, hold theirs a while.
        let agents = self.agents;
        let look = async || match UdpSocket::bind(agents) {
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        };
        until("the agents' port is free", SOON, look).await;
        if let Err(error) = self.try_start().await {
            give_up(format!("the server does not start: {error:#}"));
        }
    }

    /// As [`Server::start_again`].
    ///
    /// # Errors
    /// What the server says when it does not start.
    pub async fn try_start(&mut self) -> anyhow::Result<()> {
        let (config, clock, pace) = (self.config()?, self.clock.clone(), self.pace);
        let bind = async move {
            let mut app = App::bind_with(config, clock).await?;
            if let Some(pace) = pace {
                app = app.with_pace(Pace::new(pace));
            }
            let (shutdown, bound) = (app.shutdown(), app.bound().clone());
            let run = async move {
                app.run(std::future::pending())
                    .await
                    .expect("no part of the server dies");
            };
            Ok((shutdown, bound, run))
        };
        let (program, bound) = Program::start(bind).await?;
        self.agents = bound.agents;
        self.running = Some((program, bound));
        Ok(())
    }

    fn config(&self) -> anyhow::Result<RunConfig> {
        let (agents, path) = (self.agents.to_string(), |name| self.path(name));
        let (uds, state, config) = (path("connect.sock"), path("state"), path("config"));
        let own = [
            ("--agents-listen", agents.as_str()),
            ("--tls-listen", "127.0.0.1:0"),
            ("--http-listen", "127.0.0.1:0"),
            ("--connect-listen", "127.0.0.1:0"),
            ("--connect-uds", &uds),
            ("--admin-listen", "127.0.0.1:0"),
            ("--state-dir", &state),
            ("--config-dir", &config),
            ("--drain-timeout", "2s"),
        ];
        let mut line = vec!["edge-tunnel-server", "run"];
        for (flag, value) in own {
            if !self.flags.iter().any(|given| given == flag) {
                line.extend([flag, value]);
            }
        }
        line.extend(self.flags.iter().map(String::as_str));
        match Cli::try_parse_from(line)?.command {
            Command::Run(config) => Ok(*config),
            _ => anyhow::bail!("the command line says run"),
        }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// Stops it as a signal would, and says how long that took.
    ///
    /// # Panics
    /// When it does not run.
    pub async fn stop(&mut self) -> Duration {
        let (program, _) = self.running.take().expect("a server that runs is stopped");
        program.stop().await
    }

    /// Tells it to stop, and leaves it to it.
    ///
    /// # Panics
    /// When it does not run.
    pub fn tell_to_stop(&self) {
        self.program().shutdown.draining().cancel();
    }

    /// Ends it as SIGKILL would.
    pub fn kill(&mut self) {
        self.running = None;
    }

    fn program(&self) -> &Program {
        &self.running.as_ref().expect("the server runs").0
    }

    /// Where it listens.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn bound(&self) -> &Bound {
        &self.running.as_ref().expect("the server runs").1
    }

    /// How many of its tasks run.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.program().tasks()
    }

    /// Where agents dial in.
    #[must_use]
    pub const fn agents(&self) -> SocketAddr {
        self.agents
    }

    /// Its HTTP way in.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.bound().http.expect("the harness opens every way in")
    }

    /// Its CONNECT way in over TLS.
    #[must_use]
    pub fn connect(&self) -> SocketAddr {
        self.bound()
            .connect
            .expect("the harness opens every way in")
    }

    /// Its CONNECT way in over a unix socket.
    #[must_use]
    pub fn uds(&self) -> PathBuf {
        let uds = self.bound().connect_uds.clone();
        uds.expect("the harness opens every way in")
    }

    /// Its TLS way in.
    #[must_use]
    pub fn tls(&self) -> SocketAddr {
        self.bound().tls.expect("the harness opens every way in")
    }

    /// Its admin port.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.bound().admin.expect("the harness opens every way in")
    }

    /// Its state folder.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// The folder of its live keys.
    #[must_use]
    pub fn config_dir(&self) -> PathBuf {
        self.dir.path().join("config")
    }

    /// A path of this server's that nothing uses.
    #[must_use]
    pub fn spare(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a live key, as a person would: in one step.
    pub fn key(&self, key: &str, text: &str) {
        let fresh = self.dir.path().join("key.new");
        std::fs::write(&fresh, text).expect("the key can be written");
        std::fs::rename(&fresh, self.config_dir().join(key)).expect("the key can be put in place");
    }
}

/// Copies a folder of files, such as a state folder: another host with the same identity.
pub fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder can be made");
    for entry in std::fs::read_dir(from).expect("the folder can be read") {
        let entry = entry.expect("the folder can be read");
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            std::fs::copy(entry.path(), to.join(entry.file_name()))
                .expect("the file can be copied");
        }
    }
}

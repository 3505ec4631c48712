//! An agent that is a process of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Cloud, Daemon, Surroundings, folder, seen_by};
use crate::census::Counted;
use crate::ports;
use crate::process::binary;
use crate::wait::{SOON, until};

/// A node with its agent.
#[derive(Debug)]
pub struct Edge {
    program: PathBuf,
    name: String,
    dir: TempDir,
    words: Vec<String>,
    around: Surroundings,
    admin: SocketAddr,
    starts: usize,
    running: Option<Daemon>,
}

impl Edge {
    /// A node whose agent has started, with a join token of `cloud`, and dials `dial`. It may reach every port on
    /// loopback. `None`, said loudly, when the agent was not built.
    pub async fn start(
        name: &str,
        cloud: &Cloud,
        dial: &str,
        around: &Surroundings,
        flags: &[&str],
    ) -> Option<Self> {
        Self::with_token(name, &cloud.token(name).await, dial, around, flags)
    }

    /// As [`Edge::start`], with this file for a token.
    #[must_use]
    pub fn with_token(
        name: &str,
        token: &Path,
        dial: &str,
        around: &Surroundings,
        flags: &[&str],
    ) -> Option<Self> {
        let program = binary("edge-tunnel-agent")?;
        let dir = folder();
        std::fs::create_dir(dir.path().join("state")).expect("a folder can be made");
        let admin = SocketAddr::from(([127, 0, 0, 1], ports::free()));
        let mut words = vec!["run".to_owned()];
        for (flag, value) in [
            ("--node-name", name.to_owned()),
            ("--server", dial.to_owned()),
            (
                "--state-dir",
                dir.path().join("state").display().to_string(),
            ),
            ("--admin-listen", admin.to_string()),
            ("--allow", "loopback:*".to_owned()),
            ("--token-file", token.display().to_string()),
        ] {
            words.extend([flag.to_owned(), value]);
        }
        words.extend(flags.iter().map(ToString::to_string));
        let mut edge = Self {
            program,
            name: name.to_owned(),
            dir,
            words,
            around: around.clone(),
            admin,
            starts: 0,
            running: None,
        };
        edge.start_again();
        Some(edge)
    }

    /// As [`Cloud::fails`].
    ///
    /// # Panics
    /// As there.
    pub async fn fails(around: &Surroundings) -> Option<String> {
        let nowhere = Path::new("/nonexistent");
        let mut edge = Self::with_token("fails", nowhere, "127.0.0.1:1", around, &[])?;
        Some(
            edge.running
                .take()
                .expect("it was just started")
                .fails()
                .await,
        )
    }

    /// Starts an agent that does not run, in place.
    pub fn start_again(&mut self) {
        self.starts += 1;
        let log = self.dir.path().join(format!("log-{}", self.starts));
        let state = self.dir.path().join("state");
        let daemon = Daemon::start(&self.program, &self.around, &state, &self.words, log);
        self.running = Some(daemon);
    }

    /// The process.
    ///
    /// # Panics
    /// When it does not run.
    pub fn daemon(&mut self) -> &mut Daemon {
        self.running.as_mut().expect("the agent runs")
    }

    /// Ends it by SIGKILL.
    ///
    /// # Panics
    /// When it does not run.
    pub async fn kill(&mut self) {
        let daemon = self.running.take().expect("an agent that runs is killed");
        daemon.kill().await;
    }

    /// A destination on it.
    #[must_use]
    pub fn at(&self, port: u16) -> String {
        format!("{}:{port}", self.name)
    }

    /// The agent's state folder, as [`Cloud::state_dir`].
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        let daemon = self.running.as_ref().expect("the agent runs");
        seen_by(daemon.pid(), &self.dir.path().join("state"))
    }

    /// What is counted of it.
    #[must_use]
    pub fn counted(&self) -> Counted {
        Counted {
            admin: self.admin,
            pid: self.running.as_ref().map(Daemon::pid),
        }
    }

    /// Waits until the agent says that it has a session.
    ///
    /// # Panics
    /// When it has none soon.
    pub async fn ready(&self) {
        let look = async || match crate::metrics::page(self.admin, "/readyz").await {
            Ok(answer) if answer.status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        };
        until(&format!("{} is connected", self.name), 3 * SOON, look).await;
    }
}

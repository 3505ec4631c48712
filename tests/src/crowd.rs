//! Many nodes at once: real agents, which share one runtime, so that two hundred of them fit a small machine.

use std::path::Path;
use std::time::Duration;

use edge_tunnel_agent::app::App;
use edge_tunnel_agent::config::{Cli, Command, Config};
use edge_tunnel_proto::clock::Clock;
use edge_tunnel_proto::shutdown::Shutdown;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::server::Server;
use crate::wait::{give_up, until};

/// How long a crowd may take to come in: each makes a key and has a certificate signed.
const COMES: Duration = Duration::from_secs(120);

/// Agents of nodes with one name and a number. Dropping it kills them.
#[derive(Debug)]
pub struct Crowd {
    names: Vec<String>,
    agents: Vec<Shutdown>,
    runtime: Option<Runtime>,
    dir: TempDir,
}

impl Crowd {
    /// `count` nodes called `prefix-0` and so on, every second one over QUIC and the others over TLS, joined by one token
    /// and connected.
    ///
    /// # Panics
    /// When they do not all connect.
    pub async fn join(prefix: &str, count: usize, server: &Server, clock: &Clock) -> Self {
        crate::logs::keep();
        let dir = tempfile::Builder::new()
            .prefix("et-")
            .tempdir()
            .expect("a temporary folder can be made");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime can be made");
        let uses = count.to_string();
        let pattern = format!("{prefix}-*");
        let words = ["token", "create", "--pattern", &pattern, "--uses", &uses];
        let token = dir.path().join("token");
        std::fs::write(&token, server.must(&words).await).expect("the token can be written");
        let mut crowd = Self {
            names: (0..count)
                .map(|number| format!("{prefix}-{number}"))
                .collect(),
            agents: Vec::new(),
            runtime: Some(runtime),
            dir,
        };
        for (number, name) in crowd.names.clone().iter().enumerate() {
            let state = crowd.dir.path().join(name);
            let transport = if number % 2 == 0 { "quic" } else { "tls" };
            let dial = format!("{transport}://{}", server.agents());
            let config = config(name, &dial, &state, &token);
            crowd.start(config, clock).await;
        }
        crowd.connected(server).await;
        crowd
    }

    async fn start(&mut self, config: Config, clock: &Clock) {
        let clock = clock.clone();
        let runtime = self.runtime.as_ref().expect("the crowd lives");
        let bound = runtime.spawn(async move {
            let never = Duration::from_secs(3600);
            let app = App::bind_with(config, clock, never).await?;
            let shutdown = app.shutdown();
            tokio::spawn(app.run(std::future::pending()));
            anyhow::Ok(shutdown)
        });
        match bound.await {
            Ok(Ok(shutdown)) => self.agents.push(shutdown),
            Ok(Err(error)) => give_up(format!("an agent of a crowd does not start: {error:#}")),
            Err(died) => give_up(format!("an agent of a crowd died: {died}")),
        }
    }

    /// Waits until every one of them has a session.
    ///
    /// # Panics
    /// When one has none.
    pub async fn connected(&self, server: &Server) {
        let look = async || {
            let nodes = server.nodes().await;
            let has = |name: &&String| {
                nodes
                    .iter()
                    .any(|node| node.node.as_str() == *name && node.session.is_some())
            };
            let there = self.names.iter().filter(has).count();
            if there == self.names.len() {
                Ok(())
            } else {
                Err(format!("{there} of {}", self.names.len()))
            }
        };
        until("the crowd is connected", COMES, look).await;
    }

    /// The nodes' names.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Stops them all as a signal would.
    pub async fn stop(&mut self) {
        for agent in &self.agents {
            agent.draining().cancel();
        }
        for agent in self.agents.drain(..) {
            agent.finish(Duration::from_secs(2)).await;
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn config(name: &str, dial: &str, state: &Path, token: &Path) -> Config {
    let (state, token) = (state.display().to_string(), token.display().to_string());
    let line = [
        "edge-tunnel-agent",
        "run",
        "--node-name",
        name,
        "--server",
        dial,
        "--state-dir",
        &state,
        "--token-file",
        &token,
        "--admin-listen",
        "127.0.0.1:0",
        "--drain-timeout",
        "2s",
        "--allow",
        "loopback:*",
    ];
    match Cli::parse_from(line).map(|cli| cli.command) {
        Ok(Command::Run(config)) => *config,
        Ok(Command::Check(_) | Command::Prepare(_)) => give_up("the command line says run"),
        Err(error) => give_up(error),
    }
}

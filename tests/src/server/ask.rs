//! What a person would type at a running server, and what it shows of itself.

use std::path::PathBuf;

use clap::Parser as _;
use edge_tunnel_server::admin::control::{CaStatus, NodeStatus};
use edge_tunnel_server::cli;
use edge_tunnel_server::config::{Cli, Command};

use super::Server;
use crate::metrics::Metrics;
use crate::wait::{SOON, give_up, until};

impl Server {
    /// What a command of a person prints: `["nodes", "revoke", "edge-1"]`.
    ///
    /// # Errors
    /// What it says when it fails.
    pub async fn command(&self, words: &[&str]) -> Result<String, String> {
        let state = self.path("state");
        let mut line = vec!["edge-tunnel-server"];
        line.extend(words);
        line.extend(["--state-dir", &state]);
        let command = Cli::try_parse_from(line)
            .map_err(|error| error.to_string())?
            .command;
        let mut out = Vec::new();
        match &command {
            Command::Token(command) => cli::token(command, &mut out, &mut std::io::sink()).await,
            Command::Nodes(command) => cli::nodes(command, &mut out).await,
            Command::IssueClient(command) => cli::issue_client(command, &mut out).await,
            Command::Ca(command) => cli::ca(command, &mut out).await,
            Command::Run(_) | Command::Dev(_) => give_up("the harness runs servers itself"),
        }
        .map_err(|error| error.to_string())?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    /// As [`Server::command`], for one that must not fail.
    ///
    /// # Panics
    /// When it does.
    pub async fn must(&self, words: &[&str]) -> String {
        match self.command(words).await {
            Ok(said) => said,
            Err(error) => give_up(format!("{words:?}: {error}")),
        }
    }

    /// A file with a join token for `node`.
    pub async fn token(&self, node: &str) -> PathBuf {
        let made = self.must(&["token", "create", "--node", node]).await;
        let file = self.dir.path().join(format!("token-{node}"));
        std::fs::write(&file, made).expect("the token can be written");
        file
    }

    /// The certificate of a caller, issued with more words such as `["--ports", "22"]`.
    pub async fn issue_client(&self, name: &str, more: &[&str]) -> PathBuf {
        let dir = self.dir.path().join(format!("client-{name}"));
        let out = dir.display().to_string();
        let mut words = vec!["issue-client", name, "--out", &out];
        words.extend(more);
        self.must(&words).await;
        dir
    }

    /// What `nodes` says.
    pub async fn nodes(&self) -> Vec<NodeStatus> {
        let said = self.must(&["nodes", "--output", "json"]).await;
        serde_json::from_str(&said).expect("nodes --output json prints JSON")
    }

    /// What `nodes` says of one.
    pub async fn node(&self, name: &str) -> Option<NodeStatus> {
        let nodes = self.nodes().await;
        nodes.into_iter().find(|node| node.node.as_str() == name)
    }

    /// What `ca WORD` says: `show` or `rotate`.
    pub async fn ca(&self, word: &str) -> CaStatus {
        let said = self.must(&["ca", word, "--output", "json"]).await;
        serde_json::from_str(&said).expect("ca --output json prints JSON")
    }

    /// What its `/metrics` says.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn metrics(&self) -> Metrics {
        let read = Metrics::read(self.admin()).await;
        read.expect("a server that runs shows its metrics")
    }

    /// Waits until `node` has a session that `fits`, and gives its state.
    ///
    /// # Panics
    /// When it has none soon.
    pub async fn session(
        &self,
        node: &str,
        mut fits: impl FnMut(&NodeStatus) -> bool,
    ) -> NodeStatus {
        let look = async || match self.node(node).await {
            Some(status) if status.session.is_some() && fits(&status) => Ok(status),
            other => Err(format!("{other:?}")),
        };
        until(&format!("the session of {node}"), SOON, look).await.0
    }
}

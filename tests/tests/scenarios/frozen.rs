//! Two hosts with one identity, the first of them frozen: the programs as they are installed, and signals.

use std::path::PathBuf;

use edge_tunnel_tests::process::{self, Process};
use edge_tunnel_tests::server::copy_files;

use super::TRANSPORTS;

struct Place {
    agent: PathBuf,
    dir: tempfile::TempDir,
    /// Where the server's agents dial.
    agents: String,
}

impl Place {
    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn agent(&self, node: &str, transport: &str, state: &str) -> Process {
        let (server, state) = (format!("{transport}://{}", self.agents), self.path(state));
        let token = self.path(&format!("token-{node}"));
        let line = [
            "run",
            "--node-name",
            node,
            "--server",
            &server,
            "--token-file",
            &token,
            "--state-dir",
            &state,
            "--admin-listen",
            "127.0.0.1:0",
        ];
        Process::start(&self.agent, &line)
    }
}

#[tokio::test]
async fn a_frozen_first_host_is_replaced_after_the_probe_and_told_why_when_it_wakes() {
    let Some(server) = process::binary("edge-tunnel-server") else {
        return;
    };
    let Some(agent) = process::binary("edge-tunnel-agent") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("server").display().to_string();
    let mut line = vec!["run", "--state-dir", &state];
    for flag in [
        "--agents-listen",
        "--tls-listen",
        "--http-listen",
        "--connect-listen",
        "--admin-listen",
    ] {
        line.extend([flag, "127.0.0.1:0"]);
    }
    let mut running = Process::start(&server, &line);
    let started = running.says("server starts").await;
    let agents = started.split("agents=").nth(1).unwrap();
    let agents = agents.split(' ').next().unwrap().to_owned();
    let place = Place { agent, dir, agents };
    for transport in TRANSPORTS {
        let node = format!("frozen-{transport}");
        let line = ["token", "create", "--node", &node, "--state-dir", &state];
        let token = process::run(&server, &line).await;
        assert!(token.status.success(), "{token:?}");
        std::fs::write(place.path(&format!("token-{node}")), token.stdout).unwrap();

        let one = format!("{node}-one");
        let mut first = place.agent(&node, transport, &one);
        first.says("connected").await;
        running.says("session started").await;
        first.signal("STOP").await;
        let two = format!("{node}-two");
        copy_files(&place.dir.path().join(&one), &place.dir.path().join(&two));
        let mut second = place.agent(&node, transport, &two);
        second.says("connected").await;
        let said = running.says("had not answered").await;
        assert!(said.contains("WARN"), "{said}");

        first.signal("CONT").await;
        let told = first.says("had not answered").await;
        for word in [
            "another agent",
            &node,
            "connected from 127.0.0.1:",
            "another name",
        ] {
            assert!(told.contains(word), "{word:?} is not in {told}");
        }
        assert!(!told.contains("join token"), "no token mends that: {told}");
        // It tries again, and learns the same from the other side.
        first.says("Two hosts hold one identity").await;
        running.says("Two hosts hold one identity").await;
        assert_eq!(second.terminate().await, Some(0));
        assert_eq!(first.terminate().await, Some(0));
    }
    assert_eq!(running.terminate().await, Some(0));
}

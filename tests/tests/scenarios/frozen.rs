//! Two hosts with one identity, the first of them frozen: the programs as they are installed, and signals.

use std::net::SocketAddr;

use edge_tunnel_tests::process::{self, Built, Process, bound};
use edge_tunnel_tests::server::copy_files;

use super::TRANSPORTS;

fn agent(place: &Built, agents: SocketAddr, node: &str, transport: &str, state: &str) -> Process {
    let (server, state) = (format!("{transport}://{agents}"), place.path(state));
    let token = place.path(&format!("token-{node}"));
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
    Process::start(&place.agent, &line)
}

#[tokio::test]
async fn a_frozen_first_host_is_replaced_after_the_probe_and_told_why_when_it_wakes() {
    let Some(place) = Built::found() else {
        return;
    };
    let state = place.path("server");
    let mut running = place.start_server(&[]);
    let agents = bound(&running.says("server starts").await, "agents");
    for transport in TRANSPORTS {
        let node = format!("frozen-{transport}");
        let line = ["token", "create", "--node", &node, "--state-dir", &state];
        let token = process::run(&place.server, &line).await;
        assert!(token.status.success(), "{token:?}");
        std::fs::write(place.path(&format!("token-{node}")), token.stdout).unwrap();

        let one = format!("{node}-one");
        let mut first = agent(&place, agents, &node, transport, &one);
        first.says("connected").await;
        running.says("session started").await;
        first.signal("STOP").await;
        let two = format!("{node}-two");
        copy_files(&place.dir.path().join(&one), &place.dir.path().join(&two));
        let mut second = agent(&place, agents, &node, transport, &two);
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

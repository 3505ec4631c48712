//! How much memory a server takes at the most, whatever callers, targets, agents and strangers do: measured at the
//! program as it is installed. A program of its own, since it takes many open files.

#![expect(clippy::unwrap_used, reason = "in a test the panic is the message")]

mod half_open;
mod hostile;
mod idle;
mod readers;
mod silent;

use std::path::Path;
use std::time::Duration;

use edge_tunnel_tests::fleet::Fleet;
use edge_tunnel_tests::limits;
use edge_tunnel_tests::programs::{Cloud, Surroundings};
use edge_tunnel_tests::wait::until;

const MIB: usize = 1024 * 1024;

/// What a test of this program may have open.
const FILES: u64 = 20_000;

/// A server in a process of its own, and so many agents that are registered there and do not run; `None`, said loudly,
/// where it was not built.
async fn house(flags: &[&str], agents: usize) -> Option<(Cloud, Fleet)> {
    limits::open_files(FILES);
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let fleet = Fleet::mint(&state, agents).await;
    let prepare = |to: &Path| std::fs::rename(&state, to).unwrap();
    let server = Cloud::start_on(&Surroundings::default(), flags, prepare).await?;
    Some((server, fleet))
}

/// Starts the agents, which dial by what `scheme` says for their numbers, and waits until `there` of them are.
async fn started(
    fleet: &mut Fleet,
    server: &Cloud,
    there: usize,
    scheme: fn(usize) -> &'static str,
) {
    let address = server.agents();
    fleet.start(|number| format!("{}{address}", scheme(number)));
    let look = async || {
        let sessions = server.metrics().await.unwrap().sum("sessions", &[]);
        if sessions >= there as f64 {
            Ok(())
        } else {
            Err(sessions.to_string())
        }
    };
    until("the agents are there", Duration::from_secs(90), look).await;
}

fn mixed(number: usize) -> &'static str {
    if number.is_multiple_of(2) {
        "tls://"
    } else {
        "quic://"
    }
}

//! What an agent costs a server that does nothing for it.

use edge_tunnel_tests::programs::{Memory, worked};

use super::{house, started};

const AGENTS: usize = 400;

/// The most that an idle session may keep resident, in bytes.
const MOST: usize = 128 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_session_costs_little() {
    let schemes: [fn(usize) -> &'static str; 2] = [|_| "tls://", |_| "quic://"];
    for scheme in schemes {
        let Some((server, mut fleet)) = house(&[], AGENTS).await else {
            return;
        };
        let (before, begun) = (Memory::of(server.pid()), worked(server.pid()));
        started(&mut fleet, &server, AGENTS, scheme).await;
        let each = (Memory::of(server.pid()).now - before.now) / AGENTS;
        let worked = (worked(server.pid()) - begun) / u32::try_from(AGENTS).unwrap();
        println!(
            "{} a session holds {} KiB, and was {worked:?} of work",
            scheme(0),
            each / 1024
        );
        assert!(each < MOST, "{each} bytes");
    }
}

//! Handshakes that strangers begin and do not end.

use std::sync::Arc;

use edge_tunnel_proto::budget::Budget;
use edge_tunnel_proto::clock::Clock;
use edge_tunnel_proto::identity::{Pin, TrustDomain, enroll_client};
use edge_tunnel_proto::transport::{AGENT_LIMITS, quic};
use edge_tunnel_tests::link::{Link, Way};
use edge_tunnel_tests::programs::Memory;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{MIB, house, mixed, started};

/// A ClientHello's beginning.
const HALF_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03abcdefghijklmnop";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_half_open_handshakes() {
    let Some((server, mut fleet)) = house(&[], 20).await else {
        return;
    };
    let idle = Memory::of(server.pid());
    // As of senders in other people's names: they see no answer.
    let link = Link::to(server.agents()).await;
    link.udp().stall(Way::Down);
    let dialer = quic::Dialer::new(link.address(), AGENT_LIMITS).unwrap();
    let domain = TrustDomain::default();
    let tls = Arc::new(enroll_client(
        Pin::of_key(b"nobody's"),
        &domain,
        &Clock::system(),
    ));
    let budget = Budget::new(1 << 20);
    let mut strangers = JoinSet::new();
    let mut held = Vec::new();
    for number in 0..10_000 {
        match number % 3 {
            0 => held.push(TcpStream::connect(server.agents()).await.unwrap()),
            1 => {
                let mut io = TcpStream::connect(server.agents()).await.unwrap();
                // It may have been closed for another already.
                let _ = io.write_all(HALF_HELLO).await;
                held.push(io);
            }
            _ => {
                let (dialer, address, tls, budget) = (
                    dialer.clone(),
                    link.address(),
                    Arc::clone(&tls),
                    budget.clone(),
                );
                strangers.spawn(async move {
                    let connecting = dialer.connect(address, "lb.example", tls, &budget);
                    connecting.await.map(drop)
                });
            }
        }
    }
    let full = Memory::of(server.pid());
    started(&mut fleet, &server, 20, mixed).await;
    let after = Memory::of(server.pid());
    println!(
        "resident {} MiB before, {} MiB with 10,000 half-open handshakes, {} MiB at the most",
        idle.now / MIB,
        full.now / MIB,
        after.peak / MIB
    );
    assert!(after.peak < idle.now + 100 * MIB, "{idle:?} {after:?}");
}

//! Callers and targets that do not read.

use std::sync::Arc;
use std::time::Duration;

use edge_tunnel_tests::caller;
use edge_tunnel_tests::fleet::Fleet;
use edge_tunnel_tests::payload::{self, Tally};
use edge_tunnel_tests::service::Service;
use edge_tunnel_tests::wait::{until, within};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use super::{MIB, house, mixed, started};

/// What a server takes beside `--buffer-memory` and what it had with its sessions idle: buffers of connections at
/// work, and what the allocator keeps.
const BASE: usize = 48 * MIB;

/// More than the kernel takes on its own between an agent and a target.
const MUCH: usize = 16 * MIB;

/// The streams that are stuck.
#[derive(Default)]
struct Stuck {
    /// Whose callers do not read.
    sources: Vec<UnixStream>,
    /// Whose targets do not read, while their callers write.
    deaf: JoinSet<()>,
}

impl Stuck {
    fn len(&self) -> usize {
        self.sources.len() + self.deaf.len()
    }

    async fn add(&mut self, mut io: UnixStream, much: &Arc<Vec<u8>>) {
        if self.sources.len() <= self.deaf.len() {
            caller::say(&mut io, "source 3000000 1").await.unwrap();
            self.sources.push(io);
        } else {
            caller::say(&mut io, "deaf").await.unwrap();
            let much = Arc::clone(much);
            self.deaf.spawn(async move {
                let written = io.write_all(&much).await;
                assert!(written.is_err(), "somebody has read it all");
            });
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_agents_fill_their_streams_against_readers_that_have_stopped() {
    const AGENTS: usize = 200;
    const LIMIT: usize = 96 * MIB;
    let limit = LIMIT.to_string();
    let Some((server, mut fleet)) = house(&["--buffer-memory", &limit], AGENTS).await else {
        return;
    };
    started(&mut fleet, &server, AGENTS, mixed).await;
    let service = Service::start().await;
    let promised = async || {
        let metrics = server.metrics().await;
        metrics.sum("buffer_memory_promised_bytes", &[])
    };
    let (idle, promised_idle) = (server.memory(), promised().await);

    let mut stuck = Stuck::default();
    let much = Arc::new(vec![7; MUCH]);
    let refused = loop {
        assert!(stuck.len() < 4000, "nothing is refused");
        // Two in turn, so that callers and targets of all agents are among them.
        let number = stuck.len() / 2 % AGENTS;
        let at = format!("{}:{}", Fleet::name(number), service.port());
        match caller::uds(&server.uds(), &at).await {
            Ok(io) => stuck.add(io, &much).await,
            Err(refused) => break refused,
        }
    };
    assert!(
        refused.status == 503 && refused.phrase.contains("memory"),
        "{refused:?}"
    );
    // What is under way arrives.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let full = server.memory();
    println!(
        "{} streams stuck, {:.0} MiB promised of {}; resident {} MiB idle, {} MiB now, {} MiB at the most",
        stuck.len(),
        promised().await / MIB as f64,
        LIMIT / MIB,
        idle.now / MIB,
        full.now / MIB,
        full.peak / MIB
    );
    assert!(full.peak < idle.now + LIMIT + BASE, "{idle:?} {full:?}");

    // Readers that return get everything, and then there is room.
    let mut reading = JoinSet::new();
    for mut io in stuck.sources {
        reading.spawn(async move { caller::read_all(&mut io).await });
    }
    let all = async {
        let (mut whole, mut given_up) = (0, 0);
        while let Some(read) = reading.join_next().await {
            let (tally, end) = read.unwrap();
            if end.is_ok() {
                assert_eq!(tally, Tally::of(&payload::bytes(1, 3_000_000)));
                whole += 1;
            } else {
                given_up += 1;
            }
        }
        (whole, given_up)
    };
    let (whole, given_up) = within("readers that return", Duration::from_secs(100), all).await;
    // Over QUIC the connection of a crowd of readers that have stopped gives some of them up, with an error.
    println!("{whole} readers that returned got everything, {given_up} were given up");
    assert!(whole > given_up, "{whole} {given_up}");
    drop(stuck.deaf);
    let back = async || match promised().await {
        now if now <= promised_idle => Ok(()),
        now => Err(format!("{now} instead of {promised_idle}")),
    };
    until("everything is given back", Duration::from_secs(30), back).await;
    let at = format!("{}:{}", Fleet::name(0), service.port());
    let mut io = caller::uds(&server.uds(), &at).await.unwrap();
    caller::say(&mut io, "echo").await.unwrap();
    caller::echo(&mut io, "hello").await.unwrap();
    println!("resident {} MiB afterwards", server.memory().now / MIB);
}

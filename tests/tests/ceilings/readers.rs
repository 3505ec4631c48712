//! Callers and targets that do not read.

use std::sync::Arc;
use std::time::Duration;

use edge_tunnel_tests::caller;
use edge_tunnel_tests::fleet::Fleet;
use edge_tunnel_tests::payload::{self, Tally};
use edge_tunnel_tests::programs::Memory;
use edge_tunnel_tests::service::Service;
use edge_tunnel_tests::wait::{until, within};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;

use super::{MIB, house, mixed, started};

/// What a server takes beside `--buffer-memory` and what it had with its sessions idle: buffers of connections at
/// work, and what the allocator keeps.
const BASE: usize = 48 * MIB;

/// More than the kernel takes on its own between an agent and a target.
const MUCH: usize = 16 * MIB;

/// A stream whose failure its caller can tell from an end: a unix socket's cannot.
type Stream = TlsStream<TcpStream>;

/// The streams that are stuck.
#[derive(Default)]
struct Stuck {
    /// Whose callers do not read.
    sources: Vec<Stream>,
    /// Whose targets do not read, while their callers write.
    deaf: JoinSet<()>,
}

impl Stuck {
    fn len(&self) -> usize {
        self.sources.len() + self.deaf.len()
    }

    async fn add(&mut self, mut io: Stream, much: &Arc<Vec<u8>>) {
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
    let files = server.issue_client("crowd").await;
    let service = Service::start().await;
    let at = format!("{}:{}", Fleet::name(0), service.port());
    let look = async || {
        let opened = caller::mtls(server.connect(), &files, &at).await;
        opened.map_err(|refused| format!("{refused:?}"))
    };
    drop(until("callers are let in", Duration::from_secs(10), look).await);
    let promised = async || {
        let metrics = server.metrics().await.unwrap();
        metrics.sum("buffer_memory_promised_bytes", &[])
    };
    let (idle, promised_idle) = (Memory::of(server.pid()), promised().await);

    let mut stuck = Stuck::default();
    let much = Arc::new(vec![7; MUCH]);
    let refused = loop {
        assert!(stuck.len() < 4000, "nothing is refused");
        // Two in turn, so that callers and targets of all agents are among them.
        let number = stuck.len() / 2 % AGENTS;
        let at = format!("{}:{}", Fleet::name(number), service.port());
        match caller::mtls(server.connect(), &files, &at).await {
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
    let full = Memory::of(server.pid());
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
    drop((service, stuck.deaf));
    let back = async || match promised().await {
        now if now <= promised_idle => Ok(()),
        now => Err(format!("{now} instead of {promised_idle}")),
    };
    until("everything is given back", Duration::from_secs(30), back).await;
    let service = Service::start().await;
    let at = format!("{}:{}", Fleet::name(0), service.port());
    let mut io = caller::uds(&server.uds(), &at).await.unwrap();
    caller::say(&mut io, "echo").await.unwrap();
    caller::echo(&mut io, "hello").await.unwrap();
    println!(
        "resident {} MiB afterwards",
        Memory::of(server.pid()).now / MIB
    );
}

/// How long it takes until it is asked whether a caller has left for whom nothing moves, with room for a slow machine.
const ASKED: Duration = Duration::from_secs(2 * 120 + 60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes four minutes"]
async fn callers_that_have_left_are_found_though_their_targets_read_nothing() {
    const EACH: usize = 20;
    let Some((server, mut fleet)) = house(&[], 2).await else {
        return;
    };
    started(&mut fleet, &server, 2, mixed).await;
    let service = Service::start().await;
    let count = async |name: &str| server.metrics().await.unwrap().sum(name, &[]);
    let promised_idle = count("buffer_memory_promised_bytes").await;

    let much = vec![7; MUCH];
    let mut callers = Vec::new();
    for number in 0..2 * EACH {
        let at = format!("{}:{}", Fleet::name(number % 2), service.port());
        let mut io = caller::uds(&server.uds(), &at).await.unwrap();
        caller::say(&mut io, "deaf").await.unwrap();
        let written = tokio::time::timeout(Duration::from_millis(300), io.write_all(&much)).await;
        assert!(written.is_err(), "somebody has read it all");
        callers.push(io);
    }
    // One of each node stays, and keeps its stream.
    callers.truncate(2);
    let back = async || match count("streams_open").await {
        2.0 => Ok(()),
        streams => Err(format!("{streams} streams")),
    };
    let waited = until("the streams of who has left", ASKED, back).await;
    println!("found after {:?}", waited.1);
    drop((callers, service));
    let back = async || match count("buffer_memory_promised_bytes").await {
        now if now <= promised_idle => Ok(()),
        now => Err(format!("{now} instead of {promised_idle}")),
    };
    until("everything is given back", Duration::from_secs(30), back).await;
}

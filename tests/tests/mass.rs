//! Thousands of agents that come at once, as after a restart of the server. A program of its own, so that it disturbs
//! nobody's timing.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use edge_tunnel_server::pace::HANDSHAKES;
use edge_tunnel_tests::fleet::Fleet;
use edge_tunnel_tests::metrics::Metrics;
use edge_tunnel_tests::node::Node;
use edge_tunnel_tests::server::Server;
use edge_tunnel_tests::service::Service;
use edge_tunnel_tests::wait::{give_up, within};
use edge_tunnel_tests::{caller, limits};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// How agents dial, by their numbers.
type Dials = fn(usize) -> &'static str;

/// Both, one after the other, as agents do that are told nothing else.
fn race(_: usize) -> &'static str {
    ""
}

fn tls(_: usize) -> &'static str {
    "tls://"
}

fn quic(_: usize) -> &'static str {
    "quic://"
}

fn half(number: usize) -> &'static str {
    if number.is_multiple_of(2) {
        "tls://"
    } else {
        "quic://"
    }
}

/// Room for a machine that others use as well, and for the last of those who were turned away: they try again within
/// a minute.
const ROOM: Duration = Duration::from_secs(75);

/// By how many seconds an agent comes late at the most that was told when to come: it waits up to one more, and its
/// handshake takes the rest on a machine that is busy with thousands of them.
const LATE: f64 = 5.0;

/// Above so many agents that dial QUIC, memory matters: each endpoint of quinn has a buffer of 3 MiB for what it receives,
/// of which it uses little.
const MANY: usize = 1000;

/// The system's allocator gives such buffers out unused while it takes them from the kernel one by one, which it stops to
/// do after the first that was freed, unless this is set (mallopt(3)). It is read when a program starts.
const ONE_BY_ONE: &str = "MALLOC_MMAP_THRESHOLD_";

/// What the server has counted of agents that came.
#[derive(Debug, Clone, Copy)]
struct Count {
    at: Instant,
    sessions: f64,
    handshakes: f64,
    shed: f64,
    deferred: f64,
}

impl Count {
    const fn none(at: Instant) -> Self {
        Self {
            at,
            sessions: 0.0,
            handshakes: 0.0,
            shed: 0.0,
            deferred: 0.0,
        }
    }

    async fn of(server: &Server) -> Self {
        let metrics: Metrics = server.metrics().await;
        let outcome = |name| metrics.sum("handshakes_total", &[&format!("outcome=\"{name}\"")]);
        let shed = outcome("shed");
        // Those that failed include who has left before any work was done: the slower way of an agent that tries two.
        let without = shed + outcome("retried") + outcome("failed");
        Self {
            at: Instant::now(),
            sessions: metrics.sum("sessions", &[]),
            handshakes: metrics.sum("handshakes_total", &[]) - without,
            shed,
            deferred: metrics.sum("sessions_ended_total", &["reason=\"deferred\""]),
        }
    }
}

/// How a storm went.
struct Storm {
    took: Duration,
    handshakes: f64,
    shed: f64,
    deferred: f64,
}

impl fmt::Display for Storm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.1} s, {} handshakes, {} turned away, {} told to come back",
            self.took.as_secs_f64(),
            self.handshakes,
            self.shed,
            self.deferred
        )
    }
}

/// Watches until `agents` more are there, and that the server keeps to its pace meanwhile.
async fn watch(server: &Server, pace: u32, began: Instant, before: Count, agents: usize) -> Storm {
    let pace = f64::from(pace);
    let implied = Duration::from_secs_f64(agents as f64 / pace);
    loop {
        sleep(Duration::from_millis(100)).await;
        let now = Count::of(server).await;
        let seconds = (now.at - began).as_secs_f64();
        let (handshakes, sessions) = (
            now.handshakes - before.handshakes,
            now.sessions - before.sessions,
        );
        // At once half a second's worth of handshakes, and a second's of sessions; and those who were promised a place may
        // come late, when others have used it.
        let most = f64::from(HANDSHAKES) * pace * (seconds + 0.5);
        assert!(
            handshakes <= most,
            "{handshakes} of {most} after {seconds} s"
        );
        let most = pace * (seconds + 1.0 + LATE);
        assert!(
            sessions <= most,
            "{sessions} sessions of {most} after {seconds} s"
        );
        if sessions >= agents as f64 {
            return Storm {
                took: now.at - began,
                handshakes,
                shed: now.shed - before.shed,
                deferred: now.deferred - before.deferred,
            };
        }
        if now.at - began > implied + ROOM {
            give_up(format!(
                "{sessions} of {agents} are there after {seconds} s: {now:?}"
            ));
        }
    }
}

/// A stream that is there before the others come: bytes go to and fro on it until it is told to stop. Gives the longest
/// round trip.
fn established(uds: PathBuf, at: String, stop: CancellationToken) -> JoinHandle<Duration> {
    tokio::spawn(async move {
        let mut io = caller::uds(&uds, &at).await.expect("the node is there");
        caller::say(&mut io, "echo")
            .await
            .expect("the stream is there");
        let mut longest = Duration::ZERO;
        while !stop.is_cancelled() {
            let began = Instant::now();
            let echo = caller::echo(&mut io, "still there");
            let echoed = within("an echo on an old stream", Duration::from_secs(20), echo).await;
            echoed.expect("a stream that is there stays");
            longest = longest.max(began.elapsed());
            sleep(Duration::from_millis(20)).await;
        }
        longest
    })
}

#[expect(clippy::print_stdout, reason = "the figures are for whoever reads")]
async fn storms(name: &str, agents: usize, pace: u32, dials: Dials) {
    limits::open_files((3 * agents + 1000) as u64);
    if agents > MANY && std::env::var_os(ONE_BY_ONE).is_none() {
        give_up(format!(
            "{agents} agents would take {} GiB of memory: set {ONE_BY_ONE}=1048576, as tests/long.sh does",
            agents * 6 / 1024
        ));
    }
    let mut server = Server::start(&[]).await;
    server.at_pace(pace);
    let mut fleet = Fleet::join(&mut server, agents).await;
    let service = Service::start().await;
    let old = Node::join("old", &server).await;
    let stop = CancellationToken::new();
    let streams: Vec<_> = (0..4)
        .map(|_| established(server.uds(), old.at(service.port()), stop.clone()))
        .collect();

    let address = server.agents();
    let (began, before) = (Instant::now(), Count::of(&server).await);
    fleet.start(|number| format!("{}{address}", dials(number)));
    let storm = watch(&server, pace, began, before, agents).await;
    stop.cancel();
    let mut longest = Duration::ZERO;
    for stream in streams {
        longest = longest.max(stream.await.expect("the old streams live"));
    }
    println!(
        "{name}: {agents} agents come: {storm}; longest round trip of old streams {longest:?}"
    );
    obeyed(&storm, &fleet, 0.0, agents, true);

    let told = fleet.metrics().sum("connects_deferred_total", &[]);
    drop(old);
    server.stop().await;
    let began = Instant::now();
    server.start_again().await;
    let before = Count::none(began);
    let storm = watch(&server, pace, began, before, agents).await;
    println!("{name}: {agents} agents return: {storm}");
    obeyed(&storm, &fleet, told, agents, false);
}

/// Whoever was told when to come back came then: the server keeps places, so who comes too early is told once more.
fn obeyed(storm: &Storm, fleet: &Fleet, told_before: f64, agents: usize, all_at_once: bool) {
    let told = fleet.metrics().sum("connects_deferred_total", &[]) - told_before;
    // An agent that this machine keeps from reading for too long is told in vain.
    let in_vain = storm.deferred - told;
    assert!(
        (0.0..=agents as f64 / 10.0).contains(&in_vain),
        "{told} agents know of it: {storm}"
    );
    assert!(told <= agents as f64, "some were told twice: {storm}");
    // Those that return find their ways back over some time, by their own random delays.
    if all_at_once {
        assert!(told > 0.0, "nobody was told anything: {storm}");
    }
}

/// One after the other: each needs the machine for itself.
static ALONE: Mutex<()> = Mutex::const_new(());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn six_hundred_agents_at_once() {
    let _alone = ALONE.lock().await;
    storms("half QUIC, half TLS", 600, 60, half).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make test-long"]
async fn five_thousand_agents_at_once_over_tls() {
    let _alone = ALONE.lock().await;
    storms("TLS", 5000, 150, tls).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make test-long"]
async fn five_thousand_agents_at_once_over_quic() {
    let _alone = ALONE.lock().await;
    storms("QUIC", 5000, 150, quic).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make test-long"]
async fn five_thousand_agents_at_once_half_over_each() {
    let _alone = ALONE.lock().await;
    storms("half QUIC, half TLS", 5000, 150, half).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make test-long"]
async fn five_thousand_agents_at_once_that_try_both() {
    let _alone = ALONE.lock().await;
    storms("QUIC, else TLS", 5000, 150, race).await;
}

//! Everything that can go wrong, at random, under traffic whose every byte is checked.
//!
//! A server and three agents, as programs of their own: one agent over QUIC, one over TLS, one over what passes. Callers
//! come by every way in, all the time. In rounds something is wrong, somewhere, most of the time; then it is quiet, and
//! everything is to be as it was before the round. A request may fail where something was wrong while it was under way.
//! It may not fail otherwise, get other bytes, or hang.
//!
//!   EDGE_TUNNEL_SOAK_MINUTES=30   how long, about
//!   EDGE_TUNNEL_SOAK_SEED=1       which faults, and which requests; else one that is drawn, and printed

#![expect(clippy::unwrap_used, reason = "in a test the panic is the message")]

mod callers;
mod faults;
mod world;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use edge_tunnel_tests::census::Census;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::{Instant, sleep};

use callers::Callers;
use faults::Fault;
use world::World;

/// How long something goes wrong between two looks at what is left.
const ROUND: Duration = Duration::from_secs(120);

/// What came of it all.
#[derive(Debug, Default)]
struct Sum {
    seed: u64,
    took: Duration,
    faults: BTreeMap<&'static str, u32>,
    callers: callers::Sum,
    leaked: Vec<String>,
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = &self.callers;
        write!(
            f,
            "soak: seed {}, {} s: {} requests, {} MB whole; faults {:?}; {} failed in flight; wrong {}, hung {}, failed \
             for no reason {}, leaked {}",
            self.seed,
            self.took.as_secs(),
            of.requests,
            of.bytes / 1_000_000,
            self.faults,
            of.in_flight,
            of.wrong.len(),
            of.hung.len(),
            of.without_reason.len(),
            self.leaked.len(),
        )
    }
}

async fn soak(length: Duration, round: Duration) {
    let drawn = || rand::rng().random_range(0..1_000_000);
    let seed = std::env::var("EDGE_TUNNEL_SOAK_SEED")
        .map_or_else(|_| drawn(), |seed| seed.parse().unwrap());
    tell(format!("soak: seed {seed}"));
    let Some(mut world) = World::new().await else {
        return;
    };
    let mut rng = SmallRng::seed_from_u64(seed);
    let (began, mut sum) = (
        Instant::now(),
        Sum {
            seed,
            ..Sum::default()
        },
    );
    let mut before = Census::settled(&world.counted()).await;
    let mut ids = world.ids();
    while began.elapsed() < length {
        let callers = Callers::start(&world, rng.random());
        let until = Instant::now() + round.min(length.saturating_sub(began.elapsed()));
        let mut first = true;
        while Instant::now() < until {
            sleep(Duration::from_millis(rng.random_range(0..1500))).await;
            // Whoever is new has had no time to leak: they die early in a round.
            let early = first || Instant::now() + round * 2 / 3 < until;
            let fault = Fault::draw(&mut rng, early);
            first = false;
            *sum.faults.entry(fault.name()).or_default() += 1;
            fault.strike(&mut world, &mut rng).await;
        }
        let outcome = callers.stop().await;
        tell(format!("soak: {} s, {outcome}", began.elapsed().as_secs()));
        sum.callers.add(outcome);
        world.calm().await;
        for (old, new) in ids.iter().zip(world.ids()) {
            before = before.renamed(*old, new);
        }
        ids = world.ids();
        if let Err(left) = before.back(&world.counted()).await {
            sum.leaked.push(left);
            before = Census::settled(&world.counted()).await;
        }
    }
    sum.took = began.elapsed();
    tell(format!("{sum}"));
    let of = &sum.callers;
    let good = of.wrong.is_empty()
        && of.hung.is_empty()
        && of.without_reason.is_empty()
        && sum.leaked.is_empty();
    assert!(good, "{sum:#?}");
    assert!(of.requests > of.in_flight && of.bytes > 0, "{sum}");
}

fn tell(words: impl fmt::Display) {
    #[expect(
        clippy::print_stderr,
        reason = "a test of half an hour says how far it is"
    )]
    {
        eprintln!("{words}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_soak() {
    soak(Duration::from_secs(15), Duration::from_secs(15)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make test-long"]
async fn a_long_soak() {
    let minutes = std::env::var("EDGE_TUNNEL_SOAK_MINUTES");
    let minutes: u64 = minutes.map_or(30, |minutes| minutes.parse().unwrap());
    soak(Duration::from_secs(60 * minutes), ROUND).await;
}

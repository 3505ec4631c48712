//! Everything that can go wrong, at random, under traffic whose every byte is checked.
//!
//! A server and three agents, as programs of their own: one agent over QUIC, one over TLS, one over what passes. Callers
//! come by every way in, all the time. In rounds faults strike at every node and at the server, also at the same time;
//! then it is quiet, and everything is to be as it was before. A request may fail where a fault that may break it was on
//! its way while it was under way. It may not fail otherwise, get other bytes, or hang.
//!
//! | file | what it is |
//! | --- | --- |
//! | `schedule` | which faults strike when, made of a seed |
//! | `strike` | how they strike |
//! | `trouble` | what is wrong on the way to a node, and when |
//! | `world` | the server and the nodes |
//! | `callers`, `manners` | who asks, and how |
//! | `leaks`, `report` | what is left, and what came of it |
//!
//!   EDGE_TUNNEL_SOAK_MINUTES=30   how long the long one takes, about
//!   EDGE_TUNNEL_SOAK_SEED=1       which faults, and which requests; else one that is drawn, and printed

#![expect(clippy::unwrap_used, reason = "in a test the panic is the message")]

mod callers;
mod leaks;
mod manners;
mod report;
mod schedule;
mod strike;
mod trouble;
mod world;

use std::fmt;
use std::time::Duration;

use rand::RngExt as _;
use tokio::time::Instant;

use callers::Callers;
use leaks::Leaks;
use report::Report;
use schedule::{Deck, Shape};
use world::World;

/// The seed of the short run.
const SEED: u64 = 1;

/// Rounds until so much time has passed; one at least.
async fn soak(default: u64, length: Duration, shape: Shape) {
    let seed = std::env::var("EDGE_TUNNEL_SOAK_SEED");
    let seed = seed.map_or(default, |seed| seed.parse().unwrap());
    tell(format!("soak: seed {seed}"));
    let Some(mut world) = World::new().await else {
        return;
    };
    let leaks = Leaks::watch(&world.counted()).await;
    let mut report = Report::new(seed, leaks);
    let (began, mut deck) = (Instant::now(), Deck::new(seed));
    while report.rounds == 0 || began.elapsed() < length {
        let plan = deck.deal(shape);
        let callers = Callers::start(&world, plan.seed);
        strike::carry_out(&mut world, &plan).await;
        report.add(&plan, callers.stop().await);
        world.calm().await;
        report.leaks.look(&world.counted()).await;
        report.took = began.elapsed();
        let troubles = world.sites.iter().map(|site| &site.reach.trouble);
        report.disturbed = troubles.map(trouble::Trouble::lasted).collect();
        tell(&report);
    }
    assert!(report.good(), "{report}");
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
async fn every_fault_at_random_breaks_only_what_was_on_its_way() {
    let shape = Shape {
        local: 3,
        central: 1,
        pause: 1000,
        lasts: 2500,
    };
    soak(SEED, Duration::ZERO, shape).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make test-long"]
async fn every_fault_at_random_for_half_an_hour() {
    let minutes = std::env::var("EDGE_TUNNEL_SOAK_MINUTES");
    let minutes: u64 = minutes.map_or(30, |minutes| minutes.parse().unwrap());
    let shape = Shape {
        local: 8,
        central: 3,
        pause: 6000,
        lasts: 6000,
    };
    let drawn = rand::rng().random_range(0..1_000_000);
    soak(drawn, Duration::from_secs(60 * minutes), shape).await;
}

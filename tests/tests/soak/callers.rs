//! Whoever asks, all the time, and what became of it.

use std::fmt;
use std::time::Duration;

use edge_tunnel_tests::traffic::{Fate, Order};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::world::{Trouble, World};

/// How many for each node and way in.
const EACH: usize = 1;

/// The largest request, in bytes.
const LARGEST: f64 = 3e6;

/// What became of requests.
#[derive(Debug, Default)]
pub(super) struct Sum {
    pub(super) requests: u64,
    pub(super) bytes: u64,
    pub(super) in_flight: u64,
    pub(super) wrong: Vec<String>,
    pub(super) hung: Vec<String>,
    pub(super) without_reason: Vec<String>,
}

impl Sum {
    pub(super) fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.in_flight += other.in_flight;
        self.wrong.extend(other.wrong);
        self.hung.extend(other.hung);
        self.without_reason.extend(other.without_reason);
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests, {} failed in flight, wrong {:?}, hung {:?}, failed for no reason {:?}",
            self.requests, self.in_flight, self.wrong, self.hung, self.without_reason
        )
    }
}

/// They ask until they are stopped.
#[derive(Debug)]
pub(super) struct Callers {
    stop: watch::Sender<bool>,
    asking: JoinSet<Sum>,
}

impl Callers {
    pub(super) fn start(world: &World, seed: u64) -> Self {
        let stop = watch::Sender::new(false);
        let mut asking = JoinSet::new();
        let mut rng = SmallRng::seed_from_u64(seed);
        for site in &world.sites {
            for order in &site.orders {
                for _ in 0..EACH {
                    let (order, trouble) = (order.clone(), site.trouble.clone());
                    asking.spawn(ask(order, trouble, rng.random(), stop.subscribe()));
                }
            }
        }
        Self { stop, asking }
    }

    /// Waits for what is under way.
    pub(super) async fn stop(self) -> Sum {
        self.stop.send_replace(true);
        let mut sum = Sum::default();
        for one in self.asking.join_all().await {
            sum.add(one);
        }
        sum
    }
}

async fn ask(order: Order, trouble: Trouble, seed: u64, stop: watch::Receiver<bool>) -> Sum {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut sum = Sum::default();
    while !*stop.borrow() {
        // As many small ones as large ones.
        let size = LARGEST.powf(rng.random_range(0.0..1.0));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 1 to the largest"
        )]
        let order = Order {
            size: size as usize,
            seed: rng.random(),
            ..order.clone()
        };
        let then = trouble.look();
        let fate = order.run().await;
        sum.requests += 1;
        let words = |what: &dyn fmt::Debug| {
            format!(
                "{} {} {} bytes, seed {}: {what:?}",
                order.door.name(),
                order.at,
                order.size,
                order.seed
            )
        };
        match fate {
            Fate::Whole => sum.bytes += order.size as u64,
            Fate::Failed(why) if trouble.none_since(then) => sum.without_reason.push(words(&why)),
            Fate::Failed(_) => {
                sum.in_flight += 1;
                sleep(Duration::from_millis(50)).await;
            }
            Fate::Wrong(why) => sum.wrong.push(words(&why)),
            Fate::Hung => sum.hung.push(words(&"hung")),
        }
        sleep(Duration::from_millis(rng.random_range(0..40))).await;
    }
    sum
}

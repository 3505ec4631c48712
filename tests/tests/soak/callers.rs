//! Whoever asks, all the time, and what became of it.

use std::collections::BTreeMap;
use std::time::Duration;

use edge_tunnel_tests::traffic::{Fate, Order};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::manners::Manner;
use super::trouble::Trouble;
use super::world::World;

/// How many come to each node by each way in.
const EACH: usize = 2;

/// The largest request, in bytes.
const LARGEST: f64 = 3e6;

/// What became of requests.
#[derive(Debug, Default)]
pub(super) struct Sum {
    pub(super) requests: u64,
    /// That were looked at.
    pub(super) bytes: u64,
    /// Requests on whose way nothing was wrong that may break them.
    pub(super) undisturbed: u64,
    /// How many failed, by the fault that was on their way.
    pub(super) failed: BTreeMap<&'static str, u64>,
    pub(super) wrong: Vec<String>,
    pub(super) hung: Vec<String>,
    pub(super) without_reason: Vec<String>,
}

impl Sum {
    pub(super) fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.undisturbed += other.undisturbed;
        for (fault, count) in other.failed {
            *self.failed.entry(fault).or_default() += count;
        }
        self.wrong.extend(other.wrong);
        self.hung.extend(other.hung);
        self.without_reason.extend(other.without_reason);
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
            for order in &site.reach.orders {
                for _ in 0..EACH {
                    let (order, trouble) = (order.clone(), site.reach.trouble.clone());
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

async fn ask(to: Order, trouble: Trouble, seed: u64, stop: watch::Receiver<bool>) -> Sum {
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
            ..to.clone()
        };
        let manner = Manner::draw(&mut rng);
        let then = Instant::now();
        let (fate, bytes) = manner.make(&order).await;
        let blame = trouble.blame(then);
        sum.requests += 1;
        sum.bytes += bytes as u64;
        sum.undisturbed += u64::from(blame.is_none());
        let words = |why: &str| {
            format!(
                "{} {} {} bytes, seed {}, {manner:?}, after {:?}: {why}; {}",
                order.door.name(),
                order.at,
                order.size,
                order.seed,
                then.elapsed(),
                trouble.lately(),
            )
        };
        match fate {
            Fate::Whole => {}
            Fate::Failed(why) => {
                match blame {
                    Some(fault) => *sum.failed.entry(fault).or_default() += 1,
                    None => sum.without_reason.push(words(&why)),
                }
                sleep(Duration::from_millis(200)).await;
            }
            Fate::Wrong(why) => sum.wrong.push(words(&why)),
            Fate::Hung => sum.hung.push(words("nobody was told anything")),
        }
        sleep(Duration::from_millis(rng.random_range(0..40))).await;
    }
    sum
}

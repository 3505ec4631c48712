//! Callers that read slowly, or not at all, beside ones that read as fast as they can.

use std::time::Duration;

use edge_tunnel_tests::caller;
use edge_tunnel_tests::census::Census;
use edge_tunnel_tests::place::Place;
use edge_tunnel_tests::traffic::{Door, Fate};
use edge_tunnel_tests::wait::give_up;
use tokio::io::AsyncReadExt as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// How many read slowly or not at all, half of each.
const SLOW: usize = 20;

/// How many requests of the fast ones are measured at a time, and by how many callers.
const REQUESTS: u64 = 240;
const CALLERS: u64 = 4;

/// How much longer the fast ones' slowest hundredth may take beside slow ones. Twice is what is wanted; the rest is
/// for the noise of a machine with two busy cores.
const RATIO: u32 = 4;

/// Below this it is the machine that is measured, not the tunnel.
const FLOOR: Duration = Duration::from_millis(100);

/// How long the fast ones' requests take, all but the slowest hundredth.
async fn p99(place: &Place) -> Duration {
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let order = place.order(64 * 1024, 0);
        callers.spawn(async move {
            let mut took = Vec::new();
            for round in 0..REQUESTS / CALLERS {
                let order = edge_tunnel_tests::traffic::Order {
                    seed: caller + CALLERS * round,
                    ..order.clone()
                };
                let began = Instant::now();
                assert_eq!(order.run().await, Fate::Whole);
                took.push(began.elapsed());
            }
            took
        });
    }
    let mut took: Vec<_> = callers.join_all().await.into_iter().flatten().collect();
    took.sort();
    took[took.len() * 99 / 100]
}

async fn beside_slow_ones(transport: &str) {
    let place = Place::new("slow-readers", transport, "5s").await;
    let Door::Mtls(server, files) = &place.door else {
        unreachable!("as every place");
    };
    place.works().await;
    let before = Census::settled(&place.counted()).await;
    let mut rounds = Vec::new();
    for _ in 0..3 {
        let alone = p99(&place).await;
        let mut slow = JoinSet::new();
        for reader in 0..SLOW {
            let at = place.node.at(place.service.port());
            let mut io = caller::mtls(*server, files, &at).await.unwrap();
            caller::say(&mut io, "source 20000000 1").await.unwrap();
            slow.spawn(async move {
                let mut piece = vec![0; 4096];
                while io.read(&mut piece).await.is_ok() {
                    if reader % 2 == 0 {
                        std::future::pending::<()>().await;
                    }
                    sleep(Duration::from_millis(50)).await;
                }
            });
        }
        // Until their windows are full.
        sleep(Duration::from_secs(1)).await;
        let beside = p99(&place).await;
        slow.shutdown().await;
        rounds.push((alone, beside));
        if beside <= (alone * RATIO).max(FLOOR) {
            before.comes_back(&place.counted()).await;
            return;
        }
    }
    give_up(format!(
        "{transport}: p99 (alone, beside slow readers): {rounds:?}"
    ));
}

#[tokio::test]
async fn fast_readers_do_not_wait_for_slow_ones_over_quic() {
    beside_slow_ones("quic").await;
}

#[tokio::test]
async fn fast_readers_do_not_wait_for_slow_ones_over_tls() {
    beside_slow_ones("tls").await;
}

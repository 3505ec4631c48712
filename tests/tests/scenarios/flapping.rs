//! A link that goes and comes, again and again, under requests.

use std::time::Duration;

use edge_tunnel_tests::census::Census;
use edge_tunnel_tests::link::Link;
use edge_tunnel_tests::place::Place;
use edge_tunnel_tests::traffic::Fate;
use edge_tunnel_tests::wait::give_up;
use tokio::time::{Instant, sleep};

/// How long each state lasts.
const FLAP: Duration = Duration::from_secs(2);

/// One request after the other, each checked, until told otherwise; says how many worked.
async fn ask_on(place: &Place, until: Instant) -> usize {
    let mut whole = 0;
    let mut seed = 0;
    while Instant::now() < until {
        seed += 1;
        match place.order(200_000, seed).run().await {
            Fate::Whole => whole += 1,
            Fate::Failed(_) => sleep(Duration::from_millis(50)).await,
            fate => give_up(format!("request {seed}: {fate:?}")),
        }
    }
    whole
}

async fn flaps(name: &str, dial: &str, flaps: u32, down: impl Fn(&Link), up: impl Fn(&Link)) {
    let retry = Duration::from_secs(1);
    let place = Place::with_retry(name, dial, "1s", retry).await;
    place.works().await;
    let before = Census::settled(&place.counted()).await;
    let fault = async {
        for _ in 0..flaps {
            down(&place.link);
            sleep(FLAP).await;
            up(&place.link);
            sleep(FLAP).await;
        }
    };
    let end = Instant::now() + flaps * 2 * FLAP;
    let (whole, ()) = tokio::join!(ask_on(&place, end), fault);
    let took = place.works().await;
    // The longest back-off, an attempt that had begun before, and what a busy machine adds.
    assert!(took < Duration::from_secs(80), "{dial} {took:?}");
    assert!(whole > 0, "{dial}: nothing ever got through");
    place.node.ready().await;
    if dial == "any" {
        // Over whatever carried it in between, it ends where it began.
        place.node.carried_by("quic", 1).await;
        place.node.carried_by("tls", 0).await;
    }
    before.comes_back(&place.counted()).await;
}

/// Each kind of flapping, for some seconds each way and time.
async fn every_kind(count: u32) {
    let cut = |link: &Link| {
        link.tcp().cut();
        link.udp().cut();
        link.block();
    };
    let block = |link: &Link| link.block();
    let unblock = |link: &Link| link.unblock();
    tokio::join!(
        flaps("flap-block", "quic", count, block, unblock),
        flaps("flap-block", "tls", count, block, unblock),
        flaps("flap-cut", "quic", count, cut, unblock),
        flaps("flap-cut", "tls", count, cut, unblock),
        flaps("flap-cut", "any", count, cut, unblock),
    );
}

#[tokio::test]
#[ignore = "long: make test-long"]
async fn a_link_that_flaps_is_dialled_anew_each_time() {
    Box::pin(every_kind(4)).await;
}

#[tokio::test]
#[ignore = "long: make test-long"]
async fn a_link_that_flaps_for_a_minute_is_dialled_anew_each_time() {
    Box::pin(every_kind(15)).await;
}

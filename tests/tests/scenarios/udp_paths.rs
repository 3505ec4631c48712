//! Paths that are bad for UDP: one direction only, small packets only, some of them lost or out of order.

use std::time::Duration;

use edge_tunnel_tests::census::Census;
use edge_tunnel_tests::link::{Link, Way};
use edge_tunnel_tests::place::Place;
use edge_tunnel_tests::traffic::Fate;

const NEVER: Duration = Duration::from_secs(3600);

/// The largest packet that every IPv6 path passes (RFC 8200, 5), and the largest here that is too small for QUIC: UDP
/// payloads of 1,199 bytes.
const SMALL: usize = 1280;
const TOO_SMALL: usize = 1227;

/// More than every buffer on the way holds.
const LARGE: usize = 5_000_000;

/// Down, up, and both.
async fn carries(place: &Place, size: usize) {
    for seed in 0..3 {
        let fate = place.order(size, seed).run().await;
        assert_eq!(fate, Fate::Whole, "seed {seed}");
    }
}

#[tokio::test]
async fn udp_that_passes_one_way_only_makes_way_for_tls_and_takes_over_again() {
    let one = async |way: Way, from_the_start: bool| {
        let name = format!("udp-{way:?}-{from_the_start}").to_lowercase();
        let prepare = |link: &Link| {
            if from_the_start {
                link.udp().stall(way);
            }
        };
        let retry = Duration::from_secs(1);
        let place = Place::on(&name, "any", "1s", retry, prepare).await;
        let quic = if from_the_start {
            None
        } else {
            place.works().await;
            place.node.carried_by("quic", 1).await;
            Some(Census::settled(&place.counted()).await)
        };
        place.link.udp().stall(way);
        place.node.carried_by("tls", 1).await;
        carries(&place, 200_000).await;
        place.link.udp().unblock();
        place.node.carried_by("quic", 1).await;
        place.node.carried_by("tls", 0).await;
        carries(&place, 200_000).await;
        if let Some(before) = quic {
            before.comes_back(&place.counted()).await;
        }
    };
    tokio::join!(
        one(Way::Up, false),
        one(Way::Down, false),
        one(Way::Up, true),
        one(Way::Down, true)
    );
}

#[tokio::test]
async fn a_path_of_1280_bytes_carries_quic() {
    let from_the_start = async {
        let narrow = |link: &Link| link.udp().narrow(SMALL);
        let place = Place::on("narrow", "quic", "1s", NEVER, narrow).await;
        carries(&place, LARGE).await;
    };
    // After QUIC has found out that more passes.
    let later = async {
        let place = Place::new("narrowed", "quic", "1s").await;
        carries(&place, LARGE).await;
        place.link.udp().narrow(SMALL);
        carries(&place, LARGE).await;
    };
    tokio::join!(from_the_start, later);
}

#[tokio::test]
async fn a_path_that_is_too_small_for_quic_carries_tls() {
    let narrow = |link: &Link| link.udp().narrow(TOO_SMALL);
    let place = Place::on("too-narrow", "any", "1s", NEVER, narrow).await;
    place.node.carried_by("tls", 1).await;
    carries(&place, LARGE).await;
}

#[tokio::test]
async fn what_is_lost_and_overtaken_on_the_way_arrives_whole_and_in_order() {
    let one = async |lost: u32, reordered: u32| {
        let name = format!("lossy-{lost}-{reordered}");
        let lossy = |link: &Link| link.udp().lose(lost, reordered);
        let place = Place::on(&name, "quic", "2s", NEVER, lossy).await;
        let before = Census::settled(&place.counted()).await;
        carries(&place, LARGE).await;
        before.comes_back(&place.counted()).await;
    };
    tokio::join!(one(20, 0), one(0, 200), one(20, 100));
}

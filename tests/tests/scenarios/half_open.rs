//! Connections of which one side knows that they are over and the other does not, and ones of which a half has ended.

use std::time::Duration;

use edge_tunnel_tests::caller;
use edge_tunnel_tests::census::Census;
use edge_tunnel_tests::link::{End, Way};
use edge_tunnel_tests::place::Place;
use edge_tunnel_tests::wait::{SOON, within};

use super::TRANSPORTS;

/// Two streams are open when `fault` strikes: one waits for an answer, one says nothing. Both are told; the node comes
/// back; nothing is left.
async fn strikes(name: &str, transport: &str, fault: impl Fn(&Place)) {
    let place = Place::new(name, transport, "1s").await;
    place.works().await;
    let before = Census::settled(&place.counted()).await;
    let (mut quiet, mut asking) = (place.talk().await, place.talk().await);
    fault(&place);
    let asked = async {
        // It may take the question and lose the answer, or know already.
        let _ = caller::echo(&mut asking, "still there?").await;
        caller::read_all(&mut asking).await.1
    };
    let (one, other) = within("both streams are told", SOON, async {
        tokio::join!(asked, async { caller::read_all(&mut quiet).await.1 })
    })
    .await;
    one.expect_err("the question got no answer");
    other.expect_err("a broken link is no end");
    let took = place.works().await;
    assert!(
        took < Duration::from_secs(30),
        "{name} {transport} {took:?}"
    );
    drop((quiet, asking));
    before.comes_back(&place.counted()).await;
}

#[tokio::test]
async fn the_agent_knows_and_the_server_does_not() {
    let over = async |transport: &str| {
        strikes("half-agent", transport, |place| {
            place.link.path(transport).half_open(End::Agent);
        })
        .await;
    };
    tokio::join!(over("quic"), over("tls"));
}

#[tokio::test]
async fn the_server_knows_and_the_agent_does_not() {
    let over = async |transport: &str| {
        strikes("half-server", transport, |place| {
            place.link.path(transport).half_open(End::Server);
        })
        .await;
    };
    tokio::join!(over("quic"), over("tls"));
}

/// TCP's own end of one direction says nothing of a session's: it is a failure.
#[tokio::test]
async fn a_half_that_has_ended_is_a_failure_and_no_end() {
    let one = async |way: Way| {
        let name = format!("half-closed-{way:?}").to_lowercase();
        strikes(&name, "tls", |place| place.link.tcp().half_close(way)).await;
    };
    tokio::join!(one(Way::Up), one(Way::Down));
}

/// The link passes bytes one way only, in the middle of transfers each way.
#[tokio::test]
async fn one_direction_is_lost_in_the_middle_of_transfers() {
    let one = async |transport: &str, way: Way| {
        let name = format!("lost-{way:?}").to_lowercase();
        let place = Place::new(&name, transport, "1s").await;
        place.works().await;
        let before = Census::settled(&place.counted()).await;
        let orders: Vec<_> = (0..3).map(|seed| place.order(60_000_000, seed)).collect();
        let transfers = async { tokio::join!(orders[0].run(), orders[1].run(), orders[2].run()) };
        let fault = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            place.link.path(transport).stall(way);
            // Longer than it takes to find out.
            tokio::time::sleep(Duration::from_secs(12)).await;
            place.link.path(transport).unblock();
        };
        let (fates, ()) = tokio::join!(transfers, fault);
        for fate in [&fates.0, &fates.1, &fates.2] {
            assert!(
                matches!(fate, edge_tunnel_tests::traffic::Fate::Failed(_)),
                "{transport} {way:?}: {fates:?}"
            );
        }
        place.works().await;
        before.comes_back(&place.counted()).await;
    };
    for transport in TRANSPORTS {
        tokio::join!(one(transport, Way::Up), one(transport, Way::Down));
    }
}

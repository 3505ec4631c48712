//! Balancers that forget connections on which nothing is said for a while, and say so to nobody.

use std::time::Duration;

use edge_tunnel_tests::census::Census;
use edge_tunnel_tests::link::Forgotten;
use edge_tunnel_tests::place::Place;
use edge_tunnel_tests::wait::SOON;
use edge_tunnel_tests::wait::until;
use tokio::time::sleep;

async fn since(place: &Place) -> String {
    let session = place.server.session(place.node.name(), |_| true).await;
    format!("{:?}", session.session.map(|session| session.since))
}

/// The heartbeat is a third of what the balancer remembers: nothing is ever forgotten.
async fn outlives(transport: &str, place: &Place, limit: Duration, rounds: u32) {
    for then in [Forgotten::Silent, Forgotten::Reset] {
        place.link.path(transport).forget(limit, then);
        let before = since(place).await;
        sleep(limit * rounds).await;
        assert_eq!(
            since(place).await,
            before,
            "{transport}: the session is the same"
        );
        place.works().await;
        assert_eq!(
            since(place).await,
            before,
            "{transport}: the session is the same"
        );
    }
}

#[tokio::test]
async fn a_heartbeat_below_the_idle_limit_keeps_the_session() {
    let over = async |transport: &str| {
        let place = Place::new("idle-kept", transport, "1s").await;
        outlives(transport, &place, Duration::from_secs(3), 2).await;
    };
    tokio::join!(over("quic"), over("tls"));
}

/// At the defaults of both programs, with what balancers and NATs forget the soonest.
#[tokio::test]
#[ignore = "long: make test-long"]
async fn the_default_heartbeat_outlives_a_balancer_that_forgets_after_60_s() {
    let over = async |transport: &str| {
        let place = Place::new("idle-default", transport, "25s").await;
        outlives(transport, &place, Duration::from_secs(60), 3).await;
    };
    tokio::join!(over("quic"), over("tls"));
}

/// What the long test takes for granted, and twice a heartbeat fits into a minute: one may be lost.
#[test]
fn the_default_heartbeats_are_25_s() {
    use clap::Parser as _;
    use edge_tunnel_agent::config as agent;
    use edge_tunnel_server::config as server;
    let line = [
        "edge-tunnel-agent",
        "run",
        "--server",
        "cloud.example:10262",
    ];
    let agent::Command::Run(agent) = agent::Cli::parse_from(line).unwrap().command else {
        panic!("the command line says run");
    };
    let server = server::Cli::parse_from(["edge-tunnel-server", "run"]).command;
    let server::Command::Run(server) = server else {
        panic!("the command line says run");
    };
    assert_eq!(agent.heartbeat, Duration::from_secs(25));
    assert_eq!(server.heartbeat, agent.heartbeat);
    assert!(agent.heartbeat * 2 < Duration::from_secs(60));
}

/// The heartbeat is too long for this balancer. Callers get an answer all the same, and the node comes back.
#[tokio::test]
async fn a_session_that_was_forgotten_is_found_out_and_dialled_anew() {
    let one = async |transport: &str, then: Forgotten, caller_comes: bool| {
        let name = format!("idle-{then:?}-{caller_comes}").to_lowercase();
        let place = Place::new(&name, transport, "5s").await;
        let path = place.link.path(transport);
        place.works().await;
        let before = Census::settled(&place.counted()).await;
        path.forget(Duration::from_secs(2), then);
        sleep(Duration::from_millis(2500)).await;
        if caller_comes {
            // The server is the first to speak, on what it takes for a session.
            place.works().await;
        } else {
            // The agent's heartbeat is; over QUIC the session goes on from another port.
            let changed = since(&place).await;
            let look = async || {
                let now = place.server.metrics().await;
                let ended = now.sum("sessions_ended_total", &[]);
                if ended > 0.5 || transport == "quic" {
                    Ok(())
                } else {
                    Err(format!("{changed:?} goes on"))
                }
            };
            until("the session is dialled anew", SOON, look).await;
        }
        path.mend();
        place.works().await;
        before.comes_back(&place.counted()).await;
    };
    let (silent, reset) = (Forgotten::Silent, Forgotten::Reset);
    let over = async |transport: &str| {
        tokio::join!(
            one(transport, silent, true),
            one(transport, silent, false),
            one(transport, reset, true),
            one(transport, reset, false)
        );
    };
    tokio::join!(Box::pin(over("quic")), Box::pin(over("tls")));
}

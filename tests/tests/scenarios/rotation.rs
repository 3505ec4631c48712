//! A change of the CA, with everybody there and with one away.

use std::time::Duration;

use edge_tunnel_proto::clock::Clock;
use edge_tunnel_tests::caller;
use edge_tunnel_tests::chatter::Chatter;
use edge_tunnel_tests::crowd::Crowd;
use edge_tunnel_tests::forge::DAY;
use edge_tunnel_tests::limits;
use edge_tunnel_tests::node::{Node, forget_certificate};
use edge_tunnel_tests::server::Server;
use edge_tunnel_tests::service::Service;
use edge_tunnel_tests::wait::until;

/// How many are there.
const NODES: usize = 200;

/// On how many of them a stream is open all the while.
const STREAMS: usize = 20;

#[tokio::test]
async fn a_ca_is_replaced_under_two_hundred_sessions_and_no_stream_notices() {
    limits::open_files(16_384);
    let start = Clock::system().now();
    let clock = Clock::fixed(start);
    let mut server = Server::start_with(&[], &[], clock.clone()).await;
    let service = Service::start().await;
    let mut away = Node::new("rota-away", &server.agents()).clock(&clock);
    away.enrol(&server).await;
    away.stop().await;
    let crowd = Crowd::join("rota", NODES, &server, &clock).await;
    let mut chatter = Chatter::default();
    for node in crowd.names().iter().take(STREAMS) {
        let to = format!("{node}:{}", service.port());
        chatter.add(node, caller::uds(&server.uds(), &to).await.unwrap());
    }
    let renewed = async |times: usize| {
        let look = async || {
            let metrics = server.metrics().await;
            let issued = metrics.sum("renewals_total", &["outcome=\"issued\""]);
            if issued > (times * NODES) as f64 - 0.5 {
                Ok(())
            } else {
                Err(format!("{issued} renewals"))
            }
        };
        let what = format!("everybody has renewed, time {times}");
        until(&what, Duration::from_secs(120), look).await;
    };
    for (number, step) in (1..).zip(["introduce", "sign"]) {
        server.must(&["ca", "rotate", step]).await;
        assert_eq!(chatter.talking(), STREAMS, "after {step}");
        // Where the next step is known, it waits.
        let next = ["introduce", "sign", "finish"][number as usize];
        let soon = server.command(&["ca", "rotate", next]).await.unwrap_err();
        let behind = format!("{NODES} of {NODES} connected agents have not");
        assert!(
            soon.contains(&behind) && soon.contains("1 registered"),
            "{soon}"
        );
        // What the documents say is to pass before the next step.
        clock.set(start + number * 13 * DAY);
        renewed(usize::try_from(number).unwrap()).await;
        let shown = server.must(&["ca", "rotate"]).await;
        let all = format!("all connected agents ({NODES}) have renewed");
        assert!(shown.contains(&all), "{shown}");
        assert_eq!(chatter.talking(), STREAMS, "after the renewals of {step}");
    }
    server.must(&["ca", "rotate", "finish"]).await;
    assert_eq!(server.ca("show").await.authorities.len(), 1);
    assert_eq!(chatter.talking(), STREAMS, "after finish");
    let ended = server.metrics().await.sum("sessions_ended_total", &[]);
    assert!(
        ended < 1.5,
        "{ended} sessions have ended: that of the one away"
    );
    assert!(chatter.finish().await > 0);

    // Everybody dials anew, and is known by the new CA alone.
    server.stop().await;
    server.start_again().await;
    crowd.connected(&server).await;

    // Whoever missed it all says so, and comes back by a token.
    away.start().await;
    away.says(&[
        "leads to no CA",
        "after a change of the CA a node must enrol anew",
    ])
    .await;
    away.stop().await;
    forget_certificate(&away.state_dir());
    let words = ["token", "create", "--node", away.name(), "--replace"];
    let token = server.spare("token-away");
    std::fs::write(&token, server.must(&words).await).unwrap();
    let mut away = away.token_file(token);
    away.start().await;
    away.ready().await;
}

//! Clocks that are wrong: where it does not matter nobody notices, and where it does whoever reads it learns which clock,
//! by how much, and what to do.

use std::time::{Duration, SystemTime};

use edge_tunnel_proto::clock::Clock;
use edge_tunnel_tests::forge::DAY;
use edge_tunnel_tests::logs;
use edge_tunnel_tests::node::Node;
use edge_tunnel_tests::server::Server;
use edge_tunnel_tests::wait::until;

use super::TRANSPORTS;

const HOUR: Duration = Duration::from_secs(3600);

struct Place {
    start: SystemTime,
    there: Clock,
    server: Server,
}

/// A server whose clock is right.
async fn place() -> Place {
    let start = Clock::system().now();
    let there = Clock::fixed(start);
    let server = Server::start_with(&[], &[], there.clone()).await;
    Place {
        start,
        there,
        server,
    }
}

impl Place {
    fn node(&self, name: &str, transport: &str, here: &Clock) -> Node {
        let dial = format!("{transport}://{}", self.server.agents());
        Node::new(&format!("{name}-{transport}"), &dial).clock(here)
    }

    /// A node that has a token, and fails by it.
    async fn fails(&self, name: &str, transport: &str, here: SystemTime, words: &[&str]) {
        let here = Clock::fixed(here);
        let node = self.node(name, transport, &here);
        let token = self.server.token(node.name()).await;
        let mut node = node.token_file(token);
        node.start().await;
        node.says(words).await;
    }
}

async fn comes_back(node: &Node) {
    let look = async || match node.missing().await {
        missing if missing.is_empty() => Ok(()),
        missing => Err(missing),
    };
    let what = format!("{} is back", node.name());
    until(&what, Duration::from_secs(60), look).await;
}

#[tokio::test]
async fn a_nodes_clock_that_is_an_hour_off_or_stands_in_1970_hurts_nobody() {
    let place = place().await;
    let clocks = [
        ("slow", place.start - HOUR),
        ("fast", place.start + HOUR),
        ("fast-week", place.start + 6 * DAY),
        ("epoch", SystemTime::UNIX_EPOCH),
        ("slow-years", place.start - 1000 * DAY),
    ];
    for (name, time) in clocks {
        for transport in TRANSPORTS {
            let here = Clock::fixed(time);
            let mut node = place.node(name, transport, &here);
            node.enrol(&place.server).await;
            assert!(
                here.now() >= place.start - HOUR,
                "{name}: no clock is before the certificate's issue"
            );
            // With what was kept.
            node.stop().await;
            let mut again = place
                .node(name, transport, &Clock::fixed(time))
                .identity_of(&node);
            again.start().await;
            again.ready().await;
        }
    }
    let warned = logs::with(&["this node's clock says 1970", "set the clock (NTP)"]);
    assert!(!warned.is_empty(), "a clock that stands in 1970 is told of");
}

#[tokio::test]
async fn a_nodes_clock_that_is_far_ahead_is_named() {
    let place = place().await;
    let over = async |transport: &str| {
        // A server's certificate lives for a week.
        let words = ["this node's clock is ahead", "33 days later", "NTP"];
        let ahead = place.start + 40 * DAY + HOUR;
        place.fails("ahead", transport, ahead, &words).await;
    };
    tokio::join!(over("quic"), over("tls"));
}

#[tokio::test]
async fn a_servers_clock_that_is_a_day_behind_is_named_and_its_nodes_come_back() {
    let place = place().await;
    let mut nodes = Vec::new();
    for transport in TRANSPORTS {
        let mut node = place.node("behind", transport, &Clock::fixed(place.start));
        node.enrol(&place.server).await;
        node.stop().await;
        nodes.push(node);
    }
    place.there.set(place.start - DAY);
    for node in &mut nodes {
        node.start().await;
        // Certificates begin an hour before their issue.
        node.says(&["the server's clock is behind", "23 h earlier", "NTP"])
            .await;
        let line = logs::with(&["refused", "the server's clock is behind", node.name()]);
        let told = line.iter().any(|line| line.contains("remote=127.0.0.1"));
        assert!(told, "{line:?}");
    }
    place.there.set(place.start);
    for node in &nodes {
        comes_back(node).await;
    }
}

#[tokio::test]
async fn a_certificate_that_was_issued_by_a_clock_ahead_is_told_as_one() {
    let place = place().await;
    place.there.set(place.start + 2 * DAY);
    let mut nodes = Vec::new();
    for transport in TRANSPORTS {
        let mut node = place.node("early", transport, &Clock::fixed(place.start));
        node.enrol(&place.server).await;
        node.stop().await;
        nodes.push(node);
    }
    place.there.set(place.start);
    for node in &mut nodes {
        node.start().await;
        node.says(&[
            "was ahead when it issued",
            "47 h earlier",
            "have another issued",
        ])
        .await;
    }
    // In time it is as good as any.
    place.there.set(place.start + 2 * DAY);
    for node in &nodes {
        comes_back(node).await;
    }
}

#[tokio::test]
async fn a_servers_clock_that_is_years_off_is_named() {
    let over = async |transport: &str| {
        let place = place().await;
        place.there.set(place.start + 1100 * DAY);
        let words = [
            "this node's clock is behind",
            "or the server's is ahead, and by years",
        ];
        place
            .fails("years-ahead", transport, place.start, &words)
            .await;
        place.there.set(place.start - 1100 * DAY);
        let words = ["or the server's is behind", "1093 days later", "NTP"];
        place
            .fails("years-behind", transport, place.start, &words)
            .await;
    };
    tokio::join!(over("quic"), over("tls"));
}

#[tokio::test]
async fn a_servers_clock_that_is_a_year_ahead_is_named_where_certificates_run_out_by_it() {
    let place = place().await;
    for transport in TRANSPORTS {
        let mut node = place.node("year", transport, &Clock::fixed(place.start));
        node.enrol(&place.server).await;
        node.stop().await;
        place.there.set(place.start + 365 * DAY);
        node.start().await;
        node.says(&[
            "the server's clock says",
            "335 days later",
            "Unless that clock is wrong",
        ])
        .await;
        place.there.set(place.start);
        comes_back(&node).await;
    }
}

//! Certificates that are renewed while everything runs, and what happens when that is refused.

use std::time::{Duration, SystemTime};

use edge_tunnel_proto::clock::Clock;
use edge_tunnel_tests::caller;
use edge_tunnel_tests::chatter::Chatter;
use edge_tunnel_tests::forge::DAY;
use edge_tunnel_tests::logs;
use edge_tunnel_tests::node::Node;
use edge_tunnel_tests::server::Server;
use edge_tunnel_tests::service::Service;
use edge_tunnel_tests::wait::{SOON, until};

use super::TRANSPORTS;

/// What a node holds out for after a renewal that failed, and an attempt.
const PATIENCE: Duration = Duration::from_secs(90);

async fn renewals(node: &Node, outcome: &str, count: u32) {
    let label = format!("outcome=\"{outcome}\"");
    let look = async || {
        let found = node.metrics().await.sum("renewals_total", &[&label]);
        if found > f64::from(count) - 0.5 {
            Ok(())
        } else {
            Err(found.to_string())
        }
    };
    let what = format!("renewal {count} of {} is {outcome}", node.name());
    until(&what, PATIENCE, look).await;
}

async fn expiry(node: &Node) -> f64 {
    let metrics = node.metrics().await;
    metrics.sum("certificate_expiry_timestamp_seconds", &[])
}

async fn node(name: &str, transport: &str, server: &Server, clock: &Clock) -> Node {
    let dial = format!("{transport}://{}", server.agents());
    let mut node = Node::new(&format!("{name}-{transport}"), &dial).clock(clock);
    node.enrol(server).await;
    node
}

async fn chat(chatter: &mut Chatter, streams: usize, server: &Server, node: &Node, port: u16) {
    for number in 0..streams {
        let io = caller::uds(&server.uds(), &node.at(port)).await.unwrap();
        chatter.add(&format!("{}/{number}", node.name()), io);
    }
}

#[tokio::test]
async fn no_stream_notices_that_certificates_are_renewed() {
    const STREAMS: usize = 3;
    const RENEWALS: u32 = 4;
    let start = Clock::system().now();
    let clock = Clock::fixed(start);
    let server = Server::start_with(&[], &[], clock.clone()).await;
    let service = Service::start().await;
    let (mut chatter, mut nodes) = (Chatter::default(), Vec::new());
    for transport in TRANSPORTS {
        let node = node("renews", transport, &server, &clock).await;
        chat(&mut chatter, STREAMS, &server, &node, service.port()).await;
        nodes.push((expiry(&node).await, node));
    }
    for turn in 1..=RENEWALS {
        // From a third of thirty days on, and a twelfth of them that keeps nodes from coming all at once.
        clock.set(start + turn * 13 * DAY);
        for (_, node) in &nodes {
            renewals(node, "renewed", turn).await;
        }
        assert_eq!(chatter.talking(), STREAMS * nodes.len());
    }
    // The first certificates, with which the sessions began, are over for three weeks.
    for (first, node) in &nodes {
        assert!(expiry(node).await > first + 45.0 * 86_400.0);
        let metrics = node.metrics().await;
        let ended = metrics.sum("sessions_ended_total", &[]);
        assert!(ended < 0.5, "{}: {ended} sessions have ended", node.name());
    }
    let metrics = server.metrics().await;
    let issued = metrics.sum("renewals_total", &["outcome=\"issued\""]);
    let wanted = f64::from(RENEWALS) * nodes.len() as f64;
    assert!((issued - wanted).abs() < 0.5, "{issued}");
    let enrolled = metrics.sum("enrolments_total", &[]);
    assert!(enrolled < nodes.len() as f64 + 0.5, "over sessions alone");
    let bytes = chatter.finish().await;
    assert!(bytes > 0, "nothing was said");
}

/// A node that is due, with one stream that talks, and until when its certificate is valid.
struct Due {
    start: SystemTime,
    there: Clock,
    server: Server,
    node: Node,
    chatter: Chatter,
    first: f64,
    _service: Service,
}

/// `ready` is done before the node learns that it is due.
async fn due(name: &str, transport: &str, ready: impl FnOnce(&Node, &Clock, SystemTime)) -> Due {
    let start = Clock::system().now();
    let (here, there) = (Clock::fixed(start), Clock::fixed(start));
    let server = Server::start_with(&[], &[], there.clone()).await;
    let service = Service::start().await;
    let node = node(name, transport, &server, &here).await;
    let mut chatter = Chatter::default();
    chat(&mut chatter, 1, &server, &node, service.port()).await;
    let first = expiry(&node).await;
    ready(&node, &there, start);
    here.set(start + 13 * DAY);
    Due {
        start,
        there,
        server,
        node,
        chatter,
        first,
        _service: service,
    }
}

impl Due {
    /// Nothing has come of it, and nothing was lost.
    async fn goes_on(&mut self) {
        assert_eq!(self.chatter.talking(), 1);
        assert_eq!(self.node.missing().await, "");
        assert!((expiry(&self.node).await - self.first).abs() < 0.5);
    }

    async fn goes_through(self) {
        renewals(&self.node, "renewed", 1).await;
        assert!(expiry(&self.node).await > self.first + 12.0 * 86_400.0);
        let ended = self.node.metrics().await;
        let ended = ended.sum("sessions_ended_total", &[]);
        assert!(ended < 0.5, "{ended} sessions have ended");
        let enrolled = self.server.metrics().await.sum("enrolments_total", &[]);
        assert!(enrolled < 1.5, "over the session");
        self.chatter.finish().await;
    }
}

#[tokio::test]
async fn a_renewal_that_is_refused_is_asked_for_again_and_the_session_goes_on() {
    let over = async |transport: &str| {
        // Ten years and a day: the server's CA is over, by its own clock, and signs nothing.
        let late = |_: &Node, there: &Clock, start: SystemTime| there.set(start + 3651 * DAY);
        let mut due = due("refused", transport, late).await;
        renewals(&due.node, "internal", 1).await;
        let told = logs::with(&["the certificate was not renewed", "its log says why"]);
        assert!(!told.is_empty(), "the agent says nothing");
        due.goes_on().await;
        due.there.set(due.start + 13 * DAY);
        due.goes_through().await;
    };
    tokio::join!(over("quic"), over("tls"));
}

#[tokio::test]
async fn a_renewal_that_cannot_be_kept_is_asked_for_again_and_the_session_goes_on() {
    let over = async |transport: &str| {
        let paths = |node: &Node| {
            let at = |name: &str| node.state_dir().join(name);
            (at("bundle.pem"), at("bundle.aside"))
        };
        // A folder in the place of a file cannot be replaced by one, whoever runs the test.
        let full = |node: &Node, there: &Clock, start: SystemTime| {
            there.set(start + 13 * DAY);
            let (bundle, aside) = paths(node);
            std::fs::rename(&bundle, aside).unwrap();
            std::fs::create_dir(bundle).unwrap();
        };
        let mut due = due("unkept", transport, full).await;
        renewals(&due.node, "failed", 1).await;
        let folder = due.node.state_dir().display().to_string();
        let told = logs::with(&["the certificate was not renewed", "--state-dir", &folder]);
        assert!(
            !told.is_empty(),
            "the agent does not say what it could not write"
        );
        due.goes_on().await;
        let (bundle, aside) = paths(&due.node);
        std::fs::remove_dir(&bundle).unwrap();
        std::fs::rename(aside, bundle).unwrap();
        due.goes_through().await;
    };
    tokio::join!(over("quic"), over("tls"));
}

/// Such a box takes its certificate's issue for the time, and its certificate for good, for as long as nobody sets its
/// clock.
#[tokio::test]
async fn a_box_without_a_clock_whose_certificate_ran_out_meanwhile_renews_it() {
    let start = Clock::system().now();
    let there = Clock::fixed(start);
    let server = Server::start_with(&[], &[], there.clone()).await;
    for (turn, transport) in (1..).zip(TRANSPORTS) {
        let here = Clock::fixed(SystemTime::UNIX_EPOCH);
        let mut node = node("clockless", transport, &server, &here).await;
        node.stop().await;
        there.set(start + turn * 40 * DAY);
        // As after a boot: nothing of before is in memory.
        let mut node = Node::new(node.name(), &format!("{transport}://{}", server.agents()))
            .clock(&Clock::fixed(SystemTime::UNIX_EPOCH))
            .identity_of(&node);
        node.start().await;
        node.ready().await;
        renewals(&node, "renewed", 1).await;
        let told = logs::with(&["can be used to renew", node.name(), "INFO"]);
        assert!(!told.is_empty(), "nobody says why");
        let session = async || match server.node(node.name()).await {
            Some(status) if status.session.is_some() => Ok(()),
            other => Err(format!("{other:?}")),
        };
        until("the node is connected", SOON, session).await;
    }
}

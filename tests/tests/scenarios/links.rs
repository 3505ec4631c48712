//! Links that break while streams are open, and links that die without a word.

use std::time::Duration;

use edge_tunnel_tests::caller::{self, get};
use edge_tunnel_tests::link::{Link, Way};
use edge_tunnel_tests::node::Node;
use edge_tunnel_tests::payload::{self, Tally};
use edge_tunnel_tests::server::Server;
use edge_tunnel_tests::service::{Ended, Service};
use edge_tunnel_tests::wait::{SOON, until, within};
use edge_tunnel_tests::web::Web;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

use super::TRANSPORTS;

/// In which a dead link is found out, where an answer is awaited: 1 s of patience, 3 s for the probe, and what a busy
/// machine adds.
const FOUND_OUT: Duration = Duration::from_secs(8);

/// A transfer that no buffer on the way holds.
const BULK: u64 = 200_000_000;

struct Place {
    server: Server,
    link: Link,
    node: Node,
}

async fn place(name: &str, transport: &str, heartbeat: &str, keys: &[(&str, &str)]) -> Place {
    let server = Server::start_with(
        &["--heartbeat", heartbeat],
        keys,
        edge_tunnel_proto::clock::Clock::system(),
    )
    .await;
    let link = Link::to(server.agents()).await;
    let dial = format!("{transport}://{}", link.address());
    let mut node =
        Node::new(&format!("{name}-{transport}"), &dial).flags(&["--heartbeat", heartbeat]);
    node.enrol(&server).await;
    Place { server, link, node }
}

/// The next call works.
async fn works(place: &Place, port: u16) {
    let opens = async || {
        let at = place.node.at(port);
        let opened = caller::uds(&place.server.uds(), &at).await;
        let mut io = opened.map_err(|refused| format!("{refused:?}"))?;
        caller::say(&mut io, "echo")
            .await
            .map_err(|error| error.to_string())?;
        caller::echo(&mut io, "hello")
            .await
            .map_err(|error| error.to_string())
    };
    until("the next call works", SOON, opens).await;
}

async fn cut_mid_stream(transport: &str) {
    let place = place("cut", transport, "3s", &[]).await;
    let Place { server, link, node } = &place;
    let service = Service::start().await;
    let at = node.at(service.port());
    let files = server
        .issue_client("caller", &["--ports", &service.port().to_string()])
        .await;
    let mut quiet = caller::mtls(server.connect(), &files, &at).await.unwrap();
    caller::say(&mut quiet, "echo").await.unwrap();
    caller::echo(&mut quiet, "hello").await.unwrap();
    let mut bulk = caller::mtls(server.connect(), &files, &at).await.unwrap();
    caller::say(&mut bulk, &format!("source {BULK} 1"))
        .await
        .unwrap();
    let mut piece = vec![0; 1_000_000];
    bulk.read_exact(&mut piece).await.unwrap();

    link.path(transport).cut();
    for io in [&mut quiet, &mut bulk] {
        let (tally, end) = within("the caller hears of it", SOON, caller::read_all(io)).await;
        end.expect_err("a cut is no end");
        assert!(tally.count() < BULK);
    }
    for fate in service.ended(2).await {
        assert!(
            matches!(fate, Ended::Broken(_)),
            "the target hears of it too: {fate:?}"
        );
    }
    works(&place, service.port()).await;
}

#[tokio::test]
async fn a_cut_is_an_error_to_the_caller_over_quic() {
    cut_mid_stream("quic").await;
}

#[tokio::test]
async fn a_cut_is_an_error_to_the_caller_over_tls() {
    cut_mid_stream("tls").await;
}

#[tokio::test]
async fn a_cut_in_a_response_is_an_error_to_the_http_caller() {
    for transport in TRANSPORTS {
        let web = Web::start("web").await;
        let keys = [("http-proxy-ports", web.port().to_string())];
        let keys = keys.each_ref().map(|(key, text)| (*key, text.as_str()));
        let Place { server, link, node } = place("cut-http", transport, "3s", &keys).await;
        link.path(transport).delay(Duration::from_millis(20));
        let at = node.at(web.port());
        let http = server.http();
        let asking =
            tokio::spawn(
                async move { caller::http(http, get(&format!("/bytes/{BULK}"), &at)).await },
            );
        let begun = async || match server
            .metrics()
            .await
            .sum("streams_open", &["way=\"http\""])
        {
            open if open > 0.5 => Ok(()),
            open => Err(open.to_string()),
        };
        until("the response has begun", SOON, begun).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        link.path(transport).cut();
        let answer = within("the caller hears of it", SOON, asking)
            .await
            .unwrap();
        let answer = answer.map(|answer| (answer.status, answer.body.len()));
        // Before the head a status says it, after it only a broken body can.
        assert!(matches!(answer, Err(_) | Ok((503 | 502, _))), "{answer:?}");
    }
}

async fn half_open(transport: &str) {
    // Heartbeats are no help: only that an answer is awaited.
    let place = place("half-open", transport, "60s", &[]).await;
    let Place { server, link, node } = &place;
    let service = Service::start().await;
    let before = server.session(node.name(), |_| true).await.session.unwrap();
    link.path(transport).freeze();
    let began = Instant::now();
    let refused = caller::uds(&server.uds(), &node.at(service.port()))
        .await
        .map(drop)
        .unwrap_err();
    let took = began.elapsed();
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.phrase.contains(node.name()), "{refused:?}");
    assert!(
        took > Duration::from_secs(2) && took < FOUND_OUT,
        "{took:?}: {refused:?}"
    );
    let dropped = async || match server.node(node.name()).await.unwrap().session {
        Some(session) if session.remote == before.remote => Err(format!("{session:?}")),
        _ => Ok(()),
    };
    until("the session is dropped", Duration::from_secs(2), dropped).await;
}

#[tokio::test]
async fn a_request_over_a_dead_link_fails_within_seconds_over_quic() {
    half_open("quic").await;
}

#[tokio::test]
async fn a_request_over_a_dead_link_fails_within_seconds_over_tls() {
    half_open("tls").await;
}

#[tokio::test]
async fn a_dead_link_is_dialled_anew() {
    let over = async |transport: &str| {
        let place = place("redial", transport, "1s", &[]).await;
        let service = Service::start().await;
        place.link.path(transport).freeze();
        works(&place, service.port()).await;
    };
    tokio::join!(over("quic"), over("tls"));
}

async fn one_way(way: Way, transport: &str) {
    let place = place(
        &format!("one-way-{way:?}").to_lowercase(),
        transport,
        "60s",
        &[],
    )
    .await;
    let service = Service::start().await;
    place.link.path(transport).stall(way);
    let began = Instant::now();
    let at = place.node.at(service.port());
    let refused = caller::uds(&place.server.uds(), &at)
        .await
        .map(drop)
        .unwrap_err();
    assert!(matches!(refused.status, 503 | 504), "{way:?} {refused:?}");
    // QUIC repeats what is not acknowledged, ever more slowly, and that is a sign of life for a while.
    let took = began.elapsed();
    assert!(took < FOUND_OUT * 2, "{transport} {way:?} {took:?}");
}

#[tokio::test]
async fn a_link_that_passes_bytes_one_way_only_is_dead_too() {
    tokio::join!(
        one_way(Way::Up, "quic"),
        one_way(Way::Down, "quic"),
        one_way(Way::Up, "tls"),
        one_way(Way::Down, "tls")
    );
}

/// A kept connection to a node has no opening that could find out: the request itself is the first to hang.
#[tokio::test]
async fn a_request_on_a_kept_connection_over_a_dead_link_is_answered_within_seconds() {
    let over = async |transport: &str| {
        let web = Web::start("web").await;
        let port = web.port().to_string();
        let Place { server, link, node } =
            place("kept", transport, "60s", &[("http-proxy-ports", &port)]).await;
        let at = node.at(web.port());
        let first = caller::http(server.http(), get("/name", &at))
            .await
            .unwrap();
        assert_eq!(first.status, 200);
        let kept = async || match server
            .metrics()
            .await
            .sum("ingress_http_idle_node_connections", &[])
        {
            idle if idle > 0.5 => Ok(()),
            idle => Err(idle.to_string()),
        };
        until("the connection is kept", SOON, kept).await;
        link.path(transport).freeze();
        let began = Instant::now();
        let answer = within(
            "an answer",
            SOON,
            caller::http(server.http(), get("/name", &at)),
        )
        .await;
        let status = answer.map(|answer| answer.status);
        // A GET that never got an answer is sent again, and by then the agent may be back by its other transport.
        assert!(
            matches!(status, Ok(200 | 502..=504)),
            "{transport} {status:?}"
        );
        assert!(
            began.elapsed() < 2 * FOUND_OUT,
            "{transport} {:?}",
            began.elapsed()
        );
    };
    tokio::join!(over("quic"), over("tls"));
}

/// Likewise whoever talks on a stream that is open already.
#[tokio::test]
async fn a_question_on_an_open_stream_over_a_dead_link_fails_within_seconds() {
    let over = async |transport: &str| {
        let Place { server, link, node } = place("open", transport, "60s", &[]).await;
        let service = Service::start().await;
        let files = server
            .issue_client("caller", &["--ports", &service.port().to_string()])
            .await;
        let at = node.at(service.port());
        let mut io = caller::mtls(server.connect(), &files, &at).await.unwrap();
        caller::say(&mut io, "echo").await.unwrap();
        caller::echo(&mut io, "hello").await.unwrap();
        link.path(transport).freeze();
        let asked = within("an answer", SOON, caller::echo(&mut io, "still there?")).await;
        asked.expect_err("nothing comes over a dead link");
    };
    tokio::join!(over("quic"), over("tls"));
}

/// Socket buffers hold seconds of a slow link's time: the heartbeat's question waits behind them, and so does its answer.
#[tokio::test]
async fn a_slow_link_is_not_taken_for_a_dead_one() {
    let place = place("slow", "tls", "1s", &[]).await;
    let Place { server, link, node } = &place;
    let service = Service::start().await;
    let before = server.session(node.name(), |_| true).await.session.unwrap();
    // 64 KiB at a time: some 600 kB/s in each direction.
    link.tcp().delay(Duration::from_millis(100));
    let at = node.at(service.port());
    let mut io = caller::uds(&server.uds(), &at).await.unwrap();
    let bytes = payload::bytes(1, 3_000_000);
    caller::say(&mut io, "sink").await.unwrap();
    let upload = async {
        io.write_all(&bytes).await.unwrap();
        io.shutdown().await.unwrap();
        let mut answer = String::new();
        io.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, format!("{} done", Tally::of(&bytes)));
    };
    within("the upload", 3 * SOON, upload).await;
    let after = server.session(node.name(), |_| true).await.session.unwrap();
    assert_eq!(before.since, after.since, "the session is the same");
}

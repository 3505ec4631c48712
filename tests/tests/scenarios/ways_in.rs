//! A node joins by a token, and is reached by each way in.

use std::net::SocketAddr;
use std::time::Duration;

use edge_tunnel_tests::caller::{self, get};
use edge_tunnel_tests::node::Node;
use edge_tunnel_tests::payload::{self, Tally};
use edge_tunnel_tests::server::Server;
use edge_tunnel_tests::service::{Ended, Service};
use edge_tunnel_tests::web::Web;
use edge_tunnel_tests::{logs, ports};
use http::Request;
use http_body_util::Full;
use tokio::io::AsyncWriteExt as _;

/// More than every buffer on the way holds.
const LARGE: usize = 3_000_000;

async fn sink(io: &mut impl caller::Io, length: usize) {
    let bytes = payload::bytes(length as u64, length);
    caller::say(io, "sink").await.unwrap();
    io.write_all(&bytes).await.unwrap();
    io.shutdown().await.unwrap();
    let (answer, end) = caller::read_all(io).await;
    end.unwrap();
    let said = format!("{} done", Tally::of(&bytes));
    assert_eq!(answer, Tally::of(said.as_bytes()));
}

#[tokio::test]
async fn connect_over_the_unix_socket_reaches_any_port() {
    let server = Server::start(&[]).await;
    let node = Node::join("way-uds", &server).await;
    let service = Service::start().await;
    let mut io = caller::uds(&server.uds(), &node.at(service.port()))
        .await
        .unwrap();
    sink(&mut io, LARGE).await;
}

#[tokio::test]
async fn connect_over_tls_takes_a_client_certificate() {
    let server = Server::start(&[]).await;
    let node = Node::join("way-mtls", &server).await;
    let service = Service::start().await;
    let port = service.port().to_string();
    let files = server.issue_client("alice", &["--ports", &port]).await;
    let mut io = caller::mtls(server.connect(), &files, &node.at(service.port()))
        .await
        .unwrap();
    sink(&mut io, LARGE).await;
}

#[tokio::test]
async fn connect_relays_what_the_target_says_first() {
    let server = Server::start(&[]).await;
    let node = Node::join("way-first", &server).await;
    let service = Service::start().await;
    let mut io = caller::uds(&server.uds(), &node.at(service.port()))
        .await
        .unwrap();
    caller::say(&mut io, &format!("source {LARGE} 7"))
        .await
        .unwrap();
    let (answer, end) = caller::read_all(&mut io).await;
    end.unwrap();
    assert_eq!(answer, Tally::of(&payload::bytes(7, LARGE)));
}

#[tokio::test]
async fn http_is_routed_by_host_by_absolute_form_and_by_tunnel_headers() {
    let web = Web::start("web of way-http").await;
    let server = Server::with_keys(&[("http-proxy-ports", &web.port().to_string())]).await;
    let node = Node::join("way-http", &server).await;
    let (at, http) = (node.at(web.port()), server.http());

    let by_host = caller::http(http, get("/name", &at)).await.unwrap();
    assert_eq!(by_host.text(), "web of way-http");
    let absolute = get(&format!("http://{at}/name"), "somewhere.example:1");
    assert_eq!(
        caller::http(http, absolute).await.unwrap().text(),
        "web of way-http"
    );

    let mut tunnel = get("/head", "anything.example");
    let headers = tunnel.headers_mut();
    headers.insert("x-tunnel-proxy-host", node.name().parse().unwrap());
    let dest = format!("127.0.0.1:{}", web.port());
    headers.insert("x-tunnel-proxy-dest", dest.parse().unwrap());
    let head = caller::http(http, tunnel).await.unwrap();
    assert_eq!(head.status, 200, "{}", head.text());
    let head = head.text();
    assert!(head.starts_with("GET /head\n"), "{head}");
    assert!(head.contains("x-forwarded-for: 127.0.0.1\n"), "{head}");
    assert!(head.contains("x-request-id: "), "{head}");
    assert!(!head.contains("x-tunnel-"), "{head}");

    let body = payload::bytes(1, LARGE);
    let post = Request::post("/echo").header("host", &at);
    let post = post.body(Full::new(body.clone().into())).unwrap();
    assert!(caller::http(http, post).await.unwrap().body == body);
    let large = get(&format!("/bytes/{LARGE}"), &at);
    assert!(caller::http(http, large).await.unwrap().body == payload::bytes(0, LARGE));
}

#[tokio::test]
async fn http_connections_to_the_node_are_kept_and_used_again() {
    let server = Server::with_keys(&[("localhost-proxy-ports", "")]).await;
    let address = ports::node_address();
    let mut node =
        Node::new("way-reuse", &server.agents()).flags(&["--node-ip", &address.to_string()]);
    node.enrol(&server).await;
    let web = Web::at(SocketAddr::new(address, 10255), "kubelet").await;
    // 10255 is open without a word.
    let mut session = caller::Session::new(server.http()).await.unwrap();
    for _ in 0..5 {
        let answer = session.ask(get("/name", &node.at(10255))).await.unwrap();
        assert_eq!((answer.status, answer.text()), (200, "kubelet".to_owned()));
        // A connection is put back a moment after its response.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(web.accepted(), 1);
}

#[tokio::test]
async fn tls_passes_through_to_the_node_that_the_server_name_names() {
    let server = Server::with_keys(&[("localhost-proxy-ports", "")]).await;
    let address = ports::node_address();
    let mut node =
        Node::new("way-tls", &server.agents()).flags(&["--node-ip", &address.to_string()]);
    node.enrol(&server).await;
    let kubelet = Service::tls(SocketAddr::new(address, 10250), node.name()).await;
    let root = kubelet.certificate().unwrap();
    let mut io = caller::sni(server.tls(), node.name(), root).await.unwrap();
    let shown = io.get_ref().1.peer_certificates().unwrap();
    assert_eq!(&shown[0], root, "the certificate is the node's own");
    sink(&mut io, LARGE).await;
    let ended = kubelet.ended(1).await;
    assert!(
        matches!(&ended[0], Ended::Clean(tally) if tally.count() == LARGE as u64),
        "{ended:?}"
    );

    let stranger = caller::sni(server.tls(), "nobody", root).await.unwrap_err();
    assert!(
        stranger.to_string().contains("UnrecognisedName"),
        "{stranger}"
    );
}

#[tokio::test]
async fn nodes_shows_who_is_connected_over_what() {
    let server = Server::start(&[]).await;
    let node = Node::join("way-nodes", &server).await;
    let shown = server.session(node.name(), |node| {
        node.session
            .as_ref()
            .is_some_and(|session| session.rtt_ms.is_some())
    });
    let session = shown.await.session.unwrap();
    assert_eq!(session.transport, "quic");
    assert_eq!(session.streams, 0);
    assert!(session.remote.ip().is_loopback());
    let table = server.must(&["nodes"]).await;
    assert!(
        table.contains("way-nodes") && table.contains("quic"),
        "{table}"
    );
    assert_eq!(logs::with(&["session started", "way-nodes"]).len(), 1);
}

//! Those who send datagrams, and those who never read.

use std::time::Duration;

use edge_tunnel_tests::caller::{self, get};
use edge_tunnel_tests::metrics;
use edge_tunnel_tests::node::Node;
use edge_tunnel_tests::server::Server;
use edge_tunnel_tests::service::Service;
use edge_tunnel_tests::wait::{SOON, until, within};
use edge_tunnel_tests::web::Web;
use rand::Rng as _;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpStream, UdpSocket};

use super::{HELD, KEPT};

#[tokio::test]
async fn rude_datagrams_disturb_no_agent() {
    let server = Server::start(&[]).await;
    let node = Node::join("rude-udp", &server).await;
    let service = Service::start().await;
    let tasks = server.tasks();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(server.agents()).await.unwrap();
    let (mut random, large) = (vec![0; 1200], vec![0x40; 60_000]);
    let long = |version: [u8; 4]| {
        let mut packet = vec![0xc3];
        packet.extend(version);
        packet.extend([8, 1, 2, 3, 4, 5, 6, 7, 8, 8, 1, 2, 3, 4, 5, 6, 7, 8]);
        packet.resize(1200, 0);
        packet
    };
    for _ in 0..200 {
        rand::rng().fill_bytes(&mut random);
        let datagrams: [&[u8]; 10] = [
            &[],
            &[0],
            &random,
            &[0; 1200],
            &[0xff; 1200],
            &large,
            &long([0, 0, 0, 1]),
            &long([0, 0, 0, 0]),
            &long([0x1a, 0x2a, 0x3a, 0x4a]),
            b"GET / HTTP/1.1\r\n\r\n",
        ];
        for datagram in datagrams {
            // The system may have no room for it just then.
            let _ = socket.send(datagram).await;
        }
        tokio::task::yield_now().await;
    }
    let mut other = Node::new("rude-udp-2", &format!("quic://{}", server.agents()));
    other.enrol(&server).await;
    other.stop().await;
    let mut io = caller::uds(&server.uds(), &node.at(service.port()))
        .await
        .unwrap();
    caller::say(&mut io, "echo").await.unwrap();
    caller::echo(&mut io, "hello").await.unwrap();
    drop(io);
    let back = async || match server.tasks() {
        now if now <= tasks => Ok(()),
        now => Err(format!("{now} tasks of {tasks}")),
    };
    until("nothing is left of them", HELD, back).await;
}

#[tokio::test]
async fn whoever_asks_and_never_reads_keeps_nobody_waiting_and_leaves_nothing() {
    let web = Web::start("web").await;
    let server = Server::with_keys(&[("http-proxy-ports", &web.port().to_string())]).await;
    let node = Node::join("rude-deaf", &server).await;
    let at = node.at(web.port());
    let quiet = async || {
        let open = server.metrics().await.sum("ingress_connections", &[]);
        (open < 0.5).then_some(()).ok_or(format!("{open} are open"))
    };
    assert_eq!(
        caller::http(server.http(), get("/name", &at))
            .await
            .unwrap()
            .status,
        200
    );
    until("all is quiet", SOON, async || quiet().await).await;
    let mut deaf = Vec::new();
    for _ in 0..50 {
        for (door, asks) in [
            (
                server.http(),
                format!("GET /bytes/3000000 HTTP/1.1\r\nHost: {at}\r\n\r\n"),
            ),
            (
                server.admin(),
                "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(200),
            ),
            (
                node.admin(),
                "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(200),
            ),
        ] {
            let mut io = TcpStream::connect(door).await.unwrap();
            let asking = tokio::io::AsyncWriteExt::write_all(&mut io, asks.as_bytes());
            // Where nothing is read of it any more, it has asked enough.
            let _ = tokio::time::timeout(Duration::from_millis(50), asking).await;
            deaf.push(io);
        }
    }
    for _ in 0..5 {
        let asked = caller::http(server.http(), get("/name", &at));
        let answer = within("the honest are served", SOON, asked).await.unwrap();
        assert_eq!(answer.status, 200);
        for admin in [server.admin(), node.admin()] {
            let page = within("pages are served", SOON, metrics::page(admin, "/livez")).await;
            assert_eq!(page.unwrap().status, 200);
        }
    }
    // One that begins to read gets what it asked for.
    let mut first = deaf.swap_remove(0);
    let mut answer = vec![0; 1_000_000];
    within("its answer", SOON, first.read_exact(&mut answer))
        .await
        .unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    drop((first, deaf));
    until("nothing is left of them", HELD, quiet).await;
    let streams = async || {
        // What the kernel had room for was answered whole: those connections to the node wait for the next request.
        let metrics = server.metrics().await;
        let waiting = metrics.sum("ingress_http_idle_node_connections", &[]);
        let open = metrics.sum("streams_open", &[]) - waiting;
        (open < KEPT as f64)
            .then_some(())
            .ok_or(format!("{open} streams"))
    };
    until("no stream is left", HELD, streams).await;
}

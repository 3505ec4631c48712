//! Callers that do not get as far as a destination: each is counted, and in the log with its reason, on every way in.

use edge_tunnel_tests::logs;
use edge_tunnel_tests::server::Server;
use edge_tunnel_tests::stranger::{Door, Rude, hello};
use edge_tunnel_tests::wait::{SOON, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Says this at a listener, waits for the end, and gives what the log calls the client.
async fn knock(door: &Door, says: &[u8]) -> String {
    let Door::Tcp(address) = door else {
        Rude::says(says).at(door).await.unwrap();
        return "caller=unix-socket".to_owned();
    };
    let mut io = TcpStream::connect(address).await.unwrap();
    let client = format!("client={}", io.local_addr().unwrap());
    // Whoever is spoken to may hang up before it has heard all.
    let _ = io.write_all(says).await;
    let _ = io.shutdown().await;
    let _ = io.read_to_end(&mut Vec::new()).await;
    client
}

#[tokio::test]
async fn whoever_is_turned_away_before_it_names_a_node_is_counted_and_logged_with_the_reason() {
    let server = Server::start(&[]).await;
    let tcp = Door::Tcp;
    let plain = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec();
    let tls = hello("somebody");
    let came = "TLS came to a port that speaks plain HTTP";
    for (way, door, says, reason, words) in [
        ("http", tcp(server.http()), &tls, "bad_request", came),
        (
            "connect",
            Door::Unix(server.uds()),
            &tls,
            "bad_request",
            came,
        ),
        (
            "connect",
            tcp(server.connect()),
            &plain,
            "tls_handshake",
            "no TLS handshake",
        ),
        ("tls", tcp(server.tls()), &plain, "plain_text", "plain HTTP"),
        (
            "tls",
            tcp(server.tls()),
            &b"\0\x01\x02\x03\x04\x05\x06".to_vec(),
            "bad_hello",
            "no TLS",
        ),
        (
            "tls",
            tcp(server.tls()),
            &hello("some_body"),
            "bad_server_name",
            "no name of a node",
        ),
    ] {
        let client = within("the end", SOON, knock(&door, says)).await;
        let (labels, named) = (
            [format!("way=\"{way}\""), format!("outcome=\"{reason}\"")],
            [format!("way=\"{way}\""), format!("reason=\"{reason}\"")],
        );
        let metrics = server.metrics().await;
        let counted = metrics.sum(
            "ingress_requests_total",
            &labels.each_ref().map(String::as_str),
        );
        assert!((counted - 1.0).abs() < 0.5, "{way} {reason}: {counted}");
        let lines = logs::with(&["refused: ", &client, &named[0], &named[1], words]);
        assert!(!lines.is_empty(), "{way} {reason}, {client}");
    }
}

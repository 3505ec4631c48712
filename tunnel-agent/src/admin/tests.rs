use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

fn pages(health: &Health) -> Pages {
    Pages {
        health: health.clone(),
        registry: registry(),
    }
}

fn get(pages: &Pages, path: &str, query: &str) -> (u16, String) {
    let answer = pages.answer(&Method::GET, path, query);
    (answer.status.as_u16(), answer.body)
}

#[test]
fn readiness_says_what_is_missing() {
    let health = Health::default();
    let pages = pages(&health);
    assert_eq!(get(&pages, "/livez", "").0, 200);
    assert_eq!(get(&pages, "/readyz", "").0, 503);
    let session = health.register("session", "no server answers");
    let admin = health.register("admin", "starting");
    admin.ready();
    assert_eq!(
        get(&pages, "/readyz", ""),
        (503, "session: no server answers\n".to_owned())
    );
    session.ready();
    assert_eq!(get(&pages, "/readyz", ""), (200, "ready\n".to_owned()));
    assert_eq!(
        get(&pages, "/readyz", "verbose"),
        (200, "session: ready\nadmin: ready\nready\n".to_owned())
    );
}

#[test]
fn metrics_are_prefixed_and_name_the_version() {
    let (status, body) = get(&pages(&Health::default()), "/metrics", "");
    assert_eq!(status, 200);
    assert!(
        body.contains(&format!(
            "edge_tunnel_agent_build_info{{version=\"{}\"}} 1",
            version()
        )),
        "{body}"
    );
    assert!(body.ends_with("# EOF\n"), "{body}");
}

#[test]
fn nothing_else_is_answered() {
    let pages = pages(&Health::default());
    assert_eq!(get(&pages, "/", "").0, 404);
    assert_eq!(pages.answer(&Method::POST, "/livez", "").status, 405);
}

#[tokio::test]
async fn pages_are_served_until_stop_and_silent_clients_hold_nothing_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let served = tokio::spawn(serve(listener, pages(&Health::default()), stop.clone()));

    // More than there are places, every other one in the middle of a request.
    let mut silent = Vec::new();
    for number in 0..100 {
        let mut client = TcpStream::connect(address).await.unwrap();
        if number % 2 == 0 {
            client.write_all(b"GET / HTTP/1.1\r\nx").await.unwrap();
        }
        silent.push(client);
    }
    let mut client = TcpStream::connect(address).await.unwrap();
    client
        .write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nok\n"),
        "{answer}"
    );

    stop.cancel();
    served.await.unwrap();
    assert!(
        TcpStream::connect(address).await.is_err(),
        "the listener is closed"
    );
}

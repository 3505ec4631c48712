use http_body_util::BodyExt as _;
use prometheus_client::metrics::counter::Counter;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::double::Double;
use super::*;

fn pages(health: &Health) -> Pages<Double> {
    Pages {
        health: health.clone(),
        registry: registry(),
        control: Arc::new(Double::default()),
        port_listeners: States::default(),
    }
}

async fn ask(pages: &Pages<Double>, method: Method, path: &str) -> (u16, String) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(())
        .unwrap();
    let (head, body) = pages.answer(&request).into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (
        head.status.as_u16(),
        String::from_utf8(body.to_vec()).unwrap(),
    )
}

#[tokio::test]
async fn readiness_says_what_is_missing_one_a_line() {
    let health = Health::default();
    let pages = pages(&health);
    let get = async |path| ask(&pages, Method::GET, path).await;
    assert_eq!(get("/livez").await, (200, "ok\n".to_owned()));
    assert_eq!(get("/readyz").await.0, 503);
    let agents = health.register("agents", "not listening yet");
    let routes = health.register("routes", "not read yet");
    assert_eq!(
        get("/readyz").await,
        (
            503,
            "agents: not listening yet\nroutes: not read yet\n".to_owned()
        )
    );
    agents.ready();
    routes.ready();
    assert_eq!(get("/readyz").await, (200, "ready\n".to_owned()));
    assert_eq!(
        get("/readyz?verbose").await,
        (200, "agents: ready\nroutes: ready\nready\n".to_owned())
    );
}

#[tokio::test]
async fn metrics_are_openmetrics_with_the_servers_prefix() {
    let mut pages = pages(&Health::default());
    let streams: Counter = Counter::default();
    pages
        .registry
        .register("streams", "Streams", streams.clone());
    streams.inc();
    let (status, body) = ask(&pages, Method::GET, "/metrics").await;
    assert_eq!(status, 200);
    assert!(
        body.contains("edge_tunnel_server_streams_total 1\n"),
        "{body}"
    );
    assert!(
        body.contains(&format!(
            "edge_tunnel_server_build_info{{version=\"{}\"}} 1",
            version()
        )),
        "{body}"
    );
    assert!(body.ends_with("# EOF\n"), "{body}");
}

#[tokio::test]
async fn the_status_page_and_nothing_else() {
    let pages = pages(&Health::default());
    let (status, body) = ask(&pages, Method::GET, "/").await;
    assert!(
        status == 200 && body.contains("nodes, line 3: no name"),
        "{body}"
    );
    assert_eq!(
        ask(&pages, Method::GET, "/v1/nodes").await.0,
        404,
        "commands are answered on the unix socket alone"
    );
    assert_eq!(ask(&pages, Method::POST, "/livez").await.0, 405);
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
        .write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(
        answer.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"),
        "{answer}"
    );

    stop.cancel();
    served.await.unwrap();
    assert!(
        TcpStream::connect(address).await.is_err(),
        "the listener is closed"
    );
}

use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::*;

/// A node that never answers.
fn silent() -> Fake {
    Fake::to(|_inbound, mut stream: DuplexStream| async move {
        let mut sink = Vec::new();
        let _ = stream.read_to_end(&mut sink).await;
    })
}

/// A node that begins to answer and stops.
fn stuck() -> Fake {
    Fake::to(|_inbound, mut stream: DuplexStream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
            .await
            .unwrap();
        let mut sink = Vec::new();
        let _ = stream.read_to_end(&mut sink).await;
    })
}

fn about(since: Instant, seconds: u64) {
    let elapsed = since.elapsed();
    let expected = Duration::from_secs(seconds);
    assert!(
        elapsed >= expected && elapsed < expected + Duration::from_secs(2),
        "{elapsed:?}, not {expected:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn no_answer_is_a_504() {
    let http = server(silent(), settings());
    let begun = Instant::now();
    let answer = ask(
        &http,
        "GET / HTTP/1.1\r\nHost: edge-1\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(
        answer.starts_with("HTTP/1.1 504 ") && answer.contains("node edge-1: "),
        "{answer}"
    );
    about(begun, 60);
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_an_answer_begins_when_the_request_is_there() {
    let http = server(silent(), settings());
    let mut client = dial(&http);
    let begun = Instant::now();
    client
        .write_all(
            b"POST / HTTP/1.1\r\nHost: edge-1\r\nContent-Length: 4\r\nConnection: close\r\n\r\n",
        )
        .await
        .unwrap();
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(40)).await;
        client.write_all(b"x").await.unwrap();
    }
    let answer = read_until(&mut client, "\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    about(begun, 4 * 40 + 60);
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_requests_is_closed_in_time() {
    let http = server(node(|_, _| ok("x")), settings());
    let begun = Instant::now();
    let mut client = dial(&http);
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: edge-1\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    about(begun, 5 * 60);
    let begun = Instant::now();
    assert_eq!(dial(&http).read(&mut [0; 1]).await.unwrap(), 0);
    about(begun, 5 * 60);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_dribbles_is_refused_in_time() {
    for before in ["", "GET / HTTP/1.1\r\nHost: edge-1\r\n\r\n"] {
        let http = server(node(|_, _| ok("x")), settings());
        let (mut from, mut to) = tokio::io::split(dial(&http));
        to.write_all(before.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(100)).await;
        let begun = Instant::now();
        tokio::spawn(async move {
            for byte in b"GET / HTTP/1.1\r\nHost: edge-1\r\n" {
                if to.write_all(&[*byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let mut answer = String::new();
        from.read_to_string(&mut answer).await.unwrap();
        about(begun, 10);
        let refusal = &answer[answer.rfind("HTTP/1.1 ").unwrap()..];
        assert!(
            refusal.starts_with("HTTP/1.1 408 ") && refusal.ends_with("within 10 s\n"),
            "{answer}"
        );
        assert_eq!(http.context.metrics.requests(Way::Http, "head_timeout"), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_that_stands_still_is_broken_off_unless_it_may() {
    for (port, patient) in [(9100, false), (10255, true)] {
        let http = server(stuck(), settings());
        let mut client = dial(&http);
        client
            .write_all(format!("GET / HTTP/1.1\r\nHost: edge-1:{port}\r\n\r\n").as_bytes())
            .await
            .unwrap();
        read_until(&mut client, "half").await;
        let end =
            tokio::time::timeout(Duration::from_secs(24 * 3600), client.read(&mut [0; 1])).await;
        assert_eq!(end.is_err(), patient, "{port}: {end:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_connections_to_nodes_are_given_up_in_time() {
    let http = server(node(|_, _| ok("x")), settings());
    ask(
        &http,
        "GET / HTTP/1.1\r\nHost: edge-1\r\nConnection: close\r\n\r\n",
    )
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let waiting = || http.context.metrics.idle_node_connections.get();
    assert_eq!(waiting(), 1);
    let tidying = Arc::clone(&http);
    let tidy = tokio::spawn(async move { tidying.tidy().await });
    tokio::time::sleep(settings().idle_connection - SWEEP).await;
    assert_eq!(waiting(), 1);
    tokio::time::sleep(2 * SWEEP).await;
    assert_eq!(waiting(), 0);
    http.context.shutdown.draining().cancel();
    tidy.await.unwrap();
}

#[tokio::test]
async fn heads_have_a_size() {
    let frame = "GET / HTTP/1.1\r\nHost: edge-1\r\nX: \r\n\r\n".len();
    for (size, status) in [
        (BUFFER_MAX, "200"),
        (BUFFER_MAX + 1, "431"),
        (70_000, "431"),
        (120_000, "431"),
    ] {
        let http = server(node(|_, _| ok("x")), settings());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let request = format!(
            "GET / HTTP/1.1\r\nHost: edge-1\r\nX: {}\r\n\r\n",
            "x".repeat(size - frame)
        );
        let (socket, from) = listener.accept().await.unwrap();
        // All of it is there before it is read, so that a reader may take too much at once.
        client.write_all(request.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let serving = Arc::clone(&http);
        http.context
            .shutdown
            .spawn(async move { serving.connection(socket, Some(from)).await });
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        if status == "431" {
            assert!(
                answer.starts_with("HTTP/1.1 431 ") && answer.ends_with("than 65536 bytes\n"),
                "{size}: {answer}"
            );
        }
        let count = |outcome| http.context.metrics.requests(Way::Http, outcome);
        assert_eq!(
            count("head_too_large"),
            u64::from(status == "431"),
            "{size}"
        );
    }
}

#[tokio::test]
async fn shutdown_lets_the_response_in_hand_finish() {
    let (go, mut wait) = tokio::sync::watch::channel(false);
    wait.mark_unchanged();
    let fake = Fake::to(move |_inbound, mut stream: DuplexStream| {
        let mut wait = wait.clone();
        async move {
            read_until(&mut stream, "\r\n\r\n").await;
            wait.wait_for(|go| *go).await.unwrap();
            stream.write_all(ok("done").as_bytes()).await.unwrap();
        }
    });
    let http = server(fake.clone(), settings());
    let mut idle = dial(&http);
    let mut busy = dial(&http);
    busy.write_all(b"GET / HTTP/1.1\r\nHost: edge-1\r\n\r\n")
        .await
        .unwrap();
    while fake.destinations().is_empty() {
        tokio::task::yield_now().await;
    }
    http.context.shutdown.draining().cancel();
    http.pool.close();
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap(), 0);
    go.send(true).unwrap();
    let mut answer = String::new();
    busy.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.contains("connection: close\r\n") && answer.ends_with("done"),
        "{answer}"
    );
    http.context.shutdown.tasks().close();
    http.context.shutdown.tasks().wait().await;
}

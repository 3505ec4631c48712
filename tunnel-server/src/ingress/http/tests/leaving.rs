//! Callers that end their side: to wait for the answer, or because they have left.

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::*;

/// A node that says `answer` to a request, nothing more, and tells when its stream has ended.
fn listener(answer: &'static str) -> (Fake, mpsc::Receiver<()>) {
    let (ended, when) = mpsc::channel(1);
    let fake = Fake::to(move |_inbound, mut stream: DuplexStream| {
        let ended = ended.clone();
        async move {
            read_until(&mut stream, "\r\n\r\n").await;
            stream.write_all(answer.as_bytes()).await.unwrap();
            let _ = stream.read(&mut [0; 1]).await;
            ended.send(()).await.unwrap();
        }
    });
    (fake, when)
}

/// A connection over TCP that `http` serves.
async fn dial_tcp(http: &Arc<Http<Fake>>) -> TcpStream {
    let (client, socket, from) = tcp().await;
    let serving = Arc::clone(http);
    http.context
        .shutdown
        .spawn(async move { serving.connection(socket, Some(from)).await });
    client
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), what)
        .await
        .expect("within seconds")
}

#[tokio::test]
async fn a_caller_that_ends_its_side_behind_its_request_gets_its_answer() {
    let big = "x".repeat(3_000_000);
    let text = ok(&big);
    let slow = Fake::to(move |_inbound, mut stream: DuplexStream| {
        let text = text.clone();
        async move {
            read_until(&mut stream, "\r\n\r\n").await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            // The caller may be deaf by then.
            let _ = stream.write_all(text.as_bytes()).await;
        }
    });
    let http = server(slow, settings());
    for version in ["1.0", "1.1"] {
        let mut client = dial_tcp(&http).await;
        let request = format!("GET / HTTP/{version}\r\nHost: edge-1:9100\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = String::new();
        soon(client.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/{version} 200 ")));
        assert!(answer.ends_with(&big), "{} bytes", answer.len());
    }
    // All of what came before the end.
    let mut client = dial(&http);
    let request = "GET / HTTP/1.1\r\nHost: edge-1:9100\r\n\r\n";
    client
        .write_all(request.repeat(2).as_bytes())
        .await
        .unwrap();
    client.shutdown().await.unwrap();
    let mut answers = String::new();
    soon(client.read_to_string(&mut answers)).await.unwrap();
    assert_eq!(answers.matches(&big).count(), 2);
}

#[tokio::test]
async fn a_refusal_reaches_a_caller_that_has_ended_its_side() {
    let http = server(Fake::refusing(), settings());
    let mut client = dial_tcp(&http).await;
    client
        .write_all(b"GET / HTTP/1.0\r\nHost: edge-1\r\n\r\n")
        .await
        .unwrap();
    client.shutdown().await.unwrap();
    let mut answer = String::new();
    soon(client.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.0 503 "), "{answer}");
}

#[tokio::test]
async fn half_a_request_is_none() {
    let (fake, mut ended) = listener("");
    let http = server(fake, settings());
    let mut client = dial_tcp(&http).await;
    client
        .write_all(b"POST / HTTP/1.1\r\nHost: edge-1\r\nContent-Length: 10\r\n\r\nhal")
        .await
        .unwrap();
    client.shutdown().await.unwrap();
    soon(client.read_to_end(&mut Vec::new())).await.ok();
    soon(ended.recv()).await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_is_waited_for_no_longer_than_a_request() {
    let (fake, mut ended) = listener("");
    let http = server(fake.clone(), settings());
    let begun = Instant::now();
    let mut client = dial(&http);
    client
        .write_all(b"GET /slow HTTP/1.1\r\nHost: edge-1:10255\r\n\r\n")
        .await
        .unwrap();
    while fake.destinations().is_empty() {
        tokio::task::yield_now().await;
    }
    drop(client);
    ended.recv().await.unwrap();
    assert!(
        begun.elapsed() <= settings().request + LOOKS,
        "{:?}",
        begun.elapsed()
    );
    http.context.shutdown.tasks().close();
    http.context.shutdown.tasks().wait().await;
}

/// What may be late for being looked at once a second.
const LOOKS: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_reset_is_seen_although_the_caller_had_ended_its_side() {
    let (fake, mut ended) = listener("");
    let http = server(fake.clone(), settings());
    for end_first in [false, true] {
        let mut client = dial_tcp(&http).await;
        client
            .write_all(b"GET /slow HTTP/1.1\r\nHost: edge-1:10255\r\n\r\n")
            .await
            .unwrap();
        if end_first {
            client.shutdown().await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        client.set_zero_linger().unwrap();
        drop(client);
        soon(ended.recv()).await.unwrap();
    }
}

/// On a kubelet's port a response may be silent for ever, and so may a caller that listens to it.
#[tokio::test]
async fn a_caller_that_left_before_a_silent_answer_is_found_out_by_its_head() {
    let (go, wait) = tokio::sync::watch::channel(false);
    let (ended, mut when) = mpsc::channel(1);
    let fake = Fake::to(move |_inbound, mut stream: DuplexStream| {
        let (ended, mut wait) = (ended.clone(), wait.clone());
        async move {
            read_until(&mut stream, "\r\n\r\n").await;
            wait.wait_for(|go| *go).await.unwrap();
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
            stream.write_all(head).await.unwrap();
            let _ = stream.read(&mut [0; 1]).await;
            ended.send(()).await.unwrap();
        }
    });
    let http = server(fake, settings());
    let mut client = dial_tcp(&http).await;
    client
        .write_all(b"GET /logs HTTP/1.1\r\nHost: edge-1:10255\r\n\r\n")
        .await
        .unwrap();
    drop(client);
    tokio::time::sleep(Duration::from_millis(50)).await;
    go.send(true).unwrap();
    soon(when.recv()).await.unwrap();
}

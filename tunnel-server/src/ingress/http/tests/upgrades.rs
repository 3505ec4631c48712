use super::*;

const ASK: &str =
    "GET /exec HTTP/1.1\r\nHost: edge-1:9100\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n";

/// A node that goes over, says hello in the same write, sends back what it gets, and says goodbye.
fn speaker() -> Fake {
    Fake::to(|_inbound, mut stream: DuplexStream| async move {
        let head = read_until(&mut stream, "\r\n\r\n").await;
        assert!(
            head.contains("connection: Upgrade\r\n") && head.contains("upgrade: SPDY/3.1\r\n"),
            "{head}"
        );
        let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Y: z\r\n\r\nhello ";
        stream.write_all(answer.as_bytes()).await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        stream.write_all(&all).await.unwrap();
        stream.write_all(b" bye").await.unwrap();
    })
}

#[tokio::test]
async fn bytes_pass_both_ways_from_the_first_behind_the_heads() {
    let http = server(speaker(), settings());
    let mut client = dial(&http);
    // Some bytes come with the head, and what looks like a bad request among them is none.
    client
        .write_all(format!("{ASK}early\0\n").as_bytes())
        .await
        .unwrap();
    let head = read_until(&mut client, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    for line in ["connection: Upgrade", "upgrade: SPDY/3.1", "x-y: z"] {
        assert!(
            head.to_lowercase()
                .contains(&format!("\r\n{}\r\n", line.to_lowercase())),
            "{line}: {head}"
        );
    }
    client.write_all(b" late").await.unwrap();
    // The half-close reaches the node, and its answer comes after it.
    client.shutdown().await.unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "hello early\0\n late bye");
}

#[tokio::test]
async fn a_caller_may_end_its_side_behind_what_it_says_after_an_upgrade() {
    let http = server(speaker(), settings());
    let mut client = dial(&http);
    client
        .write_all(format!("{ASK}all").as_bytes())
        .await
        .unwrap();
    client.shutdown().await.unwrap();
    read_until(&mut client, "\r\n\r\n").await;
    let mut rest = String::new();
    client.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "hello all bye");
}

#[tokio::test]
async fn an_upgrade_that_is_declined_is_a_last_response() {
    let http = server(node(|_, _| ok("no")), settings());
    let answer = ask(
        &http,
        &format!("{ASK}POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
    )
    .await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains("connection: close\r\n"),
        "{answer}"
    );
    assert!(answer.ends_with("\r\n\r\nno"), "{answer}");
}

#[tokio::test]
async fn an_upgrade_never_takes_a_waiting_connection() {
    let fake = node(|head, number| ok(&format!("{number} {}", head.len())));
    let http = server(fake.clone(), settings());
    ask(
        &http,
        "GET / HTTP/1.1\r\nHost: edge-1:9100\r\nConnection: close\r\n\r\n",
    )
    .await;
    while http.context.metrics.idle_node_connections.get() == 0 {
        tokio::task::yield_now().await;
    }
    ask(&http, ASK).await;
    assert_eq!(fake.destinations().len(), 2);
}

#[tokio::test]
async fn an_upgraded_connection_counts_until_it_ends_and_the_kill_ends_it() {
    for kill in [false, true] {
        let http = server(speaker(), settings());
        let context = http.context.clone();
        let listener = Tcp::bind("127.0.0.1:0".parse().unwrap(), "test").unwrap();
        let address = listener.address();
        let serving = serve(context.clone(), listener, http.routes.clone(), settings());
        context.shutdown.spawn(serving);
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(ASK.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"hello ") {
            assert_ne!(client.read_buf(&mut answer).await.unwrap(), 0);
        }
        // Not what hyper has let go of by now, but what its task holds.
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(context.metrics.open(Way::Http), 1);
        if kill {
            assert!(!context.shutdown.finish(Duration::ZERO).await);
            assert!(context.shutdown.tasks().is_empty());
        } else {
            client.shutdown().await.unwrap();
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, b" bye");
            assert!(context.shutdown.finish(Duration::from_secs(10)).await);
        }
        assert_eq!(context.metrics.open(Way::Http), 0);
    }
}

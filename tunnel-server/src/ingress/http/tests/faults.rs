//! Whose fault it is when a request fails.

use super::*;

#[tokio::test]
async fn what_is_no_http_is_a_502_that_says_so() {
    for answer in [
        "SSH-2.0-OpenSSH\r\n",
        "\x15\x03\x03\0\x02\x02\x46",
        "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ] {
        let http = server(mirror("\r\n\r\n", |_| answer.to_owned()), settings());
        let answer = ask(
            &http,
            "GET / HTTP/1.1\r\nHost: edge-1\r\nConnection: close\r\n\r\n",
        )
        .await;
        assert!(
            answer.starts_with("HTTP/1.1 502 ") && answer.contains("edge-1"),
            "{answer}"
        );
        let counted = |outcome| http.context.metrics.requests(Way::Http, outcome);
        assert_eq!((counted("bad_response"), counted("opened")), (1, 0));
    }
}

#[tokio::test]
async fn a_head_of_a_response_that_cannot_be_read_is_told_from_tls() {
    let lines = "X: y\r\n".repeat(101);
    let large = "x".repeat(BUFFER_MAX);
    for (answer, text) in [
        ("SSH-2.0-OpenSSH\r\n".to_owned(), "https-proxy-ports"),
        ("\x15\x03\x03\0\x02\x02\x46".to_owned(), "https-proxy-ports"),
        (
            format!("HTTP/1.1 200 OK\r\n{lines}\r\n"),
            "than 64 KiB or has more than 100 lines",
        ),
        (
            format!("HTTP/1.1 200 OK\r\nX: {large}\r\n\r\n"),
            "than 64 KiB or has more than 100 lines",
        ),
        ("HTTP/1.1 099 No\r\n\r\n".to_owned(), "a status line"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_owned(),
            "content-length",
        ),
        ("HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n".to_owned(), "header"),
    ] {
        let http = server(mirror("\r\n\r\n", move |_| answer.clone()), settings());
        let said = ask(
            &http,
            "GET / HTTP/1.1\r\nHost: edge-1\r\nConnection: close\r\n\r\n",
        )
        .await;
        let (head, said) = said.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("HTTP/1.1 502 ") && said.contains(text),
            "{text}: {said}"
        );
        assert_eq!(
            said.contains("https-proxy-ports"),
            text == "https-proxy-ports",
            "{said}"
        );
        assert_eq!(http.context.metrics.requests(Way::Http, "bad_response"), 1);
    }
}

#[tokio::test]
async fn a_response_in_a_coding_that_is_not_undone_is_a_502() {
    for codings in ["gzip", "gzip, chunked", "chunked, gzip"] {
        let http = server(
            node(move |_, _| {
                format!(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: {codings}\r\nContent-Length: 1\r\n\r\n1\r\nx\r\n0\r\n\r\n"
                )
            }),
            settings(),
        );
        let answer = ask(
            &http,
            "GET / HTTP/1.1\r\nHost: edge-1\r\nConnection: close\r\n\r\n",
        )
        .await;
        assert!(
            answer.starts_with("HTTP/1.1 502 ") && answer.contains(&format!("{codings:?}")),
            "{answer}"
        );
        assert_eq!(http.context.metrics.requests(Way::Http, "bad_response"), 1);
        assert_eq!(http.context.metrics.requests(Way::Http, "opened"), 0);
    }
}

/// A node that reads and never answers.
fn reader() -> Fake {
    Fake::to(|_inbound, mut stream: DuplexStream| async move {
        let mut sink = Vec::new();
        let _ = stream.read_to_end(&mut sink).await;
    })
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_the_callers_fault() {
    for upgrade in ["", "Connection: Upgrade\r\nUpgrade: websocket\r\n"] {
        let http = server(reader(), settings());
        let request = format!(
            "POST / HTTP/1.1\r\nHost: edge-1:9100\r\n{upgrade}Transfer-Encoding: chunked\r\n\r\n"
        );
        let mut client = dial(&http);
        client.write_all(request.as_bytes()).await.unwrap();
        client.write_all(b"5\r\nhello\r\nzz\r\n").await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 400 ") && answer.contains("cannot be served: "),
            "{upgrade}: {answer}"
        );
        let count = |outcome| http.context.metrics.requests(Way::Http, outcome);
        assert_eq!((count("bad_request"), count("node_closed")), (1, 0));
    }
}

#[tokio::test]
async fn a_caller_that_leaves_within_its_body_is_no_nodes_failure() {
    for framing in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let fake = reader();
        let http = server(fake.clone(), settings());
        let mut client = dial(&http);
        let request = format!("POST / HTTP/1.1\r\nHost: edge-1\r\n{framing}\r\n\r\n5\r\nhe");
        client.write_all(request.as_bytes()).await.unwrap();
        while fake.destinations().is_empty() {
            tokio::task::yield_now().await;
        }
        drop(client);
        http.context.shutdown.tasks().close();
        http.context.shutdown.tasks().wait().await;
        let count = |outcome| http.context.metrics.requests(Way::Http, outcome);
        assert_eq!(
            (count("caller_left"), count("node_closed")),
            (1, 0),
            "{framing}"
        );
    }
}

/// A node may promise as often as it likes (RFC 9110, 15.2), and not for ever.
#[tokio::test]
async fn a_node_that_only_ever_promises_is_given_up() {
    let fake = Fake::to(|_inbound, mut stream: DuplexStream| async move {
        while stream
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
            .await
            .is_ok()
        {}
    });
    let settings = Settings {
        request: Duration::from_millis(300),
        ..settings()
    };
    let http = server(fake, settings);
    let answer = ask(
        &http,
        "GET / HTTP/1.1\r\nHost: edge-1\r\nConnection: close\r\n\r\n",
    )
    .await;
    // By us after the time that a response has, or by the HTTP client on the way.
    assert!(answer.starts_with("HTTP/1.1 50"), "{answer}");
}

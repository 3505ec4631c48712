use super::*;

#[tokio::test]
async fn chunked_bodies_and_their_trailers_pass_both_ways() {
    let http = server(
        mirror("\r\n\r\n", |_| {
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n".to_owned()
        }),
        settings(),
    );
    let answer = ask(
        &http,
        "GET / HTTP/1.1\r\nHost: edge-1\r\nTE: trailers\r\nConnection: close, te\r\n\r\n",
    )
    .await;
    assert!(
        answer.contains("transfer-encoding: chunked\r\n"),
        "{answer}"
    );
    assert!(
        answer.ends_with("3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n"),
        "{answer}"
    );

    // A GET with a body is unusual, and lawful.
    for method in ["POST", "GET"] {
        let http = server(
            mirror("0\r\nx-sum: 7\r\n\r\n", |seen| ok(&seen)),
            settings(),
        );
        let request = format!(
            "{method} / HTTP/1.1\r\nHost: edge-1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
             5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n"
        );
        let seen = ask(&http, &request).await;
        assert!(
            seen.contains("transfer-encoding: chunked\r\n")
                && seen.contains("\r\n\r\n5\r\nhello\r\n0\r\n"),
            "{seen}"
        );
    }
}

/// The chunks say how long it is (RFC 9112, 6.3): cut to the length beside them it would look whole.
#[tokio::test]
async fn a_response_with_chunks_and_a_length_loses_nothing() {
    for fields in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
        "Transfer-Encoding: chunked\r\nContent-Length: 300\r\nConnection: transfer-encoding",
    ] {
        let response =
            format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n");
        let fake = node(move |_, _| response.clone());
        let http = server(fake.clone(), settings());
        for version in ["1", "0"] {
            let request =
                format!("GET / HTTP/1.{version}\r\nHost: edge-1\r\nConnection: close\r\n\r\n");
            let answer = ask(&http, &request).await;
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(!head.contains("content-length"), "{fields}: {answer}");
            let whole = if version == "1" {
                "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
            } else {
                "hello world"
            };
            assert_eq!(body, whole, "{fields}: {answer}");
        }
        // What frames one response twice may frame the next one wrongly.
        assert_eq!(fake.destinations().len(), 2, "{fields}");
    }
}

#[tokio::test]
async fn bodies_stream_in_both_directions() {
    let fake = Fake::to(|_inbound, mut stream: DuplexStream| async move {
        read_until(&mut stream, "\r\n\r\nping").await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npong")
            .await
            .unwrap();
        read_until(&mut stream, "more").await;
        stream.write_all(b"done").await.unwrap();
    });
    let http = server(fake, settings());
    let mut client = dial(&http);
    client
        .write_all(b"POST / HTTP/1.1\r\nHost: edge-1\r\nContent-Length: 8\r\n\r\nping")
        .await
        .unwrap();
    // The node's first half arrives while the caller's second half is not written yet.
    read_until(&mut client, "pong").await;
    client.write_all(b"more").await.unwrap();
    read_until(&mut client, "done").await;
}

#[tokio::test]
async fn responses_without_bodies_stay_as_they_are() {
    let length = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    for (request, answer, expected) in [
        ("HEAD", length, "content-length: 5\r\n"),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n",
            "304 Not Modified\r\netag: x\r\n",
        ),
        (
            "GET",
            "HTTP/1.1 204 No Content\r\n\r\n",
            "204 No Content\r\n",
        ),
        // Where there is no body, neither of the two says anything.
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "200 OK\r\n",
        ),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "304 Not Modified\r\n",
        ),
        (
            "GET",
            "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "204 No Content\r\n",
        ),
        (
            "GET",
            "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n\
             HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "content-length: 0\r\n",
        ),
    ] {
        let http = server(mirror("\r\n\r\n", |_| answer.to_owned()), settings());
        let answer = ask(
            &http,
            &format!("{request} / HTTP/1.1\r\nHost: edge-1\r\nConnection: close\r\n\r\n"),
        )
        .await;
        assert!(
            answer.contains(expected) && answer.ends_with("\r\n\r\n"),
            "{answer}"
        );
        assert!(!answer.contains("transfer-encoding"), "{answer}");
    }
}

/// A response that breaks off must not look whole, not even to a caller that takes the end of the
/// connection for the end of the body.
#[tokio::test]
async fn a_response_that_breaks_off_is_a_reset() {
    let http = server(
        mirror("\r\n\r\n", |_| {
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf".to_owned()
        }),
        settings(),
    );
    let (mut client, socket, from) = tcp().await;
    let serving = Arc::clone(&http);
    http.context
        .shutdown
        .spawn(async move { serving.connection(socket, Some(from)).await });
    client
        .write_all(b"GET / HTTP/1.0\r\nHost: edge-1\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let error = client.read_to_end(&mut answer).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

/// The kill of a shutdown comes between the caller and the stream to the node, which it would have seen break.
#[tokio::test]
async fn a_response_that_the_kill_breaks_off_is_a_reset() {
    let fake = Fake::to(|_inbound, mut stream: DuplexStream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf")
            .await
            .unwrap();
        std::future::pending::<()>().await;
    });
    let http = server(fake, settings());
    let (mut client, socket, from) = tcp().await;
    let serving = Arc::clone(&http);
    http.context
        .shutdown
        .spawn(async move { serving.connection(socket, Some(from)).await });
    client
        .write_all(b"GET / HTTP/1.0\r\nHost: edge-1\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"half") {
        assert_ne!(client.read_buf(&mut answer).await.unwrap(), 0);
    }
    let whole = http.context.shutdown.finish(Duration::ZERO).await;
    assert!(!whole && http.context.shutdown.tasks().is_empty());
    let error = client.read_to_end(&mut answer).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

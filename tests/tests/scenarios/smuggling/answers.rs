//! What a hostile service answers: its caller sees a whole and right response or an error, never one that only looks
//! whole; and no other caller sees any of it.

use std::collections::HashMap;
use std::sync::Arc;

use edge_tunnel_tests::logs;
use edge_tunnel_tests::raw_http::message;
use edge_tunnel_tests::wait::{SOON, within};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::{House, all, ok};

/// What a caller may see of a hostile answer.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Sees {
    /// This status, and this body, whole.
    Whole(u16, &'static str),
    /// A 502 of ours.
    BadGateway,
    /// Something that cannot be taken for whole.
    Broken,
}

/// What a hostile service says, whether it then closes, and what its caller sees.
const ANSWERS: &[(&str, bool, Sees)] = &[
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        false,
        Sees::Whole(200, "ok"),
    ),
    // Lengths.
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
        true,
        Sees::BadGateway,
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
        true,
        Sees::BadGateway,
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nok",
        true,
        Sees::BadGateway,
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nok",
        true,
        Sees::BadGateway,
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok",
        true,
        Sees::Broken,
    ),
    (
        "HTTP/1.1 200 OK\r\n\r\nto the end",
        true,
        Sees::Whole(200, "to the end"),
    ),
    (
        "HTTP/1.0 200 OK\r\n\r\nto the end",
        true,
        Sees::Whole(200, "to the end"),
    ),
    // Both.
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        false,
        Sees::Whole(200, "hello"),
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        true,
        Sees::BadGateway,
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        true,
        Sees::BadGateway,
    ),
    // Chunks.
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        true,
        Sees::Broken,
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        true,
        Sees::Broken,
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        true,
        Sees::Broken,
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n",
        true,
        Sees::Broken,
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
        true,
        Sees::Broken,
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
        true,
        Sees::Broken,
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n",
        true,
        Sees::Broken,
    ),
    // Heads.
    (
        "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 2\r\n\r\nok",
        true,
        Sees::BadGateway,
    ),
    (
        "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nok",
        true,
        Sees::BadGateway,
    ),
    (
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
        true,
        Sees::BadGateway,
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
        true,
        Sees::BadGateway,
    ),
    (
        "HTTP/2 200 OK\r\nContent-Length: 2\r\n\r\nok",
        true,
        Sees::BadGateway,
    ),
    (
        "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
        true,
        Sees::BadGateway,
    ),
    ("", true, Sees::BadGateway),
    // Provisional answers.
    (
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        false,
        Sees::Whole(200, "ok"),
    ),
    (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nok",
        true,
        Sees::BadGateway,
    ),
    // More than was asked for: it is nobody's answer.
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged",
        false,
        Sees::Whole(200, "ok"),
    ),
    (
        "HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged",
        false,
        Sees::Whole(204, ""),
    ),
    (
        "HTTP/1.1 304 Not Modified\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged",
        false,
        Sees::Whole(304, ""),
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged",
        false,
        Sees::Whole(200, "ok"),
    ),
];

#[tokio::test]
async fn a_hostile_answer_is_seen_whole_or_broken_and_is_nobody_elses() {
    let large = [
        format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(70_000)),
        format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(2000)),
    ];
    let mut answers: Vec<(String, bool, Sees)> = ANSWERS
        .iter()
        .map(|(said, close, sees)| ((*said).to_owned(), *close, *sees))
        .collect();
    answers.extend(large.into_iter().map(|said| (said, true, Sees::BadGateway)));
    let flood = "HTTP/1.1 100 Continue\r\n\r\n".repeat(10_000);
    answers.push((
        format!("{flood}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        false,
        Sees::Whole(200, "ok"),
    ));
    let said: Arc<HashMap<String, (Vec<u8>, bool)>> = Arc::new(
        answers
            .iter()
            .enumerate()
            .map(|(at, (said, close, _))| (format!("/{at}"), (said.clone().into_bytes(), *close)))
            .collect(),
    );
    let house = House::start("smuggle-answers", move |line| {
        let path = line.split(' ').nth(1).unwrap_or_default();
        said.get(path).cloned().unwrap_or_else(|| ok(line))
    })
    .await;
    for (at, (said, _, sees)) in answers.iter().enumerate() {
        let said = said.chars().take(200).collect::<String>();
        let asking = async {
            let mut io = TcpStream::connect(house.server.http()).await.unwrap();
            let host = &house.host;
            let request = format!("GET /{at} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            io.write_all(request.as_bytes()).await.unwrap();
            let first = message(&mut io, true).await;
            // Another caller's request, on a connection to the node that may have been kept.
            let next = all(house.server.http(), house.good("/next").as_bytes()).await;
            (first, next)
        };
        let (first, next) = within("answers", SOON, asking).await;
        let found = match &first {
            Ok(first) if first.status() == 502 => Sees::BadGateway,
            Ok(first) => {
                let Sees::Whole(status, body) = *sees else {
                    unreachable!("{said:?} looks whole: {first:?}");
                };
                assert_eq!(
                    (first.status(), &first.body[..]),
                    (status, body.as_bytes()),
                    "{said:?}"
                );
                *sees
            }
            Err(_broken_off) => Sees::Broken,
        };
        assert_eq!(found, *sees, "{said:?}: {first:?}");
        assert!(
            next.starts_with("HTTP/1.1 200 ") && next.ends_with("\r\n\r\nok"),
            "{said:?}: {next}"
        );
    }
    // An error of ours is in the log as well, with what the service did.
    let node = format!("node {}:", house.host.split(':').next().unwrap());
    for words in ["101 Switching Protocols", "Transfer-Encoding", "64 KiB"] {
        let lines = logs::with(&["refused", "reason=\"bad_response\"", &node, words]);
        assert!(!lines.is_empty(), "{words:?} is not in the log");
    }
}

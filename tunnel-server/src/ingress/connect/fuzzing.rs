//! The head of a CONNECT, as bytes come from a socket.

use bytes::BytesMut;
use edge_tunnel_proto::id::Destination;
use edge_tunnel_proto::testing::{Decoder, Pieces, now, said};

use super::{Asked, HEAD_MAX, read_head};

pub(crate) const HEAD: Decoder = Decoder {
    name: "connect-head",
    check,
    samples,
};

/// What came of these bytes, so that it can be compared: where to and what goes along, or the answer.
#[derive(Debug, PartialEq)]
enum Outcome {
    Destination(Destination, Vec<u8>),
    Refused(u16, String, Option<String>),
    Gone,
}

fn read(mut io: Pieces<'_>) -> Outcome {
    let mut buffer = BytesMut::with_capacity(1024);
    match now(read_head(&mut io, &mut buffer)) {
        Asked::Destination(destination, ahead) => {
            Outcome::Destination(destination, [&ahead[..], &io.rest()].concat())
        }
        Asked::Refused(why, target) => Outcome::Refused(why.status, why.text, target),
        Asked::Gone => Outcome::Gone,
        Asked::Silent => unreachable!("only time makes it so"),
    }
}

fn check(bytes: &[u8]) {
    let whole = read(Pieces::whole(bytes));
    assert_eq!(read(Pieces::cut(bytes)), whole, "pieces differ");
    match whole {
        Outcome::Destination(destination, ahead) => {
            assert!(bytes.ends_with(&ahead), "bytes are lost");
            let head = &bytes[..bytes.len() - ahead.len()];
            assert!(head.len() <= HEAD_MAX && head.ends_with(b"\r\n\r\n"));
            // The one form of what was asked for: no other reading of these bytes leads elsewhere.
            let target = String::from_utf8_lossy(head);
            let target = target
                .trim_start()
                .split(' ')
                .nth(1)
                .map(str::parse::<Destination>);
            assert_eq!(target, Some(Ok(destination)));
        }
        Outcome::Refused(status, text, _target) => {
            assert!([400, 405, 431].contains(&status), "{status}");
            said(&text);
        }
        Outcome::Gone => assert!(bytes.len() < HEAD_MAX),
    }
}

fn samples() -> Vec<Vec<u8>> {
    [
        "CONNECT edge-1:10250 HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: go\r\n\r\n\x16\x03\x01ahead",
        "CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: a\r\nProxy-Connection: keep-alive\r\n\r\n",
        "CONNECT 192.0.2.1:80 HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: edge-1\r\nContent-Length: 5\r\n\r\nhello",
    ]
    .map(Vec::from)
    .into()
}

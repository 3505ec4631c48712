//! The ways in, as the fuzzer and the tests feed them; and our own answers, in which texts of nodes stand.

use edge_tunnel_proto::testing::Decoder;
use httparse::{EMPTY_HEADER, Response, Status};

use super::answer;
pub(crate) use super::connect::fuzzing::HEAD as CONNECT_HEAD;
pub(crate) use super::http::fuzzing::{ANSWER as HTTP_ANSWER, FRAMING as HTTP_FRAMING};
pub(crate) use super::tls::fuzzing::HELLO;

/// A refusal whose text a node wrote.
pub(crate) const REFUSAL: Decoder = Decoder {
    name: "refusal-text",
    check: refusal,
    samples: || {
        ["node edge-1: connection refused", "a\r\nb: c\r\n\r\nd"]
            .map(Vec::from)
            .into()
    },
};

fn refusal(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let answer = answer::failure(502, &text, "");
    let mut headers = [EMPTY_HEADER; 8];
    let mut response = Response::new(&mut headers);
    let Ok(Status::Complete(length)) = response.parse(&answer) else {
        unreachable!("{answer:?} is no response");
    };
    assert_eq!((response.code, response.headers.len()), (Some(502), 3));
    let said: Vec<_> = response.headers.iter().map(|h| h.value).collect();
    let body = &answer[length..];
    assert_eq!(said[1], body.len().to_string().as_bytes());
    assert_eq!(body, format!("{text}\n").as_bytes());
}

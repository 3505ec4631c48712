//! Requests, as the guard in front of hyper and hyper itself read them; and the heads of responses.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use edge_tunnel_proto::id::RequestId;
use edge_tunnel_proto::sync::Mutex;
use edge_tunnel_proto::testing::{Decoder, Pieces, pieces, said};
use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING,
    UPGRADE,
};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty};
use httparse::EMPTY_HEADER;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::framing::{Framer, Stop};
use super::{BUFFER_MAX, destination, headers};
use crate::ingress::head;

/// What a caller of `http` says on a connection.
pub(crate) const FRAMING: Decoder = Decoder {
    name: "http-requests",
    check: requests,
    samples: request_samples,
};

/// The head of a node's response.
pub(crate) const ANSWER: Decoder = Decoder {
    name: "http-response",
    check: response,
    samples: || {
        [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\nUpgrade: h2c\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade, x-a\r\nX-A: 1\r\n\r\n",
        ]
        .map(Vec::from)
        .into()
    },
};

/// All that passes of these parts, the heads among it, and what stopped it.
fn feed<'a>(parts: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, Vec<Vec<u8>>, Option<Stop>) {
    let (mut framer, mut through, mut heads) = (Framer::default(), Vec::new(), Vec::new());
    for part in parts {
        let passed = framer.feed(part);
        let now = &part[..passed.count];
        through.extend_from_slice(&passed.kept);
        through.extend_from_slice(now);
        if !passed.kept.is_empty() {
            heads.push([&passed.kept, now].concat());
        }
        if passed.stop.is_some() {
            return (through, heads, passed.stop);
        }
    }
    (through, heads, None)
}

fn requests(bytes: &[u8]) {
    let (through, _, stop) = feed(std::iter::once(bytes));
    assert!(bytes.starts_with(&through), "bytes are changed");
    let (cut, _, stop_cut) = feed(pieces(bytes));
    assert_eq!((&cut, stop_cut), (&through, stop.clone()), "pieces differ");
    match stop {
        Some(Stop::Head(why)) => {
            assert!([400, 431].contains(&why.status));
            said(&why.text);
        }
        Some(Stop::Body(why)) => said(&why),
        None => {}
    }

    // Byte by byte each head comes by itself.
    let (_, heads, _) = feed(bytes.chunks(1));
    let judged: Vec<_> = heads
        .iter()
        .map(|head| head::judge(head).expect("it has passed"))
        .map(|head| {
            let target = head.target.parse::<Uri>().expect("it has passed");
            (head.method.to_owned(), target)
        })
        .collect();
    for (head, (_, target)) in heads.iter().zip(&judged) {
        onward(head, target);
    }
    let (seen, said) = hyper(&through);
    assert!(
        judged.starts_with(&seen),
        "hyper reads {seen:?}, the guard {judged:?}"
    );
    assert_eq!(said, "", "hyper answers by itself");
}

/// What a head becomes on its way to the node: one destination, one framing.
fn onward(head: &[u8], target: &Uri) {
    let mut lines = [EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut lines);
    request.parse(head).expect("it has passed");
    let mut map = map(request.headers);
    match destination::find(target, &map) {
        Ok(asked) => {
            let text = asked.destination.to_string();
            assert_eq!(text.parse(), Ok(asked.destination));
        }
        Err(refusal) => said(&refusal.message),
    }
    let upgrade = headers::upgrade(&map);
    headers::onward(&mut map, Some([192, 0, 2, 9].into()), RequestId(1), upgrade);
    assert!(map.get_all(HOST).iter().count() <= 1);
    one_framing(&map);
    let connection = map.get(CONNECTION).map(HeaderValue::as_bytes);
    let known = [None, Some(&b"Upgrade"[..]), Some(b"TE")];
    assert!(known.contains(&connection), "{map:?}");
    assert!(!map.contains_key(destination::TUNNEL_HOST));
}

fn one_framing(map: &HeaderMap) {
    let count = |name| map.get_all(name).iter().count();
    assert!(
        count(CONTENT_LENGTH) + count(TRANSFER_ENCODING) <= 1,
        "{map:?}"
    );
}

fn map(headers: &[httparse::Header<'_>]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for header in headers {
        let name = HeaderName::from_bytes(header.name.as_bytes());
        let value = HeaderValue::from_bytes(header.value);
        if let (Ok(name), Ok(value)) = (name, value) {
            map.append(name, value);
        }
    }
    map
}

/// The requests that hyper finds in these bytes, and the answers that are not ours.
fn hyper(bytes: &[u8]) -> (Vec<(String, Uri)>, String) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let seeing = Arc::clone(&seen);
    let service = service_fn(move |request: Request<Incoming>| {
        seeing
            .lock()
            .push((request.method().to_string(), request.uri().clone()));
        async move {
            let connect = request.method() == Method::CONNECT;
            let last = connect || request.headers().contains_key(UPGRADE);
            // As far as it goes; where it ends too early hyper knows.
            let _ = request.into_body().collect().await;
            let mut response = Response::new(Empty::<Bytes>::new());
            if connect {
                *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            }
            if last {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
            response
                .headers_mut()
                .insert("x-ours", HeaderValue::from_static("1"));
            Ok::<_, Infallible>(response)
        }
    });
    let written = Arc::new(Mutex::new(Vec::new()));
    let io = Socket(Pieces::whole(bytes), Arc::clone(&written));
    let connection = http1::Builder::new()
        .max_buf_size(BUFFER_MAX)
        .serve_connection(TokioIo::new(io), service);
    let mut connection = pin!(connection);
    let cx = &mut Context::from_waker(Waker::noop());
    // hyper pauses now and then for others; the socket never has it wait.
    for _ in 0..1000 {
        if connection.as_mut().poll(cx).is_ready() {
            break;
        }
    }
    let written = String::from_utf8_lossy(&written.lock()).into_owned();
    let others = written
        .split("\r\n\r\n")
        .filter(|head| head.starts_with("HTTP/1.1 4") && !head.contains("x-ours"));
    let others: String = others.collect();
    let seen = seen.lock().clone();
    (seen, others)
}

/// A caller that has said these bytes, and takes whatever comes.
struct Socket<'a>(Pieces<'a>, Arc<Mutex<Vec<u8>>>);

impl AsyncRead for Socket<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.1.lock().extend_from_slice(data);
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn response(bytes: &[u8]) {
    let mut lines = [EMPTY_HEADER; 100];
    let mut response = httparse::Response::new(&mut lines);
    if !matches!(response.parse(bytes), Ok(httparse::Status::Complete(_))) {
        return;
    }
    let mut map = map(response.headers);
    match headers::framing(&mut map) {
        Ok(again) => {
            let chunked = map.contains_key(TRANSFER_ENCODING);
            let length = map.contains_key(CONTENT_LENGTH);
            assert!(!(chunked && length && again), "{map:?}");
        }
        Err(codings) => said(&format!("{codings:?}")),
    }
    headers::back(&mut map, None);
    for hop in [CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        assert!(!map.contains_key(hop), "{map:?}");
    }
}

fn request_samples() -> Vec<Vec<u8>> {
    [
        "GET /metrics?a=b HTTP/1.1\r\nHost: edge-1:9100\r\nAccept: */*\r\n\r\nGET /2 HTTP/1.1\r\nHost: edge-2\r\n\r\n",
        "POST /x HTTP/1.1\r\nHost: edge-1\r\nContent-Length: 5\r\n\r\nhelloPUT / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\r\n5\r\nhello\r\n3;x=y\r\nabc\r\n0\r\nT: v\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://edge-1:9100/m HTTP/1.1\r\nHost: edge-1:9100\r\nConnection: close, x-a\r\nX-A: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nX-Tunnel-Proxy-Host: edge-1\r\nX-Tunnel-Proxy-Dest: 192.0.2.1:9100\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x01\x05hello",
        "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /2 HTTP/1.0\r\n\r\n",
        "CONNECT edge-1:22 HTTP/1.1\r\nHost: edge-1:22\r\n\r\nSSH-2.0-x\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    ]
    .map(Vec::from)
    .into()
}

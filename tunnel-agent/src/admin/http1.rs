//! A small HTTP/1.1 listener for pages of text: few connections at once, none of them for long, no request bodies.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use edge_tunnel_proto::accepting::Accepting;
use edge_tunnel_proto::places::{Place, Places};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Connections at once; for a further one the oldest has to make room.
const CONNECTIONS: usize = 32;
/// How long a client may take for a request's head, and between two requests.
const HEAD: Duration = Duration::from_secs(15);
/// After this a connection gets no further request.
const LIFETIME: Duration = Duration::from_secs(60);
/// How long a last response may take to be read.
const LAST: Duration = Duration::from_secs(5);
/// How long, where a further connection waits for the place.
const MAKE_ROOM: Duration = Duration::from_millis(250);

/// One page.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

/// Answers every request by `answer(method, path, query)` until `stop`; then requests under way are finished.
pub(super) async fn serve<F>(listener: TcpListener, answer: F, stop: CancellationToken)
where
    F: Fn(&Method, &str, &str) -> Answer + Clone + Send + Sync + 'static,
{
    let places = Places::new(CONNECTIONS);
    let mut connections = JoinSet::new();
    let mut accepting = Accepting::default();
    let accept = async || {
        let place = places.take().await;
        (place, listener.accept().await)
    };
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_ended) = connections.join_next() => {}
            (place, accepted) = accept() => match accepted {
                Ok((stream, _client)) => {
                    accepting.came();
                    connections.spawn(connection(stream, answer.clone(), place, stop.clone()));
                }
                Err(error) => {
                    accepting.failed(&error, "readers of the admin pages").await;
                }
            }
        }
    }
    drop(listener);
    connections.join_all().await;
}

async fn connection<F>(stream: TcpStream, answer: F, place: Place, stop: CancellationToken)
where
    F: Fn(&Method, &str, &str) -> Answer,
{
    let asked = AtomicBool::new(false);
    let service = service_fn(async |request: Request<Incoming>| {
        asked.store(true, Ordering::Relaxed);
        let (method, uri) = (request.method(), request.uri());
        Ok::<_, Infallible>(respond(answer(
            method,
            uri.path(),
            uri.query().unwrap_or_default(),
        )))
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .serve_connection(TokioIo::new(stream), service)
    );
    tokio::select! {
        // A client that goes away, or talks no HTTP, is no news.
        _ended = connection.as_mut() => return,
        () = stop.cancelled() => {}
        () = place.wanted() => {}
        () = tokio::time::sleep(LIFETIME) => {}
    }
    if !asked.load(Ordering::Relaxed) {
        // It owes nobody an answer.
        return;
    }
    connection.as_mut().graceful_shutdown();
    let last = async {
        let hurry = async {
            place.wanted().await;
            tokio::time::sleep(MAKE_ROOM).await;
        };
        tokio::select! {
            _ended = connection => {}
            () = hurry => {}
        }
    };
    let _ended = tokio::time::timeout(LAST, last).await;
}

fn respond(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = answer.status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    response
}

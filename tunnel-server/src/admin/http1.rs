//! A small HTTP/1.1 listener for admin pages and commands: few connections at once, none of them for long.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use edge_tunnel_proto::accepting::Accepting;
use edge_tunnel_proto::places::{Place, Places};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Connections at once; for a further one the oldest has to make room.
const CONNECTIONS: usize = 64;
/// How long a client may take for a request's head, and between two requests.
const HEAD: Duration = Duration::from_secs(15);
/// After this a connection gets no further request.
const LIFETIME: Duration = Duration::from_secs(60);
/// How long a last request may take to be answered, and its answer to be read.
const LAST: Duration = Duration::from_secs(10);
/// How long, where a further connection waits for the place.
const MAKE_ROOM: Duration = Duration::from_millis(250);

/// Where requests come from.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A connection of either kind.
trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

impl Listener {
    /// Cancel safe.
    async fn accept(&self) -> io::Result<Box<dyn Io>> {
        match self {
            Self::Tcp(listener) => Ok(Box::new(listener.accept().await?.0)),
            Self::Unix(listener) => Ok(Box::new(listener.accept().await?.0)),
        }
    }
}

/// Answers every request by `answer` until `stop`; then requests under way are finished.
pub(super) async fn serve<F, A>(listener: Listener, answer: F, stop: CancellationToken)
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<Full<Bytes>>> + Send + 'static,
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
                Ok(stream) => {
                    accepting.came();
                    connections.spawn(connection(stream, answer.clone(), place, stop.clone()));
                }
                Err(error) => {
                    accepting.failed(&error, "readers of the admin pages, and commands,").await;
                }
            }
        }
    }
    drop(listener);
    connections.join_all().await;
}

async fn connection<F, A>(stream: Box<dyn Io>, answer: F, place: Place, stop: CancellationToken)
where
    F: Fn(Request<Incoming>) -> A,
    A: Future<Output = Response<Full<Bytes>>>,
{
    let asked = AtomicBool::new(false);
    let service = service_fn(|request| {
        asked.store(true, Ordering::Relaxed);
        let answered = answer(request);
        async move { Ok::<_, Infallible>(answered.await) }
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

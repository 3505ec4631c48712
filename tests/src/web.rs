//! What a node offers over HTTP/1.1.
//!
//! | path | answer |
//! | --- | --- |
//! | `/name` | the service's name |
//! | `/head` | the request's line and headers, one a line, as the service got them |
//! | `/echo` | the request's body |
//! | `/bytes/COUNT` | that many bytes of seed 0, streamed |
//! | `/broken/COUNT` | promises one byte more than that, and resets the connection after it |
//! | `/hang` | nothing |

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use edge_tunnel_proto::splice::Socket as _;
use edge_tunnel_proto::sync::Mutex;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep};

use crate::payload;

/// A web server. Dropping it ends its connections.
#[derive(Debug)]
pub struct Web {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Web {
    /// On a free port of 127.0.0.1.
    pub async fn start(name: &str) -> Self {
        Self::at((IpAddr::from([127, 0, 0, 1]), 0).into(), name).await
    }

    /// On this address.
    ///
    /// # Panics
    /// When it is taken.
    pub async fn at(address: SocketAddr, name: &str) -> Self {
        let listener = TcpListener::bind(address)
            .await
            .expect("the web server's port is free");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let accepted = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, name.to_owned(), Arc::clone(&accepted)));
        Self {
            address,
            accepted,
            _tasks: tasks,
        }
    }

    /// Its port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// How many connections it has had.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, name: String, accepted: Arc<AtomicUsize>) {
    let mut connections = JoinSet::new();
    while let Ok((io, _)) = listener.accept().await {
        accepted.fetch_add(1, Ordering::Relaxed);
        connections.spawn(serve(io, name.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(io: TcpStream, name: String) {
    // A second handle on the same socket: hyper has the first.
    let Ok((io, socket)) = twice(io) else {
        return;
    };
    let service = service_fn(move |request| {
        let (name, socket) = (name.clone(), Arc::clone(&socket));
        async move { Ok::<_, Infallible>(answer(&name, request, socket).await) }
    });
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(io), service)
        .await;
}

fn twice(io: TcpStream) -> io::Result<(TcpStream, Arc<Mutex<TcpStream>>)> {
    let io = io.into_std()?;
    let socket = TcpStream::from_std(io.try_clone()?)?;
    Ok((TcpStream::from_std(io)?, Arc::new(Mutex::new(socket))))
}

/// The body of an answer: some bytes, and behind them its end or a reset.
struct Said {
    bytes: Bytes,
    reset: Option<Reset>,
}

/// A reset in place of one byte more.
struct Reset {
    /// The bytes have to be under way before the reset overtakes them.
    pause: Pin<Box<Sleep>>,
    socket: Arc<Mutex<TcpStream>>,
}

impl From<Bytes> for Said {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, reset: None }
    }
}

impl Body for Said {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if !self.bytes.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.bytes)))));
        }
        let Some(reset) = &mut self.reset else {
            return Poll::Ready(None);
        };
        ready!(reset.pause.as_mut().poll(context));
        reset.socket.lock().reset();
        Poll::Ready(Some(Err(io::Error::other("as was asked for"))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64 + u64::from(self.reset.is_some()))
    }
}

async fn answer(
    name: &str,
    request: Request<Incoming>,
    socket: Arc<Mutex<TcpStream>>,
) -> Response<Said> {
    let path = request.uri().path().to_owned();
    let count = path.rsplit('/').next().and_then(|count| count.parse().ok());
    let bytes: Bytes = match path.split('/').nth(1).unwrap_or_default() {
        "name" => name.to_owned().into(),
        "head" => head(&request).into(),
        "echo" => match request.into_body().collect().await {
            Ok(body) => body.to_bytes(),
            Err(_broken) => return status(StatusCode::BAD_REQUEST),
        },
        "bytes" => payload::bytes(0, count.unwrap_or_default()).into(),
        "broken" => {
            return Response::new(Said {
                bytes: payload::bytes(0, count.unwrap_or_default()).into(),
                reset: Some(Reset {
                    pause: Box::pin(sleep(Duration::from_millis(200))),
                    socket,
                }),
            });
        }
        "hang" => std::future::pending().await,
        _ => return status(StatusCode::NOT_FOUND),
    };
    Response::new(bytes.into())
}

fn status(status: StatusCode) -> Response<Said> {
    let mut response = Response::new(Bytes::new().into());
    *response.status_mut() = status;
    response
}

fn head(request: &Request<Incoming>) -> String {
    let mut text = format!("{} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        let value = String::from_utf8_lossy(value.as_bytes());
        text.push_str(&format!("{name}: {value}\n"));
    }
    text
}

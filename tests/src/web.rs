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
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use edge_tunnel_proto::splice::Socket as _;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

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
    // A response that breaks off is written around hyper, which never would.
    let mut head = [0; 64];
    let Ok(count) = io.peek(&mut head).await else {
        return;
    };
    let line = String::from_utf8_lossy(&head[..count]).into_owned();
    if let Some(rest) = line.strip_prefix("GET /broken/") {
        let count = rest
            .split(' ')
            .next()
            .and_then(|count| count.parse().ok())
            .unwrap_or_default();
        return broken(io, count).await;
    }
    let service = service_fn(move |request| {
        let name = name.clone();
        async move { Ok::<_, Infallible>(answer(&name, request).await) }
    });
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(io), service)
        .await;
}

async fn broken(mut io: TcpStream, count: usize) {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", count + 1);
    let said = async {
        io.write_all(head.as_bytes()).await?;
        io.write_all(&payload::bytes(0, count)).await
    };
    if said.await.is_ok() {
        // The bytes have to be under way before the reset overtakes them.
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        io.reset();
    }
}

async fn answer(name: &str, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let body = match path.split('/').nth(1).unwrap_or_default() {
        "name" => name.to_owned().into(),
        "head" => head(&request).into(),
        "echo" => match request.into_body().collect().await {
            Ok(body) => body.to_bytes(),
            Err(_broken) => return status(StatusCode::BAD_REQUEST),
        },
        "bytes" => {
            let count = path.rsplit('/').next().and_then(|count| count.parse().ok());
            payload::bytes(0, count.unwrap_or_default()).into()
        }
        "hang" => std::future::pending().await,
        _ => return status(StatusCode::NOT_FOUND),
    };
    Response::new(Full::new(body))
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
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

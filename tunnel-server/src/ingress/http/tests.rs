//! Whole requests through hyper on both sides, over memory. Callers and nodes speak raw bytes, so that what
//! is tested is what is on the wire.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::inbound::Way;
use crate::ingress::testing::{Fake, context};
use crate::route::index::{self, Content, Index};
use crate::route::keys::Key;

mod bodies;
mod faults;
mod leaving;
mod limits;
mod messages;
mod upgrades;

const CLIENT: &str = "192.0.2.9:4000";

fn server(fake: Fake, settings: Settings) -> Arc<Http<Fake>> {
    let keys = [
        (Key::HttpProxyPorts, Content::Text("80, 9100".to_owned())),
        (Key::Nodes, Content::Text("edge-1 198.51.100.1".to_owned())),
    ];
    let mut index = Index::new(index::Settings::default());
    index.keys(keys);
    let routes = Routes::new(index.table());
    Arc::new(Http::new(context(Way::Http, fake), routes, settings))
}

fn settings() -> Settings {
    Settings::new("127.0.0.1:10264".parse().unwrap(), Vec::new())
}

/// A caller's end of a new connection.
fn dial(http: &Arc<Http<Fake>>) -> DuplexStream {
    let (client, server) = tokio::io::duplex(64 * 1024);
    let serving = Arc::clone(http);
    http.context.shutdown.spawn(async move {
        serving
            .connection(server, Some(CLIENT.parse().unwrap()))
            .await;
    });
    client
}

/// A TCP connection: the caller's end, the server's, and where that one comes from.
async fn tcp() -> (TcpStream, TcpStream, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (socket, from) = listener.accept().await.unwrap();
    (client, socket, from)
}

/// Everything that comes back for these bytes until the server closes.
async fn ask(http: &Arc<Http<Fake>>, request: &str) -> String {
    let mut client = dial(http);
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// Reads until the text so far ends in `end`.
async fn read_until(io: &mut DuplexStream, end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        let byte = io
            .read_u8()
            .await
            .unwrap_or_else(|error| panic!("{error} after {text:?}"));
        text.push(char::from(byte));
    }
    text
}

/// A node that answers each request head with what `answer` makes of it, and the number of its connection.
/// An empty answer closes the connection.
fn node(answer: impl Fn(&str, usize) -> String + Clone + Send + Sync + 'static) -> Fake {
    let connections = Arc::new(AtomicUsize::new(0));
    Fake::to(move |_inbound, mut stream: DuplexStream| {
        let number = connections.fetch_add(1, Ordering::Relaxed);
        let answer = answer.clone();
        async move {
            let mut head = String::new();
            while let Ok(byte) = stream.read_u8().await {
                head.push(char::from(byte));
                if head.ends_with("\r\n\r\n") {
                    let text = answer(&head, number);
                    head.clear();
                    if text.is_empty() || stream.write_all(text.as_bytes()).await.is_err() {
                        return;
                    }
                }
            }
        }
    })
}

/// `text` as a whole response.
fn ok(text: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}",
        text.len()
    )
}

/// A node that sends back the raw bytes of one request, once it has seen `end`.
fn mirror(
    end: &'static str,
    answer: impl Fn(String) -> String + Clone + Send + Sync + 'static,
) -> Fake {
    Fake::to(move |_inbound, mut stream: DuplexStream| {
        let answer = answer.clone();
        async move {
            let seen = read_until(&mut stream, end).await;
            stream.write_all(answer(seen).as_bytes()).await.unwrap();
        }
    })
}

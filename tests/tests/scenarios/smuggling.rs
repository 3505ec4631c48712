//! Request smuggling from end to end: a caller that writes what two readers take in two ways, and a service that reads by
//! the letter. Its mirror image, a service that does so, is in [`answers`].

use std::net::SocketAddr;

use edge_tunnel_tests::node::Node;
use edge_tunnel_tests::raw_http::{Message, Raw};
use edge_tunnel_tests::server::Server;
use edge_tunnel_tests::wait::{SOON, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

mod answers;
#[path = "../../../tunnel-server/src/ingress/shapes.rs"]
mod shapes;

use shapes::{CHUNKS, DESTINATIONS, FORWARDED, HEADS};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A node with a service by the letter, and a server in front of it.
struct House {
    server: Server,
    _node: Node,
    raw: Raw,
    host: String,
}

impl House {
    async fn start(
        name: &str,
        says: impl Fn(&str) -> (Vec<u8>, bool) + Send + Sync + 'static,
    ) -> Self {
        let raw = Raw::start(says).await;
        let port = raw.port().to_string();
        let keys = [
            ("http-proxy-ports", port.as_str()),
            ("localhost-proxy-ports", &port),
        ];
        let server = Server::with_keys(&keys).await;
        let node = Node::join(name, &server).await;
        let host = node.at(raw.port());
        Self {
            server,
            _node: node,
            raw,
            host,
        }
    }

    fn shape(&self, shape: &str) -> String {
        shape
            .replace("{}", "POST /bad")
            .replace("Host: a\r\n", &format!("Host: {}\r\n", self.host))
            .replace("HOST", &self.host)
    }

    fn good(&self, path: &str) -> String {
        let host = &self.host;
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
    }

    /// All that comes back for these bytes, until the server closes.
    async fn ask(&self, bytes: &str) -> String {
        all(self.server.http(), bytes.as_bytes()).await
    }
}

async fn all(server: SocketAddr, bytes: &[u8]) -> String {
    let asking = async {
        let mut io = TcpStream::connect(server).await.unwrap();
        io.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        // A reset behind an answer takes nothing of it back.
        let _ = io.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    within("the server closes", SOON, asking).await
}

fn ok(_line: &str) -> (Vec<u8>, bool) {
    (OK.to_vec(), false)
}

#[tokio::test]
async fn what_reads_two_ways_never_reaches_the_node() {
    let house = House::start("smuggle-heads", ok).await;
    for shape in HEADS {
        let bad = house.shape(shape);
        let answer = house
            .ask(&format!("{bad}hello{}", house.good("/behind")))
            .await;
        assert!(
            answer.starts_with("HTTP/1.1 400 ") && !answer.contains(" 200 "),
            "{bad:?}: {answer}"
        );
        assert_eq!(house.raw.take(), Vec::<Vec<u8>>::new(), "{bad:?}");
    }
    for lines in DESTINATIONS {
        let bad = house.shape(&format!("GET /bad HTTP/1.1\r\n{lines}\r\n\r\n"));
        let answer = house.ask(&format!("{bad}{}", house.good("/behind"))).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{bad:?}: {answer}");
        // The request was understood, and its one meaning was bad: what is behind it is a request of its own.
        let seen = house.raw.take();
        assert_eq!(seen.len(), 1, "{bad:?}");
        assert!(seen[0].starts_with(b"GET /behind "), "{bad:?}");
    }
}

#[tokio::test]
async fn a_body_that_reads_two_ways_never_becomes_whole() {
    let house = House::start("smuggle-bodies", ok).await;
    let host = &house.host;
    for body in CHUNKS {
        let bad = format!(
            "POST /bad HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n{body}"
        );
        let answer = house.ask(&format!("{bad}{}", house.good("/behind"))).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400 "),
            "{body:?}: {answer}"
        );
        assert_eq!(house.raw.take(), Vec::<Vec<u8>>::new(), "{body:?}");
    }
}

#[tokio::test]
async fn what_is_served_has_one_form() {
    let house = House::start("smuggle-forms", ok).await;
    for (shape, form) in FORWARDED {
        let request = house.shape(shape);
        let answer = house
            .ask(&format!("{request}{}", house.good("/behind")))
            .await;
        assert!(answer.contains(" 200 OK\r\n"), "{request:?}: {answer}");
        let seen = house.raw.take();
        assert_eq!(
            Message::form(&seen[0]),
            form.replace("HOST", &house.host),
            "{request:?}"
        );
        // The one behind is exactly itself, or was not taken.
        let behind = format!("GET /behind HTTP/1.1|host: {}||", house.host);
        match &seen[1..] {
            [] => assert_eq!(answer.matches("200 OK").count(), 1, "{request:?}: {answer}"),
            [one] => assert_eq!(Message::form(one), behind, "{request:?}"),
            more => unreachable!("{request:?} became {more:?}"),
        }
    }
}

#[tokio::test]
async fn connect_refuses_the_same_heads() {
    let house = House::start("smuggle-connect", ok).await;
    for shape in HEADS {
        let bad = shape.replace("{}", &format!("CONNECT {}", house.host));
        let asking = async {
            let mut io = UnixStream::connect(house.server.uds()).await.unwrap();
            let bytes = format!("{bad}{}", house.good("/behind"));
            io.write_all(bytes.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let _ = io.read_to_end(&mut answer).await;
            String::from_utf8_lossy(&answer).into_owned()
        };
        let answer = within("the server closes", SOON, asking).await;
        assert!(
            answer.starts_with("HTTP/1.1 400 ") && !answer.contains(" 200 "),
            "{bad:?}: {answer}"
        );
        assert_eq!(house.raw.take(), Vec::<Vec<u8>>::new(), "{bad:?}");
    }
}

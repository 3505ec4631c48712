//! A server, a node and the path between them, with a service on the node: what most faults need.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::caller;
use crate::census::Counted;
use crate::link::Link;
use crate::node::Node;
use crate::server::Server;
use crate::service::Service;
use crate::traffic::{Door, Fate, Order};
use crate::wait::until;

/// In which the next call works after a fault: the longest back-off that some failed dials lead to, and one attempt.
pub const BACK: Duration = Duration::from_secs(100);

/// The place.
#[derive(Debug)]
pub struct Place {
    /// The server.
    pub server: Server,
    /// What the node dials.
    pub link: Link,
    /// The node.
    pub node: Node,
    /// What it offers.
    pub service: Service,
    /// Every way to that service that tells a broken end from a clean one.
    pub door: Door,
}

impl Place {
    /// A node that is connected over `dial`: `quic`, `tls`, or `any` for both.
    ///
    /// # Panics
    /// When it does not connect soon.
    pub async fn new(name: &str, dial: &str, heartbeat: &str) -> Self {
        let retry = Duration::from_secs(3600);
        Self::with_retry(name, dial, heartbeat, retry).await
    }

    /// As [`Place::new`], with an agent that tries QUIC again after `retry`.
    ///
    /// # Panics
    /// As there.
    pub async fn with_retry(name: &str, dial: &str, heartbeat: &str, retry: Duration) -> Self {
        Self::on(name, dial, heartbeat, retry, |_sound| ()).await
    }

    /// As [`Place::with_retry`], on a link to which something was done before it is used.
    ///
    /// # Panics
    /// As there.
    pub async fn on(
        name: &str,
        dial: &str,
        heartbeat: &str,
        retry: Duration,
        prepare: impl FnOnce(&Link),
    ) -> Self {
        let server = Server::start(&["--heartbeat", heartbeat]).await;
        let link = Link::to(server.agents()).await;
        prepare(&link);
        let address = link.address();
        let url = match dial {
            "any" => address.to_string(),
            transport => format!("{transport}://{address}"),
        };
        let mut node = Node::new(&format!("{name}-{dial}"), &url)
            .flags(&["--heartbeat", heartbeat])
            .quic_retry(retry);
        node.enrol(&server).await;
        let service = Service::start().await;
        let files = server
            .issue_client("caller", &["--ports", &service.port().to_string()])
            .await;
        let door = Door::Mtls(server.connect(), files);
        Self {
            server,
            link,
            node,
            service,
            door,
        }
    }

    /// What is counted.
    #[must_use]
    pub fn counted(&self) -> [Counted; 2] {
        [self.server.admin().into(), self.node.admin().into()]
    }

    /// A request to the node's service: `seed % 3` says which way its bytes go.
    #[must_use]
    pub fn order(&self, size: usize, seed: u64) -> Order {
        Order {
            door: self.door.clone(),
            at: self.node.at(self.service.port()),
            size,
            seed,
        }
    }

    /// Waits until a request works, and says how long that took. Nothing may be wrong meanwhile, nor hang.
    ///
    /// # Panics
    /// When it does not in time.
    pub async fn works(&self) -> Duration {
        let look = async || match self.order(100_000, 2).run().await {
            Fate::Whole => Ok(()),
            Fate::Failed(words) => Err(words),
            fate => crate::wait::give_up(format!("{fate:?}")),
        };
        until("a request works", BACK, look).await.1
    }

    /// Opens a stream on which something was said and heard already.
    ///
    /// # Panics
    /// When that fails.
    pub async fn talk(&self) -> TlsStream<TcpStream> {
        let Door::Mtls(server, files) = &self.door else {
            crate::wait::give_up("this place is reached with a certificate")
        };
        let at = self.node.at(self.service.port());
        let opened = caller::mtls(*server, files, &at).await;
        let mut io = opened.expect("the node is there");
        caller::say(&mut io, "echo").await.expect("it listens");
        caller::echo(&mut io, "hello").await.expect("it answers");
        io
    }
}

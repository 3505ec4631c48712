//! A double of what opens streams: targets in memory.

use std::sync::Arc;

use edge_tunnel_proto::id::{self, NodeName};
use edge_tunnel_proto::shutdown::Shutdown;
use edge_tunnel_proto::splice::Socket;
use edge_tunnel_proto::sync::Mutex;
use tokio::io::DuplexStream;
use tokio_util::sync::CancellationToken;

use super::open::Open;
use super::{Context, Metrics};
use crate::inbound::{Inbound, Way};
use crate::refusal::{Kind, Refusal};
use crate::route::{Here, Route};

type Target = dyn Fn(Inbound, DuplexStream) + Send + Sync;

/// Opens streams to a target in memory, or to none, and remembers what was asked.
#[derive(Clone)]
pub(super) struct Fake {
    target: Option<Arc<Target>>,
    pub(super) asked: Arc<Mutex<Vec<Inbound>>>,
}

impl Fake {
    /// Every stream is refused.
    pub(super) fn refusing() -> Self {
        Self {
            target: None,
            asked: Arc::default(),
        }
    }

    /// Every stream leads to a task that runs `target` on its far end.
    pub(super) fn to<F: Future<Output = ()> + Send + 'static>(
        target: impl Fn(Inbound, DuplexStream) -> F + Send + Sync + 'static,
    ) -> Self {
        let spawn = move |inbound, stream| {
            tokio::spawn(target(inbound, stream));
        };
        Self {
            target: Some(Arc::new(spawn)),
            asked: Arc::default(),
        }
    }

    /// What was asked for so far, as `host:port`.
    pub(super) fn destinations(&self) -> Vec<String> {
        self.asked
            .lock()
            .iter()
            .map(|inbound| inbound.destination.to_string())
            .collect()
    }
}

impl Here for Fake {
    fn knows(&self, _node: &NodeName) -> bool {
        true
    }

    fn connected(&self, _node: &NodeName) -> bool {
        true
    }
}

impl Open for Fake {
    type Stream = DuplexStream;

    fn resolve(&self, inbound: &Inbound) -> Result<Route, Refusal> {
        Ok(Route {
            node: "edge-1".parse().expect("a node name"),
            target: id::Target {
                host: id::TargetHost::Node,
                port: inbound.destination.port,
            },
        })
    }

    fn retired(_stream: &DuplexStream) -> CancellationToken {
        CancellationToken::new()
    }

    async fn open(&self, inbound: &Inbound, _route: &Route) -> Result<DuplexStream, Refusal> {
        self.asked.lock().push(inbound.clone());
        let target = self.target.as_ref().ok_or_else(|| {
            Refusal::new(
                Kind::Unavailable,
                "not_connected",
                "node edge-1 is not connected;\r\nwähle eine andere",
            )
        })?;
        let (near, far) = tokio::io::duplex(64 * 1024);
        target(inbound.clone(), far);
        Ok(near)
    }

    async fn splice<C: Socket>(mut client: C, mut stream: DuplexStream) {
        if tokio::io::copy_bidirectional(&mut client, &mut stream)
            .await
            .is_err()
        {
            client.reset();
        }
    }
}

pub(super) fn context(way: Way, opener: Fake) -> Context<Fake> {
    Context::new(way, opener, Metrics::default(), Shutdown::new())
}

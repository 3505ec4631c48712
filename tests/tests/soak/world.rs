//! A server and nodes in whose way things can be put, as programs of their own.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use edge_tunnel_tests::census::Counted;
use edge_tunnel_tests::link::Link;
use edge_tunnel_tests::metrics::Metrics;
use edge_tunnel_tests::ports;
use edge_tunnel_tests::programs::{Cloud, Edge, Surroundings};
use edge_tunnel_tests::service::Service;
use edge_tunnel_tests::traffic::{Door, Fate, Order};
use edge_tunnel_tests::wait::{give_up, until};
use edge_tunnel_tests::web::Web;
use tokio::time::{sleep, sleep_until};

use super::schedule::SITES;
use super::trouble::Trouble;

/// In which a node is back after whatever was wrong has ended: the longest back-off and an attempt at each transport
/// that gets no answer; once more, where the server or the node is struck meanwhile; and what a busy machine adds.
const BACK: Duration = Duration::from_secs(240);

/// How long a session has to last for its agent to dial at once when it ends, and not after a back-off that grew in the
/// round.
const SETTLED: Duration = Duration::from_secs(11);

/// What the nodes dial.
const DIALS: [&str; SITES] = ["quic", "tls", "any"];

/// How to reach a node, and what is wrong on the way to it.
#[derive(Debug, Clone)]
pub(super) struct Reach {
    pub(super) name: String,
    /// What it dials.
    pub(super) dial: &'static str,
    /// By each way in.
    pub(super) orders: Vec<Order>,
    pub(super) trouble: Trouble,
}

/// A node.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) reach: Reach,
    pub(super) edge: Edge,
    pub(super) link: Link,
    _service: Service,
    web: Web,
    _kubelet: Service,
}

/// The server and its nodes.
#[derive(Debug)]
pub(super) struct World {
    pub(super) cloud: Cloud,
    pub(super) sites: Vec<Site>,
}

impl World {
    /// All of it, connected; `None` where the programs were not built, which was said.
    pub(super) async fn new() -> Option<Self> {
        let cloud = Cloud::start(&Surroundings::default(), &["--heartbeat", "1s"]).await?;
        let files = cloud.issue_client("caller").await;
        let mut sites = Vec::new();
        for dial in DIALS {
            sites.push(Site::new(&cloud, dial, &files).await?);
        }
        let ports: Vec<_> = sites
            .iter()
            .map(|site| site.web.port().to_string())
            .collect();
        let keys = [
            ("http-proxy-ports", ports.join(",")),
            // Not the kubelet's, which each node has at an address of its own.
            ("localhost-proxy-ports", "10266".to_owned()),
        ];
        for (key, text) in keys {
            std::fs::write(cloud.config_dir().join(key), text).expect("a key can be written");
        }
        let world = Self { cloud, sites };
        world.as_at_first().await;
        Some(world)
    }

    pub(super) fn counted(&self) -> Vec<Counted> {
        let sites = self.sites.iter().map(|site| site.edge.counted());
        std::iter::once(self.cloud.counted()).chain(sites).collect()
    }

    /// Makes every session anew, over what it was over at first: what there is can be compared with what there was.
    pub(super) async fn calm(&self) {
        for site in &self.sites {
            if let Some(over) = site.reach.trouble.over() {
                sleep_until(over + SETTLED).await;
            }
        }
        for site in &self.sites {
            site.link.tcp().cut();
            site.link.udp().cut();
        }
        self.as_at_first().await;
    }

    /// Waits until every node has one session, over what it dials; the one that dials anything, over QUIC.
    async fn as_at_first(&self) {
        let sessions = |metrics: &Metrics| {
            let over = |transport: &str| metrics.sum("sessions", &[transport]).abs();
            (over("quic"), over("tls"))
        };
        let back = async || {
            let mut wrong = Vec::new();
            for site in &self.sites {
                let agent = Metrics::read(site.edge.counted().admin).await;
                let has = sessions(&agent.map_err(|error| error.to_string())?);
                let first = match site.reach.dial {
                    "tls" => (0.0, 1.0),
                    _ => (1.0, 0.0),
                };
                if has != first {
                    wrong.push(format!("{} has {has:?}", site.reach.name));
                    if site.reach.dial == "any" {
                        // An attempt over TLS that fails leads to one over both, of which QUIC is the first.
                        site.link.tcp().block();
                        site.link.tcp().cut();
                    }
                }
            }
            let server = self.cloud.metrics().await;
            let has = sessions(&server.map_err(|error| error.to_string())?);
            if has != (2.0, 1.0) {
                wrong.push(format!("the server has {has:?}"));
            }
            if wrong.is_empty() {
                Ok(())
            } else {
                Err(wrong.join(", "))
            }
        };
        until("each is over what it was over at first", BACK, back).await;
        for site in &self.sites {
            site.link.unblock();
        }
    }
}

impl Reach {
    /// Waits until the node is back by every way.
    pub(super) async fn recovers(&self) {
        // Twice, a moment apart: what still dies of the fault has died by then.
        for turn in 0..2 {
            if turn > 0 {
                sleep(Duration::from_secs(1)).await;
            }
            for order in &self.orders {
                let look = async || match order.run().await {
                    Fate::Whole => Ok(()),
                    Fate::Failed(words) => {
                        sleep(Duration::from_millis(100)).await;
                        Err(words)
                    }
                    fate => give_up(format!("while it came back: {order:?}: {fate:?}")),
                };
                let what = format!(
                    "{} is back by {} ({})",
                    self.name,
                    order.door.name(),
                    self.trouble.lately()
                );
                until(&what, BACK, look).await;
            }
        }
    }
}

impl Site {
    async fn new(cloud: &Cloud, dial: &'static str, files: &Path) -> Option<Self> {
        let link = Link::to(cloud.agents()).await;
        let url = match dial {
            "any" => link.address().to_string(),
            transport => format!("{transport}://{}", link.address()),
        };
        let name = format!("soak-{dial}");
        let address = ports::node_address();
        let flags = ["--heartbeat", "1s", "--node-ip", &address.to_string()];
        let edge = Edge::start(&name, cloud, &url, &Surroundings::default(), &flags).await?;
        edge.ready().await;
        let kubelet = Service::tls(SocketAddr::new(address, 10250), &name).await;
        let root = kubelet.certificate().expect("it speaks TLS").clone();
        let service = Service::at(SocketAddr::new(address, 0)).await;
        let web = Web::at(SocketAddr::new(address, 0), &name).await;
        let order = |door: Door, at: String| Order {
            door,
            at,
            size: 1000,
            seed: 2,
        };
        let mtls = Door::Mtls(cloud.connect(), files.to_path_buf());
        let orders = vec![
            order(Door::Uds(cloud.uds()), edge.at(service.port())),
            order(mtls, edge.at(service.port())),
            order(Door::Http(cloud.http()), edge.at(web.port())),
            order(Door::Tls(cloud.tls(), Box::new(root)), name.clone()),
        ];
        let reach = Reach {
            name,
            dial,
            orders,
            trouble: Trouble::new(),
        };
        Some(Self {
            reach,
            edge,
            link,
            _service: service,
            web,
            _kubelet: kubelet,
        })
    }

    /// Whether the node has a session, and every one it has is over QUIC.
    pub(super) async fn quic_alone(&self) -> bool {
        let metrics = Metrics::read(self.edge.counted().admin).await;
        metrics.is_ok_and(|metrics| {
            metrics.sum("sessions", &["quic"]) > 0.0 && metrics.sum("sessions", &["tls"]) == 0.0
        })
    }
}

//! A server and agents in whose way things can be put.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use edge_tunnel_tests::census::Counted;
use edge_tunnel_tests::link::Link;
use edge_tunnel_tests::ports;
use edge_tunnel_tests::programs::{Cloud, Edge, Surroundings};
use edge_tunnel_tests::service::Service;
use edge_tunnel_tests::traffic::{Door, Fate, Order};
use edge_tunnel_tests::wait::{give_up, until};
use edge_tunnel_tests::web::Web;
use tokio::time::sleep;

/// In which a node is back after whatever was wrong has ended: the longest back-off, an attempt at each transport that
/// gets no answer, and what a busy machine adds.
const BACK: Duration = Duration::from_secs(120);

/// Whether something is wrong with a node, or was of late. Odd: now.
#[derive(Debug, Default, Clone)]
pub(super) struct Trouble(Arc<AtomicU64>);

impl Trouble {
    fn turn(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// What to compare with later.
    pub(super) fn look(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    /// Whether nothing was wrong from that look on.
    pub(super) fn none_since(&self, then: u64) -> bool {
        then.is_multiple_of(2) && self.look() == then
    }
}

/// A node.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) edge: Edge,
    pub(super) link: Link,
    pub(super) trouble: Trouble,
    _service: Service,
    pub(super) web: Web,
    _kubelet: Service,
    /// By each way in.
    pub(super) orders: Vec<Order>,
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
        let flags = ["--heartbeat", "1s"];
        let cloud = Cloud::start(&Surroundings::default(), &flags).await?;
        let files = cloud.issue_client("caller").await;
        let mut sites = Vec::new();
        let mut web_ports = Vec::new();
        for dial in ["quic", "tls", "any"] {
            let site = Site::new(&cloud, dial, &files).await?;
            web_ports.push(site.web.port().to_string());
            sites.push(site);
        }
        // The kubelets of all three are on one machine, each at its node's own address.
        for (key, text) in [
            ("http-proxy-ports", web_ports.join(",")),
            ("localhost-proxy-ports", String::new()),
        ] {
            std::fs::write(cloud.config_dir().join(key), text).unwrap();
        }
        let mut world = Self { cloud, sites };
        world.recover(&[0, 1, 2]).await;
        world.calm().await;
        Some(world)
    }

    pub(super) fn counted(&self) -> Vec<Counted> {
        let sites = self.sites.iter().map(|site| site.edge.counted());
        std::iter::once(self.cloud.counted()).chain(sites).collect()
    }

    /// Which processes there are.
    pub(super) fn ids(&self) -> Vec<u32> {
        self.counted()
            .iter()
            .filter_map(|counted| counted.pid)
            .collect()
    }

    /// Something goes wrong with these nodes.
    pub(super) fn begin(&self, which: &[usize]) {
        for site in which {
            self.sites[*site].trouble.turn();
        }
    }

    /// Nothing is wrong with these nodes any more: waits until each is back by every way.
    pub(super) async fn end(&self, which: &[usize]) {
        self.recover(which).await;
        for site in which {
            self.sites[*site].trouble.turn();
        }
    }

    async fn recover(&self, which: &[usize]) {
        for site in which {
            let site = &self.sites[*site];
            // Twice, a moment apart: what still dies of the fault has died by then.
            for _ in 0..2 {
                for order in &site.orders {
                    let look = async || match order.run().await {
                        Fate::Whole => Ok(()),
                        Fate::Failed(words) => Err(words),
                        fate => give_up(format!("while it came back: {order:?}: {fate:?}")),
                    };
                    until(&format!("{} is back", order.at), BACK, look).await;
                }
                sleep(Duration::from_secs(1)).await;
            }
        }
    }

    /// Makes every session anew, so that each is over what it was over at first and no connection waits for reuse.
    pub(super) async fn calm(&mut self) {
        let all: Vec<usize> = (0..self.sites.len()).collect();
        self.begin(&all);
        let either = &self.sites[2].link;
        either.block();
        for site in &self.sites {
            site.link.tcp().cut();
            site.link.udp().cut();
        }
        // An attempt over TLS that gets no answer leads to one over both.
        sleep(Duration::from_secs(12)).await;
        either.unblock();
        for site in &self.sites {
            site.edge.ready().await;
        }
        let back = async || {
            let metrics = self
                .cloud
                .metrics()
                .await
                .map_err(|error| error.to_string())?;
            let (quic, tls) = ("transport=\"quic\"", "transport=\"tls\"");
            let now = (
                metrics.sum("sessions", &[quic]),
                metrics.sum("sessions", &[tls]),
                metrics.sum("ingress_http_idle_node_connections", &[]),
            );
            if now == (2.0, 1.0, 0.0) {
                Ok(())
            } else {
                Err(format!("{now:?}"))
            }
        };
        until("each is over what it was over at first", BACK, back).await;
        for site in all {
            self.sites[site].trouble.turn();
        }
    }
}

impl Site {
    async fn new(cloud: &Cloud, dial: &str, files: &Path) -> Option<Self> {
        let link = Link::to(cloud.agents()).await;
        let url = match dial {
            "any" => link.address().to_string(),
            transport => format!("{transport}://{}", link.address()),
        };
        let name = format!("soak-{dial}");
        let address = ports::node_address();
        let ip = address.to_string();
        let flags = ["--heartbeat", "1s", "--node-ip", &ip];
        let edge = Edge::start(&name, cloud, &url, &Surroundings::default(), &flags).await?;
        edge.ready().await;
        let kubelet = Service::tls(SocketAddr::new(address, 10250), &name).await;
        let root = Box::new(kubelet.certificate().unwrap().clone());
        let service = Service::at(SocketAddr::new(address, 0)).await;
        let web = Web::at(SocketAddr::new(address, 0), &name).await;
        let order = |door: Door, at: String| Order {
            door,
            at,
            size: 1000,
            seed: 2,
        };
        let orders = vec![
            order(Door::Uds(cloud.uds()), edge.at(service.port())),
            order(
                Door::Mtls(cloud.connect(), files.to_path_buf()),
                edge.at(service.port()),
            ),
            order(Door::Http(cloud.http()), edge.at(web.port())),
            order(Door::Tls(cloud.tls(), root), name),
        ];
        Some(Self {
            edge,
            link,
            trouble: Trouble::default(),
            _service: service,
            web,
            _kubelet: kubelet,
            orders,
        })
    }
}

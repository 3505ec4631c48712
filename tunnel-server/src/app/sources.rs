//! Where the routes come from: a cluster (`--kubernetes`), a folder (`--config-dir`), or nowhere, and then what holds where
//! nothing is configured.

use std::net::SocketAddr;
use std::pin::Pin;

use edge_tunnel_proto::id::Port;
use edge_tunnel_proto::interfaces;
use edge_tunnel_proto::telemetry::health::Health;
use kube::Client;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use super::sockets::Bound;
use crate::config::RunConfig;
use crate::endpoints::Endpoints;
use crate::identity::Identity;
use crate::route::index::{Index, Settings};
use crate::route::nodes::Rules;
use crate::route::ports::Listeners;
use crate::route::publish::Metrics;
use crate::route::{Routes, Unmatched, dir, kube as cluster};

/// What a source of routes needs of the rest.
pub(super) struct Setting<'a> {
    pub(super) config: &'a RunConfig,
    pub(super) bound: &'a Bound,
    pub(super) health: &'a Health,
    pub(super) identity: &'a Identity,
    pub(super) client: Option<&'a Client>,
}

/// Where the routes come from.
#[derive(Debug)]
pub(super) enum Source {
    Cluster(Box<cluster::Source>),
    Folder(Box<dir::Source>),
    Nowhere,
}

impl Source {
    /// Follows it until `shutdown`.
    pub(super) fn run(
        self,
        shutdown: CancellationToken,
    ) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        match self {
            Self::Cluster(source) => Some(Box::pin(source.run(shutdown))),
            Self::Folder(source) => Some(Box::pin(source.run(shutdown))),
            Self::Nowhere => None,
        }
    }
}

impl Setting<'_> {
    pub(super) async fn open(&self, registry: &mut Registry) -> anyhow::Result<(Routes, Source)> {
        let args = &self.config.kubernetes;
        let metrics = Metrics::register(registry);
        let in_cluster = self.client.is_some();
        let otherwise = if in_cluster {
            Unmatched::Direct
        } else {
            Unmatched::Refuse
        };
        let unmatched = self.config.connect_unmatched.clone().unwrap_or(otherwise);
        let via = unmatched.via();
        let index = Index::new(Settings {
            listeners: self.listeners(),
            rules: if in_cluster {
                self.rules()?
            } else {
                Rules::default()
            },
            unmatched,
        });
        if let Some(client) = self.client {
            let settings = cluster::Settings {
                config_map: args.config_map.clone(),
                tunnelled: args.node_selector.clone(),
                via,
                kept: self.config.state_dir.join("cluster.json"),
            };
            let part = self.health.register("cluster", "starting");
            let registrations = self.identity.registrations().clone();
            registrations.await_cluster();
            let (source, routes) = cluster::Source::open(
                client.clone(),
                settings,
                index,
                metrics,
                part,
                Box::new(move |nodes| registrations.cluster(nodes)),
            )
            .await;
            return Ok((routes, Source::Cluster(Box::new(source))));
        }
        match &self.config.config_dir {
            Some(dir) => {
                let (source, routes) = dir::Source::open(dir.clone(), index, metrics).await?;
                Ok((routes, Source::Folder(Box::new(source))))
            }
            None => Ok((Routes::new(index.table()), Source::Nowhere)),
        }
    }

    /// What publishes where agents dial, unless that is switched off.
    pub(super) fn endpoints(&self) -> Option<Endpoints> {
        let args = &self.config.kubernetes;
        let services = args.agents_services().to_vec();
        let client = self.client.filter(|_| !services.is_empty())?;
        Some(Endpoints {
            client: client.clone(),
            services,
            tunnelled: args.node_selector.clone(),
            trust: self.identity.ca().trust().clone(),
        })
    }

    fn listeners(&self) -> Listeners {
        let otherwise = Listeners::default();
        let port = |address: Option<SocketAddr>| Port::new(address?.port());
        Listeners {
            http: port(self.bound.http).unwrap_or(otherwise.http),
            tls: port(self.bound.tls).unwrap_or(otherwise.tls),
        }
    }

    /// Where an edge node's address may lie.
    fn rules(&self) -> anyhow::Result<Rules> {
        let args = &self.config.kubernetes;
        let mut own = interfaces::addresses()?;
        // What every pod knows of Services without being told: where the API server's is.
        let service = std::env::var("KUBERNETES_SERVICE_HOST").unwrap_or_default();
        own.extend(service.parse::<std::net::IpAddr>());
        Ok(Rules {
            edge: (!args.edge_cidrs.is_empty()).then(|| args.edge_cidrs.clone()),
            reserved: args.service_cidrs.clone(),
            own,
        })
    }
}

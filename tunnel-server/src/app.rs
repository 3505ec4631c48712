//! Where the server's parts are put together, and the only place: it opens the state, binds every listener first and
//! says what it bound, then runs the ways in until it is told to stop.

mod aside;
mod control;
mod sockets;
mod sources;
mod ways;

use std::sync::Arc;

use edge_tunnel_proto::budget::Budget;
use edge_tunnel_proto::clock::Clock;
use edge_tunnel_proto::id::ReplicaId;
use edge_tunnel_proto::shutdown::Shutdown;
use edge_tunnel_proto::telemetry::health::{Health, Part};
use edge_tunnel_proto::telemetry::systemd;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use tracing::{error, field, info, warn};

use crate::admin::{self, Pages};
use crate::agents::{self, Agents};
use crate::config::RunConfig;
use crate::endpoints::Endpoints;
use crate::identity::{Identity, Settings};
use crate::ingress::tls::ports::States;
use crate::ingress::{self};
use crate::pace::Pace;
use crate::relay::{self, Relay};
use crate::route::Routes;
use crate::session;
use crate::sessions::Sessions;
use aside::{Aside, refresh, save_visits};
pub use control::Control;
pub use sockets::Bound;
use sockets::Sockets;
use sources::Source;
use ways::Ways;

/// A link on which nothing was heard for a heartbeat and this part of one is probed. Agents ask once in each: what is
/// later than that is hardly on its way, and whoever only listens, as to a log, waits for the outcome.
const LATE: u32 = 5;

/// A server that is ready to run.
#[derive(Debug)]
pub struct App {
    bound: Bound,
    config: RunConfig,
    shutdown: Shutdown,
    control: Arc<Control>,
    context: session::Context,
    routes: Routes,
    source: Source,
    relay: Relay,
    listeners: Sockets,
    registry: Registry,
    budget: Budget,
    agents: agents::Metrics,
    ingress: ingress::Metrics,
    health: Health,
    ready: Part,
    aside: Aside,
    endpoints: Option<Endpoints>,
}

impl App {
    /// Opens the state folder, reads the live keys and binds every listener.
    ///
    /// # Errors
    /// When one of these cannot be had; the text says which, and what to do. Nothing runs then.
    pub async fn bind(config: RunConfig) -> anyhow::Result<Self> {
        Self::bind_with(config, Clock::system()).await
    }

    /// As [`App::bind`], by another clock.
    ///
    /// # Errors
    /// As [`App::bind`].
    pub async fn bind_with(config: RunConfig, clock: Clock) -> anyhow::Result<Self> {
        let mut registry = admin::registry();
        let health = Health::default();
        let ready = health.register("server", "starting");
        let shutdown = Shutdown::new();
        let identity = Identity::open(Settings {
            state_dir: config.state_dir.clone(),
            trust_domain: config.trust_domain.clone(),
            clock: clock.clone(),
            renew_grace: config.renew_grace,
            operator_ca: None,
        })?;
        let replica = ReplicaId::random();
        let listeners = Sockets::bind(&config, &identity, replica).await?;
        let bound = listeners.bound()?;
        let client = match &config.kubernetes.cluster {
            Some(cluster) => Some(cluster.client().await?),
            None => None,
        };
        let sources = sources::Setting {
            config: &config,
            bound: &bound,
            health: &health,
            identity: &identity,
            client: client.as_ref(),
        };
        let (routes, source) = sources.open(&mut registry).await?;
        let endpoints = sources.endpoints();
        let sessions = Sessions::new(clock.clone(), identity.visits().clone());
        let budget = Budget::new(config.buffer_memory);
        let relay = Relay::new(relay::Parts {
            routes: routes.clone(),
            sessions: sessions.clone(),
            identity: identity.clone(),
            clock: clock.clone(),
            dial_timeout: config.dial_timeout,
            budget: budget.clone(),
            listeners: bound.ports(),
            metrics: relay::Metrics::register(&mut registry),
        });
        let control = Arc::new(Control::new(
            replica,
            sessions.clone(),
            identity.clone(),
            routes.clone(),
            clock.clone(),
        ));
        let context = session::Context {
            replica,
            sessions,
            identity,
            clock,
            silence: config.heartbeat + config.heartbeat / LATE,
            pace: Pace::of_this_machine(),
            metrics: session::Metrics::register(&mut registry),
            shutdown: shutdown.clone(),
        };
        let agents = agents::Metrics::register(&mut registry, &budget);
        let ingress = ingress::Metrics::register(&mut registry);
        Ok(Self {
            bound,
            config,
            shutdown,
            control,
            context,
            routes,
            source,
            relay,
            listeners,
            registry,
            budget,
            agents,
            ingress,
            health,
            ready,
            aside: Aside::default(),
            endpoints,
        })
    }

    /// The same server at another pace than this machine's.
    #[must_use]
    pub fn with_pace(mut self, pace: Pace) -> Self {
        self.context.pace = pace;
        self
    }

    /// Where everything really listens.
    #[must_use]
    pub fn bound(&self) -> &Bound {
        &self.bound
    }

    /// What commands may ask, for whoever runs the server in its own process.
    #[must_use]
    pub fn control(&self) -> Arc<Control> {
        Arc::clone(&self.control)
    }

    /// Who agents and callers are, likewise.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.context.identity.clone()
    }

    /// What ends the server: cancel its draining.
    #[must_use]
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// Runs until `stop`, then drains.
    ///
    /// # Errors
    /// When a part died that the server cannot run without; it has drained then, too. The text names the part.
    pub async fn run(self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let Self {
            bound,
            config,
            shutdown,
            control,
            context,
            listeners,
            health,
            ready,
            mut aside,
            ..
        } = self;
        info!(
            replica = %context.replica,
            agents = %bound.agents,
            tls = bound.tls.map(field::display),
            http = bound.http.map(field::display),
            connect = bound.connect.map(field::display),
            connect_uds = bound.connect_uds.as_ref().map(|path| field::display(path.display())),
            admin = bound.admin.map(field::display),
            state_dir = %config.state_dir.display(),
            "server starts"
        );
        let aside_stop = CancellationToken::new();
        let port_listeners = States::default();
        if let Some(listener) = listeners.admin {
            let pages = Pages {
                health,
                registry: self.registry,
                control: Arc::clone(&control),
                port_listeners: port_listeners.clone(),
            };
            aside.spawn(
                "the pages of --admin-listen",
                admin::serve(listener, pages, aside_stop.clone()),
            );
        }
        aside.spawn(
            "the admin socket",
            listeners.commands.serve(control, aside_stop.clone()),
        );
        aside.spawn(
            "the watch over the state folder",
            refresh(context.identity.clone()),
        );
        aside.spawn("the systemd watchdog", async {
            systemd::watchdog().await;
            // It ends where systemd wants none.
            std::future::pending::<()>().await;
        });
        if let Some(endpoints) = self.endpoints {
            aside.spawn("what publishes where agents dial", endpoints.run());
        }
        let identity = context.identity.clone();
        let last = identity.clone();
        let agents = Agents {
            context,
            metrics: self.agents,
            budget: self.budget,
            proxy_protocol: config.agents_proxy_protocol,
            strangers: Arc::default(),
        };
        let revocations = agents.clone();
        aside.spawn("the watch over revocations", async move {
            revocations.enforce_revocations().await;
        });

        let ways = Ways {
            relay: self.relay,
            metrics: self.ingress,
            shutdown: shutdown.clone(),
        };
        if let Some(followed) = self.source.run(shutdown.draining().clone()) {
            shutdown.spawn(followed);
        }
        shutdown.spawn(listeners.agents.serve(agents));
        ways.tls(listeners.tls, bound.tls, &self.routes, port_listeners);
        ways.http(
            listeners.http,
            bound.http,
            &self.routes,
            config.http_allow_from,
        );
        ways.connect(listeners.connect, listeners.connect_uds, identity);
        ready.ready();
        systemd::ready();
        let outcome = tokio::select! {
            () = stop => Ok(()),
            () = shutdown.draining().cancelled() => Ok(()),
            died = aside.died() => {
                error!("{died}");
                Err(died.into())
            }
        };
        systemd::stopping();
        ready.not_ready("draining");
        info!(
            "server stops; open streams have {} s to end",
            config.drain_timeout.as_secs()
        );
        if !shutdown.finish(config.drain_timeout).await {
            warn!("streams that were still open were broken off");
        }
        aside_stop.cancel();
        aside.shutdown().await;
        save_visits(last).await;
        outcome
    }
}

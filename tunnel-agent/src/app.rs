//! Where the agent's parts are put together. Everything that can fail at the start fails here, before anything runs.

use std::net::SocketAddr;
use std::time::Duration;

use edge_tunnel_proto::budget::Budget;
use edge_tunnel_proto::clock::Clock;
use edge_tunnel_proto::id::{InstanceId, NodeName};
use edge_tunnel_proto::identity::Live;
use edge_tunnel_proto::parts::Parts;
use edge_tunnel_proto::shutdown::Shutdown;
use edge_tunnel_proto::telemetry::health::Health;
use edge_tunnel_proto::telemetry::systemd;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::config::{Config, Listen, node_name};
use crate::dial::{self, Dialer};
use crate::identity::folder::{self, Lock};
use crate::identity::{Identity, Settings, Standing};
use crate::policy::interfaces;
use crate::policy::live::Policy;
use crate::session::{self, Context};
use crate::uplink::{self, Uplink};
use crate::{admin, endpoints, serve};
use parts::watch_until;

mod parts;

/// How often the files in the state folder are looked at.
const REFRESH: Duration = Duration::from_secs(10);

/// Memory that is promised to servers for streams, in bytes: one connection's ceiling, and as much again for the one
/// that replaces it.
const BUFFER_MEMORY: usize = 3 * edge_tunnel_proto::mux::CONNECTION_WINDOW_MAX;

/// An agent that is ready to run.
#[derive(Debug)]
pub struct App {
    /// What the node is called, where that is known before it has enrolled.
    node: Option<NodeName>,
    lock: Lock,
    admin: Option<TcpListener>,
    pages: admin::Pages,
    uplink: Uplink,
    policy: Policy,
    identity: Identity,
    drain_timeout: Duration,
    broken: CancellationToken,
}

impl App {
    /// Takes and reads the state folder, reads the policy, and binds the admin port.
    ///
    /// # Errors
    /// When one of these cannot be had; the text says which, and what to do.
    pub async fn bind(config: Config) -> anyhow::Result<Self> {
        Self::bind_with(config, Clock::system(), Uplink::QUIC_RETRY).await
    }

    /// As [`App::bind`], by a clock and with a first QUIC retry of the caller's choice.
    ///
    /// # Errors
    /// As [`App::bind`].
    pub async fn bind_with(
        config: Config,
        clock: Clock,
        quic_retry: Duration,
    ) -> anyhow::Result<Self> {
        let shutdown = Shutdown::new();
        let settings = Settings {
            state_dir: config.uplink.state_dir.clone(),
            trust_domain: config.uplink.trust_domain.clone(),
            clock,
        };
        let lock = Lock::take(&settings.state_dir).await?;
        if let Some(danger) = folder::open_to_others(&settings.state_dir) {
            error!("{danger}");
        }
        let identity = Identity::open(&settings)?;
        let certified = match identity.standing() {
            Standing::Unenrolled => None,
            Standing::Expired(held) | Standing::Ready(held) => Some(held.node),
        };
        let enrolled = certified.is_some();
        let known = config.node_name.clone().or_else(|| certified.clone());
        // Until a join token says otherwise.
        let node = Live::new(node_name(config.node_name.clone(), certified)?);
        if let Some(strange) = interfaces::stranger(config.node_ip) {
            warn!("{strange}");
        }
        let policy_file = config.policy.policy_file.clone();
        let policy = Policy::load(
            node.clone(),
            config.node_ip,
            config.policy.rules(),
            policy_file,
        )
        .await?;
        let admin = admin_listener(config.uplink.admin_listen).await?;

        // Last: it may wait for whoever types the token.
        let token = match config.token() {
            Some(source) => source.at_start(enrolled).await?,
            None => None,
        };

        let mut registry = admin::registry();
        let health = Health::default();
        let uplink = Uplink {
            node: node.clone(),
            told: config.node_name.clone(),
            endpoints: config.uplink.endpoints(),
            token,
            context: Context {
                instance: InstanceId::random(),
                identity: identity.clone(),
                server: serve::Server {
                    policy: policy.clone(),
                    dialer: Dialer::new(
                        node.clone(),
                        dial::Limits::default(),
                        dial::Metrics::register(&mut registry),
                    ),
                    metrics: serve::Metrics::register(&mut registry),
                },
                heartbeat: config.heartbeat,
                metrics: session::Metrics::register(&mut registry, &identity),
                shutdown: shutdown.clone(),
            },
            dialer: uplink::dial::Dialer::new(Budget::new(BUFFER_MEMORY), shutdown.tasks().clone()),
            metrics: uplink::Metrics::register(&mut registry),
            health: health.register("session", "no session yet; dialling"),
            quic_retry,
        };
        let pages = admin::Pages { health, registry };
        Ok(Self {
            node: known,
            lock,
            admin,
            pages,
            uplink,
            policy,
            identity,
            drain_timeout: config.drain_timeout,
            broken: CancellationToken::new(),
        })
    }

    /// Where the admin port really listens.
    ///
    /// # Errors
    /// When `--admin-listen` has switched it off, or the socket is gone.
    pub fn admin_addr(&self) -> std::io::Result<SocketAddr> {
        match &self.admin {
            Some(admin) => admin.local_addr(),
            None => Err(std::io::ErrorKind::NotConnected.into()),
        }
    }

    /// What ends the agent: cancel its draining.
    #[must_use]
    pub fn shutdown(&self) -> Shutdown {
        self.uplink.context.shutdown.clone()
    }

    /// Cancelled when the agent ends because a part of it has died; the process is then to exit with a failure, so that
    /// whoever supervises it starts it anew.
    #[must_use]
    pub fn broken(&self) -> CancellationToken {
        self.broken.clone()
    }

    /// Runs until `stop`, or until a part of it dies, then drains.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self {
            node,
            lock,
            admin,
            pages,
            uplink,
            policy,
            identity,
            drain_timeout,
            broken,
        } = self;
        let shutdown = uplink.context.shutdown.clone();
        info!(node = node.as_ref().map(display), servers = ?endpoints::shown(&uplink.endpoints.known()), "agent starts");
        let mut parts = Parts::default();
        let admin_stop = CancellationToken::new();
        if let Some(admin) = admin {
            let served = admin::serve(admin, pages, admin_stop.clone());
            parts.spawn("what serves the admin port", served);
        }
        parts.spawn("what keeps the policy fresh", async move {
            policy.keep_fresh().await;
        });
        parts.spawn("what watches the state folder", refresh(identity));
        parts.spawn("what pings systemd", systemd::watchdog());
        // Of these the one that ends with the draining, not with the agent.
        let uplink = shutdown.tasks().track_future(uplink.run());
        parts.spawn("what keeps the session", uplink);
        systemd::ready();
        let stop = async {
            tokio::select! {
                () = stop => {}
                () = shutdown.draining().cancelled() => {}
            }
        };
        if let Err(died) = watch_until(&mut parts, stop).await {
            error!("{died}");
            broken.cancel();
        }
        systemd::stopping();
        // The next agent may start while this one's streams end.
        drop(lock);
        info!(
            "agent stops; open streams have {} s to end",
            drain_timeout.as_secs()
        );
        if !shutdown.finish(drain_timeout).await {
            warn!("streams that were still open were broken off");
        }
        admin_stop.cancel();
        parts.shutdown().await;
    }
}

async fn admin_listener(listen: Listen) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = listen.0 else {
        return Ok(None);
    };
    let bound = TcpListener::bind(address).await;
    let bound = bound.map_err(|error| {
        let taken = error.kind() == std::io::ErrorKind::AddrInUse;
        let by = if taken {
            ", which another program has, or an agent whose last streams have yet to end"
        } else {
            ""
        };
        let words =
            format!("cannot listen on {address}{by}; choose another with --admin-listen, or none");
        anyhow::Error::new(error).context(words)
    });
    bound.map(Some)
}

/// Takes over certificates that were replaced on disk.
async fn refresh(identity: Identity) {
    loop {
        tokio::time::sleep(REFRESH).await;
        let identity = identity.clone();
        #[expect(
            clippy::disallowed_methods,
            reason = "reads three small files; one at a time"
        )]
        match tokio::task::spawn_blocking(move || identity.reload()).await {
            Ok(Ok(true)) => info!("the certificate or the bundle was replaced on disk"),
            Ok(Err(error)) => {
                warn!(%error, "the state folder cannot be read; what was read before stays");
            }
            Ok(Ok(false)) | Err(_) => {}
        }
    }
}

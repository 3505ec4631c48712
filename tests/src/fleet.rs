//! Thousands of agents in one process: the agents' own code that dials, backs off and keeps a session, without admin
//! ports and watches over files. Their identities are written where enrolments would have put them.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use edge_tunnel_agent::dial::{self, Limits};
use edge_tunnel_agent::endpoints::Endpoints;
use edge_tunnel_agent::identity::{Identity, Settings};
use edge_tunnel_agent::policy::live::Policy;
use edge_tunnel_agent::policy::{LOOPBACK_PORTS, Rules};
use edge_tunnel_agent::session::{self, Context};
use edge_tunnel_agent::uplink::{self, Uplink};
use edge_tunnel_agent::{admin, serve};
use edge_tunnel_proto::budget::Budget;
use edge_tunnel_proto::clock::Clock;
use edge_tunnel_proto::id::{InstanceId, NodeName, RegistrationId};
use edge_tunnel_proto::identity::{Live, TrustDomain, certificates_to_pem};
use edge_tunnel_proto::shutdown::Shutdown;
use edge_tunnel_proto::telemetry::health::Health;
use edge_tunnel_server::identity as server_side;
use prometheus_client::registry::Registry;
use rcgen::KeyPair;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::metrics::Metrics;
use crate::server::Server;

/// The same for all: no two of them have one name.
const REGISTRATION: RegistrationId = RegistrationId(7);

/// Many agents. Dropping it kills them.
#[derive(Debug)]
pub struct Fleet {
    dir: TempDir,
    count: usize,
    registry: Registry,
    shared: Shared,
    runtime: Option<Runtime>,
}

/// What the agents have in common, which saves memory and no work.
#[derive(Debug, Clone)]
struct Shared {
    server: serve::Server,
    metrics: uplink::Metrics,
    shutdown: Shutdown,
}

fn rules() -> Rules {
    Rules {
        loopback_ports: LOOPBACK_PORTS.parse().expect("it is the default"),
        // Where the harness has its services.
        allow: vec!["loopback:*".parse().expect("it is a rule")],
        deny: Vec::new(),
    }
}

fn name(number: usize) -> NodeName {
    format!("fleet-{number}")
        .parse()
        .expect("it is a node's name")
}

/// What an agent may promise to its server, in bytes: as much as the program does.
const BUDGET: usize = 192 << 20;

impl Fleet {
    /// `count` agents that are registered at `server`, which is started anew to learn of them. None of them runs yet.
    ///
    /// # Panics
    /// When their files cannot be written.
    pub async fn join(server: &mut Server, count: usize) -> Self {
        server.kill();
        let fleet = Self::mint(&server.state_dir(), count).await;
        server.start_again().await;
        fleet
    }

    /// `count` agents that are registered in a server's state folder, which no server uses.
    ///
    /// # Panics
    /// When their files cannot be written.
    pub async fn mint(server: &Path, count: usize) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("et-")
            .tempdir()
            .expect("a temporary folder can be made");
        mint(server, dir.path(), count);
        let mut registry = admin::registry();
        let any = Live::new(name(0));
        let policy = Policy::load(any.clone(), None, rules(), None);
        let policy = policy.await.expect("there is no file to be read");
        let shared = Shared {
            server: serve::Server {
                policy,
                dialer: dial::Dialer::new(
                    any,
                    Limits::default(),
                    dial::Metrics::register(&mut registry),
                ),
                metrics: serve::Metrics::register(&mut registry),
            },
            metrics: uplink::Metrics::register(&mut registry),
            shutdown: Shutdown::new(),
        };
        Self {
            dir,
            count,
            registry,
            shared,
            runtime: None,
        }
    }

    /// Starts none but the first `count`.
    pub const fn only(&mut self, count: usize) {
        self.count = count;
    }

    /// Starts all of them in the same moment; each dials what `server` says for its number.
    ///
    /// # Panics
    /// When one does not start.
    pub fn start(&mut self, server: impl Fn(usize) -> String) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime can be had");
        let agents: Vec<_> = (0..self.count)
            .map(|number| self.uplink(number, &server(number)))
            .collect();
        for agent in agents {
            runtime.spawn(agent.run());
        }
        self.runtime = Some(runtime);
    }

    fn uplink(&self, number: usize, server: &str) -> Uplink {
        let Shared {
            server: serves,
            metrics,
            shutdown,
        } = self.shared.clone();
        let identity = self.identity(number);
        Uplink {
            node: Live::new(name(number)),
            told: None,
            endpoints: Endpoints::new(
                vec![server.parse().expect("the test says a server's address")],
                None,
            ),
            token: None,
            dialer: uplink::dial::Dialer::new(Budget::new(BUDGET), shutdown.tasks().clone()),
            context: Context {
                instance: InstanceId::random(),
                // What is counted here nobody reads.
                metrics: session::Metrics::register(&mut Registry::default(), &identity),
                identity,
                server: serves,
                heartbeat: Duration::from_secs(15),
                shutdown,
            },
            metrics,
            health: Health::default().register("session", "no session yet"),
            quic_retry: Duration::from_secs(3600),
        }
    }

    /// The name of one of them.
    #[must_use]
    pub fn name(number: usize) -> String {
        name(number).to_string()
    }

    /// Who one of them is, for whoever speaks in its name.
    ///
    /// # Panics
    /// When there is no such agent.
    #[must_use]
    pub fn identity(&self, number: usize) -> Identity {
        Identity::open(&Settings {
            state_dir: self.dir.path().join(number.to_string()),
            trust_domain: TrustDomain::default(),
            clock: Clock::system(),
        })
        .expect("the agent's files can be read")
    }

    /// What they have counted, all together.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .expect("a string takes everything");
        Metrics::parse(&text)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Writes what `count` enrolments would have left on both sides, but for the syncs, which take a minute here.
fn mint(server: &Path, agents: &Path, count: usize) {
    let identity = server_side::Identity::open(server_side::Settings {
        state_dir: server.to_owned(),
        trust_domain: TrustDomain::default(),
        clock: Clock::system(),
        renew_grace: server_side::RENEW_GRACE,
        operator_ca: None,
    })
    .expect("the server's state can be read");
    let first = name(0);
    identity
        .registrations()
        .register(&first, REGISTRATION, None, Clock::system().now())
        .expect("nobody is registered under that name");
    let registered = server.join("registrations");
    let key = Arc::new(KeyPair::generate().expect("a key can be made"));
    let bundle = identity.ca().show().bundle.to_pem();
    for number in 0..count {
        let node = name(number);
        if number > 0 {
            fs::copy(
                registered.join(first.as_str()),
                registered.join(node.as_str()),
            )
            .expect("the registration can be written");
        }
        let signed = identity
            .ca()
            .sign_node(&*key, &node, REGISTRATION)
            .expect("the CA signs");
        let folder = agents.join(number.to_string());
        fs::create_dir(&folder).expect("the agent's folder can be made");
        let files = [
            ("key.pem", key.serialize_pem()),
            ("bundle.pem", bundle.clone()),
            (
                "certificate.pem",
                certificates_to_pem(&[signed.certificate]),
            ),
        ];
        for (file, text) in files {
            write(&folder.join(file), &text).expect("the agent's file can be written");
        }
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

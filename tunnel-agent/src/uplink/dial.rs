//! The way out: resolves the servers' names and races transports, in the manner of Happy Eyeballs (RFC 8305).
//!
//! QUIC starts first and TLS a moment later, so that QUIC wins where UDP passes, and a network that drops UDP costs
//! that moment and no more. Names are resolved anew for each dial.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use edge_tunnel_proto::budget::Budget;
use edge_tunnel_proto::id::Host;
use edge_tunnel_proto::sync::Mutex;
use edge_tunnel_proto::transport::{AGENT_LIMITS, Connected, HandshakeError, Transport, quic, tls};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::{debug, info};

use crate::config::ServerAddress;
use race::race;

mod race;

/// How long one attempt may take, its handshake included.
const ATTEMPT: Duration = Duration::from_secs(10);

/// How long a name may take to resolve.
const RESOLVE: Duration = Duration::from_secs(5);

/// How many addresses of one name are tried.
const ADDRESSES: usize = 4;

/// How many different failures are said until a server answers.
const SAID_MAX: usize = 32;

/// What carries lanes at the agent: settings that all attempts share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Dialer {
    /// Memory that is promised to servers.
    budget: Budget,
    /// Where the drivers of connections run.
    tasks: TaskTracker,
    /// What has been said of attempts that failed since the last one that succeeded.
    said: Arc<Mutex<BTreeSet<String>>>,
}

/// Which transports to try, and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// QUIC first, TLS a moment later.
    QuicFirst,
    /// TLS alone: QUIC did not get through lately.
    TlsOnly,
    /// QUIC alone: to find out whether it gets through again.
    QuicOnly,
}

impl Order {
    fn transports(self, server: &ServerAddress) -> Vec<Transport> {
        let order: &[Transport] = match self {
            Self::QuicFirst => &[Transport::Quic, Transport::Tls],
            Self::TlsOnly => &[Transport::Tls],
            Self::QuicOnly => &[Transport::Quic],
        };
        let allowed = |transport: &Transport| match transport {
            Transport::Quic => server.transports.quic(),
            Transport::Tls => server.transports.tls(),
        };
        let wanted: Vec<_> = order.iter().copied().filter(allowed).collect();
        // A server that may be reached one way only is reached that way, whatever went before.
        if wanted.is_empty() && self == Self::TlsOnly {
            vec![Transport::Quic]
        } else {
            wanted
        }
    }
}

/// A server that answered.
#[derive(Debug)]
pub struct Dialled {
    /// The connection.
    pub connected: Connected,
    /// The address on this node that it leaves from.
    pub local: Option<IpAddr>,
}

/// Nobody answered.
#[derive(Debug, thiserror::Error)]
#[error("no server could be reached: {}", told(.0))]
pub struct DialError(Vec<Attempt>);

/// One attempt that failed.
#[derive(Debug, thiserror::Error)]
pub enum Attempt {
    /// The name has no address.
    #[error(
        "{server}: the name cannot be resolved: {problem}; check the address (--server, or the servers of --endpoints-dir) and the node's DNS"
    )]
    Resolve {
        /// Which server.
        server: String,
        /// What the resolver said.
        problem: String,
    },
    /// A connection failed.
    #[error("{transport} to {server} ({address}): {error}")]
    Connect {
        /// By which transport.
        transport: Transport,
        /// Which server.
        server: String,
        /// At which address.
        address: SocketAddr,
        /// What went wrong.
        error: HandshakeError,
    },
}

/// The attempts in one line. What went wrong in the same way by one transport after the other is told once.
fn told(attempts: &[Attempt]) -> String {
    let mut line = String::new();
    let mut before = None;
    for attempt in attempts {
        if !line.is_empty() {
            line.push_str("; ");
        }
        match attempt {
            Attempt::Connect {
                transport,
                server,
                address,
                error,
            } => {
                let error = error.to_string();
                let same = before.as_ref() == Some(&error);
                let what = if same { "the same" } else { &error };
                line.push_str(&format!("{transport} to {server} ({address}): {what}"));
                before = Some(error);
            }
            Attempt::Resolve { .. } => line.push_str(&attempt.to_string()),
        }
    }
    line
}

impl DialError {
    /// The attempts.
    #[must_use]
    pub fn attempts(&self) -> &[Attempt] {
        &self.0
    }
}

impl Dialer {
    /// A dialler that promises memory of `budget` to servers, and runs the drivers of connections in `tasks`.
    #[must_use]
    pub fn new(budget: Budget, tasks: TaskTracker) -> Self {
        Self {
            budget,
            tasks,
            said: Arc::default(),
        }
    }

    /// Dials `servers` in `order` under `config`, and gives the first that completes its handshake; the others are
    /// dropped.
    ///
    /// # Errors
    /// When none did, with what happened to each.
    pub async fn dial(
        &self,
        servers: &[ServerAddress],
        order: Order,
        config: &Arc<ClientConfig>,
    ) -> Result<Dialled, DialError> {
        let resolve = |server: ServerAddress| async move { resolve(&server).await };
        let attempt = |transport, server: ServerAddress, address| {
            let (dialer, config) = (self.clone(), Arc::clone(config));
            async move { dialer.attempt(transport, &server, address, config).await }
        };
        let dialled = race(servers, order, resolve, attempt, |failure| {
            self.say(failure);
        });
        let dialled = dialled.await;
        if dialled.is_ok() {
            self.said.lock().clear();
        }
        dialled
    }

    /// Says what failed, while other attempts go on for seconds; the same thing once, until a server answers.
    fn say(&self, failure: &Attempt) {
        let failure = failure.to_string();
        let mut said = self.said.lock();
        if said.len() < SAID_MAX && said.insert(failure.clone()) {
            info!("{failure}; other ways are still tried");
        } else {
            debug!("{failure}");
        }
    }

    /// One attempt, for [`Dialer::dial`] and for `check`.
    ///
    /// # Errors
    /// When it fails or takes longer than 10 s.
    pub async fn attempt(
        &self,
        transport: Transport,
        server: &ServerAddress,
        address: SocketAddr,
        config: Arc<ClientConfig>,
    ) -> Result<Dialled, Attempt> {
        let host = match &server.address.host {
            Host::Name(name) => name.to_string(),
            Host::Ip(ip) => ip.to_string(),
        };
        let connect = async {
            match transport {
                Transport::Quic => {
                    quic::Dialer::new(address, AGENT_LIMITS)?
                        .connect(address, &host, config, &self.budget)
                        .await
                }
                Transport::Tls => {
                    let name = ServerName::try_from(host).map_err(std::io::Error::other)?;
                    let tcp = TcpStream::connect(address).await?;
                    tls::connect(tcp, config, name, &self.budget, &self.tasks).await
                }
            }
        };
        let connected = timeout(ATTEMPT, connect)
            .await
            .unwrap_or(Err(HandshakeError::Timeout(ATTEMPT)))
            .map_err(|error| Attempt::Connect {
                transport,
                server: server.address.to_string(),
                address,
                error,
            })?;
        Ok(Dialled {
            connected,
            local: local_towards(address),
        })
    }
}

/// The addresses of a server, IPv6 and IPv4 in the order that the resolver prefers (RFC 6724).
///
/// # Errors
/// When the name does not resolve within 5 s.
pub async fn resolve(server: &ServerAddress) -> Result<Vec<SocketAddr>, Attempt> {
    let port = server.address.port.get();
    let name = match &server.address.host {
        Host::Ip(ip) => return Ok(vec![SocketAddr::new(*ip, port)]),
        Host::Name(name) => name.as_str(),
    };
    let failed = |problem: String| Attempt::Resolve {
        server: server.address.to_string(),
        problem,
    };
    match timeout(RESOLVE, tokio::net::lookup_host((name, port))).await {
        Ok(Ok(addresses)) => {
            let addresses: Vec<_> = addresses.take(ADDRESSES).collect();
            if addresses.is_empty() {
                Err(failed("it has no address".to_owned()))
            } else {
                Ok(addresses)
            }
        }
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_elapsed) => Err(failed(format!("no answer within {} s", RESOLVE.as_secs()))),
    }
}

/// The address from which this node reaches `remote`, by the routing table; nothing is sent.
fn local_towards(remote: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = if remote.is_ipv4() {
        ([0; 4], 0).into()
    } else {
        ([0u16; 8], 0).into()
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(remote).ok()?;
    socket.local_addr().ok().map(|local| local.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_tried_only_in_the_ways_it_allows() {
        let order = |server: &str, order: Order| order.transports(&server.parse().unwrap());
        use Transport::{Quic, Tls};
        assert_eq!(order("a:1", Order::QuicFirst), [Quic, Tls]);
        assert_eq!(order("a:1", Order::TlsOnly), [Tls]);
        assert_eq!(order("tls://a:1", Order::QuicFirst), [Tls]);
        assert_eq!(order("tls://a:1", Order::QuicOnly), []);
        assert_eq!(order("quic://a:1", Order::TlsOnly), [Quic]);
    }

    #[tokio::test]
    async fn each_failed_attempt_is_named() {
        let dialer = Dialer::new(Budget::new(1 << 20), TaskTracker::new());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let config = edge_tunnel_proto::identity::enroll_client(
            edge_tunnel_proto::identity::Pin::of_key(b"any"),
            &edge_tunnel_proto::identity::TrustDomain::default(),
            &edge_tunnel_proto::clock::Clock::system(),
        );
        let server = format!("tls://127.0.0.1:{port}").parse().unwrap();
        let error = dialer
            .dial(&[server], Order::QuicFirst, &Arc::new(config))
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&format!("tls to 127.0.0.1:{port}")) && error.contains("refused"),
            "{error}"
        );
    }

    #[test]
    fn one_cause_is_told_once() {
        let attempt = |transport, port, words: &str| Attempt::Connect {
            transport,
            server: "lb.example:10262".to_owned(),
            address: ([192, 0, 2, 1], port).into(),
            error: HandshakeError::Certificate(words.to_owned()),
        };
        let error = DialError(vec![
            attempt(Transport::Quic, 1, "a wrong CA"),
            attempt(Transport::Tls, 2, "a wrong CA"),
            attempt(Transport::Tls, 3, "another"),
        ]);
        assert_eq!(
            error.to_string(),
            "no server could be reached: quic to lb.example:10262 (192.0.2.1:1): a wrong CA; \
             tls to lb.example:10262 (192.0.2.1:2): the same; tls to lb.example:10262 (192.0.2.1:3): another"
        );
    }
}

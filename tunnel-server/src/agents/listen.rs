//! The agents' port, UDP and TCP of one number.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use edge_tunnel_proto::accepting::Accepting;
use edge_tunnel_proto::code::Code;
use edge_tunnel_proto::transport::{HandshakeError, SERVER_LIMITS, Transport, quic, tls};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::{Agents, HANDSHAKE_TIMEOUT, HANDSHAKES, proxy_protocol};

/// How often it is looked whether the last session has ended.
const LOOK: std::time::Duration = std::time::Duration::from_millis(100);

/// The port cannot be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen for agents on {address} ({transport}, --agents-listen): {error}; if another process has it (`ss -tulnp` \
     shows which), choose another"
)]
pub struct BindError {
    address: SocketAddr,
    transport: &'static str,
    error: io::Error,
}

/// The agents' port, bound.
#[derive(Debug)]
pub struct Listeners {
    tcp: TcpListener,
    udp: quic::Listener,
    config: Arc<ServerConfig>,
}

impl Listeners {
    /// Binds TCP and UDP on the same port; port 0 takes one that is free for both.
    ///
    /// # Errors
    /// When the port is taken or not ours.
    pub async fn bind(
        address: SocketAddr,
        config: Arc<ServerConfig>,
        node: u16,
    ) -> Result<Self, BindError> {
        let failed = |address, transport| {
            move |error| BindError {
                address,
                transport,
                error,
            }
        };
        let mut tries = if address.port() == 0 { 20 } else { 1 };
        loop {
            tries -= 1;
            let tcp = TcpListener::bind(address)
                .await
                .map_err(failed(address, "TCP"))?;
            let bound = tcp.local_addr().map_err(failed(address, "TCP"))?;
            match quic::Listener::bind(bound, Arc::clone(&config), SERVER_LIMITS, node) {
                Ok(udp) => return Ok(Self { tcp, udp, config }),
                // The free TCP port is taken for UDP: another one, then.
                Err(error) if tries == 0 => return Err(failed(bound, "UDP")(error)),
                Err(_taken) => {}
            }
        }
    }

    /// The address that is really listened on.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Accepts until the process drains. QUIC's connections live on the socket of this listener, so it closes only
    /// when the last session has ended or at the kill.
    pub async fn serve(self, agents: Agents) {
        let shutdown = agents.context.shutdown.clone();
        // One each: a flood of first packets over UDP, which anybody can send in anybody's name, leaves TCP its own.
        let tcp_permits = Arc::new(Semaphore::new(HANDSHAKES));
        let udp_permits = Arc::new(Semaphore::new(HANDSHAKES));
        let accepting = async {
            tokio::join!(
                accept_tcp(&self.tcp, &self.config, &agents, &tcp_permits),
                accept_udp(&self.udp, &agents, &udp_permits)
            )
        };
        tokio::select! {
            _never = accepting => {}
            () = shutdown.draining().cancelled() => {}
        }
        let Self { tcp, udp, .. } = self;
        drop(tcp);
        let refuse = async {
            while let Some(incoming) = udp.accept().await {
                incoming.refuse();
            }
        };
        tokio::select! {
            () = refuse => {}
            () = shutdown.killed().cancelled() => {}
            () = sessions_over(&agents) => {}
        }
        udp.close(Code::Draining, "the server shuts down").await;
    }
}

async fn sessions_over(agents: &Agents) {
    // Sessions end one by one; there is no hurry that would be worth a notification.
    while !agents.context.sessions.running().is_empty() {
        sleep(LOOK).await;
    }
}

async fn accept_tcp(
    listener: &TcpListener,
    config: &Arc<ServerConfig>,
    agents: &Agents,
    permits: &Arc<Semaphore>,
) {
    let mut accepting = Accepting::default();
    loop {
        let Ok(permit) = Arc::clone(permits).acquire_owned().await else {
            return;
        };
        let (tcp, remote) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                accepting.failed(&error, "agents over TCP").await;
                continue;
            }
        };
        accepting.came();
        let (agents, config) = (agents.clone(), Arc::clone(config));
        let tasks = agents.context.shutdown.clone();
        tasks.spawn(async move {
            let handshake = handshake_tcp(tcp, remote, config, &agents);
            let outcome = timeout(HANDSHAKE_TIMEOUT, handshake)
                .await
                .unwrap_or(Err(HandshakeError::Timeout(HANDSHAKE_TIMEOUT)));
            agents
                .arrived(Transport::Tls, remote, outcome, permit)
                .await;
        });
    }
}

async fn handshake_tcp(
    mut tcp: TcpStream,
    mut remote: SocketAddr,
    config: Arc<ServerConfig>,
    agents: &Agents,
) -> Result<edge_tunnel_proto::transport::Connected, HandshakeError> {
    tls::tune(&tcp)?;
    if agents.proxy_protocol {
        remote = proxy_protocol::read(&mut tcp, remote).await?;
    }
    let tasks = agents.context.shutdown.tasks();
    tls::accept(tcp, remote, config, &agents.budget, tasks).await
}

async fn accept_udp(listener: &quic::Listener, agents: &Agents, permits: &Arc<Semaphore>) {
    loop {
        let Ok(permit) = Arc::clone(permits).acquire_owned().await else {
            return;
        };
        let Some(mut incoming) = listener.accept().await else {
            return;
        };
        // Whoever can send in anybody's name would otherwise hold every place for as long as a handshake may take.
        if permits.available_permits() < HANDSHAKES / 2 {
            incoming = match incoming.prove() {
                Some(proven) => proven,
                None => {
                    agents.metrics.handshake(Transport::Quic, "retried");
                    continue;
                }
            };
        }
        let agents = agents.clone();
        let tasks = agents.context.shutdown.clone();
        tasks.spawn(async move {
            let remote = incoming.remote();
            let outcome = timeout(HANDSHAKE_TIMEOUT, incoming.handshake(&agents.budget))
                .await
                .unwrap_or(Err(HandshakeError::Timeout(HANDSHAKE_TIMEOUT)));
            agents
                .arrived(Transport::Quic, remote, outcome, permit)
                .await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_cannot_be_had_says_what_to_do() {
        let words = BindError {
            address: "127.0.0.1:10262".parse().unwrap(),
            transport: "UDP",
            error: io::ErrorKind::AddrInUse.into(),
        }
        .to_string();
        assert!(
            words.contains("127.0.0.1:10262 (UDP, --agents-listen)")
                && words.ends_with("choose another"),
            "{words}"
        );
    }
}

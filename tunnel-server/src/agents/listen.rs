//! The agents' port, UDP and TCP of one number.

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::sync::Arc;

use edge_tunnel_proto::accepting::Accepting;
use edge_tunnel_proto::code::Code;
use edge_tunnel_proto::places::{Place, Places};
use edge_tunnel_proto::transport::{HandshakeError, SERVER_LIMITS, Transport, quic, tls};
use rustls::ServerConfig;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{Agents, HANDSHAKE_TIMEOUT, HANDSHAKES, proxy_protocol};

/// How often it is looked whether the last session has ended.
const LOOK: std::time::Duration = std::time::Duration::from_millis(100);

/// How many TCP connections may be open on which no ClientHello has come; above it the oldest is closed for the next.
const SILENT: usize = 1024;

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

/// Accepts whatever comes and at once: what waits in the kernel's queue grows old there, and its turn would come when
/// the agent has long given up.
async fn accept_tcp(
    listener: &TcpListener,
    config: &Arc<ServerConfig>,
    agents: &Agents,
    permits: &Arc<Semaphore>,
) {
    let silent = Places::new(SILENT);
    let mut accepting = Accepting::default();
    loop {
        let place = silent.take().await;
        let (tcp, remote) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                accepting.failed(&error, "agents over TCP").await;
                continue;
            }
        };
        accepting.came();
        let (agents, config, permits) = (agents.clone(), Arc::clone(config), Arc::clone(permits));
        let tasks = agents.context.shutdown.clone();
        tasks.spawn(async move {
            let deadline = Instant::now() + HANDSHAKE_TIMEOUT;
            let hello = match hello_tcp(tcp, remote, &agents, place, deadline).await {
                Ok(hello) => hello,
                Err(error) => return agents.failed(Transport::Tls, remote, &error),
            };
            let remote = hello.remote();
            let Some(permit) = begin(&agents, &permits) else {
                return agents.metrics.handshake(Transport::Tls, "shed");
            };
            let tracker = agents.context.shutdown.tasks();
            let handshake = hello.handshake(config, &agents.budget, tracker);
            let outcome = timeout_at(deadline, handshake)
                .await
                .unwrap_or(Err(HandshakeError::Timeout(HANDSHAKE_TIMEOUT)));
            agents
                .arrived(Transport::Tls, remote, outcome, permit)
                .await;
        });
    }
}

/// A connection up to its ClientHello. One that does not get so far makes room for the next.
async fn hello_tcp(
    mut tcp: TcpStream,
    mut remote: SocketAddr,
    agents: &Agents,
    place: Place,
    deadline: Instant,
) -> Result<tls::Hello<TcpStream>, HandshakeError> {
    let hello = async {
        tls::tune(&tcp)?;
        if agents.proxy_protocol {
            remote = proxy_protocol::read(&mut tcp, remote).await?;
        }
        tls::hello(tcp, remote).await
    };
    let hello = tokio::select! {
        biased;
        hello = timeout_at(deadline, hello) => hello.unwrap_or(Err(HandshakeError::Timeout(HANDSHAKE_TIMEOUT)))?,
        () = place.wanted() => return Err(io::Error::other("it said nothing, and others came").into()),
    };
    if is_gone(hello.io()) {
        return Err(io::Error::from(io::ErrorKind::ConnectionAborted).into());
    }
    Ok(hello)
}

/// Whether the other side has left already. The runtime learns of that a turn later, which may be too late.
fn is_gone(tcp: &TcpStream) -> bool {
    match SockRef::from(tcp).peek(&mut [MaybeUninit::uninit()]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

/// What a handshake needs to begin; `None`: there are too many, or too many came lately.
fn begin(agents: &Agents, permits: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    let permit = Arc::clone(permits).try_acquire_owned().ok()?;
    agents.context.pace.begin().then_some(permit)
}

async fn accept_udp(listener: &quic::Listener, agents: &Agents, permits: &Arc<Semaphore>) {
    while let Some(mut incoming) = listener.accept().await {
        // Whoever can send in anybody's name would otherwise use up what handshakes there may be.
        if agents.context.pace.is_busy() || permits.available_permits() < HANDSHAKES / 2 {
            incoming = match incoming.prove() {
                Some(proven) => proven,
                None => {
                    agents.metrics.handshake(Transport::Quic, "retried");
                    continue;
                }
            };
        }
        let Some(permit) = begin(agents, permits) else {
            agents.metrics.handshake(Transport::Quic, "shed");
            incoming.refuse();
            continue;
        };
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

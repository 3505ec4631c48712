//! Lanes over TLS 1.3 on TCP: the transport that passes where UDP does not.

mod ahead;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::Acceptor;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake, TlsConnector};
use tokio_util::task::TaskTracker;

use super::{AGENT_LIMITS, Connected, HandshakeError, Lane, SERVER_LIMITS};
use crate::budget::Budget;
use crate::mux::{Limits, Mux, Side};
use ahead::Ahead;

/// A quiet TCP connection is probed after this long, and then three times at a fifth of it. Below every cloud
/// balancer's idle limit; the session's own heartbeat is what decides.
const KEEPALIVE: Duration = Duration::from_secs(50);

/// Sets what every TCP connection of the tunnel has: no delay, keep-alive.
///
/// # Errors
/// When the socket is gone already.
pub fn tune(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE / 5)
        .with_retries(3);
    SockRef::from(tcp).set_tcp_keepalive(&keepalive)
}

/// An accepted connection on which a ClientHello has come: all that a handshake needs, and nothing that costs yet.
pub struct Hello<I> {
    start: StartHandshake<Ahead<I>>,
    remote: SocketAddr,
}

/// Waits for the other side's ClientHello. The caller bounds the time.
///
/// # Errors
/// When something else comes.
pub async fn hello<I>(io: I, remote: SocketAddr) -> Result<Hello<I>, HandshakeError>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let start = LazyConfigAcceptor::new(Acceptor::default(), Ahead::new(io)).await;
    let start = start.map_err(HandshakeError::of_tls)?;
    Ok(Hello { start, remote })
}

impl<I> Hello<I>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// What it came on.
    pub fn io(&self) -> &I {
        self.start.io.get_ref()
    }

    /// Where it came from.
    pub const fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// The server's half of the handshake. The caller bounds its time.
    ///
    /// `tasks` runs the connection's driver, which ends with it.
    ///
    /// # Errors
    /// When the other side speaks no TLS 1.3, offers none of our protocols or shows a certificate that does not verify.
    pub async fn handshake(
        self,
        config: Arc<ServerConfig>,
        budget: &Budget,
        tasks: &TaskTracker,
    ) -> Result<Connected, HandshakeError> {
        let tls = self.start.into_stream(config).await;
        let tls = tls.map_err(HandshakeError::of_tls)?;
        let (alpn, certificates) = shown(tls.get_ref().1);
        let lane = start(tls, Side::Server, SERVER_LIMITS, budget, tasks);
        Ok(Connected {
            lane,
            alpn,
            certificates,
            remote: self.remote,
        })
    }
}

impl<I> std::fmt::Debug for Hello<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hello")
            .field("remote", &self.remote)
            .finish_non_exhaustive()
    }
}

/// The server's half of a handshake on an accepted connection, from [`hello`] to its end.
///
/// # Errors
/// As those of the two halves.
pub async fn accept<I>(
    io: I,
    remote: SocketAddr,
    config: Arc<ServerConfig>,
    budget: &Budget,
    tasks: &TaskTracker,
) -> Result<Connected, HandshakeError>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let hello = hello(io, remote).await?;
    hello.handshake(config, budget, tasks).await
}

/// The agent's half of a handshake on a connection that it dialled. The caller bounds its time.
///
/// # Errors
/// When the other side speaks no TLS 1.3, does not know our protocol or is not our server.
pub async fn connect(
    tcp: TcpStream,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    budget: &Budget,
    tasks: &TaskTracker,
) -> Result<Connected, HandshakeError> {
    tune(&tcp)?;
    let remote = tcp.peer_addr()?;
    let tls = TlsConnector::from(config)
        .connect(name, Ahead::new(tcp))
        .await
        .map_err(dialled)?;
    let (alpn, certificates) = shown(tls.get_ref().1);
    let lane = start(tls, Side::Client, AGENT_LIMITS, budget, tasks);
    Ok(Connected {
        lane,
        alpn,
        certificates,
        remote,
    })
}

/// A failed handshake as whoever dialled sees it.
fn dialled(error: io::Error) -> HandshakeError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => HandshakeError::TurnedAway,
        _ => HandshakeError::of_tls(error),
    }
}

/// What a handshake has shown of the other side: the protocol that was agreed on, and its certificates.
fn shown(
    session: &rustls::CommonState,
) -> (
    Option<Vec<u8>>,
    Vec<rustls_pki_types::CertificateDer<'static>>,
) {
    let alpn = session.alpn_protocol().map(<[u8]>::to_vec);
    let chain = session.peer_certificates().unwrap_or_default();
    let own = chain
        .iter()
        .map(|certificate| certificate.clone().into_owned());
    (alpn, own.collect())
}

fn start<I>(io: I, side: Side, limits: Limits, budget: &Budget, tasks: &TaskTracker) -> Lane
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mux, driver) = Mux::new(io, side, limits, budget);
    tasks.spawn(driver);
    Lane::Tls(mux)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;
    use crate::clock::Clock;
    use crate::identity::{Pin, TrustDomain, enroll_client};

    #[tokio::test]
    async fn a_port_without_tls_is_called_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answering = tokio::spawn(async move {
            let (mut tcp, _) = listener.accept().await.unwrap();
            tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .await
                .unwrap();
            tcp
        });
        let config = enroll_client(
            Pin::of_key(b"any"),
            &TrustDomain::default(),
            &Clock::system(),
        );
        let error = connect(
            TcpStream::connect(address).await.unwrap(),
            Arc::new(config),
            ServerName::try_from("localhost").unwrap(),
            &Budget::new(1 << 20),
            &TaskTracker::new(),
        )
        .await
        .unwrap_err()
        .to_string();
        assert!(
            error.contains("no TLS is spoken there") && error.contains("--agents-listen"),
            "{error}"
        );
        drop(answering.await.unwrap());
    }
}

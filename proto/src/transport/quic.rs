//! Lanes over QUIC: sockets, handshakes, and the settings of a connection.

mod cid;
mod lane;
mod readers;
mod share;
mod stream;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{
    HandshakeData, NoInitialCipherSuite, QuicClientConfig, QuicServerConfig,
};
use quinn::{EndpointConfig, IdleTimeout, TransportConfig, VarInt};
use rustls_pki_types::CertificateDer;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::{Connected, HandshakeError, Lane, Limits};
use crate::budget::Budget;
use crate::code::Code;
use crate::mux::{CONNECTION_WINDOW_MAX, Side};
pub use lane::QuicLane;
pub use stream::QuicStream;

/// A stream's window, in bytes: 160 Mbit/s at 50 ms. quinn's windows are fixed and alike, and what a reader leaves lying
/// fills its own; what all of them may hold together is in [`share`].
const STREAM_WINDOW: u32 = 1024 * 1024;

/// A peer that is silent for this long is gone, should the session's heartbeat not have noticed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// The kernel's buffers of the UDP socket, in bytes; it may grant less (net.core.rmem_max).
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;

fn transport(limits: Limits) -> TransportConfig {
    let mut config = TransportConfig::default();
    // quinn sets up every stream that it permits in advance: 4,096 cost 340 KiB a connection. So each side permits
    // what the other needs and little more: quinn tells the other side of streams that may be opened again only when
    // they are an eighth of what is permitted, and this side notes a stream's end later than the other side.
    let inbound = limits.inbound + limits.inbound / 4 + 8;
    let (receive, send) = share::first_windows();
    config
        .max_concurrent_bidi_streams(VarInt::try_from(inbound).expect("a few thousand"))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::try_from(receive).expect("some KiB"))
        .send_window(send as u64)
        .enable_segmentation_offload(true)
        .max_idle_timeout(Some(
            IdleTimeout::try_from(IDLE_TIMEOUT).expect("90 s is a valid timeout"),
        ));
    config
}

/// A UDP socket with large buffers. An unspecified IPv6 address takes IPv4 too.
fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    let socket: UdpSocket = socket.into();
    // Best effort: with less, bulk transfers are slower and nothing else changes.
    let _ = SockRef::from(&socket).set_recv_buffer_size(SOCKET_BUFFER);
    let _ = SockRef::from(&socket).set_send_buffer_size(SOCKET_BUFFER);
    Ok(socket)
}

fn endpoint(
    socket: UdpSocket,
    config: Option<quinn::ServerConfig>,
    node: u16,
) -> io::Result<quinn::Endpoint> {
    let mut endpoint = EndpointConfig::default();
    endpoint.cid_generator(move || Box::new(cid::Generator::new(node)));
    quinn::Endpoint::new(endpoint, config, socket, Arc::new(quinn::TokioRuntime))
}

/// Listens for agents on UDP.
#[derive(Debug, Clone)]
pub struct Listener {
    endpoint: quinn::Endpoint,
    limits: Limits,
}

/// A first packet, before any cryptography was spent on it.
#[derive(Debug)]
pub struct Incoming {
    incoming: quinn::Incoming,
    limits: Limits,
}

impl Listener {
    /// Binds `address` and takes handshakes under `tls`. `node` goes into the connection ids, so that a balancer
    /// can be taught to keep a moved connection on its replica.
    ///
    /// # Errors
    /// When the address is taken or not ours; [`NoInitialCipherSuite`] when `tls` lacks the suite that QUIC begins
    /// with.
    pub fn bind(
        address: SocketAddr,
        tls: Arc<rustls::ServerConfig>,
        limits: Limits,
        node: u16,
    ) -> io::Result<Self> {
        let crypto = QuicServerConfig::try_from(tls)
            .map_err(|error: NoInitialCipherSuite| io::Error::other(error))?;
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        config.transport_config(Arc::new(transport(limits)));
        let endpoint = endpoint(bind(address)?, Some(config), node)?;
        Ok(Self { endpoint, limits })
    }

    /// The address that it really listens on.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// The next first packet; `None` once closed. Cancel safe.
    pub async fn accept(&self) -> Option<Incoming> {
        let incoming = self.endpoint.accept().await?;
        Some(Incoming {
            incoming,
            limits: self.limits,
        })
    }

    /// Ends every connection and waits until their last words are out, at most a second.
    pub async fn close(&self, code: Code, reason: &str) {
        self.endpoint
            .close(VarInt::from_u32(code.number()), reason.as_bytes());
        let _ = tokio::time::timeout(Duration::from_secs(1), self.endpoint.wait_idle()).await;
    }
}

impl Incoming {
    /// Where it came from.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        self.incoming.remote_address()
    }

    /// Asks the sender to come again with a token, which proves that it receives what is sent to its address (a Retry, RFC
    /// 9000, section 8.1.2): costs a round trip, and no memory here. Gives it back where it has proven that.
    #[must_use]
    pub fn prove(self) -> Option<Self> {
        let limits = self.limits;
        let proven = self.incoming.retry().err()?;
        Some(Self {
            incoming: proven.into_incoming(),
            limits,
        })
    }

    /// Turns it away without a handshake.
    pub fn refuse(self) {
        self.incoming.refuse();
    }

    /// The server's half of the handshake. The caller bounds its time.
    ///
    /// # Errors
    /// When the other side offers none of our protocols or shows a certificate that does not verify.
    pub async fn handshake(self, budget: &Budget) -> Result<Connected, HandshakeError> {
        let connection = self.incoming.accept()?.await?;
        connected(&connection, Side::Server, self.limits, budget)
    }
}

/// Dials servers over UDP, from one socket.
#[derive(Debug, Clone)]
pub struct Dialer {
    endpoint: quinn::Endpoint,
    limits: Limits,
}

impl Dialer {
    /// Binds a socket of `remote`'s family to any port.
    ///
    /// # Errors
    /// When the operating system has no socket left.
    pub fn new(remote: SocketAddr, limits: Limits) -> io::Result<Self> {
        let any: SocketAddr = if remote.is_ipv4() {
            ([0; 4], 0).into()
        } else {
            ([0u16; 8], 0).into()
        };
        Ok(Self {
            endpoint: endpoint(bind(any)?, None, 0)?,
            limits,
        })
    }

    /// The agent's half of a handshake. `name` is sent as the server name. The caller bounds its time.
    ///
    /// # Errors
    /// When nobody answers, or the other side is not our server.
    pub async fn connect(
        &self,
        remote: SocketAddr,
        name: &str,
        tls: Arc<rustls::ClientConfig>,
        budget: &Budget,
    ) -> Result<Connected, HandshakeError> {
        let crypto = QuicClientConfig::try_from(tls)
            .map_err(|error: NoInitialCipherSuite| io::Error::other(error))?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(transport(self.limits)));
        let connection = self.endpoint.connect_with(config, remote, name)?.await?;
        connected(&connection, Side::Client, self.limits, budget)
    }
}

fn connected(
    connection: &quinn::Connection,
    side: Side,
    limits: Limits,
    budget: &Budget,
) -> Result<Connected, HandshakeError> {
    let alpn = connection
        .handshake_data()
        .and_then(|data| data.downcast::<HandshakeData>().ok())
        .and_then(|data| data.protocol);
    let certificates = connection
        .peer_identity()
        .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok())
        .map(|chain| *chain)
        .unwrap_or_default();
    let remote = connection.remote_address();
    let Some(lane) = QuicLane::new(connection, side, limits, budget) else {
        let code = VarInt::from_u32(Code::Overloaded.number());
        connection.close(code, HandshakeError::NoMemory.to_string().as_bytes());
        return Err(HandshakeError::NoMemory);
    };
    Ok(Connected {
        lane: Lane::Quic(lane),
        alpn,
        certificates,
        remote,
    })
}

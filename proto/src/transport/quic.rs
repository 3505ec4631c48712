//! Lanes over QUIC.

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
use tokio::sync::Semaphore;

use super::quic_stream::QuicStream;
use super::{Closed, Connected, HandshakeError, Lane, Limits, OpenError, cid};
use crate::code::Code;
use crate::message::{REASON_MAX, capped};
use crate::mux::CONNECTION_WINDOW_MAX;

/// A stream's window, in bytes: 160 Mbit/s at 50 ms. quinn's windows are fixed and a stopped reader's stream keeps
/// its own filled, so the share of [`CONNECTION_WINDOW_MAX`] decides how many stopped readers a lane bears: 64.
const STREAM_WINDOW: u32 = 1024 * 1024;

/// What lies unacknowledged at the sender, over all streams of a lane, in bytes.
const SEND_WINDOW: u64 = 16 * 1024 * 1024;

/// A peer that is silent for this long is gone, should the session's heartbeat not have noticed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// The kernel's buffers of the UDP socket, in bytes; it may grant less (net.core.rmem_max).
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;

fn transport(limits: Limits) -> TransportConfig {
    let mut config = TransportConfig::default();
    // quinn sets up every stream that it permits in advance: 4,096 cost 340 KiB a connection. So each side permits
    // what the other needs, no more.
    config
        .max_concurrent_bidi_streams(VarInt::try_from(limits.inbound).expect("a few thousand"))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::try_from(CONNECTION_WINDOW_MAX).expect("64 MiB"))
        .send_window(SEND_WINDOW)
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

    /// Turns it away without a handshake.
    pub fn refuse(self) {
        self.incoming.refuse();
    }

    /// The server's half of the handshake. The caller bounds its time.
    ///
    /// # Errors
    /// When the other side offers none of our protocols or shows a certificate that does not verify.
    pub async fn handshake(self) -> Result<Connected, HandshakeError> {
        let connection = self.incoming.accept()?.await?;
        Ok(connected(connection, self.limits))
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
    ) -> Result<Connected, HandshakeError> {
        let crypto = QuicClientConfig::try_from(tls)
            .map_err(|error: NoInitialCipherSuite| io::Error::other(error))?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(transport(self.limits)));
        let connection = self.endpoint.connect_with(config, remote, name)?.await?;
        Ok(connected(connection, self.limits))
    }
}

fn connected(connection: quinn::Connection, limits: Limits) -> Connected {
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
    let lane = QuicLane {
        connection,
        outbound: Arc::new(Semaphore::new(limits.outbound)),
        limits,
    };
    Connected {
        lane: Lane::Quic(lane),
        alpn,
        certificates,
        remote,
    }
}

/// One QUIC connection.
#[derive(Debug, Clone)]
pub struct QuicLane {
    connection: quinn::Connection,
    outbound: Arc<Semaphore>,
    limits: Limits,
}

impl QuicLane {
    pub(super) fn open(&self) -> Result<QuicStream, OpenError> {
        let permit = Arc::clone(&self.outbound)
            .try_acquire_owned()
            .map_err(|_none_left| OpenError::TooMany(self.limits.outbound))?;
        if let Some(error) = self.connection.close_reason() {
            return Err(closed(error).into());
        }
        Ok(QuicStream::opening(self.connection.clone(), permit))
    }

    pub(super) async fn accept(&self) -> Result<QuicStream, Closed> {
        let (send, recv) = self.connection.accept_bi().await.map_err(closed)?;
        Ok(QuicStream::accepted(send, recv))
    }

    pub(super) fn close(&self, code: Code, reason: &str) {
        self.connection.close(
            VarInt::from_u32(code.number()),
            capped(reason, REASON_MAX).as_bytes(),
        );
    }

    pub(super) async fn closed(&self) -> Closed {
        closed(self.connection.closed().await)
    }

    /// The current estimate of the round-trip time.
    #[must_use]
    pub fn rtt(&self) -> Duration {
        self.connection.rtt()
    }
}

pub(super) fn closed(error: quinn::ConnectionError) -> Closed {
    match error {
        quinn::ConnectionError::ApplicationClosed(close) => Closed::There {
            code: Code::from_number(
                u32::try_from(close.error_code.into_inner()).unwrap_or(u32::MAX),
            ),
            reason: String::from_utf8_lossy(&close.reason).replace(char::is_control, " "),
        },
        quinn::ConnectionError::LocallyClosed => Closed::Here {
            code: Code::Cancelled,
            reason: "closed by this side".to_owned(),
        },
        error => Closed::Lost(error.to_string()),
    }
}

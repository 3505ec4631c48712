//! Handshakes that come to nothing.

use std::sync::Arc;

use edge_tunnel_proto::budget::Budget;
use edge_tunnel_proto::identity::{agents_server, session_client};
use edge_tunnel_proto::transport::{
    AGENT_LIMITS, Connected, HandshakeError, SERVER_LIMITS, Transport, quic, tls,
};
use rustls::{ClientConfig, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use crate::harness::loopback;
use crate::harness::mint::Mint;

/// What a dialler gets, while the server does its half.
async fn dial(
    transport: Transport,
    server: ServerConfig,
    client: ClientConfig,
) -> Result<Connected, HandshakeError> {
    let (server, client) = (Arc::new(server), Arc::new(client));
    let (budget, tasks) = (Budget::new(1 << 20), TaskTracker::new());
    match transport {
        Transport::Quic => {
            let listener = quic::Listener::bind(loopback(), server, SERVER_LIMITS, 7).unwrap();
            let address = listener.local_addr().unwrap();
            let dialer = quic::Dialer::new(address, AGENT_LIMITS).unwrap();
            let accept = async {
                let incoming = listener.accept().await.unwrap();
                incoming.handshake(&budget).await.map(drop)
            };
            let connect = dialer.connect(address, "lb.example", client, &budget);
            tokio::join!(accept, connect).1
        }
        Transport::Tls => {
            let listener = TcpListener::bind(loopback()).await.unwrap();
            let address = listener.local_addr().unwrap();
            let accept = async {
                let (tcp, remote) = listener.accept().await.unwrap();
                let accepted = tls::accept(tcp, remote, server, &budget, &tasks).await;
                accepted.map(drop)
            };
            let connect = async {
                let tcp = TcpStream::connect(address).await.unwrap();
                let name = "lb.example".try_into().unwrap();
                tls::connect(tcp, client, name, &budget, &tasks).await
            };
            tokio::join!(accept, connect).1
        }
    }
}

/// The same words over both transports, and nothing of how a library prints its errors.
pub(crate) async fn a_handshake_that_fails_says_why(transport: Transport) {
    let (ours, theirs) = (Mint::new(), Mint::new());
    let foreign = dial(
        transport,
        agents_server(&theirs.trust(), theirs.server()),
        session_client(&ours.trust(), &ours.agent()),
    );
    let error = foreign.await.unwrap_err();
    assert!(matches!(error, HandshakeError::Certificate(_)), "{error:?}");
    let words = error.to_string();
    assert!(
        words.starts_with("the certificate leads to no CA that is trusted here ("),
        "{words}"
    );
    assert!(words.ends_with("must enrol anew"), "{words}");

    let mut other = agents_server(&ours.trust(), ours.server());
    other.alpn_protocols = vec![b"h2".to_vec()];
    let client = session_client(&ours.trust(), &ours.agent());
    let error = dial(transport, other, client).await.unwrap_err();
    assert!(matches!(error, HandshakeError::Alert(120)), "{error:?}");
    let words = error.to_string();
    assert!(
        words.contains("none of the protocols of an agents' port"),
        "{words}"
    );
}

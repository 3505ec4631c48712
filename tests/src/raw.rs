//! Somebody on the agents' port who is no agent of ours: dials as told, says what it is told to say, and hears how the
//! server puts its refusal.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use edge_tunnel_agent::config::ServerAddress;
use edge_tunnel_agent::uplink::dial::Dialer;
use edge_tunnel_proto::budget::Budget;
use edge_tunnel_proto::codec::Kind;
use edge_tunnel_proto::id::{InstanceId, SessionId};
use edge_tunnel_proto::message::control::Kind as Say;
use edge_tunnel_proto::message::{Control, Hello, PROTOCOL_VERSION};
use edge_tunnel_proto::stream::Framed;
use edge_tunnel_proto::transport::{Connected, Transport};
use rustls::ClientConfig;
use tokio_util::task::TaskTracker;

/// How long a server may take to say that it does not want somebody, on a busy machine.
const WORDS: Duration = Duration::from_secs(10);

/// Dials the agents' port.
///
/// # Errors
/// Why there is no connection. Over TLS 1.3 the server's own refusal may come later.
///
/// # Panics
/// When `to` is no address to dial.
pub async fn dial(
    transport: Transport,
    to: SocketAddr,
    config: ClientConfig,
) -> Result<Connected, String> {
    let dialer = Dialer::new(Budget::new(1 << 24), TaskTracker::new());
    let server: ServerAddress = to.to_string().parse().expect("an address is one to dial");
    let dialled = dialer.attempt(transport, &server, to, Arc::new(config));
    match dialled.await {
        Ok(dialled) => Ok(dialled.connected),
        Err(attempt) => Err(attempt.to_string()),
    }
}

/// An introduction.
#[must_use]
pub fn hello() -> Control {
    Control::from(Say::Hello(Hello {
        build: "raw".to_owned(),
        version: PROTOCOL_VERSION,
        capabilities: Vec::new(),
        instance: InstanceId::random().0.to_be_bytes().to_vec(),
        session: SessionId::random().0.to_be_bytes().to_vec(),
        lane: 0,
    }))
}

/// Begins a session, and gives its control stream.
///
/// # Errors
/// What the server said instead of a welcome.
pub async fn greet(connected: &Connected) -> Result<Framed, String> {
    let lane = &connected.lane;
    let stream = match lane.open() {
        Ok(stream) => stream,
        Err(_closed) => return Err(last_words(connected).await),
    };
    let mut control = Framed::new(stream);
    let exchange = async {
        control.send(Kind::Control, &hello()).await?;
        control.receive().await?.message::<Control>()
    };
    match tokio::time::timeout(WORDS, exchange).await {
        Ok(Ok(Control {
            kind: Some(Say::Welcome(_)),
        })) => Ok(control),
        Ok(Ok(Control {
            kind: Some(Say::GoAway(said)),
        })) => Err(said.reason),
        Ok(Ok(other)) => Err(format!("{other:?}")),
        Ok(Err(_broken)) => Err(last_words(connected).await),
        Err(_elapsed) => Err("no answer".to_owned()),
    }
}

/// Waits for the connection's end, and gives the server's words at it.
pub async fn last_words(connected: &Connected) -> String {
    match tokio::time::timeout(WORDS, connected.lane.closed()).await {
        Ok(closed) => closed.to_string(),
        Err(_elapsed) => "the connection stays".to_owned(),
    }
}

/// Tries to begin a session, and says what came of it: nothing, or the server's words.
///
/// # Errors
/// Why there is no session.
pub async fn session(
    transport: Transport,
    to: SocketAddr,
    config: ClientConfig,
) -> Result<(Connected, Framed), String> {
    let connected = dial(transport, to, config).await?;
    let control = greet(&connected).await?;
    Ok((connected, control))
}

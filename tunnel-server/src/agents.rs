//! Where agents arrive: one port for QUIC and TLS, sessions and enrolments. A handshake, then the one judgement of
//! who that is, then [`session`] or an enrolment.
//!
//! Accept loops only accept, at once and whatever comes: each handshake runs in a task of its own, within a number a
//! second, a number at a time and a time limit. What is above is turned away before it costs anything.

mod enroll;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod listen;
mod metrics;
mod proxy_protocol;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use edge_tunnel_proto::budget::Budget;
use edge_tunnel_proto::identity::Alpn;
use edge_tunnel_proto::transport::{Closed, Connected, HandshakeError, Transport};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::error::RecvError;
use tracing::{debug, info, warn};

use crate::identity::{Peer, Standing};
use crate::quota::Quota;
use crate::session::{self, Context};
pub use listen::{BindError, Listeners};
pub use metrics::Metrics;

/// How long a handshake may take, from its first byte.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How many handshakes are under way at once over each transport; more are turned away.
const HANDSHAKES: usize = 512;

/// What the agents' port works with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Agents {
    /// What sessions work with.
    pub context: Context,
    /// What is counted.
    pub metrics: Metrics,
    /// Memory that is promised to agents.
    pub budget: Budget,
    /// Whether TCP connections begin with a PROXY protocol header (a balancer's word on where they come from).
    pub proxy_protocol: bool,
    /// Lines about those who are not let in.
    pub strangers: Arc<Quota>,
}

impl Agents {
    fn failed(&self, transport: Transport, remote: SocketAddr, error: &HandshakeError) {
        self.metrics.handshake(transport, "failed");
        // A stranger's garbage is no fault of ours, and there may be much of it.
        debug!(%transport, %remote, %error, "handshake failed");
    }

    /// What becomes of a connection after its handshake.
    async fn arrived(
        &self,
        transport: Transport,
        remote: SocketAddr,
        outcome: Result<Connected, HandshakeError>,
        permit: OwnedSemaphorePermit,
    ) {
        let metrics = &self.metrics;
        let connected = match outcome {
            Ok(connected) => connected,
            Err(error) => return self.failed(transport, remote, &error),
        };
        let alpn = connected.alpn.as_deref().and_then(Alpn::from_bytes);
        let Some(alpn) = alpn else {
            metrics.handshake(transport, "no_alpn");
            debug!(%transport, %remote, "refused: no protocol of edge-tunnel was agreed on");
            connected.lane.close(
                edge_tunnel_proto::code::Code::Unsupported,
                "no protocol of edge-tunnel was agreed on",
            );
            return;
        };
        match self
            .context
            .identity
            .classify(Some(alpn), &connected.certificates)
        {
            Ok(Peer::Agent(holder)) => {
                metrics.handshake(transport, "session");
                // A session is no handshake any more; an enrolment, which any stranger may begin, counts as one to its end.
                drop(permit);
                session::run(connected, holder, &self.context).await;
            }
            Ok(peer @ Peer::Enrolling { .. }) => {
                metrics.handshake(transport, "enrolment");
                enroll::serve(connected, peer, self).await;
            }
            Ok(Peer::Peer | Peer::Client { .. }) => {
                metrics.handshake(transport, "refused");
                let reason = "this port is for agents";
                connected
                    .lane
                    .close(edge_tunnel_proto::code::Code::NotAllowed, reason);
            }
            Err(error) => {
                metrics.handshake(transport, "refused");
                if let Some(line) = self.strangers.take() {
                    let unwritten = line.unwritten;
                    info!(%transport, %remote, unwritten, "refused: {error}");
                }
                connected.lane.close(error.code(), &error.to_string());
                // The words have to leave before the connection does.
                let _: Result<Closed, _> =
                    tokio::time::timeout(Duration::from_secs(1), connected.lane.closed()).await;
            }
        }
    }

    /// Closes the session of every registration that ends, for as long as it is polled.
    pub async fn enforce_revocations(&self) {
        let mut ended = self.context.identity.registrations().ended();
        loop {
            match ended.recv().await {
                Ok(_) | Err(RecvError::Lagged(_)) => self.check_standings(),
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn check_standings(&self) {
        // Also those that another has replaced: their streams are open still.
        for session in self.context.sessions.running() {
            let holder = &session.holder;
            let reason = match self
                .context
                .identity
                .registrations()
                .standing(&holder.node, holder.registration)
            {
                Standing::Current => continue,
                Standing::Revoked => format!("node {} was revoked", holder.node),
                _ => format!("node {} was registered anew by another agent", holder.node),
            };
            warn!(node = %holder.node, "closing its session: {reason}");
            session.end(edge_tunnel_proto::code::Code::Revoked, reason);
        }
    }
}

//! One stream's life on the server: route, open through the node's session, carry, account.

mod absent;
mod carried;
mod metrics;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use edge_tunnel_proto::budget::Budget;
use edge_tunnel_proto::clock::Clock;
use edge_tunnel_proto::code::Code;
use edge_tunnel_proto::id::{NodeName, StreamId};
use edge_tunnel_proto::message::OpenRequest;
use edge_tunnel_proto::splice::{Side, Socket, SpliceError, splice};
use edge_tunnel_proto::stream::{OpenFailed, Opening, Stream};
use edge_tunnel_proto::transport::{OpenError, SERVER_STREAMS};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use absent::Known;
pub use carried::Carried;
pub use metrics::Metrics;

use crate::identity::Identity;
use crate::inbound::Inbound;
use crate::ingress::open::Open;
use crate::refusal::{Kind, Refusal};
use crate::route::{Route, Routes};
use crate::sessions::{Session, Sessions};

/// How long an agent may take to say that it has read a stream's header before its link is probed.
const PATIENCE: Duration = Duration::from_secs(1);

/// How much longer than the agent this side waits, so that the agent's own words about a dial that timed out
/// arrive.
const MARGIN: Duration = Duration::from_secs(1);

/// What a stream holds beside its windows while somebody does not read, in bytes: a piece on its way to the caller, and
/// on the way to the node one that was read and one that was framed.
const ON_THE_WAY: usize = 96 * 1024;

/// Opens streams to nodes for the ways in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Relay(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    routes: Routes,
    sessions: Sessions,
    identity: Identity,
    clock: Clock,
    /// When this server started.
    started: SystemTime,
    dial_timeout: Duration,
    budget: Budget,
    metrics: Metrics,
}

impl Relay {
    /// A relay that bounds every dial by `dial_timeout`, and what streams hold by `budget`.
    #[must_use]
    pub fn new(
        routes: Routes,
        sessions: Sessions,
        identity: Identity,
        clock: Clock,
        dial_timeout: Duration,
        budget: Budget,
        metrics: Metrics,
    ) -> Self {
        Self(Arc::new(Inner {
            routes,
            sessions,
            identity,
            started: clock.now(),
            clock,
            dial_timeout,
            budget,
            metrics,
        }))
    }

    /// Why a node that has a route has no session, in words.
    fn absent(&self, node: &NodeName) -> Refusal {
        let Inner {
            identity, clock, ..
        } = &*self.0;
        let known = Known {
            registration: identity.registrations().get(node),
            last: identity.visits().get(node),
            started: self.0.started,
            now: clock.now(),
        };
        known.refusal(node)
    }

    async fn open_on(
        &self,
        session: &Session,
        inbound: &Inbound,
        request: &OpenRequest,
    ) -> Result<Stream, Refusal> {
        let began = Instant::now();
        let opened = timeout(self.0.dial_timeout + MARGIN, async {
            let mut opening = Opening::start(&session.lane, request).await?;
            // Only an answer that is awaited makes a link worth probing.
            match timeout(PATIENCE, opening.accepted()).await {
                Ok(answered) => answered?,
                Err(_elapsed) => {
                    session.probe();
                    opening.accepted().await?;
                }
            }
            self.0.metrics.accepted(began.elapsed());
            opening.opened().await
        });
        let node = &session.holder.node;
        match opened.await {
            Ok(Ok(stream)) => {
                self.0.metrics.opened(began.elapsed());
                Ok(stream)
            }
            Ok(Err(OpenFailed::Refused { code, message })) => {
                Err(Refusal::from_agent(code, message))
            }
            Ok(Err(OpenFailed::Lane(OpenError::Closed(closed)))) => {
                debug!(%node, %closed, "the session ended as a stream was to be opened");
                let words = format!(
                    "the session of node {node} has just ended; its agent reconnects: try again"
                );
                Err(Refusal::new(Kind::Unavailable, "transport_lost", words))
            }
            Ok(Err(OpenFailed::Lane(error))) => Err(Refusal::new(
                Kind::Unavailable,
                "overloaded",
                format!("node {node}: {error}"),
            )),
            Ok(Err(OpenFailed::Stream(error))) => {
                let words = match error.code() {
                    Code::TransportLost => format!(
                        "node {node} stopped answering and its session was dropped; its agent reconnects as soon as \
                         it can: try again"
                    ),
                    _ => format!(
                        "the tunnel to node {node} broke while the stream was opened ({error}); try again"
                    ),
                };
                debug!(%node, %error, "a stream broke before it was open");
                Err(Refusal::new(Kind::Unavailable, error.code().name(), words))
            }
            Err(_elapsed) => {
                let seconds = self.0.dial_timeout.as_secs();
                let words = format!(
                    "{} on node {node} did not answer within {seconds} s",
                    inbound.destination
                );
                Err(Refusal::new(Kind::Timeout, "timed_out", words))
            }
        }
    }
}

/// Why a target that does not answer gets no more streams for now.
fn crowded(inbound: &Inbound, route: &Route) -> Refusal {
    let words = format!(
        "too many streams wait for {} on node {} to answer; what room there is is kept for its other ports: see what is \
         wrong with that one",
        inbound.destination, route.node
    );
    Refusal::new(Kind::Unavailable, "overloaded", words)
}

impl Open for Relay {
    type Stream = Carried;

    fn resolve(&self, inbound: &Inbound) -> Result<Route, Refusal> {
        self.0.routes.resolve(inbound)
    }

    fn retired(carried: &Carried) -> CancellationToken {
        carried.retired().clone()
    }

    async fn open(&self, inbound: &Inbound, route: &Route) -> Result<Carried, Refusal> {
        let session = self
            .0
            .sessions
            .get(&route.node)
            .ok_or_else(|| self.absent(&route.node))?;
        let request = OpenRequest {
            id: StreamId::random(),
            request_id: inbound.request_id,
            caller: inbound.caller.to_string(),
            hops: 0,
            deadline: Some(self.0.dial_timeout),
            target: route.target,
        };
        // Counted from now on: a session that drains waits for it.
        let account = self.0.metrics.account(inbound.way, session.count());
        let held = self.0.budget.reserve(ON_THE_WAY).ok_or_else(|| {
            let words = format!("node {}: {}", route.node, OpenError::NoMemory);
            Refusal::new(Kind::Unavailable, "overloaded", words)
        })?;
        let left = SERVER_STREAMS.saturating_sub(session.streams.len());
        let opening = session.openings.begin(route.target, left);
        let opening = opening.ok_or_else(|| crowded(inbound, route))?;
        let stream = self.open_on(&session, inbound, &request).await?;
        drop(opening);
        debug!(node = %route.node, target = %route.target, request = %inbound.request_id, "open");
        Ok(Carried::new(stream, account, held, session.retired.clone()))
    }

    async fn splice<C: Socket>(client: C, carried: Carried) {
        let (stream, mut account, _held, retired) = carried.into_parts();
        // Unless it gets to say how it ended: the kill, at the end of a drain, is no clean end.
        account.ended(Code::Draining.name());
        let outcome = splice(client, stream, Side::Caller).await;
        account.carried(outcome.sent, outcome.received);
        account.ended(match &outcome.result {
            Ok(()) => "clean",
            Err(SpliceError::Near(_)) => "caller_reset",
            Err(SpliceError::Far(error)) => error.code().name(),
        });
        if let Err(error) = &outcome.result {
            let (sent, received) = (outcome.sent, outcome.received);
            debug!(%error, sent, received, "a stream broke off");
        }
        // From here on it is the caller's connection alone, which no session waits for, nor a server that drains.
        drop(account);
        if let Some(parting) = outcome.parting {
            tokio::select! {
                () = parting.wait() => {}
                () = retired.cancelled() => {}
            }
        }
    }
}

//! One stream's life on the server: route, open through the node's session, carry, account.

mod absent;
mod carried;
mod direct;
mod metrics;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use edge_tunnel_proto::budget::Budget;
use edge_tunnel_proto::clock::Clock;
use edge_tunnel_proto::code::Code;
use edge_tunnel_proto::id::{NodeName, StreamId, Target, TargetHost};
use edge_tunnel_proto::message::OpenRequest;
use edge_tunnel_proto::splice::{Side, Socket, SpliceError, splice};
use edge_tunnel_proto::stream::{OpenFailed, Opening, Stream};
use edge_tunnel_proto::transport::{OpenError, SERVER_STREAMS};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use absent::Known;
pub use carried::Carried;
use carried::{Far, Tunnelled};
pub use metrics::Metrics;

use crate::identity::Identity;
use crate::inbound::{Inbound, Way};
use crate::ingress::open::Open;
use crate::refusal::{Kind, Refusal};
use crate::route::{Beyond, Here, Leads, Route, Routes};
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
    parts: Parts,
    /// When this server started.
    started: SystemTime,
}

/// What a relay works with.
#[derive(Debug)]
pub struct Parts {
    /// Where destinations lead.
    pub routes: Routes,
    /// Who is connected.
    pub sessions: Sessions,
    /// Who is registered, and when nodes were last here.
    pub identity: Identity,
    /// The time.
    pub clock: Clock,
    /// Bounds every dial.
    pub dial_timeout: Duration,
    /// Bounds what streams hold.
    pub budget: Budget,
    /// The ports that this server listens on, besides those of the live keys: nothing has them dialled.
    pub listeners: BTreeSet<u16>,
    /// What is measured.
    pub metrics: Metrics,
}

impl Here for Relay {
    fn knows(&self, node: &NodeName) -> bool {
        self.connected(node) || self.0.parts.identity.registrations().get(node).is_some()
    }

    fn connected(&self, node: &NodeName) -> bool {
        self.0.parts.sessions.get(node).is_some()
    }
}

impl Relay {
    /// A relay.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Inner {
            started: parts.clock.now(),
            parts,
        }))
    }

    /// Dials what is no node's.
    async fn dial(&self, inbound: &Inbound) -> Result<Carried, Refusal> {
        let account = self.0.parts.metrics.direct();
        let mut own = self.0.parts.listeners.clone();
        let table = self.0.parts.routes.table();
        own.extend(
            table
                .ports()
                .own_listeners()
                .map(|(_, listener)| listener.get()),
        );
        let stream = direct::dial(&inbound.destination, &own, self.0.parts.dial_timeout).await?;
        debug!(destination = %inbound.destination, request = %inbound.request_id, "dialled directly");
        Ok(Carried::new(Far::Direct(stream), account))
    }

    /// Has the agent of one of these nodes dial what is no node's.
    async fn via(&self, inbound: &Inbound, nodes: Vec<NodeName>) -> Result<Carried, Refusal> {
        let addresses = direct::addresses(&inbound.destination, self.0.parts.dial_timeout).await?;
        let Some(address) = addresses.first() else {
            let words = format!("{}: the name has no address", inbound.destination);
            return Err(Refusal::new(
                Kind::BadGateway,
                Code::Unreachable.name(),
                words,
            ));
        };
        // Any of them: what one carries long is not taken from it, and what is new goes to all alike.
        let turn = usize::try_from(inbound.request_id.0 % nodes.len() as u128).unwrap_or_default();
        let route = Route {
            node: nodes[turn].clone(),
            target: Target {
                host: TargetHost::Address(address.ip()),
                port: inbound.destination.port,
            },
        };
        self.open(inbound, &route).await
    }

    /// Why a node that has a route has no session, in words.
    fn absent(&self, node: &NodeName) -> Refusal {
        let Parts {
            identity, clock, ..
        } = &self.0.parts;
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
        let opened = timeout(self.0.parts.dial_timeout + MARGIN, async {
            let mut opening = Opening::start(&session.lane, request).await?;
            // Only an answer that is awaited makes a link worth probing.
            match timeout(PATIENCE, opening.accepted()).await {
                Ok(answered) => answered?,
                Err(_elapsed) => {
                    session.probe();
                    opening.accepted().await?;
                }
            }
            self.0.parts.metrics.accepted(began.elapsed());
            opening.opened().await
        });
        let node = &session.holder.node;
        match opened.await {
            Ok(Ok(stream)) => {
                self.0.parts.metrics.opened(began.elapsed());
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
                let seconds = self.0.parts.dial_timeout.as_secs();
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
        self.0.parts.routes.resolve(inbound, self)
    }

    async fn connect(&self, inbound: &Inbound) -> Result<Carried, Refusal> {
        if inbound.way != Way::Connect {
            let route = self.resolve(inbound)?;
            return self.open(inbound, &route).await;
        }
        match self.0.parts.routes.leads(inbound, self)? {
            Leads::Node(route) => self.open(inbound, &route).await,
            Leads::Beyond(Beyond::Direct) => self.dial(inbound).await,
            Leads::Beyond(Beyond::Via(nodes)) => self.via(inbound, nodes).await,
        }
    }

    fn retired(carried: &Carried) -> CancellationToken {
        carried.retired()
    }

    async fn open(&self, inbound: &Inbound, route: &Route) -> Result<Carried, Refusal> {
        let session = self
            .0
            .parts
            .sessions
            .get(&route.node)
            .ok_or_else(|| self.absent(&route.node))?;
        let request = OpenRequest {
            id: StreamId::random(),
            request_id: inbound.request_id,
            caller: inbound.caller.to_string(),
            hops: 0,
            deadline: Some(self.0.parts.dial_timeout),
            target: route.target,
        };
        // Counted from now on: a session that drains waits for it.
        let account = self.0.parts.metrics.account(inbound.way, session.count());
        let held = self.0.parts.budget.reserve(ON_THE_WAY).ok_or_else(|| {
            let words = format!("node {}: {}", route.node, OpenError::NoMemory);
            Refusal::new(Kind::Unavailable, "overloaded", words)
        })?;
        let left = SERVER_STREAMS.saturating_sub(session.streams.len());
        let opening = session.openings.begin(route.target, left);
        let opening = opening.ok_or_else(|| crowded(inbound, route))?;
        let stream = self.open_on(&session, inbound, &request).await?;
        drop(opening);
        debug!(node = %route.node, target = %route.target, request = %inbound.request_id, "open");
        let tunnelled = Tunnelled {
            stream,
            held,
            retired: session.retired.clone(),
        };
        Ok(Carried::new(Far::Tunnel(Box::new(tunnelled)), account))
    }

    async fn splice<C: Socket>(client: C, carried: Carried) {
        let (far, mut account) = carried.into_parts();
        let (stream, _held, retired) = match far {
            Far::Tunnel(tunnelled) => {
                let Tunnelled {
                    stream,
                    held,
                    retired,
                } = *tunnelled;
                (stream, held, retired)
            }
            Far::Direct(socket) => return direct::splice(client, socket, account).await,
        };
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

//! Ways in. Each accepts connections, learns who wants to reach what, and has the bytes carried there.
//!
//! In comes a socket, out goes an [`Inbound`] to whoever [`Open`]s streams; then the bytes pass through
//! ([`connect`], [`tls`]) or are read as HTTP on the way ([`http`]). What the three share is here: binding
//! ([`bind`], [`unix`]), accepting ([`accept`]), carrying ([`open`]), measuring ([`Metrics`]).

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use edge_tunnel_proto::shutdown::Shutdown;
use edge_tunnel_proto::sync::Mutex;
use tokio::time::Instant;

use crate::inbound::{Caller, Inbound, Way};
use crate::quota::Quota;
use crate::refusal::Refusal;

pub mod accept;
mod answer;
pub mod bind;
pub mod connect;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod head;
pub mod http;
mod metrics;
pub mod open;
#[cfg(test)]
#[expect(dead_code, reason = "some of it is for the scenarios alone")]
mod shapes;
pub mod socket;
#[cfg(test)]
mod testing;
pub mod tls;
pub mod unix;

pub use metrics::Metrics;
pub use open::Open;

/// What a way in works with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Context<O> {
    way: Way,
    opener: O,
    metrics: Metrics,
    shutdown: Shutdown,
    /// When callers of `tls` that name no node were last given advice.
    advised: Arc<Mutex<Option<Instant>>>,
    /// Lines about those who did not even say who they are; apart, so that they keep no other out of the log.
    strangers: Arc<Quota>,
    /// Lines about requests that got nowhere.
    refusals: Arc<Quota>,
}

impl<O: Open> Context<O> {
    /// The context of `way`. Every connection becomes a task of `shutdown`, whose draining ends the accepting, has
    /// HTTP connections close after the answer in hand, and leaves carried streams to end by themselves; its kill
    /// breaks off what is left.
    #[must_use]
    pub fn new(way: Way, opener: O, metrics: Metrics, shutdown: Shutdown) -> Self {
        Self {
            way,
            opener,
            metrics,
            shutdown,
            advised: Arc::default(),
            strangers: Arc::default(),
            refusals: Arc::default(),
        }
    }

    /// Counts a request that got nowhere, and leaves its one line in the log, unless there were too many.
    fn refused(&self, inbound: &Inbound, refusal: &Refusal) {
        self.metrics.request(self.way, refusal.reason);
        let Some(line) = self.refusals.take() else {
            return;
        };
        tracing::info!(
            way = self.way.name(),
            caller = %inbound.caller,
            client = inbound.client.map(tracing::field::display),
            destination = %inbound.destination,
            request = %inbound.request_id,
            reason = refusal.reason,
            unwritten = line.unwritten,
            "refused: {refusal}"
        );
    }

    /// Counts a caller that did not get as far as a destination, and leaves its one line in the log, unless there were
    /// too many. `None`: it did not show who it is.
    fn turned_away(
        &self,
        caller: Option<&Caller>,
        client: Option<SocketAddr>,
        reason: &'static str,
        why: impl fmt::Display,
    ) {
        self.metrics.request(self.way, reason);
        let Some(line) = self.strangers.take() else {
            return;
        };
        tracing::info!(
            way = self.way.name(),
            caller = caller.map(tracing::field::display),
            client = client.map(tracing::field::display),
            reason,
            unwritten = line.unwritten,
            "refused: {why}"
        );
    }
}

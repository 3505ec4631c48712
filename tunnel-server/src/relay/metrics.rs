//! What carrying streams measures.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::inbound::Way;

/// Streams, by way in.
#[derive(Clone, Debug)]
pub struct Metrics {
    open: Family<By, Gauge>,
    ended: Family<Ended, Counter>,
    bytes: Family<Bytes, Counter>,
    accepted: Histogram,
    opened: Histogram,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct By {
    way: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Ended {
    way: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Bytes {
    way: &'static str,
    direction: &'static str,
}

impl Metrics {
    /// Registers what carrying streams measures.
    pub fn register(registry: &mut Registry) -> Self {
        // From half a millisecond to 16 seconds.
        let latency = || Histogram::new(exponential_buckets(0.0005, 2.0, 16));
        let metrics = Self {
            open: Family::default(),
            ended: Family::default(),
            bytes: Family::default(),
            accepted: latency(),
            opened: latency(),
        };
        registry.register(
            "streams_open",
            "Streams that are open or being opened, by way in; direct for what the server dials itself",
            metrics.open.clone(),
        );
        registry.register(
            "streams",
            "Streams that have ended, by way in and how: clean, caller_reset, or a code",
            metrics.ended.clone(),
        );
        registry.register(
            "stream_bytes",
            "Bytes carried, by way in and direction: to_node, from_node",
            metrics.bytes.clone(),
        );
        registry.register_with_unit(
            "open_latency",
            "From the wish for a stream to the agent's word that it has read it",
            Unit::Seconds,
            metrics.accepted.clone(),
        );
        registry.register_with_unit(
            "dial_latency",
            "From the wish for a stream to its target being connected",
            Unit::Seconds,
            metrics.opened.clone(),
        );
        metrics
    }

    pub(super) fn accepted(&self, after: Duration) {
        self.accepted.observe(after.as_secs_f64());
    }

    pub(super) fn opened(&self, after: Duration) {
        self.opened.observe(after.as_secs_f64());
    }

    /// The account of a stream through a session, which waits for it.
    pub(super) fn account(&self, way: Way, session: TaskTrackerToken) -> Account {
        self.begin(way.name(), Some(session))
    }

    /// The account of a connection of the server's own.
    pub(super) fn direct(&self) -> Account {
        self.begin("direct", None)
    }

    fn begin(&self, way: &'static str, session: Option<TaskTrackerToken>) -> Account {
        let open = self.open.get_or_create_owned(&By { way });
        open.inc();
        Account {
            metrics: self.clone(),
            way,
            open,
            outcome: None,
            _session: session,
        }
    }
}

/// One stream's account; settled when it drops.
#[derive(Debug)]
pub(super) struct Account {
    metrics: Metrics,
    way: &'static str,
    open: Gauge,
    outcome: Option<&'static str>,
    _session: Option<TaskTrackerToken>,
}

impl Account {
    pub(super) fn carried(&mut self, to_node: u64, from_node: u64) {
        for (direction, bytes) in [("to_node", to_node), ("from_node", from_node)] {
            self.metrics
                .bytes
                .get_or_create(&Bytes {
                    way: self.way,
                    direction,
                })
                .inc_by(bytes);
        }
    }

    pub(super) fn ended(&mut self, outcome: &'static str) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.open.dec();
        // One that did not open is counted as a request by its way in.
        if let Some(outcome) = self.outcome {
            self.metrics
                .ended
                .get_or_create(&Ended {
                    way: self.way,
                    outcome,
                })
                .inc();
        }
    }
}

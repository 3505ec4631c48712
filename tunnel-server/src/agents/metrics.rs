//! What the agents' port and its sessions measure.

use std::time::Duration;

use edge_tunnel_proto::transport::Transport;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Handshakes, enrolments and sessions, counted.
#[derive(Clone, Debug)]
pub struct Metrics {
    handshakes: Family<Handshake, Counter>,
    enrolments: Family<Outcome, Counter>,
    sessions: Family<By, Gauge>,
    ended: Family<Reason, Counter>,
    second_hosts: Counter,
    round_trip: Histogram,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Handshake {
    transport: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct By {
    transport: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// A live session, counted until it drops.
#[derive(Debug)]
pub(crate) struct Live(Gauge);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Registers what the agents' port measures.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            handshakes: Family::default(),
            enrolments: Family::default(),
            sessions: Family::default(),
            ended: Family::default(),
            second_hosts: Counter::default(),
            // From half a millisecond to 16 seconds.
            round_trip: Histogram::new(exponential_buckets(0.0005, 2.0, 16)),
        };
        registry.register(
            "handshakes",
            "Handshakes on the agents' port, by transport and what they led to",
            metrics.handshakes.clone(),
        );
        registry.register(
            "enrolments",
            "Enrolments answered, by outcome",
            metrics.enrolments.clone(),
        );
        registry.register(
            "sessions",
            "Agents that have a session with this replica, by transport",
            metrics.sessions.clone(),
        );
        registry.register(
            "sessions_ended",
            "Sessions that have ended or were refused, by reason",
            metrics.ended.clone(),
        );
        registry.register(
            "second_hosts",
            "Connections refused because another live host holds the same identity",
            metrics.second_hosts.clone(),
        );
        registry.register_with_unit(
            "round_trip",
            "Round trips of probes over sessions",
            Unit::Seconds,
            metrics.round_trip.clone(),
        );
        metrics
    }

    pub(super) fn handshake(&self, transport: Transport, outcome: &'static str) {
        self.handshakes
            .get_or_create(&Handshake {
                transport: transport.name(),
                outcome,
            })
            .inc();
    }

    pub(super) fn enrolment(&self, outcome: &'static str) {
        self.enrolments.get_or_create(&Outcome { outcome }).inc();
    }

    pub(crate) fn session(&self, transport: Transport) -> Live {
        let gauge = self.sessions.get_or_create_owned(&By {
            transport: transport.name(),
        });
        gauge.inc();
        Live(gauge)
    }

    pub(crate) fn session_ended(&self, reason: &'static str) {
        self.ended.get_or_create(&Reason { reason }).inc();
    }

    pub(crate) fn second_host(&self) {
        self.second_hosts.inc();
    }

    pub(crate) fn round_trip(&self, rtt: Duration) {
        self.round_trip.observe(rtt.as_secs_f64());
    }
}

//! What sessions measure.

use std::time::Duration;

use edge_tunnel_proto::code::Code;
use edge_tunnel_proto::message::enroll::{self, RenewResponse};
use edge_tunnel_proto::transport::Transport;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Sessions, counted.
#[derive(Clone, Debug)]
pub struct Metrics {
    sessions: Family<By, Gauge>,
    ended: Family<Reason, Counter>,
    second_hosts: Counter,
    renewals: Family<Outcome, Counter>,
    round_trip: Histogram,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct By {
    transport: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// A live session, counted until it drops.
#[derive(Debug)]
pub(super) struct Counted(Gauge);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Registers what sessions measure.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            sessions: Family::default(),
            ended: Family::default(),
            second_hosts: Counter::default(),
            renewals: Family::default(),
            // From half a millisecond to 16 seconds.
            round_trip: Histogram::new(exponential_buckets(0.0005, 2.0, 16)),
        };
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
        registry.register(
            "renewals",
            "Renewals answered over sessions, by outcome",
            metrics.renewals.clone(),
        );
        registry.register_with_unit(
            "round_trip",
            "Round trips of probes over sessions",
            Unit::Seconds,
            metrics.round_trip.clone(),
        );
        metrics
    }

    pub(super) fn session(&self, transport: Transport) -> Counted {
        let gauge = self.sessions.get_or_create_owned(&By {
            transport: transport.name(),
        });
        gauge.inc();
        Counted(gauge)
    }

    pub(super) fn ended(&self, reason: &'static str) {
        self.ended.get_or_create(&Reason { reason }).inc();
    }

    pub(super) fn second_host(&self) {
        self.second_hosts.inc();
    }

    pub(super) fn renewal(&self, answer: &RenewResponse) {
        let outcome = match &answer.outcome {
            Some(enroll::Outcome::Issued(_)) => "issued",
            Some(enroll::Outcome::Refusal(refusal)) => Code::from_number(refusal.code).name(),
            None => return,
        };
        self.renewals.get_or_create(&Outcome { outcome }).inc();
    }

    pub(super) fn round_trip(&self, rtt: Duration) {
        self.round_trip.observe(rtt.as_secs_f64());
    }
}

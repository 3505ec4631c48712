//! What the uplink measures.

use edge_tunnel_proto::transport::Transport;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::session::Ended;

/// Sessions and dials, counted.
#[derive(Clone, Debug)]
pub struct Metrics {
    sessions: Family<By, Gauge>,
    ended: Family<Reason, Counter>,
    failed: Counter,
    deferred: Counter,
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
pub(super) struct Live(Gauge);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Registers what the uplink measures.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            sessions: Family::default(),
            ended: Family::default(),
            failed: Counter::default(),
            deferred: Counter::default(),
        };
        registry.register(
            "sessions",
            "Sessions that are up, by transport",
            metrics.sessions.clone(),
        );
        registry.register(
            "sessions_ended",
            "Sessions that have ended, by reason",
            metrics.ended.clone(),
        );
        registry.register(
            "connects_failed",
            "Attempts to connect that led to no session",
            metrics.failed.clone(),
        );
        registry.register(
            "connects_deferred",
            "Attempts of these that a server has answered with when to come back, having too many agents at once",
            metrics.deferred.clone(),
        );
        metrics
    }

    pub(super) fn session(&self, transport: Transport) -> Live {
        let gauge = self.sessions.get_or_create_owned(&By {
            transport: transport.name(),
        });
        gauge.inc();
        Live(gauge)
    }

    pub(super) fn session_ended(&self, ended: Option<&Ended>) {
        let reason = match ended {
            None | Some(Ended::Retired) => "draining",
            Some(Ended::Told { code, .. }) => code.name(),
            Some(Ended::Silent(_)) => "silent",
            Some(Ended::Lane(_) | Ended::Control(_) | Ended::Open(_)) => "lost",
        };
        self.ended.get_or_create(&Reason { reason }).inc();
    }

    pub(super) fn dial_failed(&self) {
        self.failed.inc();
    }

    pub(super) fn deferred(&self) {
        self.deferred.inc();
    }
}

//! What the agents' port measures.

use edge_tunnel_proto::transport::Transport;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Handshakes and enrolments, counted.
#[derive(Clone, Debug)]
pub struct Metrics {
    handshakes: Family<Handshake, Counter>,
    enrolments: Family<Outcome, Counter>,
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

impl Metrics {
    /// Registers what the agents' port measures.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            handshakes: Family::default(),
            enrolments: Family::default(),
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
        metrics
    }

    pub(super) fn handshake(&self, transport: Transport, outcome: &'static str) {
        let transport = transport.name();
        self.handshakes
            .get_or_create(&Handshake { transport, outcome })
            .inc();
    }

    pub(super) fn enrolment(&self, outcome: &'static str) {
        self.enrolments.get_or_create(&Outcome { outcome }).inc();
    }
}

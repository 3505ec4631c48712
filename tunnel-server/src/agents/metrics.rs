//! What the agents' port measures.

use edge_tunnel_proto::budget::Budget;
use edge_tunnel_proto::transport::Transport;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
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

/// The memory that is promised to agents, read when somebody asks.
#[derive(Debug)]
struct Promised(Budget);

impl Collector for Promised {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let numbers = [
            (
                "buffer_memory_promised_bytes",
                "Memory that is promised to agents for what their streams carry",
                self.0.used(),
            ),
            (
                "buffer_memory_limit_bytes",
                "The most that may be promised (--buffer-memory)",
                self.0.limit(),
            ),
        ];
        for (name, help, value) in numbers {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            gauge.encode(metric)?;
        }
        Ok(())
    }
}

impl Metrics {
    /// Registers what the agents' port measures.
    pub fn register(registry: &mut Registry, budget: &Budget) -> Self {
        registry.register_collector(Box::new(Promised(budget.clone())));
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

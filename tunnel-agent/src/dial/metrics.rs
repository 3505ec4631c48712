//! What dialling measures.

use std::time::Duration;

use edge_tunnel_proto::code::Code;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Dials by outcome, how long they took, how many are under way. Cheap to clone; clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// By `outcome`: `connected`, or a [`Code::name`].
    dials: Family<[(&'static str, &'static str); 1], Counter>,
    connect: Histogram,
    pub(super) pending: Gauge,
}

impl Metrics {
    /// Registers the families.
    pub fn register(registry: &mut Registry) -> Self {
        // A target on the node answers within a millisecond, one beyond it within a round trip; one that is started on
        // demand takes as long as the opener waits for it.
        let buckets = [
            0.000_5, 0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
        ];
        let metrics = Self {
            dials: Family::default(),
            connect: Histogram::new(buckets),
            pending: Gauge::default(),
        };
        registry.register(
            "dials",
            "Connects to targets by outcome",
            metrics.dials.clone(),
        );
        registry.register_with_unit(
            "dial_duration",
            "Time that successful connects to targets took",
            Unit::Seconds,
            metrics.connect.clone(),
        );
        registry.register(
            "dials_pending",
            "Connects to targets under way",
            metrics.pending.clone(),
        );
        metrics
    }

    pub(super) fn dialled(&self, failed: Option<Code>, took: Duration) {
        let outcome = failed.map_or("connected", Code::name);
        self.dials.get_or_create(&[("outcome", outcome)]).inc();
        if failed.is_none() {
            self.connect.observe(took.as_secs_f64());
        }
    }
}

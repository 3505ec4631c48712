//! What the ways in measure.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::inbound::Way;

/// The outcome of a request that got its stream.
pub(super) const OPENED: &str = "opened";
/// The outcome of a request whose caller left before it was whole: nobody was refused, and no node is at fault.
pub(super) const CALLER_LEFT: &str = "caller_left";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WayLabel {
    way: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabel {
    way: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

/// What the ways in measure. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    open: Family<WayLabel, Gauge>,
    accepted: Family<WayLabel, Counter>,
    accept_errors: Family<WayLabel, Counter>,
    requests: Family<RequestLabel, Counter>,
    port_listeners: Family<StateLabel, Gauge>,
    pub(super) idle_node_connections: Gauge,
}

impl Metrics {
    /// Metrics that `registry` will show.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "ingress_connections",
            "Connections of callers that are open",
            metrics.open.clone(),
        );
        registry.register(
            "ingress_accepted",
            "Connections of callers so far",
            metrics.accepted.clone(),
        );
        registry.register(
            "ingress_accept_errors",
            "Accepts that failed for want of something",
            metrics.accept_errors.clone(),
        );
        registry.register(
            "ingress_requests",
            "Requests by way in and outcome",
            metrics.requests.clone(),
        );
        registry.register(
            "ingress_port_listeners",
            "Listeners of https-proxy-ports by state",
            metrics.port_listeners.clone(),
        );
        registry.register(
            "ingress_http_idle_node_connections",
            "HTTP connections to nodes that wait for reuse",
            metrics.idle_node_connections.clone(),
        );
        metrics
    }

    /// Counts a request; `outcome` comes out of a closed set: [`OPENED`], [`CALLER_LEFT`] or a refusal's reason.
    pub(super) fn request(&self, way: Way, outcome: &'static str) {
        self.requests
            .get_or_create(&RequestLabel {
                way: way.name(),
                outcome,
            })
            .inc();
    }

    pub(super) fn accept_error(&self, way: Way) {
        self.accept_errors
            .get_or_create(&WayLabel { way: way.name() })
            .inc();
    }

    /// Counts a connection, as open until the guard drops.
    pub(super) fn connection(&self, way: Way) -> OpenConnection {
        let label = WayLabel { way: way.name() };
        self.accepted.get_or_create(&label).inc();
        let gauge = self.open.get_or_create_owned(&label);
        gauge.inc();
        OpenConnection(gauge)
    }

    pub(super) fn port_listeners(&self, listening: usize, failed: usize) {
        for (state, count) in [("listening", listening), ("failed", failed)] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.port_listeners
                .get_or_create(&StateLabel { state })
                .set(count);
        }
    }

    #[cfg(test)]
    pub(super) fn open(&self, way: Way) -> i64 {
        self.open.get_or_create(&WayLabel { way: way.name() }).get()
    }

    #[cfg(test)]
    pub(super) fn requests(&self, way: Way, outcome: &'static str) -> u64 {
        self.requests
            .get_or_create(&RequestLabel {
                way: way.name(),
                outcome,
            })
            .get()
    }
}

/// A connection that is open.
#[derive(Debug)]
pub(super) struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

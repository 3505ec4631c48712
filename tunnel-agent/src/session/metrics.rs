//! What is measured of this node's certificate.

use std::time::UNIX_EPOCH;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::identity::{Identity, IdentityError, Standing};

/// Renewals, counted.
#[derive(Clone, Debug)]
pub struct Metrics {
    renewals: Family<Outcome, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// Until when the certificate is valid, read when somebody asks.
#[derive(Debug)]
struct Expiry(Identity);

impl Collector for Expiry {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (Standing::Ready(held) | Standing::Expired(held)) = self.0.standing() else {
            return Ok(());
        };
        let since = held
            .not_after
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let gauge = ConstGauge::new(i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
        let metric = encoder.encode_descriptor(
            "certificate_expiry_timestamp",
            "Until when this node's certificate is valid, in seconds since 1970",
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?;
        gauge.encode(metric)
    }
}

impl Metrics {
    /// Registers what is measured of the certificate of `identity`.
    pub fn register(registry: &mut Registry, identity: &Identity) -> Self {
        registry.register_collector(Box::new(Expiry(identity.clone())));
        let metrics = Self {
            renewals: Family::default(),
        };
        registry.register(
            "renewals",
            "Renewals of the certificate, by outcome",
            metrics.renewals.clone(),
        );
        metrics
    }

    /// Counts one: over a session, or on a connection of its own.
    pub(crate) fn renewal(&self, outcome: Result<(), &IdentityError>) {
        let outcome = match outcome {
            Ok(()) => "renewed",
            Err(IdentityError::Refused { code, .. }) => code.name(),
            Err(_) => "failed",
        };
        self.renewals.get_or_create(&Outcome { outcome }).inc();
    }
}

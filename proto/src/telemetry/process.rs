//! What every process of ours measures of itself, read when somebody asks.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tokio::runtime::Handle;

/// Registers it.
pub fn register(registry: &mut Registry) {
    registry.register_collector(Box::new(Process));
}

#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        // The runtime of whoever asks, which is the process's only one.
        let Ok(runtime) = Handle::try_current() else {
            return Ok(());
        };
        let tasks = runtime.metrics().num_alive_tasks();
        let gauge = ConstGauge::new(i64::try_from(tasks).unwrap_or(i64::MAX));
        let help = "Tasks that are alive in this process, idle ones included";
        let metric = encoder.encode_descriptor("tasks", help, None, MetricType::Gauge)?;
        gauge.encode(metric)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    fn shown() -> String {
        let mut registry = Registry::default();
        register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    #[tokio::test]
    async fn a_task_is_counted_for_as_long_as_it_lives() {
        let one = tokio::spawn(std::future::pending::<()>());
        assert!(shown().contains("\ntasks 1\n"), "{}", shown());
        one.abort();
        one.await.unwrap_err();
        assert!(shown().contains("\ntasks 0\n"), "{}", shown());
    }

    #[test]
    fn outside_of_a_runtime_nothing_is_said() {
        assert!(!shown().contains("\ntasks "), "{}", shown());
    }
}

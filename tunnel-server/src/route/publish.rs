//! What a source of the live keys does with each new table: measures it, says what is newly wrong in it, and puts it in
//! force.

use std::collections::HashSet;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Routes;
use super::keys::{Key, Problem};
use super::table::Table;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KeyLabel {
    key: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// What sources measure.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    bad_entries: Family<KeyLabel, Gauge>,
    reloads: Family<OutcomeLabel, Counter>,
}

impl Metrics {
    /// Metrics that `registry` will show.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let help = "Entries of the live keys that are skipped at present";
        registry.register("config_bad_entries", help, metrics.bad_entries.clone());
        registry.register(
            "config_reloads",
            "Readings of the live keys that changed something, or failed",
            metrics.reloads.clone(),
        );
        metrics
    }

    fn tabled(&self, table: &Table) {
        for key in Key::ALL {
            let count = i64::try_from(table.problems().count(key)).unwrap_or(i64::MAX);
            self.bad_entries
                .get_or_create(&KeyLabel { key: key.name() })
                .set(count);
        }
    }

    fn reload(&self, outcome: &'static str) {
        self.reloads.get_or_create(&OutcomeLabel { outcome }).inc();
    }
}

/// The way from a source to those who read tables.
#[derive(Debug)]
pub struct Publisher {
    routes: Routes,
    metrics: Metrics,
    /// What is wrong at present, and was said.
    said: HashSet<Problem>,
}

impl Publisher {
    /// Begins with `table`.
    #[must_use]
    pub fn new(table: Table, metrics: Metrics) -> Self {
        metrics.tabled(&table);
        let said = table.problems().listed().iter().cloned().collect();
        log(table.problems().listed());
        Self {
            routes: Routes::new(table),
            metrics,
            said,
        }
    }

    /// The handle on what is published.
    #[must_use]
    pub fn routes(&self) -> Routes {
        self.routes.clone()
    }

    /// Puts `table` in force, and gives what is newly wrong in it.
    pub fn publish(&mut self, table: Table) -> Vec<Problem> {
        self.metrics.tabled(&table);
        self.metrics.reload("changed");
        let listed = table.problems().listed();
        let fresh = listed.iter().filter(|problem| !self.said.contains(problem));
        let fresh: Vec<_> = fresh.cloned().collect();
        log(&fresh);
        self.said = listed.iter().cloned().collect();
        self.routes.publish(table);
        fresh
    }

    /// What was to be read could not be: all stays as it is.
    pub fn failed(&self) {
        self.metrics.reload("failed");
    }
}

fn log(problems: &[Problem]) {
    for problem in problems {
        tracing::error!(%problem, "configuration entry skipped");
    }
}

//! What a program's `/metrics` says (OpenMetrics text), as numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::caller::{self, Answer};

/// One reading.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metrics {
    samples: BTreeMap<String, f64>,
    /// The names of gauges.
    gauges: BTreeSet<String>,
}

/// A page of an admin port.
///
/// # Errors
/// When nobody answers there.
pub async fn page(admin: SocketAddr, path: &str) -> std::io::Result<Answer> {
    caller::http(admin, caller::get(path, "localhost")).await
}

impl Metrics {
    /// Reads `admin`'s.
    ///
    /// # Errors
    /// When nobody answers there.
    pub async fn read(admin: SocketAddr) -> std::io::Result<Self> {
        let answer = page(admin, "/metrics").await?;
        Ok(Self::parse(&answer.text()))
    }

    pub(crate) fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let numbers = samples.filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        });
        let gauges = text.lines().filter_map(|line| {
            let declared = line.strip_prefix("# TYPE ")?;
            declared.strip_suffix(" gauge").map(str::to_owned)
        });
        Self {
            samples: numbers.collect(),
            gauges: gauges.collect(),
        }
    }

    /// Every series of every gauge.
    pub fn gauges(&self) -> impl Iterator<Item = (String, f64)> {
        let is_one = |series: &str| {
            let name = series.split_once('{').map_or(series, |(name, _)| name);
            self.gauges.contains(name)
        };
        let all = self.samples.iter();
        all.filter(move |(series, _)| is_one(series))
            .map(|(series, value)| (series.clone(), *value))
    }

    /// The sum over all series of `name`, without the program's prefix, whose labels have every one of `labels`
    /// (`way="http"`); 0 where there is none.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let fits = |series: &str| {
            let (full, rest) = series.split_once('{').unwrap_or((series, ""));
            let own = full
                .strip_prefix("edge_tunnel_server_")
                .or(full.strip_prefix("edge_tunnel_agent_"));
            own == Some(name) && labels.iter().all(|label| rest.contains(label))
        };
        self.samples
            .iter()
            .filter(|(series, _)| fits(series))
            .map(|(_, value)| value)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_summed_by_their_labels() {
        let text = "# TYPE x counter\nedge_tunnel_server_x_total{way=\"http\",outcome=\"a\"} 2\n\
                    edge_tunnel_server_x_total{way=\"tls\",outcome=\"a\"} 3\nedge_tunnel_agent_y 0.5\n# EOF\n";
        let metrics = Metrics::parse(text);
        assert!((metrics.sum("x_total", &[]) - 5.0).abs() < 1e-9);
        assert!((metrics.sum("x_total", &["way=\"tls\""]) - 3.0).abs() < 1e-9);
        assert!((metrics.sum("y", &[]) - 0.5).abs() < 1e-9);
        assert!(metrics.sum("x", &[]).abs() < 1e-9);
    }

    #[test]
    fn gauges_are_told_from_what_only_rises() {
        let text = "# TYPE a_open gauge\na_open{way=\"http\"} 2\na_open{way=\"tls\"} 0\n# TYPE a_open_seen counter\n\
                    a_open_seen_total 7\n# TYPE b gauge\nb 1\n# EOF\n";
        let metrics = Metrics::parse(text);
        let gauges: Vec<_> = metrics.gauges().map(|(_, value)| value).collect();
        assert_eq!(gauges, [2.0, 0.0, 1.0]);
    }
}

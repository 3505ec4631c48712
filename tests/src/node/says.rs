//! What an agent that runs says of itself.

use std::time::Duration;

use super::Node;
use crate::metrics::{Metrics, page};
use crate::wait::{SOON, until};

impl Node {
    /// What the agent's `/metrics` says.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn metrics(&self) -> Metrics {
        let read = Metrics::read(self.admin()).await;
        read.expect("an agent that runs shows its metrics")
    }

    /// What the agent says is missing; empty when it is ready.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn missing(&self) -> String {
        let answer = page(self.admin(), "/readyz").await;
        let answer = answer.expect("an agent that runs answers on its admin port");
        if answer.status == 200 {
            String::new()
        } else {
            answer.text()
        }
    }

    /// Waits until the agent is connected, and says how long that took.
    ///
    /// # Panics
    /// When it is not soon.
    pub async fn ready(&self) -> Duration {
        let look = async || match self.missing().await {
            missing if missing.is_empty() => Ok(()),
            missing => Err(missing),
        };
        until(&format!("{} is connected", self.name), SOON, look)
            .await
            .1
    }

    /// Waits until the agent says that something is missing which has every one of `words` in it.
    ///
    /// # Panics
    /// When it does not soon.
    pub async fn says(&self, words: &[&str]) -> String {
        let look = async || match self.missing().await {
            missing if !missing.is_empty() && words.iter().all(|word| missing.contains(word)) => {
                Ok(missing)
            }
            other => Err(other),
        };
        until(&format!("{} says {words:?}", self.name), SOON, look)
            .await
            .0
    }

    /// Waits until the agent has `count` sessions over `transport`.
    ///
    /// # Panics
    /// When it has not soon.
    pub async fn carried_by(&self, transport: &str, count: usize) {
        let label = format!("transport=\"{transport}\"");
        let look = async || {
            let metrics = self.metrics().await;
            let has = metrics.sum("sessions", &[&label]);
            if (has - count as f64).abs() < 0.5 {
                Ok(())
            } else {
                Err(format!("{has}"))
            }
        };
        until(
            &format!("{} has {count} sessions over {transport}", self.name),
            SOON,
            look,
        )
        .await;
    }
}

//! What runs beside the streams for as long as the agent does. None of it may die unseen: an agent whose session nobody
//! keeps, or whose policy nobody reads again, looks well from outside.

use std::collections::HashMap;
use std::future::pending;

use tokio::task::{Id, JoinError, JoinSet};

/// Tasks with names. Dropping them ends them.
#[derive(Debug, Default)]
pub(super) struct Parts {
    tasks: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

/// A part that has died, which is a fault in this program.
#[derive(Debug, thiserror::Error)]
#[error(
    "{part} has died ({error}), so the agent stops and is to be started anew; please report it, with the lines before"
)]
pub(super) struct Died {
    part: &'static str,
    error: JoinError,
}

impl Parts {
    /// Runs `part`, whose name begins a sentence.
    pub(super) fn spawn(
        &mut self,
        name: &'static str,
        part: impl Future<Output = ()> + Send + 'static,
    ) {
        let id = self.tasks.spawn(part).id();
        self.names.insert(id, name);
    }

    /// Waits for `stop`.
    ///
    /// # Errors
    /// When a part dies before. One that returns had no more to do.
    pub(super) async fn watch_until(&mut self, stop: impl Future<Output = ()>) -> Result<(), Died> {
        tokio::select! {
            () = stop => Ok(()),
            died = self.died() => Err(died),
        }
    }

    async fn died(&mut self) -> Died {
        while let Some(ended) = self.tasks.join_next_with_id().await {
            if let Err(error) = ended {
                let part = self.names.get(&error.id()).copied();
                return Died {
                    part: part.unwrap_or("a part of the agent"),
                    error,
                };
            }
        }
        pending().await
    }

    /// Ends them all.
    pub(super) async fn shutdown(&mut self) {
        self.tasks.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_part_that_dies_is_told_by_its_name_and_one_that_is_done_is_not() {
        let mut parts = Parts::default();
        parts.spawn("the idle one", pending());
        parts.spawn("the short one", async {});
        parts
            .watch_until(sleep(Duration::from_secs(1)))
            .await
            .unwrap();
        parts.spawn("the weak one", async { panic!("out of luck") });
        let died = parts.watch_until(pending()).await.unwrap_err().to_string();
        assert!(
            died.starts_with("the weak one has died") && died.contains("out of luck"),
            "{died}"
        );
        parts.shutdown().await;
    }
}

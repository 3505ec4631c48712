//! What runs for as long as a process does: tasks with names, so that none of them ends unseen.

use std::collections::HashMap;

use tokio::task::{Id, JoinError, JoinSet};

/// Tasks with names. Dropping them ends them.
#[derive(Debug, Default)]
pub struct Parts {
    tasks: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

/// One of them has ended.
#[derive(Debug)]
pub struct Ended {
    /// Its name.
    pub part: &'static str,
    /// What it died of; nothing where it returned.
    pub error: Option<JoinError>,
}

impl Parts {
    /// Runs `task`, which `part` names for whoever reads the log.
    pub fn spawn(&mut self, part: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let id = self.tasks.spawn(task).id();
        self.names.insert(id, part);
    }

    /// Waits until one of them ends; for ever, where none is left. Cancel safe.
    pub async fn ended(&mut self) -> Ended {
        let (id, error) = match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => (id, None),
            Some(Err(error)) => (error.id(), Some(error)),
            None => std::future::pending().await,
        };
        let part = self.names.get(&id).copied().unwrap_or("a part");
        Ended { part, error }
    }

    /// Ends them all, and waits until they have.
    pub async fn shutdown(&mut self) {
        self.tasks.shutdown().await;
    }
}

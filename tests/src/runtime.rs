//! One program in a runtime of its own, so that it can be killed: everything that it holds drops at once, nothing of
//! it runs on, and its sockets close as the kernel closes a dead process's.

use std::time::Duration;

use edge_tunnel_proto::shutdown::Shutdown;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::wait::give_up;

/// A program that runs.
#[derive(Debug)]
pub(crate) struct Program {
    runtime: Option<Runtime>,
    pub(crate) shutdown: Shutdown,
    running: JoinHandle<()>,
}

impl Program {
    /// Makes a program by `bind`, in a runtime of its own, and runs it.
    ///
    /// # Errors
    /// What `bind` says.
    pub(crate) async fn start<T, R>(
        bind: impl Future<Output = anyhow::Result<(Shutdown, T, R)>> + Send + 'static,
    ) -> anyhow::Result<(Self, T)>
    where
        T: Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let bound = match runtime.spawn(bind).await {
            Ok(bound) => bound,
            Err(died) => Err(died.into()),
        };
        match bound {
            Ok((shutdown, facts, run)) => {
                let running = runtime.spawn(run);
                let program = Self {
                    runtime: Some(runtime),
                    shutdown,
                    running,
                };
                Ok((program, facts))
            }
            Err(error) => {
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    /// Tells it to stop as a signal would, and waits until its `run` has returned; says how long that took.
    pub(crate) async fn stop(mut self) -> Duration {
        let began = Instant::now();
        self.shutdown.draining().cancel();
        if let Err(died) = (&mut self.running).await {
            give_up(format!("the program died while it stopped: {died}"));
        }
        began.elapsed()
    }

    /// How many of its tasks run.
    pub(crate) fn tasks(&self) -> usize {
        self.shutdown.tasks().len()
    }
}

impl Drop for Program {
    /// After `run` has returned this is the exit of the process, before that its death.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

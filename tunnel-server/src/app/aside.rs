//! What only serves the rest of the server, and ends with it: pages, commands, the watch over revocations. None of them
//! ends by itself, so one that does is a fault that must not go unseen.

use std::time::Duration;

use edge_tunnel_proto::parts::{Ended, Parts};
use tracing::warn;

use crate::identity::Identity;

/// How often what others may have changed in the state folder is looked at.
const REFRESH: Duration = Duration::from_secs(10);

/// The parts, by name. They end when this drops.
#[derive(Debug, Default)]
pub(super) struct Aside(Parts);

/// One of them has ended.
#[derive(Debug, thiserror::Error)]
#[error(
    "{part} died ({why}), and the server does not run without: it drains and exits. This is a fault of edge-tunnel: \
     please report it, with the log lines before this one"
)]
pub(super) struct Died {
    part: &'static str,
    why: String,
}

impl Aside {
    /// Runs `task`, which `part` names for whoever reads the log.
    pub(super) fn spawn(
        &mut self,
        part: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.0.spawn(part, task);
    }

    /// Waits until one of them ends. Cancel safe.
    pub(super) async fn died(&mut self) -> Died {
        let Ended { part, error } = self.0.ended().await;
        let why = error.map_or_else(|| "it ended".to_owned(), |error| error.to_string());
        Died { part, why }
    }

    /// Ends them all, and waits until they have.
    pub(super) async fn shutdown(mut self) {
        self.0.shutdown().await;
    }
}

/// Takes over what others have changed in the state folder, and keeps when nodes were last here.
pub(super) async fn refresh(identity: Identity) {
    loop {
        tokio::time::sleep(REFRESH).await;
        let reload = identity.clone();
        #[expect(
            clippy::disallowed_methods,
            reason = "reads a folder of small files; one at a time"
        )]
        let reloaded = tokio::task::spawn_blocking(move || reload.reload()).await;
        if let Ok(Err(error)) = reloaded {
            warn!(%error, "the state folder cannot be read; what was read before stays");
        }
        save_visits(identity.clone()).await;
    }
}

/// Keeps when nodes were last here.
pub(super) async fn save_visits(identity: Identity) {
    #[expect(
        clippy::disallowed_methods,
        reason = "writes one small file; one at a time"
    )]
    let saved = tokio::task::spawn_blocking(move || identity.save_visits()).await;
    if let Ok(Err(error)) = saved {
        warn!(%error, "when nodes were last here cannot be kept; it is tried again, and known until a restart");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser as _;

    use crate::app::App;
    use crate::config::{Cli, Command};

    /// What the watch over revocations would be, if it had a fault.
    async fn faulty() {
        panic!("a fault");
    }

    #[tokio::test]
    async fn a_part_that_dies_ends_the_server_and_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().display().to_string();
        let mut line = vec!["edge-tunnel-server", "run", "--state-dir", &state];
        for flag in [
            "--agents-listen",
            "--tls-listen",
            "--http-listen",
            "--admin-listen",
        ] {
            line.extend([flag, "127.0.0.1:0"]);
        }
        let Command::Run(config) = Cli::try_parse_from(line).unwrap().command else {
            unreachable!("the command line says run");
        };
        let mut app = App::bind(*config).await.unwrap();
        let draining = app.shutdown().draining().clone();
        app.aside.spawn("the watch over revocations", faulty());
        let running = app.run(std::future::pending());
        let error = tokio::time::timeout(Duration::from_secs(20), running)
            .await
            .expect("it ends by itself")
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("the watch over revocations died ("),
            "{error}"
        );
        assert!(error.contains("a fault"), "{error}");
        assert!(draining.is_cancelled());
    }
}

//! What runs beside the streams for as long as the agent does. None of it may die unseen: an agent whose session nobody
//! keeps, or whose policy nobody reads again, looks well from outside.

use edge_tunnel_proto::parts::{Ended, Parts};
use tokio::task::JoinError;

/// A part that has died, which is a fault in this program.
#[derive(Debug, thiserror::Error)]
#[error(
    "{part} has died ({error}), so the agent stops and is to be started anew; please report it, with the lines before"
)]
pub(super) struct Died {
    part: &'static str,
    error: JoinError,
}

/// Waits for `stop`.
///
/// # Errors
/// When a part dies before. One that returns had no more to do.
pub(super) async fn watch_until(
    parts: &mut Parts,
    stop: impl Future<Output = ()>,
) -> Result<(), Died> {
    let died = async {
        loop {
            let Ended { part, error } = parts.ended().await;
            if let Some(error) = error {
                return Died { part, error };
            }
        }
    };
    tokio::select! {
        () = stop => Ok(()),
        died = died => Err(died),
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_part_that_dies_is_told_by_its_name_and_one_that_is_done_is_not() {
        let mut parts = Parts::default();
        parts.spawn("the idle one", pending());
        parts.spawn("the short one", async {});
        watch_until(&mut parts, sleep(Duration::from_secs(1)))
            .await
            .unwrap();
        parts.spawn("the weak one", async { panic!("out of luck") });
        let died = watch_until(&mut parts, pending())
            .await
            .unwrap_err()
            .to_string();
        assert!(
            died.starts_with("the weak one has died") && died.contains("out of luck"),
            "{died}"
        );
        parts.shutdown().await;
    }
}

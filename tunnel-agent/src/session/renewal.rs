//! When to ask for a new certificate over a session: when a third of the old one's life has passed, and after a
//! refusal again, ever more patiently.

use std::time::Duration;

use edge_tunnel_proto::backoff::Backoff;
use tokio::time::Instant;

use crate::identity::Identity;

/// How long an answer may take before the request is made again.
const ANSWER: Duration = Duration::from_secs(60);

/// How often the wall clock is looked at: it may be set, and the files may be replaced, at any time.
const LOOK: Duration = Duration::from_secs(60);

/// How much slower than a redial a refused renewal is repeated: there are days left.
const PATIENCE: u32 = 10;

/// The next renewal.
pub(super) struct Renewal {
    identity: Identity,
    backoff: Backoff,
    not_before: Instant,
}

impl Renewal {
    pub(super) fn new(identity: &Identity) -> Self {
        Self {
            identity: identity.clone(),
            backoff: Backoff::default(),
            not_before: Instant::now(),
        }
    }

    /// Waits until it is due. Cancel safe.
    pub(super) async fn due(&self) {
        tokio::time::sleep_until(self.not_before).await;
        loop {
            match self.identity.renew_in() {
                Some(Duration::ZERO) => return,
                Some(left) => tokio::time::sleep(left.min(LOOK)).await,
                None => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// A request is under way.
    pub(super) fn asked(&mut self) {
        self.not_before = Instant::now() + ANSWER;
    }

    /// It was refused, or could not be made.
    pub(super) fn failed(&mut self) {
        self.not_before =
            Instant::now() + PATIENCE * (Duration::from_secs(1) + self.backoff.next_delay());
    }

    /// There is a new certificate.
    pub(super) fn done(&mut self) {
        self.backoff.reset();
        self.not_before = Instant::now();
    }
}

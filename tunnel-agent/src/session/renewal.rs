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

/// The longest that a server may send an agent away for: a confused one must not let a certificate expire.
const TOLD_MAX: Duration = Duration::from_secs(60 * 60);

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
        let clock = self.identity.clock();
        loop {
            let seen = clock.machine();
            let look_again = match self.identity.renew_in() {
                Some(Duration::ZERO) => return,
                Some(left) => left.min(LOOK),
                None => LOOK,
            };
            tokio::select! {
                () = tokio::time::sleep(look_again) => {}
                () = clock.moved_from(seen) => {}
            }
        }
    }

    /// A request is under way.
    pub(super) fn asked(&mut self) {
        self.not_before = Instant::now() + ANSWER;
    }

    /// It was refused, or could not be made; the server may have said when to come back.
    pub(super) fn failed(&mut self, retry_after: Option<Duration>) {
        let patience = PATIENCE * (Duration::from_secs(1) + self.backoff.next_delay());
        let told = retry_after.unwrap_or_default().min(TOLD_MAX);
        self.not_before = Instant::now() + patience.max(told);
    }

    /// There is a new certificate.
    pub(super) fn done(&mut self) {
        self.backoff.reset();
        self.not_before = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use edge_tunnel_proto::clock::Clock;
    use edge_tunnel_proto::identity::TrustDomain;

    use super::*;
    use crate::identity::Settings;

    #[tokio::test(start_paused = true)]
    async fn a_refused_renewal_waits_for_as_long_as_the_server_says_and_not_for_days() {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity::open(&Settings {
            state_dir: folder.path().to_owned(),
            trust_domain: TrustDomain::default(),
            clock: Clock::system(),
        })
        .unwrap();
        let mut renewal = Renewal::new(&identity);
        let after = |renewal: &Renewal| renewal.not_before - Instant::now();
        renewal.failed(None);
        let own = Duration::from_secs(10)..=Duration::from_secs(20);
        assert!(own.contains(&after(&renewal)), "{:?}", after(&renewal));
        renewal.failed(Some(Duration::from_secs(300)));
        assert_eq!(after(&renewal), Duration::from_secs(300));
        renewal.failed(Some(Duration::from_secs(1_000_000)));
        assert_eq!(after(&renewal), TOLD_MAX);
        // Told to come at once it takes its time all the same.
        renewal.failed(Some(Duration::ZERO));
        assert!(after(&renewal) >= Duration::from_secs(10));
        renewal.done();
        assert_eq!(after(&renewal), Duration::ZERO);
    }
}

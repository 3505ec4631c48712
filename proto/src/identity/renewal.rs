//! When in the life of its certificate an agent renews. The agent goes by it, and the server by when all have.

use std::time::Duration;

/// How long after its issue a certificate of this `life` is renewed at the earliest.
#[must_use]
pub const fn begins(life: Duration) -> Duration {
    Duration::from_secs(life.as_secs() / 3)
}

/// How much later it may be, so that not all nodes come at once: each picks a part of this.
#[must_use]
pub const fn spread(life: Duration) -> Duration {
    Duration::from_secs(life.as_secs() / 12)
}

//! When this program was built: no honest clock is before it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// When this version was made, in seconds since 1970: 2026-11-01.
const VERSION_DATE: u64 = 1_793_491_200;

/// The date of the build, as the builder gave it (<https://reproducible-builds.org/specs/source-date-epoch/>), else that
/// of the version.
#[must_use]
pub fn build_date() -> SystemTime {
    let given = option_env!("SOURCE_DATE_EPOCH").and_then(|seconds| seconds.parse().ok());
    UNIX_EPOCH + Duration::from_secs(given.unwrap_or(VERSION_DATE).max(VERSION_DATE))
}

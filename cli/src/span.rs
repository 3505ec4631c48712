//! Lengths of time as people write them.

use std::time::Duration;

/// Reads a length of time such as `25s`, `5m` or `1h 30m`, between two bounds in seconds.
///
/// # Errors
/// When it is none, or outside the bounds, in words for the person who wrote it.
pub fn span(text: &str, least: u64, most: u64) -> Result<Duration, String> {
    let span = humantime::parse_duration(text).map_err(|error| {
        format!("{error}; write a number with a unit, such as 500ms, 25s, 5m, 1h or 90d")
    })?;
    if (Duration::from_secs(least)..=Duration::from_secs(most)).contains(&span) {
        return Ok(span);
    }
    Err(format!(
        "it must be from {} to {}",
        bound(least),
        bound(most)
    ))
}

/// A bound as the help texts write it: `365d`, which humantime would show in months, days and seconds.
fn bound(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "m")];
    let whole = |(length, _): &(u64, &str)| seconds > 0 && seconds.is_multiple_of(*length);
    match units.into_iter().find(whole) {
        Some((length, unit)) => format!("{}{unit}", seconds / length),
        None => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_and_are_said_as_people_write_them() {
        assert_eq!(span("1m 30s", 1, 90), Ok(Duration::from_secs(90)));
        for (text, least, most, said) in [
            ("91s", 1, 90, "it must be from 1s to 90s"),
            ("0s", 60, 3_600, "it must be from 1m to 1h"),
            ("366d", 0, 365 * 86_400, "it must be from 0s to 365d"),
        ] {
            assert_eq!(span(text, least, most), Err(said.to_owned()));
        }
        let error = span("soon", 0, 1).map(drop).unwrap_err();
        assert!(error.contains("write a number with a unit"), "{error}");
    }
}

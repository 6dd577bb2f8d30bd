//! When a feed is asked again. Pure.

use std::time::Duration;

use jiff::Timestamp;

/// However often it fails, a feed is asked once a day.
const MOST: Duration = Duration::from_hours(24);

/// The wait after an answer: `every` after a good one, twice as long after every failure in a row, never less than
/// the server asked for; `chance` in 0..1000 spreads it by up to a fifth, so that many feeds do not come at once.
pub fn wait(every: Duration, failures: i64, asked_for: Option<Duration>, chance: u64) -> Duration {
    let doublings = u32::try_from(failures.clamp(0, 10)).unwrap_or_default();
    let own = every.saturating_mul(1 << doublings).min(MOST.max(every));
    let wait = own.max(asked_for.unwrap_or_default().min(MOST));
    // What is due every ten minutes stays due every ten minutes; only what failed is spread.
    let spread = if failures > 0 || asked_for.is_some() { wait / 5 } else { wait / 50 };
    wait + spread.mul_f64(f64::from(u32::try_from(chance.min(1000)).unwrap_or_default()) / 1000.0)
}

/// `Retry-After`: seconds or a date.
pub fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds).min(MOST));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    let ms = u64::try_from(at.as_millisecond() - now.as_millisecond()).ok()?;
    Some(Duration::from_millis(ms).min(MOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_with_every_failure_up_to_a_day() {
        let minutes = |failures, asked: Option<u64>, chance| {
            wait(Duration::from_mins(10), failures, asked.map(Duration::from_secs), chance).as_secs() / 60
        };
        for (failures, asked, chance, expected) in [
            (0, None, 0, 10),
            (1, None, 0, 20),
            (2, None, 0, 40),
            (2, None, 1000, 48),
            (30, None, 0, 24 * 60),
            (1, Some(3600), 0, 60),
            (0, Some(60), 0, 10),
            (1, Some(10_000_000), 0, 24 * 60),
        ] {
            assert_eq!(minutes(failures, asked, chance), expected, "{failures} {asked:?} {chance}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "2026-11-24T05:00:00Z".parse().unwrap();
        assert_eq!(retry_after("120", now), Some(Duration::from_mins(2)));
        assert_eq!(retry_after("Tue, 24 Nov 2026 05:01:00 GMT", now), Some(Duration::from_mins(1)));
        assert_eq!(retry_after("Tue, 24 Nov 2026 04:01:00 GMT", now), None);
        assert_eq!(retry_after("soon", now), None);
    }
}

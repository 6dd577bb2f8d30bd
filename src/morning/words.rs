//! Lengths of time and instants in words, for alarms and answers.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// `45 s`, `12 min`, `3 h`, `2 h 30 min`.
pub fn duration(length: Duration) -> String {
    let seconds = length.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds % 3600 / 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds} s"),
        (0, minutes) => format!("{minutes} min"),
        (hours, 0) => format!("{hours} h"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

/// `2026-11-24 06:30 (Africa/Abidjan)`.
pub fn instant(at: Timestamp, zone: &TimeZone) -> String {
    let name = zone.iana_name().unwrap_or("UTC");
    format!("{} ({name})", at.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_instants_have_their_units() {
        assert_eq!(duration(Duration::from_secs(45)), "45 s");
        assert_eq!(duration(Duration::from_secs(9000)), "2 h 30 min");
        assert_eq!(
            instant(
                "2026-11-24T06:30:00Z".parse().unwrap(),
                &crate::clock::time_zone("Africa/Casablanca").unwrap()
            ),
            "2026-11-24 06:30 (Africa/Casablanca)"
        );
    }
}

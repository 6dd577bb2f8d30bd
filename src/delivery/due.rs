//! When a delivery is due and when it is too late: P5, in civil time.
//!
//! A gap in the clock gives the first instant after it, a fold the first of the two (C3): one edition, one morning.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;

/// The two instants of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instants {
    /// A try may start from here on.
    pub due: Timestamp,
    /// And only before this.
    pub deadline: Timestamp,
}

/// What a newsletter says about mornings.
#[derive(Clone, Copy, Debug)]
pub struct Morning {
    /// The date that the edition bears.
    pub date: Date,
    /// When it was locked.
    pub lock: Timestamp,
    /// When it is yesterday's news, in the subscriber's zone.
    pub deadline: Time,
    /// But at least so long after it was due.
    pub window: Duration,
}

/// The instants of a subscriber who lives in `zone` and reads at `hour`.
pub fn instants(morning: &Morning, zone: &TimeZone, hour: Time) -> Instants {
    let at = |time: Time| {
        zone.to_ambiguous_timestamp(morning.date.to_datetime(time)).compatible().unwrap_or(morning.lock)
    };
    let due = at(hour).max(morning.lock);
    let window = due.checked_add(morning.window).unwrap_or(Timestamp::MAX);
    Instants { due, deadline: at(morning.deadline).max(window) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::time_zone;

    fn of(date: &str, lock: &str, zone: &str, hour: &str) -> (String, String) {
        let morning = Morning {
            date: date.parse().unwrap(),
            lock: lock.parse().unwrap(),
            deadline: Time::constant(12, 0, 0, 0),
            window: Duration::from_secs(3 * 3600),
        };
        let instants = instants(&morning, &time_zone(zone).unwrap(), hour.parse().unwrap());
        (instants.due.to_string(), instants.deadline.to_string())
    }

    fn pair(due: &str, deadline: &str) -> (String, String) {
        (due.to_owned(), deadline.to_owned())
    }

    #[test]
    fn p5_the_morning_is_the_subscribers_own() {
        let of = |zone, hour| of("2026-11-24", "2026-11-24T05:00:00Z", zone, hour);
        assert_eq!(of("Africa/Abidjan", "06:30:00"), pair("2026-11-24T06:30:00Z", "2026-11-24T12:00:00Z"));
        assert_eq!(of("America/Montreal", "06:30:00"), pair("2026-11-24T11:30:00Z", "2026-11-24T17:00:00Z"));
        assert_eq!(of("Africa/Casablanca", "06:30:00"), pair("2026-11-24T06:30:00Z", "2026-11-24T12:00:00Z"));
    }

    #[test]
    fn p5_east_of_the_lock_the_lock_decides_and_the_window_still_holds() {
        let of = |zone, hour| of("2026-11-24", "2026-11-24T05:00:00Z", zone, hour);
        assert_eq!(of("Indian/Mauritius", "06:30:00"), pair("2026-11-24T05:00:00Z", "2026-11-24T08:00:00Z"));
        assert_eq!(of("Pacific/Auckland", "06:30:00"), pair("2026-11-24T05:00:00Z", "2026-11-24T08:00:00Z"));
    }

    #[test]
    fn c3_gaps_and_folds_give_one_instant() {
        let of = |date: &str, zone, hour| of(date, "2026-01-01T00:00:00Z", zone, hour).0;
        assert_eq!(of("2026-04-24", "Africa/Cairo", "00:30:00"), "2026-04-23T22:30:00Z");
        assert_eq!(of("2026-10-29", "Africa/Cairo", "23:30:00"), "2026-10-29T20:30:00Z");
        assert_eq!(of("2027-03-28", "Europe/Paris", "02:30:00"), "2027-03-28T01:30:00Z");
        assert_eq!(of("2026-10-25", "Europe/Paris", "02:30:00"), "2026-10-25T00:30:00Z");
    }
}

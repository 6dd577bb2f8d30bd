//! Which editions are due, and when: the `cron` crate gives civil times, jiff makes instants of them.
//!
//! An edition is keyed by its civil date, never by a firing: a rule read in a time zone by the `cron` crate loses
//! the night when clocks go forward and fires twice when they go back. So the rule runs in civil time, dressed as
//! UTC, and each civil time becomes the one instant that the zone gives it: the first of two, the one after a gap.

use std::str::FromStr as _;

use chrono::{DateTime, Datelike as _, Timelike as _, Utc};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime as Civil};
use jiff::tz::TimeZone;

use crate::config::{ForDay, Newsletter};

/// One lock that is to come, or has passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The date that the edition bears.
    pub date: Date,
    /// When it locks.
    pub lock: Timestamp,
}

/// Why a rule gives no dates.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The rule does not parse; configuration that was checked has none of these.
    #[error("the lock rule {rule:?}: {message}")]
    Rule {
        /// The rule.
        rule: String,
        /// What is wrong with it.
        message: String,
    },
    /// Beyond the calendar.
    #[error("beyond the calendar: {0}")]
    Calendar(#[from] jiff::Error),
}

/// The next editions whose lock lies after `after`, at most `count`, in order.
pub fn next_locks(newsletter: &Newsletter, after: Timestamp, count: usize) -> Result<Vec<Due>, Error> {
    let zone = &newsletter.timezone;
    // Start a day early in civil time, so that no civil time whose instant lies after `after` is missed.
    let start = after.to_zoned_datetime(zone.clone()).datetime();
    let start = start.checked_sub(jiff::Span::new().days(1)).unwrap_or(start);
    let mut out: Vec<Due> = Vec::new();
    for civil in civil_times(&newsletter.lock, start)? {
        let due = due(newsletter, zone, civil)?;
        let known = out.last().is_some_and(|last| last.date >= due.date);
        if due.lock > after && !known && !newsletter.days_off.contains(&due.date) {
            out.push(due);
        }
        if out.len() >= count {
            break;
        }
    }
    Ok(out)
}

/// The editions whose lock lies in `(after, until]`, oldest first.
pub fn locks_between(newsletter: &Newsletter, after: Timestamp, until: Timestamp) -> Result<Vec<Due>, Error> {
    let mut out = Vec::new();
    let mut from = after;
    loop {
        let next = next_locks(newsletter, from, 8)?;
        for due in &next {
            if due.lock > until {
                return Ok(out);
            }
            out.push(due.clone());
        }
        match next.last() {
            Some(last) => from = last.lock,
            None => return Ok(out),
        }
    }
}

/// The lock of the edition that bears this date; `None` where the rule gives it none.
pub fn lock_of(newsletter: &Newsletter, date: Date) -> Result<Option<Due>, Error> {
    let day = match newsletter.for_day {
        ForDay::Same => date,
        ForDay::Next => date.yesterday()?,
    };
    let start = day.at(0, 0, 0, 0);
    let before = start.checked_sub(jiff::Span::new().seconds(1))?;
    for civil in civil_times(&newsletter.lock, before)? {
        if civil.date() > day {
            break;
        }
        if civil.date() == day {
            return due(newsletter, &newsletter.timezone, civil).map(Some);
        }
    }
    Ok(None)
}

/// Whether the rule gives this date an edition: a day off has none.
pub fn is_due(newsletter: &Newsletter, date: Date) -> Result<bool, Error> {
    Ok(!newsletter.days_off.contains(&date) && lock_of(newsletter, date)?.is_some())
}

/// When the edition of this date locks; on a date that the rule leaves out, at the hour of the rule's next lock.
pub fn lock_for(newsletter: &Newsletter, date: Date) -> Result<Timestamp, Error> {
    if let Some(due) = lock_of(newsletter, date)? {
        return Ok(due.lock);
    }
    let day = match newsletter.for_day {
        ForDay::Same => date,
        ForDay::Next => date.yesterday()?,
    };
    let start = day.at(0, 0, 0, 0);
    let hour = civil_times(&newsletter.lock, start)?.next().map_or_else(|| start.time(), Civil::time);
    due(newsletter, &newsletter.timezone, day.to_datetime(hour)).map(|due| due.lock)
}

fn due(newsletter: &Newsletter, zone: &TimeZone, civil: Civil) -> Result<Due, Error> {
    let lock = zone.to_ambiguous_zoned_datetime(civil).compatible()?.timestamp();
    let date = match newsletter.for_day {
        ForDay::Same => civil.date(),
        ForDay::Next => civil.date().tomorrow()?,
    };
    Ok(Due { date, lock })
}

/// The civil times of a rule after `start`, in order, without end.
fn civil_times(rule: &str, start: Civil) -> Result<impl Iterator<Item = Civil>, Error> {
    let six = if rule.split_whitespace().count() == 5 { format!("0 {rule}") } else { rule.to_owned() };
    let schedule = cron::Schedule::from_str(&six)
        .map_err(|error| Error::Rule { rule: rule.to_owned(), message: error.to_string() })?;
    let dressed = TimeZone::UTC.to_timestamp(start)?;
    let from = DateTime::<Utc>::from_timestamp(dressed.as_second(), 0).unwrap_or_default();
    Ok(schedule.after_owned(from).filter_map(|at| {
        Civil::new(
            i16::try_from(at.year()).ok()?,
            i8::try_from(at.month()).ok()?,
            i8::try_from(at.day()).ok()?,
            i8::try_from(at.hour()).ok()?,
            i8::try_from(at.minute()).ok()?,
            i8::try_from(at.second()).ok()?,
            0,
        )
        .ok()
    }))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use super::*;

    pub(crate) fn newsletter(zone: &str, lock: &str, more: &str) -> Newsletter {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("matinale.toml");
        std::fs::write(folder.path().join("secret.key"), "key").unwrap();
        std::fs::set_permissions(folder.path().join("secret.key"), std::fs::Permissions::from_mode(0o600))
            .unwrap();
        let text = format!(
            "[keys]\nsecret_file = \"secret.key\"\n[relay.main]\nurl = \"smtp://127.0.0.1\"\n[newsletter.test]\nname = \"Test\"\n\
             from = \"test@example.org\"\nsend_at = \"06:30\"\nrelays = [\"main\"]\nlock = \"{lock}\"\ntimezone = \"{zone}\"\n{more}\n"
        );
        std::fs::write(&file, text).unwrap();
        crate::config::Config::load(&[file], &BTreeMap::new()).unwrap().newsletters.remove("test").unwrap()
    }

    fn dates(newsletter: &Newsletter, after: &str, count: usize) -> Vec<String> {
        next_locks(newsletter, after.parse().unwrap(), count)
            .unwrap()
            .iter()
            .map(|due| format!("{} {}", due.date, due.lock))
            .collect()
    }

    #[test]
    fn c3_a_night_with_a_gap_locks_once_after_it() {
        let paris = newsletter("Europe/Paris", "0 30 2 * * *", "");
        assert_eq!(
            dates(&paris, "2027-03-26T12:00:00Z", 3),
            [
                "2027-03-27 2027-03-27T01:30:00Z",
                "2027-03-28 2027-03-28T01:30:00Z",
                "2027-03-29 2027-03-29T00:30:00Z"
            ]
        );
    }

    #[test]
    fn c3_a_night_with_an_overlap_locks_once_at_the_first() {
        let paris = newsletter("Europe/Paris", "0 30 2 * * *", "");
        assert_eq!(
            dates(&paris, "2026-10-24T12:00:00Z", 2),
            ["2026-10-25 2026-10-25T00:30:00Z", "2026-10-26 2026-10-26T01:30:00Z"]
        );
        // Between the two half past twos nothing is due again.
        assert_eq!(dates(&paris, "2026-10-25T00:30:00Z", 1), ["2026-10-26 2026-10-26T01:30:00Z"]);
    }

    #[test]
    fn weekdays_days_off_and_the_evening_before_are_kept() {
        let abidjan = newsletter("Africa/Abidjan", "0 0 5 * * Mon-Fri", "days_off = [\"2026-11-30\"]");
        assert_eq!(
            dates(&abidjan, "2026-11-27T05:00:00Z", 2),
            ["2026-12-01 2026-12-01T05:00:00Z", "2026-12-02 2026-12-02T05:00:00Z"]
        );
        let evening = newsletter("Africa/Abidjan", "0 0 22 * * *", "for_day = \"next\"");
        assert_eq!(dates(&evening, "2026-11-24T12:00:00Z", 1), ["2026-11-25 2026-11-24T22:00:00Z"]);
        let due = lock_of(&evening, "2026-11-25".parse().unwrap()).unwrap().unwrap();
        assert_eq!(due.lock.to_string(), "2026-11-24T22:00:00Z");
        let saturday = "2026-11-28".parse().unwrap();
        assert_eq!(lock_of(&abidjan, saturday).unwrap(), None);
        for (date, due) in [("2026-11-27", true), ("2026-11-28", false), ("2026-11-30", false)] {
            assert_eq!(is_due(&abidjan, date.parse().unwrap()).unwrap(), due, "{date}");
        }
        assert_eq!(lock_for(&abidjan, saturday).unwrap().to_string(), "2026-11-28T05:00:00Z");
    }

    #[test]
    fn every_lock_missed_while_the_daemon_was_down_is_found() {
        let abidjan = newsletter("Africa/Abidjan", "0 0 5 * * *", "");
        let missed = locks_between(
            &abidjan,
            "2026-11-01T05:00:00Z".parse().unwrap(),
            "2026-11-20T05:00:00Z".parse().unwrap(),
        )
        .unwrap();
        assert_eq!(missed.len(), 19);
    }
}

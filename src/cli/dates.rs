//! Dates on the command line: ISO 8601, or `today`, `tomorrow`, `yesterday`, read in the newsletter's zone.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::Misuse;

/// A date as it was given; what `today` means is known only with the newsletter's zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateArg {
    /// This very date.
    On(Date),
    /// So many days after today.
    Relative(i32),
}

impl std::str::FromStr for DateArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "today" => Ok(Self::Relative(0)),
            "tomorrow" => Ok(Self::Relative(1)),
            "yesterday" => Ok(Self::Relative(-1)),
            text => text
                .parse::<Date>()
                .map(Self::On)
                .map_err(|_| "expected a date such as 2026-11-24, or today, tomorrow, yesterday".to_owned()),
        }
    }
}

impl DateArg {
    /// The date that is meant, seen from `now` in this zone.
    pub fn resolve(self, now: Timestamp, zone: &TimeZone) -> anyhow::Result<Date> {
        match self {
            Self::On(date) => Ok(date),
            Self::Relative(days) => {
                let today = now.to_zoned_datetime(zone.clone()).date();
                today
                    .checked_add(jiff::Span::new().days(days))
                    .map_err(|_| Misuse("that date lies beyond the calendar".to_owned()).into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn today_is_the_newsletters_today() {
        let now: Timestamp = "2026-11-24T23:30:00Z".parse().unwrap();
        let day = |text: &str, zone: &str| {
            text.parse::<DateArg>()
                .unwrap()
                .resolve(now, &crate::clock::time_zone(zone).unwrap())
                .unwrap()
                .to_string()
        };
        assert_eq!(day("today", "Africa/Abidjan"), "2026-11-24");
        assert_eq!(day("today", "Africa/Nairobi"), "2026-11-25");
        assert_eq!(day("yesterday", "Africa/Nairobi"), "2026-11-24");
        assert_eq!(day("2026-12-01", "Africa/Nairobi"), "2026-12-01");
        assert!("next week".parse::<DateArg>().is_err());
    }
}

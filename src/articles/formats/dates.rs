//! Dates as pages write them: "Publié le 23 août 2023", "August 23, 2023", "23/08/2023 à 14h05". Pure.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::articles::fingerprint::title_key;

const MONTHS: &[&[&str]] = &[
    &["janvier", "january", "janv", "jan"],
    &["fevrier", "february", "fevr", "feb"],
    &["mars", "march", "mar"],
    &["avril", "april", "avr", "apr"],
    &["mai", "may"],
    &["juin", "june", "jun"],
    &["juillet", "july", "juil", "jul"],
    &["aout", "august", "aug"],
    &["septembre", "september", "sept", "sep"],
    &["octobre", "october", "oct"],
    &["novembre", "november", "nov"],
    &["decembre", "december", "dec"],
];

/// Midnight of a date, UTC: what a page that names only the day is taken for.
pub(super) fn midnight(date: Date) -> Option<Timestamp> {
    TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok()
}

/// Whether a paragraph only says when the article came out, and when that was.
pub(super) fn byline(paragraph: &str) -> Option<Timestamp> {
    const SAYS: &[&str] =
        &["publie le ", "publie ", "mis en ligne le ", "published on ", "published ", "posted on "];
    if paragraph.chars().count() > 160 {
        return None;
    }
    let key = title_key(paragraph);
    let said = SAYS.iter().any(|start| key.starts_with(start));
    // A line that is nothing but a date says so too.
    if said || key.split(' ').count() <= 4 { find(&key) } else { None }
}

/// The first date in folded words.
fn find(key: &str) -> Option<Timestamp> {
    let words: Vec<&str> = key.split(' ').collect();
    for (at, window) in words.windows(3).enumerate() {
        let [a, b, c] = window else { continue };
        let date = match (number(a), number(b), number(c)) {
            // 23 août 2023
            (Some(day), None, Some(year)) => month(b).and_then(|month| date(year, month, day)),
            // august 23 2023
            (None, Some(day), Some(year)) => month(a).and_then(|month| date(year, month, day)),
            // 2023 08 23, 23 08 2023
            (Some(a), Some(b), Some(c)) if a > 31 => date(a, b, c),
            (Some(a), Some(b), Some(c)) => date(c, b, a),
            _ => None,
        };
        if let Some(date) = date {
            let (hour, minute) = time(words.get(at + 3..).unwrap_or_default()).unwrap_or((0, 0));
            return TimeZone::UTC.to_timestamp(date.at(hour, minute, 0, 0)).ok();
        }
    }
    None
}

fn date(year: i16, month: i16, day: i16) -> Option<Date> {
    if !(1900..=2200).contains(&year) {
        return None;
    }
    Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

/// "a 14h05", "at 14 05": only right behind the date.
fn time(words: &[&str]) -> Option<(i8, i8)> {
    let ["a" | "at", words @ ..] = words else { return None };
    let (hour, minute) = match words {
        [both, ..] if both.contains('h') => both.split_once('h')?,
        [hour, minute, ..] => (*hour, *minute),
        _ => return None,
    };
    let hour: i8 = hour.parse().ok()?;
    let minute: i8 = if minute.is_empty() { 0 } else { minute.parse().ok()? };
    ((0..24).contains(&hour) && (0..60).contains(&minute)).then_some((hour, minute))
}

fn number(word: &str) -> Option<i16> {
    let digits = word
        .strip_suffix("er")
        .or_else(|| word.strip_suffix("st"))
        .or_else(|| word.strip_suffix("rd"))
        .or_else(|| word.strip_suffix("th"))
        .unwrap_or(word);
    digits.parse().ok().filter(|number| *number >= 0)
}

fn month(word: &str) -> Option<i16> {
    MONTHS.iter().position(|names| names.contains(&word)).and_then(|at| i16::try_from(at + 1).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_as_pages_write_them() {
        for (text, expected) in [
            ("Publié le 23 août 2023 Lecture : 1 minute.", "2023-08-23T00:00:00Z"),
            ("Publié le 1er février 2024 à 14h05 • Mis à jour le 2 février 2024", "2024-02-01T14:05:00Z"),
            ("Published on August 3rd, 2023", "2023-08-03T00:00:00Z"),
            ("Published August 23, 2023 at 06:30", "2023-08-23T06:30:00Z"),
            ("23/08/2023", "2023-08-23T00:00:00Z"),
            ("2023-08-23", "2023-08-23T00:00:00Z"),
            ("Le 31 février 2024", ""),
            ("Le 23 août 2023", "2023-08-23T00:00:00Z"),
            ("Le préfet est arrivé le 22 août 2023 avec ses hommes", ""),
            ("Une délégation est arrivée le 22 août 2023 en ville", ""),
        ] {
            let found = byline(text).map(|at| at.to_string()).unwrap_or_default();
            assert_eq!(found, expected, "{text}");
        }
    }
}

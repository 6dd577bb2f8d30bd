//! Why a reader gets this mail: when they asked for it, and where. One sentence of the footer, in words that were
//! frozen with the revision, so that a mail that is repeated repeats it.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::language::{Language, put};
use super::plain;

/// The longest place that is told, in characters.
const PLACE: usize = 80;

/// When and where a reader asked for the newsletter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consent {
    on: Option<Date>,
    place: Option<String>,
}

impl Consent {
    /// From what is known of a subscription: the day that was brought along, or else the day of the confirmation.
    pub fn of(consented_at: Option<&str>, confirmed_at: Option<i64>, source: Option<&str>) -> Self {
        let told = consented_at.and_then(|text| text.get(..10)?.parse().ok());
        let confirmed = confirmed_at
            .and_then(|at| Timestamp::from_millisecond(at).ok())
            .map(|at| at.to_zoned_datetime(TimeZone::UTC).date());
        Self { on: told.or(confirmed), place: source.and_then(place) }
    }

    /// A reader of this day, for a preview.
    pub fn sample(on: Option<Date>) -> Self {
        Self { on, place: None }
    }

    /// As it is kept with an attempt; `None` where nothing is known.
    pub fn written(&self) -> Option<String> {
        if *self == Self::default() {
            return None;
        }
        let on = self.on.map_or_else(|| "-".to_owned(), |on| on.to_string());
        Some(format!("{on} {}", self.place.as_deref().unwrap_or_default()).trim_end().to_owned())
    }

    /// From what was kept.
    pub fn read(text: &str) -> Self {
        let (on, source) = text.split_once(' ').unwrap_or((text, ""));
        Self { on: on.parse().ok(), place: place(source) }
    }
}

/// A form, a page, a desk: in one short line, an address without its scheme.
fn place(source: &str) -> Option<String> {
    let line = plain::line(source);
    let bare = line.strip_prefix("https://").or(line.strip_prefix("http://")).unwrap_or(&line);
    let place = plain::shortened(bare.trim_end_matches('/'), PLACE);
    (!place.is_empty()).then_some(place)
}

/// The sentence in the language of a rendering.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sentences {
    both: String,
    on: String,
    place: String,
    day: String,
    first_day: String,
    months: Vec<String>,
}

impl Sentences {
    pub(super) fn new(language: Language) -> Self {
        let phrases = language.phrases();
        Self {
            both: phrases.asked_on_at.to_owned(),
            on: phrases.asked_on.to_owned(),
            place: phrases.asked_at.to_owned(),
            day: phrases.day.to_owned(),
            first_day: phrases.first_day.to_owned(),
            months: phrases.months.map(ToOwned::to_owned).to_vec(),
        }
    }

    /// The sentence, with what stands in its place made fit by `set`; `None` where there is nothing to say.
    pub(super) fn say(&self, consent: &Consent, set: impl Fn(&str) -> String) -> Option<String> {
        let date = consent.on.map(|on| self.date(on)).unwrap_or_default();
        let place = consent.place.as_deref().map(set).unwrap_or_default();
        let phrase = match (&consent.on, &consent.place) {
            (Some(_), Some(_)) => &self.both,
            (Some(_), None) => &self.on,
            (None, Some(_)) => &self.place,
            (None, None) => return None,
        };
        Some(put(phrase, &[("date", &date), ("place", &place)])).filter(|sentence| !sentence.is_empty())
    }

    fn date(&self, on: Date) -> String {
        let month = usize::from(on.month().unsigned_abs()).checked_sub(1).and_then(|at| self.months.get(at));
        let day = if on.day() == 1 { self.first_day.clone() } else { on.day().to_string() };
        put(
            &self.day,
            &[("day", &day), ("month", month.map_or("", String::as_str)), ("year", &on.year().to_string())],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(tag: &str, consent: &Consent) -> Option<String> {
        Sentences::new(Language::of(tag).unwrap()).say(consent, ToOwned::to_owned)
    }

    #[test]
    fn the_footer_says_when_and_where_in_every_language() {
        let form = Consent::of(Some("2025-03-01T07:12:00Z"), None, Some("https://news.example/abonnement/"));
        for (tag, sentence) in [
            ("fr", "Votre inscription date du 1er\u{A0}mars 2025 (news.example/abonnement)."),
            ("en", "You signed up on 1\u{A0}March 2025 (news.example/abonnement)."),
            ("ar", "تاريخ اشتراكك: 1\u{A0}مارس 2025 (news.example/abonnement)."),
            ("pt", "A sua inscrição é de 1\u{A0}de março de 2025 (news.example/abonnement)."),
        ] {
            assert_eq!(said(tag, &form).as_deref(), Some(sentence));
        }
        assert_eq!(
            said("fr", &Consent::of(None, Some(1_770_000_000_000), None)).unwrap(),
            "Votre inscription date du 2\u{A0}février 2026."
        );
        assert_eq!(
            said("en", &Consent::of(Some("some day"), None, Some("book fair"))).unwrap(),
            "You signed up here: book fair."
        );
        assert_eq!(said("fr", &Consent::default()), None);
    }

    #[test]
    fn p6_what_was_said_is_kept_and_said_again() {
        for consent in [
            Consent::of(Some("2025-03-12"), None, Some("a form,  with\r\nBcc: blanks")),
            Consent::of(None, None, Some("- 2025")),
            Consent::of(Some("2025-03-12"), None, None),
            Consent::of(None, None, Some(&"x y".repeat(100))),
        ] {
            assert_eq!(Consent::read(&consent.written().unwrap()), consent);
        }
        assert_eq!(Consent::default().written(), None);
    }
}

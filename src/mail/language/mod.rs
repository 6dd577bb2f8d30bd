//! The languages that mails speak: fixed phrases, dates, numbers, countries, direction.
//!
//! One file each. A new language is a new file beside these and its line in [`ALL`]; nothing else knows how many
//! there are. Phrases hold `{name}`-like places, filled by [`put`]; they are plain text and escaped where they land.

mod ar;
mod en;
mod fr;
mod pt;

use std::fmt;

use jiff::civil::{Date, Weekday};

use super::typography;
use crate::config::theme::French;
use crate::world;

/// Every language, the house's first one first.
pub const ALL: [Language; 4] =
    [Language(&fr::FRENCH), Language(&en::ENGLISH), Language(&ar::ARABIC), Language(&pt::PORTUGUESE)];

/// A language that a mail can be rendered in.
#[derive(Clone, Copy)]
pub struct Language(&'static Phrases);

impl Language {
    /// The language of this tag (BCP 47), by its first part: `fr-CI` is French.
    pub fn of(tag: &str) -> Option<Self> {
        let primary = tag.split(['-', '_']).next().unwrap_or_default();
        ALL.into_iter().find(|language| language.0.tag.eq_ignore_ascii_case(primary))
    }

    /// The first of these tags that is known; the house's first language where none is.
    pub fn first_of<'a>(tags: impl IntoIterator<Item = &'a str>) -> Self {
        tags.into_iter().find_map(Self::of).unwrap_or(ALL[0])
    }

    /// Its tag.
    pub fn tag(self) -> &'static str {
        self.0.tag
    }

    /// Its phrases.
    pub fn phrases(self) -> &'static Phrases {
        self.0
    }

    /// `ltr` or `rtl`.
    pub fn dir(self) -> &'static str {
        if self.0.right_to_left { "rtl" } else { "ltr" }
    }

    /// Sets a text as its readers expect it, and as the house wants French; idempotent.
    pub fn polish(self, text: &str, french: French) -> String {
        match french {
            French::Classic if self.0.french_spacing => typography::french_with(text, typography::FIRM),
            French::Thin if self.0.french_spacing => typography::french_with(text, typography::THIN),
            _ => text.to_owned(),
        }
    }

    /// The date in words.
    pub fn date(self, date: Date) -> String {
        let months = &self.0.months;
        let month = months[usize::from(date.month().unsigned_abs().clamp(1, 12)) - 1];
        let weekday = self.0.weekdays[match date.weekday() {
            Weekday::Monday => 0,
            Weekday::Tuesday => 1,
            Weekday::Wednesday => 2,
            Weekday::Thursday => 3,
            Weekday::Friday => 4,
            Weekday::Saturday => 5,
            Weekday::Sunday => 6,
        }];
        let day = if date.day() == 1 { self.0.first_day.to_owned() } else { date.day().to_string() };
        put(
            self.0.date,
            &[("weekday", weekday), ("day", &day), ("month", month), ("year", &date.year().to_string())],
        )
    }

    /// A whole number with its thousands apart.
    pub fn number(self, number: usize) -> String {
        let digits = number.to_string();
        let mut out = String::with_capacity(digits.len() + 4);
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) && digits.len() > 3 {
                out.push_str(self.0.thousands);
            }
            out.push(digit);
        }
        out
    }

    /// What this country is called; the code itself where nobody has named it.
    pub fn country(self, code: &str) -> String {
        let code = code.to_ascii_uppercase();
        world::name(&code, self.0.tag).map_or_else(|| code.clone(), ToOwned::to_owned)
    }
}

impl fmt::Debug for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.tag)
    }
}

impl PartialEq for Language {
    fn eq(&self, other: &Self) -> bool {
        self.0.tag == other.0.tag
    }
}

impl Eq for Language {}

/// Whether this language is written from right to left, known to the house or not.
pub fn is_right_to_left(tag: &str) -> bool {
    let primary = tag.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
    matches!(primary.as_str(), "ar" | "he" | "fa" | "ur" | "ps" | "sd" | "ckb" | "yi" | "dv" | "ug")
}

/// Fills the places of a phrase: `{source}` becomes what `source` stands for.
pub fn put(phrase: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(phrase.len() + 32);
    let mut rest = phrase;
    while let Some(open) = rest.find('{') {
        let Some(close) = rest[open..].find('}').map(|at| open + at) else { break };
        out.push_str(&rest[..open]);
        let name = &rest[open + 1..close];
        match values.iter().find(|(known, _)| *known == name) {
            Some((_, value)) => out.push_str(value),
            None => out.push_str(&rest[open..=close]),
        }
        rest = &rest[close + 1..];
    }
    out.push_str(rest);
    out
}

/// Everything a language says of itself.
#[derive(Debug)]
#[expect(missing_docs, reason = "each phrase is its own explanation, in four languages")]
pub struct Phrases {
    pub tag: &'static str,
    /// Language and country, as Open Graph wants both; the country where most of its press is.
    pub locale: &'static str,
    /// In itself: "Français".
    pub name: &'static str,
    pub right_to_left: bool,
    pub french_spacing: bool,
    /// Font stack instead of the theme's, where that has no letters for it.
    pub font: Option<&'static str>,
    pub thousands: &'static str,
    /// Of `{weekday}`, `{day}`, `{month}`, `{year}`.
    pub date: &'static str,
    /// A date without its weekday: of `{day}`, `{month}`, `{year}`.
    pub day: &'static str,
    /// The first of a month.
    pub first_day: &'static str,
    pub months: [&'static str; 12],
    /// From Monday.
    pub weekdays: [&'static str; 7],
    /// Of `{minutes}`, `{words}`.
    pub length: &'static str,
    /// Of `{number}`.
    pub edition_number: &'static str,
    pub menu: &'static str,
    pub brief: &'static str,
    pub figure: &'static str,
    pub agenda: &'static str,
    pub lighter: &'static str,
    pub sponsor: &'static str,
    pub correction: &'static str,
    /// Of `{date}`.
    pub correction_of: &'static str,
    /// Of `{credit}`.
    pub photo: &'static str,
    /// Of `{source}`.
    pub read_at: &'static str,
    /// Where the source has no name.
    pub read_on: &'static str,
    /// Of `{minutes}`.
    pub reading: &'static str,
    pub source: &'static str,
    pub forwarded: &'static str,
    pub subscribe: &'static str,
    pub browser: &'static str,
    pub preferences: &'static str,
    pub unsubscribe: &'static str,
    /// Of `{newsletter}`.
    pub why: &'static str,
    /// When and where a reader asked for it: of `{date}` and `{place}`.
    pub asked_on_at: &'static str,
    pub asked_on: &'static str,
    pub asked_at: &'static str,
    /// Of `{address}`.
    pub reply: &'static str,
    /// Before links to the newsletter's sisters in other languages.
    pub also_in: &'static str,
    pub archive: &'static str,
    /// Between a link and what it is about.
    pub colon: &'static str,
    /// Link texts that say nothing (M4), lower-case.
    pub empty_links: &'static [&'static str],
    pub notices: NoticePhrases,
}

/// What notices say.
#[derive(Debug)]
#[expect(missing_docs, reason = "each phrase is its own explanation, in four languages")]
pub struct NoticePhrases {
    /// Of `{newsletter}`.
    pub confirm_subject: &'static str,
    pub confirm_text: &'static str,
    pub confirm_button: &'static str,
    pub confirm_ignore: &'static str,
    pub sign_in_subject: &'static str,
    /// Of `{minutes}`.
    pub sign_in_text: &'static str,
    pub sign_in_button: &'static str,
    pub sign_in_ignore: &'static str,
    /// Of `{newsletter}`.
    pub alert_subject: &'static str,
    pub alert_button: &'static str,
    pub by_hand: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Date {
        text.parse().unwrap()
    }

    #[test]
    fn l5_dates_stand_in_words_in_every_language() {
        let date = day("2026-11-24");
        let words: Vec<_> = ALL.iter().map(|language| language.date(date)).collect();
        assert_eq!(
            words,
            [
                "Mardi 24 novembre 2026",
                "Tuesday 24 November 2026",
                "الثلاثاء 24 نوفمبر 2026",
                "Terça-feira, 24 de novembro de 2026"
            ]
        );
        assert_eq!(ALL[0].date(day("2026-12-01")), "Mardi 1er décembre 2026");
    }

    #[test]
    fn l5_thousands_are_set_apart_as_each_language_does() {
        let numbers: Vec<_> = ALL.iter().map(|language| language.number(1_234_567)).collect();
        assert_eq!(numbers, ["1\u{202F}234\u{202F}567", "1,234,567", "1,234,567", "1.234.567"]);
        assert_eq!(ALL[0].number(950), "950");
    }

    #[test]
    fn every_language_names_every_country_and_leaves_other_codes_as_they_are() {
        for language in ALL {
            assert!(world::codes().all(|code| language.country(code) != code), "{language:?}");
        }
        assert_eq!(ALL[0].country("ci"), "Côte d’Ivoire");
        assert_eq!(ALL[0].country("XX"), "XX");
    }

    #[test]
    fn a_phrase_keeps_what_it_cannot_fill_and_never_fills_a_value() {
        assert_eq!(put("{a} et {b}", &[("a", "{b}")]), "{b} et {b}");
        assert_eq!(put("seul {", &[]), "seul {");
    }

    #[test]
    fn a_language_is_found_by_the_first_part_of_its_tag() {
        assert_eq!(Language::of("PT-MZ").map(Language::tag), Some("pt"));
        assert_eq!(Language::of("sw"), None);
        assert_eq!(Language::first_of(["sw", "ar-MA"]).tag(), "ar");
        assert_eq!(Language::first_of([]).tag(), "fr");
    }
}

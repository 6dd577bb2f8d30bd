//! What the selection says to editors, in their language: why a candidate has its points, and what kept it out.
//!
//! One file a language, the same phrases in each; `{name}`-like places are filled by [`put`]. A newcomer would write a
//! sentence into the pick: every word an editor reads stands here, in four languages, or an editor in Luanda reads
//! English at half past five.

mod ar;
mod en;
mod fr;
mod pt;

use crate::world;

/// Every language, the house's first one first.
const ALL: [&Phrases; 4] = [&fr::FRENCH, &en::ENGLISH, &ar::ARABIC, &pt::PORTUGUESE];

/// Everything the selection says in one language.
#[derive(Debug)]
#[expect(missing_docs, reason = "each phrase is its own explanation, in four languages")]
pub struct Phrases {
    pub tag: &'static str,
    /// What each term is called, in the order in which they are told.
    pub terms: [(&'static str, &'static str); 8],
    /// What the sum of all terms is called.
    pub points: &'static str,
    pub ordinal: fn(usize) -> String,
    /// Of `{value}`.
    pub value: &'static str,
    /// Of `{value}`, `{name}`: by a table, for a section, author or source.
    pub value_of: &'static str,
    /// Of `{value}`.
    pub value_usual: &'static str,
    /// Of `{hours}`.
    pub freshness: &'static str,
    pub short_lived: &'static str,
    pub long_lived: &'static str,
    /// Of `{count}`.
    pub coverage: &'static str,
    /// Of `{count}`, `{sure}`: where some count in part.
    pub coverage_in_part: &'static str,
    /// Between whole and tenths.
    pub decimal: &'static str,
    pub own: &'static str,
    /// Of `{name}`.
    pub priority: &'static str,
    /// Of `{age}`, `{percent}`.
    pub seen: &'static str,
    pub new_turn: &'static str,
    pub value_again: &'static str,
    pub no_text: &'static str,
    pub no_standfirst: &'static str,
    pub clickbait: &'static str,
    pub paywall: &'static str,
    /// Stands before each of the following, up to `relaxed`.
    pub not_taken: &'static str,
    /// Of `{points}`, `{needed}`.
    pub not_enough: &'static str,
    /// Of `{percent}`, `{title}`; stands after `not_enough` where likeness cost it the place.
    pub for_likeness: &'static str,
    pub all_pinned: &'static str,
    /// Of `{rank}`, `{name}`, `{points}`, `{needed}`.
    pub too_many: &'static str,
    /// Of `{rank}`, `{name}`.
    pub too_many_pinned: &'static str,
    /// Of `{title}`.
    pub same_story: &'static str,
    /// Of `{percent}`, `{title}`.
    pub alike: &'static str,
    /// Of `{name}`.
    pub made_room: &'static str,
    /// Of `{name}`, `{count}`, `{limit}`.
    pub relaxed: &'static str,
    /// Of `{name}`, `{count}`, `{limit}`.
    pub relaxed_by_pins: &'static str,
    /// Of `{title}`, `{other}`.
    pub relaxed_story: &'static str,
    /// Of `{title}`, `{percent}`, `{other}`.
    pub relaxed_alike: &'static str,
    /// Of `{name}`, `{count}`, `{limit}`.
    pub relaxed_seat: &'static str,
    pub removed: &'static str,
    pub retracted: &'static str,
    pub embargo: &'static str,
    pub later: &'static str,
    /// Of `{name}`: a source, section or language.
    pub not_admitted: &'static str,
    /// Of `{count}`, `{limit}`.
    pub short: &'static str,
    pub in_reserve: &'static str,
    pub left_out: &'static str,
    pub no_candidates: &'static str,
    pub by_lot: &'static str,
    /// Of `{count}`, `{given}`, `{learned}`.
    pub agreed: &'static str,
    /// Of `{name}`.
    pub learned_country: &'static str,
    /// Of `{name}`.
    pub learned_section: &'static str,
    /// Of `{name}`: sources.
    pub also_in: &'static str,
    /// Of `{rank}`, `{name}`, `{points}`: where seats leave no place to points.
    pub too_many_seated: &'static str,
    /// Of `{points}`.
    pub seated: &'static str,
    pub title: &'static str,
    pub why: &'static str,
    pub pinned: &'static str,
    /// Of `{name}`, `{date}`, `{state}`: the head of an edition; states are named as in commands and the ledger.
    pub edition: &'static str,
    /// Of `{subject}`.
    pub subject: &'static str,
    /// Of `{who}`, `{at}`, `{one}`, `{other}`: what an editor said of two articles.
    pub joined: &'static str,
    /// Of `{who}`, `{at}`, `{one}`, `{other}`.
    pub split: &'static str,
}

impl Phrases {
    /// Those of this language (BCP 47), by its first part; the house's first language where it is not known.
    pub fn of(tag: &str) -> &'static Self {
        let primary = tag.split(['-', '_']).next().unwrap_or_default();
        ALL.into_iter().find(|phrases| phrases.tag.eq_ignore_ascii_case(primary)).unwrap_or(ALL[0])
    }

    /// What a term is called.
    pub fn term<'a>(&self, term: &'a str) -> &'a str {
        self.terms.iter().find(|(known, _)| *known == term).map_or(term, |(_, name)| name)
    }

    /// What a country is called; its code where nobody has named it.
    pub fn country<'a>(&self, code: &'a str) -> &'a str {
        world::name(code, self.tag).unwrap_or(code)
    }
}

/// Fills the places of a phrase; what is filled in is not looked at again.
pub fn put(phrase: &str, values: &[(&str, &str)]) -> String {
    let mut parts = phrase.split('{');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once('}') {
            Some((name, rest)) => {
                out.push_str(values.iter().find(|(known, _)| *known == name).map_or("?", |(_, value)| value));
                out.push_str(rest);
            }
            None => out.push_str(part),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_names_the_same_terms_and_fills_the_same_places() {
        let places = |phrase: &str| {
            let mut names: Vec<String> = phrase
                .split('{')
                .skip(1)
                .filter_map(|part| Some(part.split_once('}')?.0.to_owned()))
                .collect();
            names.sort_unstable();
            names
        };
        let all = |phrases: &Phrases| {
            [
                phrases.value,
                phrases.value_of,
                phrases.value_usual,
                phrases.freshness,
                phrases.coverage,
                phrases.coverage_in_part,
                phrases.priority,
                phrases.seen,
                phrases.not_enough,
                phrases.for_likeness,
                phrases.too_many,
                phrases.too_many_pinned,
                phrases.same_story,
                phrases.alike,
                phrases.made_room,
                phrases.relaxed,
                phrases.relaxed_by_pins,
                phrases.relaxed_story,
                phrases.relaxed_alike,
                phrases.relaxed_seat,
                phrases.not_admitted,
                phrases.short,
                phrases.learned_country,
                phrases.learned_section,
                phrases.also_in,
                phrases.too_many_seated,
                phrases.seated,
                phrases.agreed,
                phrases.edition,
                phrases.subject,
                phrases.joined,
                phrases.split,
            ]
            .map(places)
        };
        for phrases in ALL {
            assert_eq!(all(phrases), all(ALL[0]), "{}", phrases.tag);
            assert_eq!(
                phrases.terms.map(|(term, _)| term),
                ALL[0].terms.map(|(term, _)| term),
                "{}",
                phrases.tag
            );
        }
        assert_eq!(Phrases::of("pt-MZ").tag, "pt");
        assert_eq!(Phrases::of("sw").tag, "fr");
    }

    #[test]
    fn a_title_with_braces_is_not_filled_again() {
        assert_eq!(put("<{title}> {count}", &[("title", "{count}"), ("count", "3")]), "<{count}> 3");
    }
}

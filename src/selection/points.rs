//! What a candidate is worth, in integers: value, freshness, coverage, source, priority, minus what ran and poor copy.
//!
//! The numbers are the newsletter's own (`[newsletter.NAME.selection]`); here stands what is made of them. Whole
//! numbers throughout, powers and logarithms from integer steps, so that every machine and build gives the same.

use jiff::Timestamp;

use super::logarithm::log2;
use super::rules::{Rules, Said};
use super::seen::Seen;
use super::words::put;
use super::{Given, Reason};
use crate::articles::{Article, Lifetime};

/// Who reports a story, seen from one of its articles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Coverage {
    /// How many independent sources.
    pub(super) sources: usize,
    /// How many of them count, in thousandths: those in part whose report is hardly like this one.
    pub(super) sure: i64,
}

/// The reasons of an article, in the order in which they are told. `coverage` says who reports its story, `cut_off`
/// when the edition locks, `seen` what of it ran.
pub(super) fn reasons(
    article: &Article,
    given: Option<&Given>,
    coverage: &Coverage,
    seen: Option<Seen>,
    rules: &Rules<'_>,
    cut_off: Timestamp,
) -> Vec<Reason> {
    let (points, phrases) = (&rules.selection.points, rules.phrases);
    let mut out = Vec::new();
    let mut add = |term: &str, points: i64, words: String| {
        if points != 0 {
            out.push(Reason { term: term.to_owned(), points, words });
        }
    };

    let said = rules.value(article, given);
    let value = said.get().to_string();
    let words = match &said {
        Said::Given(_) => put(phrases.value, &[("value", &value)]),
        Said::Of(_, name) => put(phrases.value_of, &[("value", &value), ("name", name)]),
        Said::Usual(_) => put(phrases.value_usual, &[("value", &value)]),
    };
    add("value", points.value * (said.get() - 1), words);

    let minutes = cut_off.duration_since(article.dated()).as_mins().max(0);
    let half_life = &rules.selection.half_life;
    let (half_life, lived) = match rules.lifetime(article, given) {
        Lifetime::Short => (half_life.short, Some(phrases.short_lived)),
        Lifetime::Medium => (half_life.medium, None),
        Lifetime::Long => (half_life.long, Some(phrases.long_lived)),
    };
    let hours = put(phrases.freshness, &[("hours", &(minutes / 60).to_string())]);
    let words = lived.map_or_else(|| hours.clone(), |lived| format!("{hours}, {lived}"));
    add("freshness", decayed(points.freshness, minutes, half_life), words);

    let count = coverage.sources.to_string();
    // What is lost to rounding is not worth a word.
    let words = if coverage.sure / 100 < i64::try_from(coverage.sources).unwrap_or(i64::MAX) * 10 {
        let sure = format!("{}{}{}", coverage.sure / 1000, phrases.decimal, coverage.sure % 1000 / 100);
        put(phrases.coverage_in_part, &[("count", &count), ("sure", &sure)])
    } else {
        put(phrases.coverage, &[("count", &count)])
    };
    add("coverage", covered(points.coverage, coverage.sure, points.coverage_full), words);

    let (worth, own) = rules.source(article);
    let words = if own { format!("{}, {}", article.source, phrases.own) } else { article.source.clone() };
    add("source", worth + if own { points.own_newsroom } else { 0 }, words);

    if let Some((worth, name)) = rules.priority(article) {
        add("priority", worth, put(phrases.priority, &[("name", &name)]));
    }

    if let Some(seen) = seen {
        let cost = &rules.selection.seen;
        let (age, percent) = (seen.age.to_string(), (seen.alike / 10).to_string());
        let mut words = put(phrases.seen, &[("age", &age), ("percent", &percent)]);
        let by_age = seen.age.checked_sub(1).and_then(|at| cost.by_age.get(at)).copied().unwrap_or(0);
        let mut taken = cost.points * by_age * seen.alike / 100_000;
        // The way back: real news in it, or an editor who says that it matters still.
        let turn = (seen.new_share >= cost.new_turn).then_some(phrases.new_turn);
        let again = seen.value_again.then_some(phrases.value_again);
        if let Some(why) = turn.or(again) {
            taken -= taken * cost.forgiven / 100;
            words = format!("{words}; {why}");
        }
        add("seen", -taken, words);
    }

    let (taken, words) = poor_copy(article, rules);
    add("copy", -taken, words);
    out
}

/// What poor copy costs, and why.
fn poor_copy(article: &Article, rules: &Rules<'_>) -> (i64, String) {
    let (cost, phrases) = (&rules.selection.copy, rules.phrases);
    let mut found: Vec<(i64, &str)> = Vec::new();
    if article.summary.is_empty() && article.body.is_empty() {
        found.push((cost.no_text, phrases.no_text));
    } else if article.summary.is_empty() {
        found.push((cost.no_standfirst, phrases.no_standfirst));
    }
    if super::bait::baits(&article.title) {
        found.push((cost.clickbait, phrases.clickbait));
    }
    if rules.is_paid(article) {
        found.push((cost.paywall, phrases.paywall));
    }
    found.retain(|(points, _)| *points > 0);
    let words: Vec<&str> = found.iter().map(|(_, words)| *words).collect();
    (found.iter().map(|(points, _)| points).sum::<i64>().min(cost.most), words.join(", "))
}

/// `start` halved every `half_life` minutes, in integers: a table of sixteenths of a halving, so that every machine
/// and build gives the same number.
fn decayed(start: i64, minutes: i64, half_life: i64) -> i64 {
    // 2^(-n/16) in millionths.
    const SIXTEENTHS: [i64; 16] = [
        1_000_000, 957_603, 917_004, 878_126, 840_896, 805_245, 771_105, 738_413, 707_107, 677_128, 648_420,
        620_929, 594_604, 569_394, 545_254, 522_137,
    ];
    let steps = minutes * 16 / half_life;
    let (halvings, rest) = (steps / 16, usize::try_from(steps % 16).unwrap_or(0));
    if halvings > 30 { 0 } else { (start * SIXTEENTHS[rest] / 1_000_000) >> halvings }
}

/// A part for one source (1000 thousandths), `all` of it for `full` of them: by the logarithm of one more than they are.
fn covered(all: i64, sources: i64, full: i64) -> i64 {
    let log = |sources: i64| {
        let sources = 1000 + u64::try_from(sources).unwrap_or(0);
        i64::try_from(log2(sources, 1) - log2(1000, 1)).unwrap_or(0)
    };
    let full = 1000 * full.max(1);
    all * log(sources.min(full)) / log(full)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p7_freshness_halves_with_every_half_life() {
        assert_eq!(decayed(250, 0, 1080), 250);
        assert_eq!(decayed(250, 1080, 1080), 125);
        assert_eq!(decayed(250, 540, 1080), 176);
        assert_eq!(decayed(250, 1_000_000, 360), 0);
    }

    #[test]
    fn coverage_grows_with_sources_and_ends_where_the_newsletter_says() {
        assert_eq!(covered(150, 0, 12), 0);
        let points = [1000, 2000, 3000, 6000, 12_000].map(|sources| covered(150, sources, 12));
        assert_eq!(points, [40, 64, 81, 113, 150]);
        assert!(
            (65..81).contains(&covered(150, 2500, 12)),
            "two and a half sources stand between two and three"
        );
        assert_eq!(covered(150, 100_000, 12), 150);
        assert_eq!(covered(100, 3000, 3), 100);
    }
}

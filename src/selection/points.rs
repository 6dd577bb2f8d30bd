//! What a candidate is worth, in integers: value, freshness, coverage, source, minus what ran and poor copy.

use jiff::Timestamp;

use super::{Ran, Reason};
use crate::articles::{Article, Lifetime};

/// News value nobody gave.
const USUAL_VALUE: i64 = 2;
const FRESHNESS: i64 = 250;
const COVERAGE: i64 = 150;
/// Of what ran one, two and three editions ago, in percent.
const SEEN: [i64; 3] = [100, 70, 40];

/// The reasons of an article, in the order in which they are told. `sources` is how many independent ones report its
/// story, `cut_off` when the edition locks.
pub(super) fn reasons(
    article: &Article,
    sources: usize,
    ran: &[Ran],
    story: &str,
    cut_off: Timestamp,
) -> Vec<Reason> {
    let mut out = Vec::new();
    let mut add = |term: &str, points: i64, words: String| {
        if points != 0 {
            out.push(Reason { term: term.to_owned(), points, words });
        }
    };
    let value = article.value.map_or(USUAL_VALUE, i64::from).clamp(1, 5);
    let given = if article.value.is_some() { "" } else { " (nobody gave one)" };
    add("value", 100 * (value - 1), format!("news value {value} of 5{given}"));
    let minutes = cut_off.duration_since(article.dated()).as_mins().max(0);
    let half_life = match article.lifetime {
        Some(Lifetime::Short) => 6 * 60,
        Some(Lifetime::Long) => 48 * 60,
        Some(Lifetime::Medium) | None => 18 * 60,
    };
    add("freshness", decayed(FRESHNESS, minutes, half_life), format!("{} h before the lock", minutes / 60));
    add("coverage", covered(sources), format!("{sources} source{}", if sources == 1 { "" } else { "s" }));
    if let Some(age) = ran
        .iter()
        .filter(|past| past.story == story || past.article == article.id.0)
        .map(|past| past.age)
        .min()
    {
        let percent = SEEN.get(age.saturating_sub(1)).copied().unwrap_or(0);
        add("seen", -4 * percent, format!("ran {age} edition{} ago", if age == 1 { "" } else { "s" }));
    }
    if article.summary.is_empty() && article.body.is_empty() {
        add("copy", -100, "no text to show".to_owned());
    } else if article.summary.is_empty() {
        add("copy", -30, "no standfirst".to_owned());
    }
    out
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

/// A part for one source, all of it for twelve: logarithmic, from a table.
fn covered(sources: usize) -> i64 {
    // 1000 · log2(1 + n) / log2(1 + 12).
    const SHARES: [i64; 13] = [0, 270, 428, 540, 627, 699, 759, 811, 857, 898, 935, 969, 1000];
    COVERAGE * SHARES[sources.min(12)] / 1000
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
    fn coverage_grows_with_sources_and_ends_at_twelve() {
        assert_eq!(covered(0), 0);
        assert!(covered(2) < covered(3));
        assert_eq!(covered(12), COVERAGE);
        assert_eq!(covered(100), COVERAGE);
    }
}

//! Which of those left out stand ready: the next ones by points, and on some days two among them by lot.
//!
//! Editors lean towards what stands in front of them, and only what they see can teach anything. Whoever is drawn by lot
//! is shown whatever its points say, so that what editors make of it says something of the points themselves. The lot
//! of an article is a hash of its URL: each refresh draws the same ones while they are in the running.

use std::collections::BTreeSet;

use sha2::Digest as _;

use super::Reason;
use super::words::Phrases;

/// So many are drawn.
const DRAWN: usize = 2;
/// The term of a reason that says so; it is worth nothing.
pub(super) const LOT: &str = "lot";

/// Who stands ready, of these by rank; `urls` are theirs, `lots` tells one day's draw from another's.
pub(super) fn ready(ranked: &[(usize, &str)], count: usize, lots: Option<u64>) -> Ready {
    let drawn: BTreeSet<usize> = lots.map(|day| draw(ranked, count, day)).unwrap_or_default();
    let others = count.saturating_sub(drawn.len());
    let by_points = ranked.iter().map(|(at, _)| *at).filter(|at| !drawn.contains(at)).take(others);
    let all = by_points.chain(drawn.iter().copied()).collect();
    Ready { all, drawn }
}

/// Who stands ready.
pub(super) struct Ready {
    pub(super) all: BTreeSet<usize>,
    /// Those among them who were drawn by lot.
    pub(super) drawn: BTreeSet<usize>,
}

/// Of the ranks behind the line-up, half as many again as stand ready: with ten of each the ranks from 11 to 25.
fn draw(ranked: &[(usize, &str)], count: usize, day: u64) -> BTreeSet<usize> {
    let running = &ranked[..ranked.len().min(count + count / 2)];
    let mut lots: Vec<([u8; 32], usize)> = running
        .iter()
        .map(|(at, url)| {
            let hash = sha2::Sha256::new().chain_update(day.to_be_bytes()).chain_update(url);
            (hash.finalize().into(), *at)
        })
        .collect();
    lots.sort_unstable();
    lots.into_iter().take(DRAWN.min(count)).map(|(_, at)| at).collect()
}

/// The draw of an edition: none on most days. `percent` says on how many of a hundred there is one.
pub(super) fn lots(newsletter: &str, date: jiff::civil::Date, percent: u32) -> Option<u64> {
    let hash = sha2::Sha256::digest(format!("{newsletter}\n{date}"));
    let (day, lot) = hash.split_at(8);
    let number = |bytes: &[u8]| bytes.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    (number(day) % 100 < u64::from(percent)).then(|| number(lot))
}

/// What a candidate is told that was drawn.
pub(super) fn reason(phrases: &Phrases) -> Reason {
    Reason { term: LOT.to_owned(), points: 0, words: phrases.by_lot.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls() -> Vec<String> {
        (0..40).map(|at| format!("https://press.example/{at}")).collect()
    }

    fn ranked(urls: &[String]) -> Vec<(usize, &str)> {
        urls.iter().enumerate().map(|(at, url)| (at, url.as_str())).collect()
    }

    #[test]
    fn without_a_draw_the_next_ones_stand_ready() {
        let (urls, count) = (urls(), 10);
        let ready = ready(&ranked(&urls), count, None);
        assert_eq!((ready.all, ready.drawn.len()), ((0..10).collect(), 0));
    }

    #[test]
    fn two_are_drawn_evenly_out_of_the_ranks_up_to_25_and_eight_follow_by_points() {
        let urls = urls();
        let mut drawn = [0_u32; 40];
        for day in 0..3000 {
            let ready = ready(&ranked(&urls), 10, Some(day));
            assert_eq!((ready.all.len(), ready.drawn.len()), (10, 2));
            ready.drawn.iter().for_each(|at| drawn[*at] += 1);
            let by_points: Vec<usize> = ready.all.difference(&ready.drawn).copied().collect();
            let expected: Vec<usize> = (0..40).filter(|at| !ready.drawn.contains(at)).take(8).collect();
            assert_eq!(by_points, expected);
        }
        // Each of fifteen four hundred times, and nobody behind them.
        assert!(drawn[..15].iter().all(|count| (300..=500).contains(count)), "{drawn:?}");
        assert!(drawn[15..].iter().all(|count| *count == 0), "{drawn:?}");
    }

    #[test]
    fn who_was_drawn_stays_drawn_while_others_come_and_go() {
        let urls = urls();
        let all = ranked(&urls);
        let before = ready(&all, 10, Some(7)).drawn;
        let without: Vec<(usize, &str)> =
            all.iter().copied().filter(|(at, _)| before.contains(at) || at % 7 != 3).collect();
        let last = without.iter().take(15).map(|(at, _)| *at).collect::<BTreeSet<usize>>();
        let after = ready(&without, 10, Some(7)).drawn;
        assert!(before.iter().filter(|at| last.contains(at)).count() >= 1);
        assert!(before.iter().any(|at| after.contains(at)), "{before:?} {after:?}");
        assert_eq!(ready(&all[..1], 10, Some(7)).all.len(), 1);
        assert_eq!(ready(&all, 0, Some(7)).all.len(), 0);
    }

    #[test]
    fn so_many_days_of_a_hundred_have_a_draw() {
        let first: jiff::civil::Date = "2026-01-01".parse().unwrap();
        let days = |percent| {
            let dates = first.series(jiff::Span::new().days(1)).take(1000);
            dates.filter(|date| lots("la-matinale", *date, percent).is_some()).count()
        };
        assert_eq!((days(0), days(100)), (0, 1000));
        assert!((280..=380).contains(&days(33)), "{}", days(33));
    }
}

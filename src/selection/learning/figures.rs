//! What an edition came to, in numbers: how much of the proposal was kept, how mixed the final line-up was, and what
//! editors made of the reserves that were drawn by lot.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Shown;
use crate::selection::Candidate;

/// An edition in numbers: the line-up that was proposed against the final one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// How many items it has.
    pub items: usize,
    /// How many of them the machine had proposed.
    pub kept: usize,
    /// How many of those had to be moved to stand as they stand.
    pub moved: usize,
    /// Items whose story another item tells before them.
    pub repeats: usize,
    /// How unlike the two most alike items are, in thousandths; `None` of fewer than two.
    pub distance: Option<i64>,
    /// How many countries it speaks of.
    pub countries: usize,
    /// From how many sections it comes.
    pub sections: usize,
    /// From how many sources.
    pub sources: usize,
    /// Items whose story ran in one of the last editions.
    pub ran: usize,
}

impl Figures {
    /// Of a line-up as it is final, against the one that was proposed.
    pub fn of(proposed: &[Candidate], last: &[&Candidate]) -> Self {
        let places: Vec<usize> = last
            .iter()
            .filter_map(|item| proposed.iter().position(|known| known.article == item.article))
            .collect();
        let distinct = |what: fn(&Candidate) -> Option<&str>| {
            last.iter().filter_map(|item| what(item)).collect::<BTreeSet<&str>>().len()
        };
        let nearest = last.iter().filter(|_| last.len() > 1).map(|item| item.alike).max();
        Self {
            items: last.len(),
            kept: places.len(),
            moved: places.len() - longest_run(&places),
            repeats: last.len() - distinct(|item| Some(&item.story)),
            distance: nearest.map(|alike| 1000 - alike),
            countries: distinct(|item| item.country.as_deref()),
            sections: distinct(|item| item.section.as_deref()),
            sources: distinct(|item| Some(&item.source)),
            ran: last.iter().filter(|item| item.reasons.iter().any(|reason| reason.term == "seen")).count(),
        }
    }
}

/// How many of these stand in their order already: the rest must be moved.
fn longest_run(places: &[usize]) -> usize {
    let mut runs: Vec<usize> = Vec::with_capacity(places.len());
    for (at, place) in places.iter().enumerate() {
        let before = (0..at).filter(|other| places[*other] < *place).map(|other| runs[other]).max();
        runs.push(1 + before.unwrap_or(0));
    }
    runs.into_iter().max().unwrap_or(0)
}

/// A reserve that was drawn by lot: its points under the given weights, and under the learned ones before they had
/// seen it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drawn {
    /// By the given weights.
    pub given: i64,
    /// By the learned ones.
    pub learned: i64,
}

/// What editors made of reserves that were drawn by lot. Points had no say in whether these were seen, so that no
/// leaning towards what is proposed stands in these numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lots {
    /// How many were shown.
    pub shown: usize,
    /// How many of them were taken.
    pub taken: usize,
    /// Of every two of which one was taken, in how many the given weights put that one first; in ten-thousandths.
    pub given: i64,
    /// The same of the learned weights.
    pub learned: i64,
}

/// The figures of all these that were drawn.
pub fn lots<'a>(shown: impl Iterator<Item = &'a Shown>) -> Lots {
    let drawn: Vec<(bool, Drawn)> = shown.filter_map(|shown| Some((shown.taken, shown.drawn?))).collect();
    let points = |taken: bool, of: fn(&Drawn) -> i64| -> Vec<i64> {
        drawn.iter().filter(|(was, _)| *was == taken).map(|(_, drawn)| of(drawn)).collect()
    };
    let right = |of: fn(&Drawn) -> i64| {
        let (taken, left) = (points(true, of), points(false, of));
        let pairs = i64::try_from(taken.len() * left.len()).unwrap_or(i64::MAX);
        // Of two that are worth the same, half.
        let halves: i64 = taken
            .iter()
            .flat_map(|one| left.iter().map(move |other| i64::from(one > other) + i64::from(one >= other)))
            .sum();
        if pairs == 0 { 0 } else { halves * 5000 / pairs }
    };
    Lots {
        shown: drawn.len(),
        taken: drawn.iter().filter(|(taken, _)| *taken).count(),
        given: right(|drawn| drawn.given),
        learned: right(|drawn| drawn.learned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_few_are_moved_as_make_the_new_order() {
        for (places, moved) in [
            (vec![0, 1, 2, 3], 0),
            (vec![3, 0, 1, 2], 1),
            (vec![3, 2, 1, 0], 3),
            (vec![1, 4, 9], 0),
            (vec![], 0),
        ] {
            assert_eq!(places.len() - longest_run(&places), moved, "{places:?}");
        }
    }

    #[test]
    fn of_those_drawn_the_pairs_are_counted_that_each_way_has_right() {
        let shown = |taken, drawn: Option<(i64, i64)>| Shown {
            taken,
            drawn: drawn.map(|(given, learned)| Drawn { given, learned }),
            ..Shown::default()
        };
        let all = [
            shown(true, Some((300, 500))),
            shown(false, Some((400, 400))),
            shown(false, Some((300, 100))),
            shown(true, None),
        ];
        assert_eq!(lots(all.iter()), Lots { shown: 3, taken: 1, given: 2500, learned: 10_000 });
        assert_eq!(lots(all[3..].iter()), Lots::default());
    }
}

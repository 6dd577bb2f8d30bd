//! The order of a line-up: pins at their places, then by points, with no two neighbours of one country where that can
//! be avoided.
//!
//! Looks for the order that follows the points most closely, from the first place on, with as few neighbours of one
//! country as there can be.

use std::collections::BTreeMap;

use super::candidates::Entry;

/// So many places are tried before one more pair of neighbours is allowed; a line-up of ten needs some dozens.
const PATIENCE: usize = 50_000;

/// The chosen, in order.
pub(super) fn arrange(chosen: &[usize], entries: &[Entry<'_>]) -> Vec<usize> {
    let mut places: Vec<Option<usize>> = vec![None; chosen.len()];
    let mut free: Vec<usize> = Vec::new();
    // In the order of places: a pin beyond the end of a short line-up stands at its end.
    let mut pinned: Vec<(i64, usize)> = Vec::new();
    for at in chosen {
        match entries[*at].pinned {
            Some(place) if place > 0 => pinned.push((place, *at)),
            _ => free.push(*at),
        }
    }
    pinned.sort_unstable();
    for (place, at) in pinned {
        let wanted = usize::try_from(place - 1).unwrap_or(usize::MAX);
        // Its own place; where that is taken or does not exist, the nearest before it, else the next after.
        let found =
            (0..=wanted.min(places.len() - 1)).rev().chain(0..places.len()).find(|at| places[*at].is_none());
        if let Some(found) = found {
            places[found] = Some(at);
        }
    }
    free.sort_unstable();
    for allowed in 0..=chosen.len() {
        let mut search = Search { entries, places: &places, tried: 0 };
        let mut out = Vec::with_capacity(chosen.len());
        if search.place(&mut out, &mut free.clone(), allowed) {
            return out;
        }
    }
    chosen.to_vec()
}

struct Search<'a> {
    entries: &'a [Entry<'a>],
    places: &'a [Option<usize>],
    tried: usize,
}

impl Search<'_> {
    /// Fills the next place and all after it; `false` where that takes more neighbours than allowed.
    fn place(&mut self, out: &mut Vec<usize>, free: &mut Vec<usize>, allowed: usize) -> bool {
        self.tried += 1;
        let Some(fixed) = self.places.get(out.len()) else { return true };
        if self.tried > PATIENCE || self.is_hopeless(free, allowed) {
            return false;
        }
        let country = |at: usize| self.entries[at].country;
        if let Some(fixed) = *fixed {
            let neighbours = usize::from(self.are_neighbours(out.last(), fixed));
            if neighbours > allowed {
                return false;
            }
            out.push(fixed);
            if self.place(out, free, allowed - neighbours) {
                return true;
            }
            out.pop();
            return false;
        }
        // Of one country only the first is tried: those behind it would fare no better.
        let mut tried: Vec<Option<&str>> = Vec::new();
        for at in 0..free.len() {
            let candidate = free[at];
            if tried.contains(&country(candidate)) {
                continue;
            }
            tried.push(country(candidate));
            let neighbours = usize::from(self.are_neighbours(out.last(), candidate));
            if neighbours > allowed {
                continue;
            }
            free.remove(at);
            out.push(candidate);
            if self.place(out, free, allowed - neighbours) {
                return true;
            }
            out.pop();
            free.insert(at, candidate);
        }
        false
    }

    fn are_neighbours(&self, before: Option<&usize>, at: usize) -> bool {
        let country = self.entries[at].country;
        country.is_some() && before.is_some_and(|before| self.entries[*before].country == country)
    }

    /// Whether one country has more items left than can stand apart in what is left.
    fn is_hopeless(&self, free: &[usize], allowed: usize) -> bool {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for country in free.iter().filter_map(|at| self.entries[*at].country) {
            *counts.entry(country).or_default() += 1;
        }
        let most = counts.values().max().copied().unwrap_or(0);
        // With pins between them more can stand apart: then only the search can tell.
        self.places.iter().all(Option::is_none) && most > free.len().div_ceil(2) + allowed
    }
}

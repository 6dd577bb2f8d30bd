//! The pick: the best by points under limits, one per story, editors' wishes first; then the seats.
//!
//! Greedy (MMR): each time the candidate with the most points, less what being like a chosen one costs. In this order
//! a line-up comes about: the pins; the free places, under every limit; where too few come in, the limits give way
//! one by one as the newsletter orders (`limits.relax`), by as little as possible; then each seat that is empty takes
//! the weakest item that nobody pinned and no other seat needs, limits giving way in the same order. Whatever limit is
//! broken in the end is named in `relaxed`, by looking at the line-up itself and not at how it came about.
//!
//! The rule a newcomer would break: one item a story is no limit that gives way; only editors' pins can.

use std::collections::BTreeMap;

use super::candidates::{Entry, Pool, likeness};
use super::explain::{self, Bar};
use super::order;
use super::rules::Rules;
use super::seats::Seats;
use super::{Proposal, Settings};
use crate::config::Limit;

/// What stopped a candidate, and what it would have needed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop<'a> {
    pub(super) bar: Bar,
    /// The seat that it made room for.
    pub(super) seat: &'a str,
    /// The worth (points against likeness) of the last that its group took; `None` where all of it is pinned.
    pub(super) worth: Option<i64>,
}

/// Where limits stand: as the newsletter has them, or given way.
#[derive(Clone, Copy, Debug)]
struct Caps {
    country: usize,
    section: usize,
    source: usize,
    /// In thousandths, not squared.
    alike: i64,
}

impl Caps {
    fn lift(&mut self, limit: Limit) {
        match limit {
            Limit::Country => self.country = usize::MAX,
            Limit::Section => self.section = usize::MAX,
            Limit::Source => self.source = usize::MAX,
            Limit::Alike => self.alike = i64::MAX,
        }
    }

    fn raise(&mut self, limit: Limit) {
        match limit {
            Limit::Country => self.country += 1,
            Limit::Section => self.section += 1,
            Limit::Source => self.source += 1,
            // A percent at a time.
            Limit::Alike => self.alike += 10,
        }
    }

    fn is_wide(&self, limit: Limit, items: usize) -> bool {
        match limit {
            Limit::Country => self.country > items,
            Limit::Section => self.section > items,
            Limit::Source => self.source > items,
            Limit::Alike => self.alike > 1000,
        }
    }
}

/// The line-up as it comes about. Candidates are named by their rank.
pub(super) struct Picker<'a> {
    pub(super) settings: &'a Settings,
    pub(super) pool: Pool<'a>,
    pub(super) seats: Seats<'a>,
    pub(super) chosen: Vec<usize>,
    /// The worth of a chosen one when it was taken; pins and seats have none.
    worth: BTreeMap<usize, i64>,
    /// How like each candidate is to the nearest chosen one, squared, and which that is.
    pub(super) near: Vec<(i64, Option<usize>)>,
    pub(super) stops: BTreeMap<usize, Stop<'a>>,
    /// The limit of sources, where there are several.
    one_source: bool,
    /// Seats that stayed empty: by name, how many of how many.
    pub(super) empty: Vec<(&'a str, usize, usize)>,
}

/// Picks a line-up from this pool.
pub(super) fn pick(pool: Pool<'_>, settings: &Settings, rules: &Rules<'_>) -> Proposal {
    let count = pool.entries.len();
    let one_source = pool.entries.windows(2).all(|pair| pair[0].source == pair[1].source);
    let mut picker = Picker {
        settings,
        seats: Seats::new(&settings.rules.seats),
        chosen: Vec::new(),
        worth: BTreeMap::new(),
        near: vec![(0, None); count],
        stops: BTreeMap::new(),
        one_source,
        empty: Vec::new(),
        pool,
    };
    for at in 0..count {
        if picker.pool.entries[at].pinned.is_some() {
            picker.choose(at);
        }
    }
    let mut caps = picker.caps();
    while picker.take_best(&caps) {}
    picker.relax(&mut caps);
    picker.fill_seats();
    let chosen = order::arrange(&picker.chosen, &picker.pool.entries);
    explain::proposal(picker, &chosen, rules)
}

impl<'a> Picker<'a> {
    fn caps(&self) -> Caps {
        let limits = &self.settings.rules.limits;
        Caps {
            country: limits.country,
            section: limits.section,
            // With a single source there is nothing to balance.
            source: if self.one_source { usize::MAX } else { limits.source },
            alike: limits.alike * 10,
        }
    }

    /// The limit of sources, `None` where there is but one.
    pub(super) fn source_limit(&self) -> Option<usize> {
        (!self.one_source).then_some(self.settings.rules.limits.source)
    }

    fn choose(&mut self, at: usize) {
        self.chosen.push(at);
        self.stops.remove(&at);
        let place = self.pool.entries[at].at;
        for (other, near) in self.near.iter_mut().enumerate() {
            if other != at {
                let alike = self.pool.alike(self.pool.entries[other].at, place);
                if alike > near.0 || near.1.is_none() {
                    *near = (alike, Some(at));
                }
            }
        }
        self.note_stops();
    }

    /// Notes for everybody still free the first limit that stops it.
    fn note_stops(&mut self) {
        let caps = self.caps();
        for at in 0..self.pool.entries.len() {
            if self.stops.contains_key(&at) || self.chosen.contains(&at) {
                continue;
            }
            if let Some(bar) = self.bar(at, &caps, None) {
                let worth = self
                    .chosen
                    .iter()
                    .filter(|chosen| self.in_group(at, **chosen, bar))
                    .filter_map(|chosen| self.worth.get(chosen))
                    .min()
                    .copied();
                self.stops.insert(at, Stop { bar, worth, seat: "" });
            }
        }
    }

    /// Whether two count for the same limit.
    pub(super) fn in_group(&self, at: usize, other: usize, bar: Bar) -> bool {
        let (own, other) = (&self.pool.entries[at], &self.pool.entries[other]);
        match bar {
            Bar::Country => own.country.is_some() && own.country == other.country,
            Bar::Section => own.section.is_some() && own.section == other.section,
            Bar::Source => own.source == other.source,
            _ => false,
        }
    }

    /// What stops a candidate under these limits, were `without` not there.
    fn bar(&self, at: usize, caps: &Caps, without: Option<usize>) -> Option<Bar> {
        let others = || self.chosen.iter().copied().filter(move |chosen| Some(*chosen) != without);
        let own = &self.pool.entries[at];
        let story = &own.candidate.story;
        if others().any(|chosen| self.pool.entries[chosen].candidate.story == *story) {
            return Some(Bar::Story);
        }
        let alike = match without {
            None => self.near[at].0,
            Some(_) => others()
                .map(|chosen| self.pool.alike(own.at, self.pool.entries[chosen].at))
                .max()
                .unwrap_or(0),
        };
        if likeness(alike) >= caps.alike {
            return Some(Bar::Alike);
        }
        [(Bar::Country, caps.country), (Bar::Section, caps.section), (Bar::Source, caps.source)]
            .into_iter()
            .find(|(bar, most)| others().filter(|chosen| self.in_group(at, *chosen, *bar)).count() >= *most)
            .map(|(bar, _)| bar)
    }

    /// What a candidate is worth beside what is chosen: points against likeness, both in thousandths.
    pub(super) fn worth_of(&self, at: usize) -> i64 {
        let balance = self.settings.rules.limits.balance;
        balance * self.pool.entries[at].candidate.points - (100 - balance) * self.near[at].0
    }

    /// Those not chosen, by worth, the best first; of equals the one of higher rank.
    fn free_by_worth(&self) -> Vec<usize> {
        let mut free: Vec<usize> =
            (0..self.pool.entries.len()).filter(|at| !self.chosen.contains(at)).collect();
        free.sort_by_key(|at| (std::cmp::Reverse(self.worth_of(*at)), *at));
        free
    }

    /// Takes the best that no limit stops; `false` where the line-up is full or there is none.
    fn take_best(&mut self, caps: &Caps) -> bool {
        if self.chosen.len() >= self.settings.items {
            return false;
        }
        let best = (0..self.pool.entries.len())
            .filter(|at| !self.chosen.contains(at) && self.bar(*at, caps, None).is_none())
            .max_by_key(|at| (self.worth_of(*at), std::cmp::Reverse(*at)));
        let Some(best) = best else { return false };
        let worth = self.worth_of(best);
        self.worth.insert(best, worth);
        self.choose(best);
        true
    }

    /// Too few under the limits: they give way in the written order, each by as little as brings somebody in.
    fn relax(&mut self, caps: &mut Caps) {
        for limit in self.settings.rules.limits.relax.clone() {
            while self.chosen.len() < self.settings.items && !caps.is_wide(limit, self.pool.entries.len()) {
                if !self.take_best(caps) {
                    caps.raise(limit);
                }
            }
        }
    }

    fn fill_seats(&mut self) {
        for seat in 0..self.seats.len() {
            loop {
                let entries = self.chosen.iter().map(|at| &self.pool.entries[*at]);
                let present = self.seats.present(seat, entries);
                let wanted = self.seats.at_least(seat);
                if present >= wanted {
                    break;
                }
                if !self.seat_one(seat) {
                    self.empty.push((self.seats.name(seat), present, wanted));
                    break;
                }
            }
        }
    }

    /// Brings one more into a seat; `false` where nobody can take it.
    fn seat_one(&mut self, seat: usize) -> bool {
        let free = self.free_by_worth();
        let mut caps = self.caps();
        let relax = &self.settings.rules.limits.relax;
        for given_way in 0..=relax.len() {
            if let Some(limit) = given_way.checked_sub(1).and_then(|at| relax.get(at)) {
                caps.lift(*limit);
            }
            for at in &free {
                if self.chosen.len() < self.settings.items {
                    if self.fills(seat, *at, None) && self.bar(*at, &caps, None).is_none() {
                        self.choose(*at);
                        return true;
                    }
                    continue;
                }
                // The weakest first.
                let mut victims = self.chosen.clone();
                victims.retain(|victim| self.pool.entries[*victim].pinned.is_none());
                victims.sort_by_key(|victim| std::cmp::Reverse(*victim));
                let victim = victims.into_iter().find(|victim| {
                    self.fills(seat, *at, Some(*victim)) && self.bar(*at, &caps, Some(*victim)).is_none()
                });
                if let Some(victim) = victim {
                    self.swap(victim, *at, seat);
                    return true;
                }
            }
        }
        false
    }

    /// Whether taking this one, for that, brings more of the seat and empties no other.
    fn fills(&self, seat: usize, at: usize, without: Option<usize>) -> bool {
        let before = || self.chosen.iter().map(|chosen| &self.pool.entries[*chosen]);
        let after = || {
            self.chosen
                .iter()
                .filter(move |chosen| Some(**chosen) != without)
                .chain([&at])
                .map(|chosen| &self.pool.entries[*chosen])
                .collect::<Vec<&Entry<'a>>>()
        };
        let after = after();
        self.seats.present(seat, after.iter().copied()) > self.seats.present(seat, before())
            && (0..self.seats.len()).all(|other| {
                let then = self.seats.present(other, after.iter().copied());
                then >= self.seats.at_least(other).min(self.seats.present(other, before()))
            })
    }

    fn swap(&mut self, victim: usize, at: usize, seat: usize) {
        let mut chosen = std::mem::take(&mut self.chosen);
        chosen.retain(|known| *known != victim);
        self.near = vec![(0, None); self.pool.entries.len()];
        for known in chosen {
            self.choose(known);
        }
        self.choose(at);
        let name = self.seats.name(seat);
        self.stops.insert(victim, Stop { bar: Bar::Seat, worth: None, seat: name });
    }

    /// The worth of the last that points alone brought in.
    pub(super) fn least_worth(&self) -> Option<i64> {
        self.worth.values().min().copied()
    }
}

//! The pick: the best by points under limits, one per story, editors' wishes first; then the seats.
//!
//! Greedy (MMR): each time the candidate with the most points, less what being like a chosen one costs. In this order
//! a line-up comes about: the pins; the free places, under every limit; where too few come in, the limits give way
//! one by one as the newsletter orders (`limits.relax`), by as little as possible; then each seat that is empty takes
//! the weakest item that nobody pinned and no other seat needs, limits giving way in the same order. Whatever limit is
//! broken in the end is named in `relaxed`, by looking at the line-up itself and not at how it came about.
//!
//! With each choice it is noted what every other candidate would have needed to be that choice: the least of these is
//! what it is told it lacked.
//!
//! The rule a newcomer would break: one item a story is no limit that gives way; only editors' pins can. The seats are
//! filled in `seats`.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::candidates::{Pool, likeness};
use super::explain::{self, Bar};
use super::order;
use super::rules::Rules;
use super::seats::Seats;
use super::{Proposal, Settings};
use crate::config::Limit;

/// What stopped a candidate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop<'a> {
    pub(super) bar: Bar,
    /// The seat that it made room for.
    pub(super) seat: &'a str,
}

/// What would have brought a candidate in, at the choice where it lacked least.
#[derive(Clone, Copy, Debug)]
pub(super) struct Price {
    /// So many points.
    pub(super) points: i64,
    /// So many, were it like none that was chosen.
    pub(super) unlike: i64,
    /// The chosen one that it was most like then, and how like, squared.
    pub(super) near: (i64, Option<usize>),
}

/// Where limits stand: as the newsletter has them, or given way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caps {
    country: usize,
    section: usize,
    source: usize,
    /// In thousandths, not squared.
    alike: i64,
}

impl Caps {
    pub(super) fn lift(&mut self, limit: Limit) {
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
    pub(super) pool: &'a Pool<'a>,
    /// One that has other points than its own, to see whether these would bring it in.
    raised: Option<(usize, i64)>,
    pub(super) seats: Seats<'a>,
    pub(super) chosen: Vec<usize>,
    /// Those that points brought in, before seats took any of their places.
    pub(super) by_points: Vec<usize>,
    /// What would have brought in each candidate by its points, before the seats; `None` where no points could.
    pub(super) prices: Vec<Option<Price>>,
    /// How like each candidate is to the nearest chosen one, squared, and which that is.
    pub(super) near: Vec<(i64, Option<usize>)>,
    pub(super) stops: BTreeMap<usize, Stop<'a>>,
    /// The limit of sources, where there are several.
    one_source: bool,
    /// Seats that stayed empty: by name, how many of how many.
    pub(super) empty: Vec<(&'a str, usize, usize)>,
}

/// Picks a line-up from this pool.
pub(super) fn pick(pool: &Pool<'_>, settings: &Settings, rules: &Rules<'_>) -> Proposal {
    let picker = Picker::run(pool, settings, None);
    let chosen = order::arrange(&picker.chosen, &pool.entries);
    explain::proposal(&picker, &chosen, rules)
}

impl<'a> Picker<'a> {
    /// Picks, with the points of one of them raised where this is asked.
    fn run(pool: &'a Pool<'a>, settings: &'a Settings, raised: Option<(usize, i64)>) -> Self {
        let count = pool.entries.len();
        let mut picker = Self {
            settings,
            seats: Seats::new(&settings.rules.seats),
            chosen: Vec::new(),
            by_points: Vec::new(),
            prices: vec![None; count],
            near: vec![(0, None); count],
            stops: BTreeMap::new(),
            one_source: pool.entries.windows(2).all(|pair| pair[0].source == pair[1].source),
            empty: Vec::new(),
            raised,
            pool,
        };
        for at in 0..count {
            if pool.entries[at].pinned.is_some() {
                picker.choose(at);
            }
        }
        let mut caps = picker.caps();
        while picker.take_best(&caps) {}
        picker.relax(&mut caps);
        picker.fill_seats();
        picker
    }

    /// Whether a candidate would be in with so many points, all else as it is.
    pub(super) fn would_be_in(&self, at: usize, points: i64) -> bool {
        Picker::run(self.pool, self.settings, Some((at, points))).chosen.contains(&at)
    }
}

impl Picker<'_> {
    pub(super) fn caps(&self) -> Caps {
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

    pub(super) fn choose(&mut self, at: usize) {
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
        if self.raised.is_none() {
            self.note_stops();
        }
    }

    /// A candidate's points.
    pub(super) fn points(&self, at: usize) -> i64 {
        match self.raised {
            Some((raised, points)) if raised == at => points,
            _ => self.pool.entries[at].candidate.points,
        }
    }

    /// How high a candidate stands, the lower the better.
    pub(super) fn rank(&self, at: usize) -> (Reverse<i64>, usize) {
        (Reverse(self.points(at)), at)
    }

    /// Notes for everybody still free the first limit that stops it; but once its story is in by another report, or
    /// one like it, that is what stops it, whatever did before: nobody wants it in reserve.
    fn note_stops(&mut self) {
        let caps = self.caps();
        for at in 0..self.pool.entries.len() {
            let known = self.stops.get(&at).map(|stop| stop.bar);
            if matches!(known, Some(Bar::Story | Bar::Alike | Bar::Seat)) || self.chosen.contains(&at) {
                continue;
            }
            let bar = self.bar(at, &caps, None);
            if let Some(bar) = bar.filter(|bar| known.is_none() || matches!(bar, Bar::Story | Bar::Alike)) {
                self.stops.insert(at, Stop { bar, seat: "" });
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
    pub(super) fn bar(&self, at: usize, caps: &Caps, without: Option<usize>) -> Option<Bar> {
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
        balance * self.points(at) - (100 - balance) * self.near[at].0
    }

    /// What a candidate would have needed to be taken where this one is, were nothing in its way.
    fn price(&self, at: usize, taken: usize) -> Price {
        let balance = self.settings.rules.limits.balance;
        let (worth, points) = (self.worth_of(taken), self.points(taken));
        let reaching = |likeness: i64| {
            let least = (worth + likeness).div_euclid(balance);
            // Of two that are worth the same the one with more points is taken, and of equal points another may be.
            least + i64::from(balance * least < worth + likeness || least <= points)
        };
        let near = self.near[at];
        Price { points: reaching((100 - balance) * near.0), unlike: reaching(0), near }
    }

    /// Takes the best that no limit stops; `false` where the line-up is full or there is none.
    fn take_best(&mut self, caps: &Caps) -> bool {
        if self.chosen.len() >= self.settings.items {
            return false;
        }
        let free: Vec<usize> = (0..self.pool.entries.len())
            .filter(|at| !self.chosen.contains(at) && self.bar(*at, caps, None).is_none())
            .collect();
        let best = free.iter().copied().max_by_key(|at| (self.worth_of(*at), Reverse(self.rank(*at))));
        let Some(best) = best else { return false };
        for at in free.into_iter().filter(|_| self.raised.is_none()) {
            let price = self.price(at, best);
            if self.prices[at].is_none_or(|known| price.points < known.points) {
                self.prices[at] = Some(price);
            }
        }
        self.by_points.push(best);
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
}

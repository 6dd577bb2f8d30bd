//! Seats: what must be present in a line-up, at least so many of a list of sections, regions and countries; and how
//! each that is empty is filled once points have brought in what they could.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::candidates::Entry;
use super::explain::Bar;
use super::pick::{Caps, Picker, Stop};
use super::text::fold;
use crate::config::selection::Seat;
use crate::world;

/// The seats of a newsletter, in the order of their names.
pub(super) struct Seats<'a>(Vec<(&'a str, &'a Seat, Vec<String>)>);

impl<'a> Seats<'a> {
    pub(super) fn new(seats: &'a BTreeMap<String, Seat>) -> Self {
        let folded = |seat: &Seat| seat.sections.iter().map(|name| fold(name)).collect();
        Self(seats.iter().map(|(name, seat)| (name.as_str(), seat, folded(seat))).collect())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn name(&self, seat: usize) -> &'a str {
        self.0[seat].0
    }

    pub(super) fn at_least(&self, seat: usize) -> usize {
        self.0[seat].1.at_least
    }

    /// How many of what a seat lists these items hold: each section, region and country once.
    pub(super) fn present<'e>(&self, seat: usize, items: impl Iterator<Item = &'e Entry<'e>>) -> usize
    where
        'a: 'e,
    {
        let (_, seat, sections) = &self.0[seat];
        let items: Vec<&Entry<'_>> = items.collect();
        let has_section =
            |name: &String| items.iter().any(|item| item.section.as_deref() == Some(name.as_str()));
        let any_country = |fits: &dyn Fn(&str) -> bool| {
            items.iter().any(|item| item.countries.iter().any(|code| fits(code)))
        };
        sections.iter().filter(|name| has_section(name)).count()
            + seat
                .regions
                .iter()
                .filter(|region| any_country(&|code| world::region(code) == Some(region.as_str())))
                .count()
            + seat.countries.iter().filter(|country| any_country(&|code| code == country.as_str())).count()
    }
}

impl<'a> Picker<'a> {
    /// Fills every seat that is empty, in the order of their names.
    pub(super) fn fill_seats(&mut self) {
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
        let mut fitting: Vec<usize> = (0..self.pool.entries.len())
            .filter(|at| !self.chosen.contains(at))
            .filter(|at| self.seats.present(seat, [&self.pool.entries[*at]].into_iter()) > 0)
            .collect();
        fitting.sort_by_key(|at| (Reverse(self.worth_of(*at)), self.rank(*at)));
        let mut caps = self.caps();
        let relax = &self.settings.rules.limits.relax;
        for given_way in 0..=relax.len() {
            if let Some(limit) = given_way.checked_sub(1).and_then(|at| relax.get(at)) {
                caps.lift(*limit);
            }
            let found = fitting.iter().find_map(|at| Some((*at, self.room(seat, *at, &caps)?)));
            let Some((best, room)) = found else { continue };
            match room {
                Room::Free => self.choose(best),
                Room::Of(victim) => self.swap(victim, best, seat),
            }
            return true;
        }
        false
    }

    /// Where one that helps a seat can stand: at a free place, or at that of the weakest that nobody pinned and no
    /// other seat needs.
    fn room(&self, seat: usize, at: usize, caps: &Caps) -> Option<Room> {
        if self.chosen.len() < self.settings.items {
            let fits = self.fills(seat, at, None) && self.bar(at, caps, None).is_none();
            return fits.then_some(Room::Free);
        }
        let mut victims = self.chosen.clone();
        victims.retain(|victim| self.pool.entries[*victim].pinned.is_none());
        victims.sort_by_key(|victim| Reverse(self.rank(*victim)));
        let fits = |victim: &usize| {
            self.fills(seat, at, Some(*victim)) && self.bar(at, caps, Some(*victim)).is_none()
        };
        victims.into_iter().find(fits).map(Room::Of)
    }

    /// Whether taking this one, for that, brings more of the seat and empties no other.
    fn fills(&self, seat: usize, at: usize, without: Option<usize>) -> bool {
        let before = || self.chosen.iter().map(|chosen| &self.pool.entries[*chosen]);
        let after: Vec<&Entry<'a>> = self
            .chosen
            .iter()
            .filter(|chosen| Some(**chosen) != without)
            .chain([&at])
            .map(|chosen| &self.pool.entries[*chosen])
            .collect();
        self.seats.present(seat, after.iter().copied()) > self.seats.present(seat, before())
            && (0..self.seats.len()).all(|other| {
                let then = self.seats.present(other, after.iter().copied());
                then >= self.seats.at_least(other).min(self.seats.present(other, before()))
            })
    }

    /// Puts one in the place of another. What the other one stopped is looked at anew: it is not there any more.
    fn swap(&mut self, victim: usize, at: usize, seat: usize) {
        let mut chosen = std::mem::take(&mut self.chosen);
        chosen.retain(|known| *known != victim);
        self.near = vec![(0, None); self.pool.entries.len()];
        self.stops.retain(|_, stop| stop.bar == Bar::Seat);
        for known in chosen {
            self.choose(known);
        }
        self.choose(at);
        let name = self.seats.name(seat);
        self.stops.insert(victim, Stop { bar: Bar::Seat, seat: name });
    }
}

/// Where one can stand.
enum Room {
    Free,
    /// In the place of this one.
    Of(usize),
}

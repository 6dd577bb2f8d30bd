//! Seats: what must be present in a line-up, at least so many of a list of sections, regions and countries.

use std::collections::BTreeMap;

use super::candidates::Entry;
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

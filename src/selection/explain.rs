//! Why not: what kept each candidate out, and which limits gave way, in the editor's language and with numbers.
//!
//! What gave way is read from the line-up itself: whoever changes the pick cannot forget to name it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::candidates::likeness;
use super::pick::{Picker, Price, Stop};
use super::reserves::{self, Ready};
use super::rules::Rules;
use super::words::put;
use super::{Candidate, Proposal};

/// Where there are seats, so many of those left out are told what they would have needed.
const TRIED: usize = 20;

/// What stopped a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bar {
    /// Its story is in already.
    Story,
    /// It is too like a chosen one.
    Alike,
    /// So many of its country are in.
    Country,
    /// So many of its section are in.
    Section,
    /// So many of its source are in.
    Source,
    /// It made room for a seat.
    Seat,
    /// Others have more points.
    Points,
}

/// Why a candidate is not in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// What stopped it.
    pub by: Bar,
    /// So many points would have brought it in, where points could.
    pub needed: Option<i64>,
    /// For editors.
    pub words: String,
}

/// A limit that the line-up does not keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relaxed {
    /// Which.
    pub limit: Bar,
    /// Of what: a country's code, a section, a source, a title, a seat.
    pub of: String,
    /// For editors.
    pub words: String,
}

impl std::fmt::Display for Relaxed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.words)
    }
}

/// The proposal of a pick that is done; `order` has the chosen as they stand.
pub(super) fn proposal(picker: &Picker<'_>, order: &[usize], rules: &Rules<'_>) -> Proposal {
    let relaxed = relaxed(picker, order, rules);
    let candidates: Vec<Candidate> = (0..picker.pool.entries.len())
        .map(|at| {
            let mut candidate = picker.pool.entries[at].candidate.clone();
            let (alike, nearest) = nearest(picker, at);
            candidate.alike = likeness(alike);
            candidate.nearest = nearest.map(|other| picker.pool.entries[other].candidate.article);
            candidate.stopped = (!order.contains(&at)).then(|| stopped(picker, at, nearest, rules));
            candidate
        })
        .collect();
    let wanted = picker.settings.items;
    let short = (order.len() < wanted).then(|| {
        let values = [("count", order.len().to_string()), ("limit", wanted.to_string())];
        put(rules.phrases.short, &values.each_ref().map(|(name, value)| (*name, value.as_str())))
    });
    let mut proposal = Proposal {
        chosen: order.iter().map(|at| candidates[*at].clone()).collect(),
        relaxed,
        short,
        ..Proposal::default()
    };
    let ready = ready(picker, &candidates, order);
    for (at, mut candidate) in candidates.into_iter().enumerate().filter(|(at, _)| !order.contains(at)) {
        if ready.drawn.contains(&at) {
            candidate.reasons.push(reserves::reason(rules.phrases));
        }
        if ready.all.contains(&at) {
            proposal.reserves.push(candidate);
        } else {
            proposal.left_out.push(candidate);
        }
    }
    proposal.barred.clone_from(&picker.pool.barred);
    proposal
}

/// Who stands ready, one of a story: what would say again what is in stands ready for nothing.
fn ready(picker: &Picker<'_>, candidates: &[Candidate], order: &[usize]) -> Ready {
    let mut stories: BTreeSet<&str> = BTreeSet::new();
    let again = |at: &usize| matches!(picker.stops.get(at), Some(Stop { bar: Bar::Story | Bar::Alike, .. }));
    let ranked: Vec<(usize, &str)> = (0..candidates.len())
        .filter(|at| !order.contains(at) && !again(at))
        .filter(|at| stories.insert(&candidates[*at].story))
        .map(|at| (at, candidates[at].url.as_str()))
        .collect();
    reserves::ready(&ranked, picker.settings.reserves, picker.settings.lots)
}

/// The chosen one that is most like a candidate, other than itself.
fn nearest(picker: &Picker<'_>, at: usize) -> (i64, Option<usize>) {
    let own = picker.pool.entries[at].at;
    picker
        .chosen
        .iter()
        .filter(|other| **other != at)
        .map(|other| (picker.pool.alike(own, picker.pool.entries[*other].at), Some(*other)))
        .max_by_key(|(alike, other)| (*alike, std::cmp::Reverse(*other)))
        .unwrap_or((0, None))
}

fn stopped(picker: &Picker<'_>, at: usize, nearest: Option<usize>, rules: &Rules<'_>) -> Stopped {
    let phrases = rules.phrases;
    let entry = &picker.pool.entries[at];
    let title = |other: usize| picker.pool.entries[other].candidate.title.as_str();
    let percent = |alike: i64| (likeness(alike) / 10).to_string();
    let told = entry.candidate.points.to_string();
    let Stop { bar, seat } = picker.stops.get(&at).copied().unwrap_or(Stop { bar: Bar::Points, seat: "" });
    let price = price(picker, at);
    let needed = price.map(|price| price.points);
    let words = match (bar, price) {
        (Bar::Story, _) => {
            let same = picker
                .chosen
                .iter()
                .find(|other| picker.pool.entries[**other].candidate.story == entry.candidate.story);
            put(phrases.same_story, &[("title", same.map_or("", |other| title(*other)))])
        }
        (Bar::Alike, _) => {
            let percent = percent(alike(picker, at, nearest));
            put(phrases.alike, &[("percent", &percent), ("title", nearest.map_or("", title))])
        }
        (Bar::Seat, _) => put(phrases.made_room, &[("name", seat)]),
        (Bar::Country | Bar::Section | Bar::Source, _) => {
            let rank = (phrases.ordinal)(rank(picker, at, bar));
            let name = name_of(picker, at, bar, rules);
            match needed {
                Some(needed) => put(
                    phrases.too_many,
                    &[("rank", &rank), ("name", &name), ("points", &told), ("needed", &needed.to_string())],
                ),
                None if picker.prices[at].is_none() => {
                    put(phrases.too_many_pinned, &[("rank", &rank), ("name", &name)])
                }
                None => put(phrases.too_many_seated, &[("rank", &rank), ("name", &name), ("points", &told)]),
            }
        }
        (Bar::Points, Some(price)) => {
            let values = [("points", told.as_str()), ("needed", &price.points.to_string())];
            let plain = put(phrases.not_enough, &values);
            // Where its points alone would have done, likeness is the reason.
            let near = price.near.1.filter(|near| picker.chosen.contains(near));
            match near.filter(|_| entry.candidate.points >= price.unlike) {
                Some(other) => {
                    let values = [("percent", percent(price.near.0)), ("title", title(other).to_owned())];
                    let values = values.each_ref().map(|(name, value)| (*name, value.as_str()));
                    format!("{plain} {}", put(phrases.for_likeness, &values))
                }
                None => plain,
            }
        }
        (Bar::Points, None) if picker.prices[at].is_none() => phrases.all_pinned.to_owned(),
        (Bar::Points, None) => put(phrases.seated, &[("points", &told)]),
    };
    let needed = needed.filter(|_| !matches!(bar, Bar::Story | Bar::Alike | Bar::Seat));
    Stopped { by: bar, needed, words: format!("{}{words}", phrases.not_taken) }
}

/// What would have brought a candidate in. Seats take places of those that points brought in: where there are seats, it
/// is tried, for those that came near.
fn price(picker: &Picker<'_>, at: usize) -> Option<Price> {
    let price = picker.prices[at]?;
    if picker.seats.len() == 0 {
        return Some(price);
    }
    let before = (0..at).filter(|other| !picker.chosen.contains(other)).count();
    if before >= TRIED {
        return None;
    }
    let mut steps: Vec<i64> = picker.by_points.iter().map(|chosen| picker.points(*chosen) + 1).collect();
    steps.retain(|points| *points > price.points);
    steps.push(price.points);
    steps.sort_unstable();
    let points = steps.into_iter().find(|points| picker.would_be_in(at, *points))?;
    Some(Price { points, unlike: price.unlike.max(points - (price.points - price.unlike)), ..price })
}

fn alike(picker: &Picker<'_>, at: usize, nearest: Option<usize>) -> i64 {
    let entries = &picker.pool.entries;
    nearest.map_or(0, |other| picker.pool.alike(entries[at].at, entries[other].at))
}

/// The how many-th of its group a candidate is: after the chosen ones, by rank.
fn rank(picker: &Picker<'_>, at: usize, bar: Bar) -> usize {
    let chosen = picker.chosen.iter().filter(|other| picker.in_group(at, **other, bar)).count();
    let before = (0..at)
        .filter(|other| picker.stops.get(other).is_some_and(|stop| stop.bar == bar))
        .filter(|other| picker.in_group(at, *other, bar))
        .count();
    chosen + before + 1
}

/// What a group is called.
fn name_of(picker: &Picker<'_>, at: usize, bar: Bar, rules: &Rules<'_>) -> String {
    let candidate = &picker.pool.entries[at].candidate;
    let country = || candidate.country.as_deref().map(|code| rules.phrases.country(code).to_owned());
    match bar {
        Bar::Country => country().unwrap_or_default(),
        Bar::Section => candidate.section.clone().unwrap_or_default(),
        _ => candidate.source.clone(),
    }
}

/// The limits that these chosen do not keep.
fn relaxed(picker: &Picker<'_>, order: &[usize], rules: &Rules<'_>) -> Vec<Relaxed> {
    let (phrases, limits) = (rules.phrases, &picker.settings.rules.limits);
    let entries = &picker.pool.entries;
    let pinned = |at: usize| entries[at].pinned.is_some();
    let mut out = Vec::new();
    let groups = [
        (Bar::Source, picker.source_limit()),
        (Bar::Section, Some(limits.section)),
        (Bar::Country, Some(limits.country)),
    ];
    for (bar, most) in groups.into_iter().filter_map(|(bar, most)| Some((bar, most?))) {
        let mut told: Vec<usize> = Vec::new();
        for at in order.iter().copied() {
            let group: Vec<usize> =
                order.iter().copied().filter(|other| picker.in_group(at, *other, bar)).collect();
            if group.len() <= most || told.iter().any(|known| group.contains(known)) {
                continue;
            }
            told.push(at);
            let by_pins = group.iter().filter(|other| pinned(**other)).count() == group.len();
            let name = name_of(picker, at, bar, rules);
            let (count, limit) = (group.len().to_string(), most.to_string());
            let phrase = if by_pins { phrases.relaxed_by_pins } else { phrases.relaxed };
            out.push(Relaxed {
                limit: bar,
                of: match bar {
                    Bar::Country => entries[at].candidate.country.clone().unwrap_or_default(),
                    _ => name.clone(),
                },
                words: put(phrase, &[("name", &name), ("count", &count), ("limit", &limit)]),
            });
        }
    }
    for (count, at) in order.iter().copied().enumerate() {
        for other in order[..count].iter().copied() {
            let (one, before) = (&entries[at].candidate, &entries[other].candidate);
            let alike = likeness(picker.pool.alike(entries[at].at, entries[other].at));
            let percent = (alike / 10).to_string();
            let values = [("title", one.title.as_str()), ("percent", &percent), ("other", &before.title)];
            if one.story == before.story {
                let words = put(phrases.relaxed_story, &values);
                out.push(Relaxed { limit: Bar::Story, of: one.title.clone(), words });
            } else if alike >= limits.alike * 10 {
                let words = put(phrases.relaxed_alike, &values);
                out.push(Relaxed { limit: Bar::Alike, of: one.title.clone(), words });
            }
        }
    }
    for (name, count, wanted) in &picker.empty {
        let (count, limit) = (count.to_string(), wanted.to_string());
        let words = put(phrases.relaxed_seat, &[("name", name), ("count", &count), ("limit", &limit)]);
        out.push(Relaxed { limit: Bar::Seat, of: (*name).to_owned(), words });
    }
    out
}

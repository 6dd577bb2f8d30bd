//! The tables of `[newsletter.NAME.selection]` that map names to values: sections, sources, authors, countries,
//! themes, seats.

use std::collections::BTreeMap;

use serde::Serialize;

use super::MOST_POINTS;
use crate::config::reader::Section;
use crate::world;

/// What is taken where an article brings nothing of its own: its author's, else its section's, else its source's,
/// else the usual.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Usual<T> {
    /// For all others.
    pub usual: T,
    /// By author.
    pub authors: BTreeMap<String, T>,
    /// By section.
    pub sections: BTreeMap<String, T>,
    /// By source.
    pub sources: BTreeMap<String, T>,
}

impl<T: Clone> Usual<T> {
    pub(super) fn of(usual: T) -> Self {
        Self { usual, authors: BTreeMap::new(), sections: BTreeMap::new(), sources: BTreeMap::new() }
    }

    pub(super) fn read(
        section: &Section,
        otherwise: &Self,
        one: impl Fn(&Section, &str) -> Option<T>,
    ) -> Self {
        let table = |key: &str| by_name(&section.section(key), &one);
        Self {
            usual: one(section, "usual").unwrap_or_else(|| otherwise.usual.clone()),
            authors: table("authors"),
            sections: table("sections"),
            sources: table("sources"),
        }
    }
}

/// What sources are worth, and whose they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sources {
    /// One's own.
    pub own: Vec<String>,
    /// Points by source.
    pub points: BTreeMap<String, i64>,
    /// The owner of a source: those of one owner count once in a story's coverage.
    pub owners: BTreeMap<String, String>,
}

impl Sources {
    pub(super) fn read(section: &Section) -> Self {
        let owners = by_name(&section.section("owners"), |section, key| {
            section.text(key).inspect(|owner| {
                if owner.trim().is_empty() {
                    section.fault(key, "must name the owner");
                }
            })
        });
        Self {
            own: section.list("own"),
            points: by_name(&section.section("points"), |section, key| section.number(key, 0..=MOST_POINTS)),
            owners,
        }
    }
}

/// What the newsroom wants in front.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Priorities {
    /// Points by country, ISO 3166 alpha-2.
    pub countries: BTreeMap<String, i64>,
    /// By name.
    pub themes: BTreeMap<String, Theme>,
}

/// A theme: words that tell it, and what it is worth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Theme {
    /// What it gives.
    pub points: i64,
    /// Words and phrases; `*` at the end stands for any ending.
    pub words: Vec<String>,
}

impl Priorities {
    pub(super) fn read(section: &Section) -> Self {
        let given = section.section("countries");
        let mut countries = BTreeMap::new();
        for key in given.keys() {
            let points = given.number(&key, 0..=MOST_POINTS);
            if let Some(code) = country(&given, &key, &key)
                && let Some(points) = points
            {
                countries.insert(code, points);
            }
        }
        let themes = section.section("themes");
        let themes = themes
            .keys()
            .into_iter()
            .map(|name| {
                let theme = themes.section(&name);
                let words = theme.list("words");
                if words.iter().all(|word| word.trim_matches(['*', ' ']).is_empty()) {
                    theme.fault("words", "must name the words that tell the theme, such as [\"élection*\"]");
                }
                let points = theme.number("points", 0..=MOST_POINTS).unwrap_or(50);
                (name, Theme { points, words })
            })
            .collect();
        Self { countries, themes }
    }
}

/// What must be present: at least so many of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Seat {
    /// How many of the following, each by one item at least.
    pub at_least: usize,
    /// Sections.
    pub sections: Vec<String>,
    /// Regions of the world.
    pub regions: Vec<String>,
    /// Countries.
    pub countries: Vec<String>,
}

impl Seat {
    /// Reads a seat of an edition of `items` items, which only these sections may enter (all, where there are none).
    pub(super) fn read(section: &Section, items: u32, admitted: &[String]) -> Option<Self> {
        let sections = section.list("sections");
        let regions = section.parsed_list("regions", |text| {
            world::REGIONS
                .into_iter()
                .find(|region| *region == text)
                .map(ToOwned::to_owned)
                .ok_or_else(|| format!("expected a region: {}", world::REGIONS.join(", ")))
        });
        let countries: Vec<String> =
            section.list("countries").iter().filter_map(|code| country(section, "countries", code)).collect();
        let kinds = sections.len() + regions.len() + countries.len();
        let at_least = usize::try_from(section.count("at_least", 1..=50).unwrap_or(1)).unwrap_or(1);
        if kinds == 0 {
            section.fault("at_least", "of what? name sections, regions or countries beside it");
            return None;
        }
        if at_least > kinds {
            section.fault("at_least", format!("{at_least} of {kinds} cannot be"));
        }
        if u32::try_from(at_least).unwrap_or(u32::MAX) > items {
            section.fault("at_least", format!("{at_least} is more than items, which is {items}"));
        }
        for name in &sections {
            if !admitted.is_empty() && !admitted.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                section.fault(
                    "sections",
                    format!("{name:?} is not among the newsletter's own sections, which alone may enter"),
                );
            }
        }
        Some(Self { at_least, sections, regions, countries })
    }
}

fn country(section: &Section, key: &str, code: &str) -> Option<String> {
    let upper = code.to_ascii_uppercase();
    if world::is_country(&upper) {
        return Some(upper);
    }
    section.fault(key, format!("{code:?} is no country: expected an ISO 3166 code such as \"SN\""));
    None
}

/// A table of free names; two that differ in case alone are one name given twice.
fn by_name<T>(section: &Section, one: impl Fn(&Section, &str) -> Option<T>) -> BTreeMap<String, T> {
    let keys = section.keys();
    let mut out = BTreeMap::new();
    for (at, key) in keys.iter().enumerate() {
        if let Some(other) = keys[..at].iter().find(|other| other.to_lowercase() == key.to_lowercase()) {
            section.fault(key, format!("is the same name as {other:?}"));
        }
        if let Some(value) = one(section, key) {
            out.insert(key.clone(), value);
        }
    }
    out
}

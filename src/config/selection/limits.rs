//! `[newsletter.NAME.selection.limits]`: the mix of a line-up, and what gives way where it would stay too short.

use serde::Serialize;

use crate::config::reader::Section;

/// A limit of the mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// So many of one source.
    Source,
    /// So many of one section.
    Section,
    /// So many of one country.
    Country,
    /// None so like another.
    Alike,
}

impl Limit {
    /// Every limit, in the order in which they give way unless a newsletter says otherwise.
    pub const ALL: [Self; 4] = [Self::Source, Self::Section, Self::Country, Self::Alike];

    /// As a configuration names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Section => "section",
            Self::Country => "country",
            Self::Alike => "alike",
        }
    }
}

/// The mix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// At most so many of one country.
    pub country: usize,
    /// At most so many of one section.
    pub section: usize,
    /// At most so many of one source.
    pub source: usize,
    /// None that is as like another as this, in percent.
    pub alike: i64,
    /// What points weigh against being like what is chosen, in percent.
    pub balance: i64,
    /// Which of them give way where a line-up would stay too short, and in this order.
    pub relax: Vec<Limit>,
}

impl Limits {
    pub(super) fn read(section: &Section, usual: Self) -> Self {
        let count = |key: &str, otherwise: usize| {
            section.count(key, 1..=50).and_then(|count| usize::try_from(count).ok()).unwrap_or(otherwise)
        };
        let relax = if section.has("relax") { section.parsed_list("relax", limit) } else { usual.relax };
        for (at, limit) in relax.iter().enumerate() {
            if relax[..at].contains(limit) {
                section.fault("relax", format!("{:?} is named twice", limit.as_str()));
            }
        }
        Self {
            country: count("country", usual.country),
            section: count("section", usual.section),
            source: count("source", usual.source),
            alike: section.number("alike", 1..=100).unwrap_or(usual.alike),
            balance: section.number("balance", 1..=100).unwrap_or(usual.balance),
            relax,
        }
    }
}

fn limit(text: &str) -> Result<Limit, String> {
    Limit::ALL.into_iter().find(|limit| limit.as_str() == text).ok_or_else(|| {
        format!("expected {}", Limit::ALL.map(|limit| format!("{:?}", limit.as_str())).join(", "))
    })
}

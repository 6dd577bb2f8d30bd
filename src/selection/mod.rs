//! Choosing the ten: candidates with points and reasons that add up, one per story, in a written order.
//!
//! Pure but for `learning::store`: no clock but the cut-off, no database. The same candidates give the same line-up in whatever order they
//! arrive. The rule a newcomer would break: every point is an integer and stands in a [`Reason`] (P7); and what an
//! editor decided comes in as a [`Standing`] and is never undone (P8).

pub mod extract;
pub mod learning;
mod pick;
pub mod places;
mod points;
pub mod sentences;
mod stopwords;
pub mod stories;
pub mod text;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::articles::{Article, ArticleId};

pub use pick::propose;

/// One term of a candidate's points.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// `value`, `freshness`, `coverage`, `source`, `seen`, `copy`.
    pub term: String,
    /// What it adds, or takes.
    pub points: i64,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub words: String,
}

/// A candidate, judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Candidate {
    /// The article.
    pub article: ArticleId,
    /// Its canonical URL.
    pub url: String,
    /// Its title.
    pub title: String,
    /// Its story: the same for all that report the same.
    pub story: String,
    /// The sum of its reasons.
    pub points: i64,
    /// Why.
    pub reasons: Vec<Reason>,
    /// What kept it out, where something did.
    pub stopped: Option<String>,
}

/// What editors decided, which comes first.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// The place an article is pinned to; 0: in, wherever its points put it.
    pub pinned: BTreeMap<ArticleId, i64>,
    /// Articles that are out.
    pub removed: BTreeSet<ArticleId>,
}

/// What ran in the last editions, the newest first.
#[derive(Clone, Debug, Default)]
pub struct Ran {
    /// How many editions ago, 1 for the last one.
    pub age: usize,
    /// The article's story then.
    pub story: String,
    /// The article.
    pub article: i64,
}

/// What decides, besides the candidates.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many are chosen.
    pub items: usize,
    /// How many stand in reserve.
    pub reserves: usize,
    /// At most so many of one country.
    pub per_country: usize,
    /// At most so many of one section.
    pub per_section: usize,
    /// At most so many of one source.
    pub per_source: usize,
    /// Only these sources; all when empty.
    pub sources: Vec<String>,
    /// Only these sections; all when empty.
    pub sections: Vec<String>,
    /// Only these languages; all when empty.
    pub languages: Vec<String>,
    /// What the terms weigh: as given, or as learned from the editors.
    pub weights: learning::Weights,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            items: 10,
            reserves: 10,
            per_country: 3,
            per_section: 4,
            per_source: 3,
            sources: Vec::new(),
            sections: Vec::new(),
            languages: Vec::new(),
            weights: learning::Weights::default(),
        }
    }
}

/// A line-up, proposed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Proposal {
    /// In the edition, in order.
    pub chosen: Vec<Candidate>,
    /// Ready, should one of them fall.
    pub reserves: Vec<Candidate>,
    /// The others, with what stopped them.
    pub left_out: Vec<Candidate>,
    /// Limits that could not be kept, in words.
    pub relaxed: Vec<String>,
}

/// A story's id: of its first article, so that it stays the same while that is in the window.
pub fn story_id(first_url: &str) -> String {
    use sha2::Digest as _;
    data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(first_url)[..8])
}

/// What an article is besides its terms: its first country and its section.
pub fn traits_of(article: &Article) -> Vec<String> {
    learning::traits_of(article.countries.first().map(String::as_str), article.section.as_deref())
}

/// Whether an article may enter at all.
pub fn is_eligible(article: &Article, settings: &Settings, cut_off: Timestamp) -> bool {
    let allowed = |list: &[String], value: Option<&str>| {
        list.is_empty()
            || value.is_some_and(|value| list.iter().any(|known| known.eq_ignore_ascii_case(value)))
    };
    article.retracted_at.is_none()
        && article.embargo_until.is_none_or(|until| until <= cut_off)
        && article.dated() <= cut_off
        && allowed(&settings.sources, Some(&article.source))
        && allowed(&settings.sections, article.section.as_deref())
        && allowed(&settings.languages, article.language.as_deref())
}

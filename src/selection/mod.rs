//! Choosing the ten: candidates with points and reasons that add up, one per story, in a written order.
//!
//! Pure but for the files named `store.rs`: no clock but the cut-off, no database. The same candidates give the same
//! line-up in whatever order they arrive. The rule a newcomer would break: every point is an integer and stands in a
//! [`Reason`] (P7); and what an editor decided comes in as a [`Standing`] and is never undone (P8).

mod bait;
mod candidates;
mod explain;
pub mod extract;
pub mod learning;
mod logarithm;
mod order;
mod pick;
pub mod places;
mod points;
mod record;
mod reserves;
mod rules;
mod seats;
mod seen;
pub mod sentences;
pub(crate) mod stopwords;
pub mod stories;
pub mod text;
pub mod words;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::articles::{Article, ArticleId, Lifetime};
use crate::config;

pub use candidates::{head, lead};
pub use explain::{Bar, Relaxed, Stopped};

/// One term of a candidate's points.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// `value`, `freshness`, `coverage`, `source`, `priority`, `seen`, `copy`; `editors` for what was learned, `lot`
    /// (worth nothing) for a reserve that was drawn.
    pub term: String,
    /// What it adds, or takes.
    pub points: i64,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub words: String,
}

/// A candidate, judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The article.
    pub article: ArticleId,
    /// Its canonical URL.
    pub url: String,
    /// Its title.
    pub title: String,
    /// Its story: the same for all that report the same.
    pub story: String,
    /// The country that it counts for, ISO 3166 alpha-2.
    pub country: Option<String>,
    /// Its section.
    pub section: Option<String>,
    /// Its source.
    pub source: String,
    /// The sum of its reasons.
    pub points: i64,
    /// Why.
    pub reasons: Vec<Reason>,
    /// How like it is to the nearest chosen one, in thousandths.
    pub alike: i64,
    /// Which that is.
    pub nearest: Option<ArticleId>,
    /// What kept it out, where something did.
    pub stopped: Option<Stopped>,
}

/// An article that is no candidate at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Barred {
    /// The article.
    pub article: ArticleId,
    /// Its canonical URL.
    pub url: String,
    /// Its title.
    pub title: String,
    /// Why, for editors.
    pub words: String,
}

/// What an editor said of an article for one edition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Given {
    /// Its news value, 1 to 5.
    pub value: Option<u8>,
    /// How long it stays worth reading.
    pub lifetime: Option<Lifetime>,
}

/// What editors decided, which comes first.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// The place an article is pinned to; 0: in, wherever its points put it.
    pub pinned: BTreeMap<ArticleId, i64>,
    /// Articles that are out.
    pub removed: BTreeSet<ArticleId>,
    /// Values and lifetimes that editors gave.
    pub given: BTreeMap<ArticleId, Given>,
    /// What editors said of two articles: one event, or two.
    pub bonds: stories::store::Bonds,
    /// The story that each article bore before, which no editor decided: it is kept all the same.
    pub stories: BTreeMap<ArticleId, String>,
}

impl Standing {
    /// Without what editors wish: only which articles report one event, which is no matter of taste.
    pub fn facts(&self) -> Self {
        Self { bonds: self.bonds.clone(), stories: self.stories.clone(), ..Self::default() }
    }
}

/// What ran in the last editions, the newest first.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Ran {
    /// How many editions ago, 1 for the last one.
    pub age: usize,
    /// The article's story then.
    pub story: String,
    /// The article.
    pub article: i64,
    /// Its title.
    pub title: String,
    /// Its standfirst, or its text.
    pub lead: String,
    /// BCP 47, where it is known.
    pub language: Option<String>,
}

/// What decides, besides the candidates.
#[derive(Clone, Debug, Serialize)]
pub struct Settings {
    /// How many are chosen.
    pub items: usize,
    /// How many stand in reserve.
    pub reserves: usize,
    /// Only these sources; all when empty.
    pub sources: Vec<String>,
    /// Only these sections; all when empty.
    pub sections: Vec<String>,
    /// Only these languages; all when empty.
    pub languages: Vec<String>,
    /// The language of the desk, in which reasons are told (BCP 47).
    pub language: String,
    /// Points, limits, tables and seats, as the newsletter has them.
    pub rules: config::Selection,
    /// What the terms weigh: as given, or as learned from the editors.
    pub weights: learning::Weights,
    /// The edition's draw, where two of its reserves are drawn by lot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lots: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            items: 10,
            reserves: 10,
            sources: Vec::new(),
            sections: Vec::new(),
            languages: Vec::new(),
            language: "en".to_owned(),
            rules: config::Selection::default(),
            weights: learning::Weights::default(),
            lots: None,
        }
    }
}

impl Settings {
    /// As a newsletter has them, with the weights in force.
    pub fn of(newsletter: &config::Newsletter, weights: learning::Weights) -> Self {
        let count = |number: u32| usize::try_from(number).unwrap_or(10);
        Self {
            items: count(newsletter.items),
            reserves: count(newsletter.reserves),
            sources: newsletter.sources.clone(),
            sections: newsletter.sections.clone(),
            languages: newsletter.languages.clone(),
            language: newsletter.language.clone(),
            rules: newsletter.selection.clone(),
            weights,
            lots: None,
        }
    }

    /// The same for the edition of a date: on some days two of its reserves are drawn by lot.
    pub fn for_edition(self, newsletter: &str, date: jiff::civil::Date) -> Self {
        let lots = reserves::lots(newsletter, date, self.rules.learning.lot_days);
        Self { lots, ..self }
    }
}

/// A line-up, proposed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// In the edition, in order.
    pub chosen: Vec<Candidate>,
    /// Ready, should one of them fall.
    pub reserves: Vec<Candidate>,
    /// The others, with what stopped them.
    pub left_out: Vec<Candidate>,
    /// Articles of the window that are no candidates, and why.
    pub barred: Vec<Barred>,
    /// Limits that the line-up does not keep.
    pub relaxed: Vec<Relaxed>,
    /// For editors, where fewer came in than the newsletter has places: how many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub short: Option<String>,
    /// A hash of everything that went in: articles, what ran, editors' wishes, settings.
    pub inputs: String,
}

/// Proposes a line-up from these articles at this cut-off.
pub fn propose(
    articles: &[Article],
    ran: &[Ran],
    standing: &Standing,
    settings: &Settings,
    cut_off: Timestamp,
) -> Proposal {
    let rules = rules::Rules::new(settings);
    let pool = candidates::pool(articles, ran, standing, settings, &rules, cut_off);
    let inputs = record::inputs(articles, ran, standing, settings, cut_off);
    Proposal { inputs, ..pick::pick(&pool, settings, &rules) }
}

/// The id of a story that has none yet, after its first article.
fn story_id(first_url: &str) -> String {
    use sha2::Digest as _;
    data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(first_url)[..8])
}

/// Whether a candidate with these reasons stands in reserve because it was drawn by lot.
pub fn is_drawn(reasons: &[Reason]) -> bool {
    reasons.iter().any(|reason| reason.term == reserves::LOT)
}

/// What an article is besides its terms: its first country and its section.
pub fn traits_of(article: &Article) -> Vec<String> {
    learning::traits_of(article.countries.first().map(String::as_str), article.section.as_deref())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An article of the evening of 24 November, with a title and little else.
    pub(crate) fn article(id: i64, title: &str) -> Article {
        let at: Timestamp = "2026-11-24T20:00:00Z".parse().unwrap();
        Article {
            id: ArticleId(id),
            language: Some("fr".to_owned()),
            source: "Source".to_owned(),
            ..Article::new(&format!("https://press.example/{id:04}"), title, at)
        }
    }
}

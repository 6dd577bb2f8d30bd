//! The line-up: what stands in an edition, in which order, and what editors said about it.

use serde::{Deserialize, Serialize};

use super::words::ItemWords;
use crate::articles::ArticleId;
use crate::selection::{Given, Reason};

/// Where an article stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// In the edition.
    Chosen,
    /// Ready, should one of them fall.
    Reserve,
}

impl Place {
    /// The word in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chosen => "chosen",
            Self::Reserve => "reserve",
        }
    }
}

/// One place in the line-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Chosen or in reserve.
    pub place: Place,
    /// 1 for the first of its place.
    pub position: i64,
    /// The article.
    pub article: ArticleId,
    /// Its story.
    pub story: String,
    /// Its points, the sum of its reasons.
    pub points: i64,
    /// Why it stands where it stands.
    pub reasons: Vec<Reason>,
}

/// What editors decided about one article.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// The place it is pinned to; `Some(0)`: in, wherever its points put it.
    pub pinned: Option<i64>,
    /// It is out, whatever its points.
    pub removed: bool,
    /// The editors' own words.
    pub words: ItemWords,
    /// The value and lifetime that editors gave it.
    pub given: Given,
}

/// A line-up as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineUp {
    /// In the edition, in order.
    pub chosen: Vec<Item>,
    /// In reserve, in order.
    pub reserves: Vec<Item>,
}

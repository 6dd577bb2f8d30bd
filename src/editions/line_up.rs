//! The line-up: what stands in an edition, in which order, and what editors said about it.

use serde::{Deserialize, Serialize};

use crate::articles::ArticleId;
use crate::selection::Reason;

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
}

/// The editors' own words for one item; what is `None` comes from the article.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemWords {
    /// The title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The line above the title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kicker: Option<String>,
}

impl ItemWords {
    /// Whether the editors said nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The editors' words around the items; what is `None` is proposed by the machine, or left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EditionWords {
    /// The subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The first visible line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preheader: Option<String>,
    /// Two sentences of the editor of the day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<String>,
    /// Who signs them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// The key figure of the day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figure: Option<KeyFigure>,
    /// What is coming up today.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agenda: Vec<String>,
    /// Something lighter to close with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lighter: Option<String>,
    /// One labelled sponsor place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sponsor: Option<Sponsor>,
    /// What the edition of the day before got wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub corrections: Vec<String>,
}

/// A figure and what it says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFigure {
    /// `62 %`.
    pub figure: String,
    /// Of what, by whom.
    pub words: String,
}

/// The sponsor's place: text that works without any picture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sponsor {
    /// Who pays.
    pub name: String,
    /// What they say.
    pub text: String,
    /// Where it leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// A line-up as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineUp {
    /// In the edition, in order.
    pub chosen: Vec<Item>,
    /// In reserve, in order.
    pub reserves: Vec<Item>,
}

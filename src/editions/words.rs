//! The editors' own words: for one item, and around the items.
//!
//! They are kept as JSON with the edition and come in through `edition edit`. What began as a plain text and gained
//! parts (the agenda, something lighter, corrections) is still taken as a plain text.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

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
    /// Two to four words for the menu.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
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
    pub agenda: Vec<AgendaLine>,
    /// Something lighter to close with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lighter: Option<LighterItem>,
    /// One labelled sponsor place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sponsor: Option<Sponsor>,
    /// What the edition of the day before got wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub corrections: Vec<CorrectionLine>,
}

/// A figure and what it says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFigure {
    /// `62 %`.
    pub figure: String,
    /// Of what, by whom.
    pub words: String,
    /// Who counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Where it is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
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
    /// What the link says; the name where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// One line of the agenda.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "TextOrAgenda")]
pub struct AgendaLine {
    /// `10:00`, or a place, or nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// What.
    pub text: String,
}

/// Something lighter to close with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "TextOrLighter")]
pub struct LighterItem {
    /// The headline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// A sentence or two.
    pub text: String,
    /// Where it is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// What an earlier edition had wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "TextOrCorrection")]
pub struct CorrectionLine {
    /// The edition that had it wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<Date>,
    /// What is right.
    pub text: String,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "a line of the agenda is a text, or an object with text and perhaps when"
)]
enum TextOrAgenda {
    Text(String),
    Parts {
        #[serde(default)]
        when: Option<String>,
        text: String,
    },
}

impl From<TextOrAgenda> for AgendaLine {
    fn from(given: TextOrAgenda) -> Self {
        match given {
            TextOrAgenda::Text(text) => Self { when: None, text },
            TextOrAgenda::Parts { when, text } => Self { when, text },
        }
    }
}

#[derive(Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "the lighter item is a text, or an object with text and perhaps title, url and source"
)]
enum TextOrLighter {
    Text(String),
    Parts {
        #[serde(default)]
        title: Option<String>,
        text: String,
        #[serde(default)]
        url: Option<String>,
        #[serde(default)]
        source: Option<String>,
    },
}

impl From<TextOrLighter> for LighterItem {
    fn from(given: TextOrLighter) -> Self {
        match given {
            TextOrLighter::Text(text) => Self { text, ..Self::default() },
            TextOrLighter::Parts { title, text, url, source } => Self { title, text, url, source },
        }
    }
}

#[derive(Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "a correction is a text, or an object with text and perhaps date (2026-11-23)"
)]
enum TextOrCorrection {
    Text(String),
    Parts {
        #[serde(default)]
        date: Option<Date>,
        text: String,
    },
}

impl From<TextOrCorrection> for CorrectionLine {
    fn from(given: TextOrCorrection) -> Self {
        match given {
            TextOrCorrection::Text(text) => Self { date: None, text },
            TextOrCorrection::Parts { date, text } => Self { date, text },
        }
    }
}

//! From files and answers to drafts: one file per format, all of them pure.
//!
//! Every parser takes text or bytes that may be anything and gives [`Found`]: drafts and refusals in the order of
//! the document, each with its place. Only a document that is not what it claims to be fails whole. Nothing here
//! limits time: [`guard`](super::guard) does.

mod dates;
pub mod decode;
pub mod feed;
mod furniture;
pub mod html;
pub mod page;
pub mod plain;
pub mod record;
mod repair;

use super::draft::{Defaults, Draft, Refused};

/// What a document was taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// One article object a line.
    JsonLines,
    /// A JSON Feed, or our own objects: one, or an array.
    Json,
    /// RSS, Atom or RDF.
    Feed,
    /// A page.
    Html,
    /// Plain text.
    Text,
}

impl Format {
    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::JsonLines => "JSON Lines",
            Self::Json => "JSON",
            Self::Feed => "feed",
            Self::Html => "HTML",
            Self::Text => "text",
        }
    }

    /// By the ending of a file's name.
    pub fn of_name(name: &str) -> Option<Self> {
        let (_, ending) = name.rsplit_once('.')?;
        match ending.to_ascii_lowercase().as_str() {
            "jsonl" | "ndjson" => Some(Self::JsonLines),
            "json" => Some(Self::Json),
            "xml" | "rss" | "atom" | "rdf" => Some(Self::Feed),
            "html" | "htm" | "xhtml" => Some(Self::Html),
            "txt" | "text" | "md" => Some(Self::Text),
            _ => None,
        }
    }

    /// By how the document begins.
    pub fn of_text(head: &str) -> Self {
        let head = head.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']);
        match head.chars().next() {
            Some('[') => Self::Json,
            Some('{') => {
                let first = head.lines().next().unwrap_or_default();
                match serde_json::from_str::<serde_json::Value>(first) {
                    Ok(value) if record::is_json_feed(&value) => Self::Json,
                    Ok(_) => Self::JsonLines,
                    // A first line that is not whole: one document over many lines.
                    Err(_) => Self::Json,
                }
            }
            Some('<') => {
                let lower: String = head.chars().take(2_000).collect::<String>().to_ascii_lowercase();
                if lower.contains("<html") || lower.contains("<!doctype html") {
                    Self::Html
                } else {
                    Self::Feed
                }
            }
            _ => Self::Text,
        }
    }
}

/// Where in a document something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// A line, from 1.
    Line(usize),
    /// An entry, from 1.
    Entry(usize),
    /// The document.
    Whole,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Line(number) => write!(f, "line {number}"),
            Self::Entry(number) => write!(f, "entry {number}"),
            Self::Whole => f.write_str("the document"),
        }
    }
}

/// What a document held.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Drafts, and what could not become one, in order.
    pub drafts: Vec<(Place, Result<Draft, Refused>)>,
    /// What the document says of all its articles.
    pub defaults: Defaults,
    /// What kind of feed it is, where it is one.
    pub kind: Option<&'static str>,
}

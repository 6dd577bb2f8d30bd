//! An article as the store has it.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The number of an article in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ArticleId(pub i64);

impl fmt::Display for ArticleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How long an article stays worth reading, as its newsroom says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lifetime {
    /// Hours.
    Short,
    /// A day.
    Medium,
    /// Days.
    Long,
}

impl Lifetime {
    /// As it is stored and written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Medium => "medium",
            Self::Long => "long",
        }
    }
}

impl FromStr for Lifetime {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "short" => Ok(Self::Short),
            "medium" => Ok(Self::Medium),
            "long" => Ok(Self::Long),
            _ => Err(()),
        }
    }
}

/// One article. Every text in it is plain, clean and without markup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Article {
    /// Its number.
    pub id: ArticleId,
    /// What readers follow: the canonical URL.
    pub url: String,
    /// Its identity: the canonical URL without the scheme.
    pub url_key: String,
    /// One line.
    pub title: String,
    /// The title folded to letters and digits; equal keys report the same story.
    pub title_key: String,
    /// The standfirst; empty where there is none.
    pub summary: String,
    /// Paragraphs with an empty line between; empty where only a summary came.
    pub body: String,
    /// The primary subtag of its language, lower case.
    pub language: Option<String>,
    /// The newsroom's own section.
    pub section: Option<String>,
    /// ISO 3166 alpha-2, upper case.
    pub countries: Vec<String>,
    /// The newsroom's own tags.
    pub tags: Vec<String>,
    /// Who signed it.
    pub author: Option<String>,
    /// The name of its source, as readers see it; never empty.
    pub source: String,
    /// When its source says that it came out.
    pub published_at: Option<Timestamp>,
    /// Its picture, http or https.
    pub image_url: Option<String>,
    /// What the picture shows.
    pub image_alt: Option<String>,
    /// Whose picture it is.
    pub image_credit: Option<String>,
    /// The newsroom's own news value, 1 to 5.
    pub value: Option<u8>,
    /// How long it stays worth reading.
    pub lifetime: Option<Lifetime>,
    /// Not to be shown to anyone before.
    pub embargo_until: Option<Timestamp>,
    /// What brought it first: `feed:NAME`, `push:NAME` or `import`.
    pub origin: String,
    /// Changes when anything that a reader could see changes.
    pub fingerprint: String,
    /// When it came in first.
    pub first_seen_at: Timestamp,
    /// When its content last changed.
    pub updated_at: Timestamp,
    /// When it was taken back.
    pub retracted_at: Option<Timestamp>,
    /// Why it was taken back.
    pub retracted_why: Option<String>,
}

impl Article {
    /// An article of which no more is known than where it is, what it is called, and when it came.
    pub fn new(url: &str, title: &str, at: Timestamp) -> Self {
        Self {
            id: ArticleId(0),
            url: url.to_owned(),
            url_key: url.trim_start_matches("https://").trim_start_matches("http://").to_owned(),
            title: title.to_owned(),
            title_key: String::new(),
            summary: String::new(),
            body: String::new(),
            language: None,
            section: None,
            countries: Vec::new(),
            tags: Vec::new(),
            author: None,
            source: String::new(),
            published_at: Some(at),
            image_url: None,
            image_alt: None,
            image_credit: None,
            value: None,
            lifetime: None,
            embargo_until: None,
            origin: String::new(),
            fingerprint: String::new(),
            first_seen_at: at,
            updated_at: at,
            retracted_at: None,
            retracted_why: None,
        }
    }

    /// What a reader can follow; `None` for a text that was imported without a link (`urn:…`).
    pub fn link(&self) -> Option<&str> {
        Some(self.url.as_str()).filter(|url| url.starts_with("http"))
    }

    /// The instant that its freshness is measured from: when it came out, else when we first saw it.
    pub fn dated(&self) -> Timestamp {
        self.published_at.unwrap_or(self.first_seen_at)
    }
}

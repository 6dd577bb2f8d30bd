//! What came in, field by field, and how it becomes something the store keeps. Pure.
//!
//! A field that was not said keeps what is known of the article; an empty text clears it. So a feed that knows no
//! news value does not undo what the newsroom pushed. A draft with a fault is refused whole, with the field named;
//! nothing of it is guessed.

use std::fmt;

use jiff::Timestamp;
use url::Url;

use super::article::{Article, Lifetime};
use super::canonical::{self, canonical};
use super::fingerprint::{Fingerprint, title_key};
use super::text;

/// The longest title in characters; what is longer is a body in the wrong place.
const MAX_TITLE_CHARS: usize = 500;
const MAX_SUMMARY_CHARS: usize = 5_000;
/// The longest body in bytes; longer ones are cut at a paragraph.
const MAX_BODY_BYTES: usize = 1 << 20;
const MAX_NAME_CHARS: usize = 300;
const MAX_LIST: usize = 50;

/// An article as somebody said it. Texts are plain (markup was turned into text before), not yet clean.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// Where it is; required.
    pub url: String,
    /// Its title; required.
    pub title: String,
    /// The standfirst.
    pub summary: Option<String>,
    /// The text, paragraphs parted by empty lines.
    pub body: Option<String>,
    /// Its language as a tag (`fr`, `fr-SN`).
    pub language: Option<String>,
    /// The newsroom's own section.
    pub section: Option<String>,
    /// ISO 3166 alpha-2.
    pub countries: Option<Vec<String>>,
    /// The newsroom's own tags.
    pub tags: Option<Vec<String>>,
    /// Who signed it.
    pub author: Option<String>,
    /// The name of its source.
    pub source: Option<String>,
    /// When it came out.
    pub published_at: Option<Timestamp>,
    /// Its picture.
    pub image_url: Option<String>,
    /// What the picture shows.
    pub image_alt: Option<String>,
    /// Whose picture it is.
    pub image_credit: Option<String>,
    /// 1 to 5.
    pub value: Option<i64>,
    /// How long it stays worth reading.
    pub lifetime: Option<Lifetime>,
    /// Not to be shown before.
    pub embargo_until: Option<Timestamp>,
}

/// What stands in for what a draft does not say.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    /// Relative links are taken from here.
    pub base: Option<Url>,
    /// The source's name; else the host of the link.
    pub source: Option<String>,
    /// The language; else it is guessed from the text.
    pub language: Option<String>,
    /// The section.
    pub section: Option<String>,
    /// The countries.
    pub countries: Vec<String>,
}

/// Why a draft is not kept.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Refused {
    /// The field that is wrong.
    pub field: &'static str,
    /// What is wrong with it.
    pub why: String,
}

impl Refused {
    /// This field, for this reason.
    pub fn new(field: &'static str, why: impl Into<String>) -> Self {
        Self { field, why: why.into() }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.why)
    }
}

/// A draft that was checked: all its texts are clean. Only [`Draft::check`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clean {
    pub(super) draft: Draft,
    pub(super) url_key: String,
    /// What stands in where the article is new.
    source: String,
    language: Option<String>,
    section: Option<String>,
    countries: Vec<String>,
}

impl Clean {
    /// The identity of the article it is about.
    pub fn url_key(&self) -> &str {
        &self.url_key
    }

    /// What was said, cleaned.
    pub fn draft(&self) -> &Draft {
        &self.draft
    }
}

impl Draft {
    /// What an article without a link is known by: its title, folded, and the date it bears.
    pub(super) fn urn(&self) -> String {
        let date = self.published_at.map(|at| at.to_string()).unwrap_or_default();
        let mut print = Fingerprint::default();
        print.field(Some(&title_key(&self.title))).field(Some(&date));
        format!("urn:sha256:{}", print.finish())
    }

    /// Cleans every field.
    ///
    /// # Errors
    /// [`Refused`] with the first field that cannot be kept.
    pub fn check(self, defaults: &Defaults) -> Result<Clean, Refused> {
        let url = canonical(&self.url, defaults.base.as_ref()).map_err(|why| Refused::new("url", why))?;
        let title = text::line(&self.title);
        if !title.chars().any(char::is_alphanumeric) {
            return Err(Refused::new("title", "is missing"));
        }
        if title.chars().count() > MAX_TITLE_CHARS {
            return Err(Refused::new("title", format!("is longer than {MAX_TITLE_CHARS} characters")));
        }
        if let Some(value) = self.value.filter(|value| !(1..=5).contains(value)) {
            return Err(Refused::new("value", format!("must be 1 to 5, found {value}")));
        }
        let countries = self.countries.as_deref().map(countries).transpose()?;
        let language = match self.language.as_deref().map(str::trim) {
            None | Some("") => None,
            Some(tag) => Some(primary(tag).ok_or_else(|| {
                Refused::new("language", format!("must be a language tag such as \"fr\", found {tag:?}"))
            })?),
        };
        let name = |text: Option<String>| text.map(|text| text::clip(&text::line(&text), MAX_NAME_CHARS));
        let body = self.body.map(|body| cut(text::paragraphs(&body)));
        let summary = self.summary.map(|text| text::clip(&text::line(&text), MAX_SUMMARY_CHARS));
        let source = name(self.source).filter(|source| !source.is_empty());
        let fallback = defaults.source.clone().filter(|source| !source.is_empty());
        let guessed = || {
            let sample =
                [title.as_str(), summary.as_deref().unwrap_or_default(), body.as_deref().unwrap_or_default()];
            guess(&sample.join(". "))
        };
        Ok(Clean {
            source: source.clone().or(fallback).unwrap_or_else(|| host(&url.link)),
            language: language
                .clone()
                .or_else(|| defaults.language.as_deref().and_then(primary))
                .or_else(guessed),
            section: defaults.section.clone(),
            countries: defaults.countries.clone(),
            url_key: url.key,
            draft: Draft {
                url: url.link,
                summary,
                body,
                language,
                section: name(self.section),
                countries,
                tags: self.tags.as_deref().map(list),
                author: name(self.author),
                source,
                published_at: self.published_at,
                image_url: self
                    .image_url
                    .map(|url| canonical::web_url(&url, defaults.base.as_ref()).unwrap_or_default()),
                image_alt: name(self.image_alt),
                image_credit: name(self.image_credit),
                value: self.value,
                lifetime: self.lifetime,
                embargo_until: self.embargo_until,
                title,
            },
        })
    }
}

impl Clean {
    /// The article that this draft makes where nothing was known before.
    pub fn article(&self, origin: &str, now: Timestamp) -> Article {
        self.apply(None, origin, now)
    }

    /// The article that this draft makes: a new one, or `known` with what the draft says changed in it.
    pub(super) fn apply(&self, known: Option<&Article>, origin: &str, now: Timestamp) -> Article {
        let draft = &self.draft;
        let text = |said: &Option<String>, known: Option<&String>| {
            said.as_ref().or(known).filter(|text| !text.is_empty()).cloned()
        };
        let mut article = Article {
            id: known.map_or(super::ArticleId(0), |known| known.id),
            url: draft.url.clone(),
            url_key: self.url_key.clone(),
            title: draft.title.clone(),
            title_key: title_key(&draft.title),
            summary: text(&draft.summary, known.map(|known| &known.summary)).unwrap_or_default(),
            body: text(&draft.body, known.map(|known| &known.body)).unwrap_or_default(),
            language: draft
                .language
                .clone()
                .or_else(|| known.and_then(|known| known.language.clone()))
                .or_else(|| self.language.clone()),
            section: text(
                &draft.section,
                known.map_or(self.section.as_ref(), |known| known.section.as_ref()),
            ),
            countries: draft.countries.clone().unwrap_or_else(|| {
                known.map_or_else(|| self.countries.clone(), |known| known.countries.clone())
            }),
            tags: draft
                .tags
                .clone()
                .unwrap_or_else(|| known.map(|known| known.tags.clone()).unwrap_or_default()),
            author: text(&draft.author, known.and_then(|known| known.author.as_ref())),
            source: draft
                .source
                .clone()
                .unwrap_or_else(|| known.map_or_else(|| self.source.clone(), |known| known.source.clone())),
            published_at: draft.published_at.or_else(|| known.and_then(|known| known.published_at)),
            image_url: text(&draft.image_url, known.and_then(|known| known.image_url.as_ref())),
            image_alt: text(&draft.image_alt, known.and_then(|known| known.image_alt.as_ref())),
            image_credit: text(&draft.image_credit, known.and_then(|known| known.image_credit.as_ref())),
            value: draft
                .value
                .and_then(|value| u8::try_from(value).ok())
                .or_else(|| known.and_then(|known| known.value)),
            lifetime: draft.lifetime.or_else(|| known.and_then(|known| known.lifetime)),
            embargo_until: draft.embargo_until.or_else(|| known.and_then(|known| known.embargo_until)),
            origin: known.map_or_else(|| origin.to_owned(), |known| known.origin.clone()),
            fingerprint: String::new(),
            first_seen_at: known.map_or(now, |known| known.first_seen_at),
            updated_at: now,
            retracted_at: known.and_then(|known| known.retracted_at),
            retracted_why: known.and_then(|known| known.retracted_why.clone()),
        };
        article.fingerprint = fingerprint(&article);
        article
    }
}

/// Over everything that came from outside, in a fixed order.
fn fingerprint(article: &Article) -> String {
    let mut print = Fingerprint::default();
    let number = |n: Option<i64>| n.map(|n| n.to_string());
    let instant = |at: Option<Timestamp>| number(at.map(Timestamp::as_millisecond));
    print
        .field(Some(&article.url))
        .field(Some(&article.title))
        .field(Some(&article.summary))
        .field(Some(&article.body))
        .field(article.language.as_deref())
        .field(article.section.as_deref())
        .field(Some(&article.countries.join("\n")))
        .field(Some(&article.tags.join("\n")))
        .field(article.author.as_deref())
        .field(Some(&article.source))
        .field(instant(article.published_at).as_deref())
        .field(article.image_url.as_deref())
        .field(article.image_alt.as_deref())
        .field(article.image_credit.as_deref())
        .field(number(article.value.map(i64::from)).as_deref())
        .field(article.lifetime.map(Lifetime::as_str))
        .field(instant(article.embargo_until).as_deref());
    print.finish()
}

fn countries(said: &[String]) -> Result<Vec<String>, Refused> {
    let mut out: Vec<String> = Vec::new();
    for text in said.iter().map(|text| text.trim()).filter(|text| !text.is_empty()) {
        if text.len() != 2 || !text.bytes().all(|b| b.is_ascii_alphabetic()) {
            return Err(Refused::new(
                "countries",
                format!("must be ISO 3166 alpha-2 codes such as \"SN\", found {:?}", text::clip(text, 40)),
            ));
        }
        let code = text.to_ascii_uppercase();
        if !out.contains(&code) && out.len() < MAX_LIST {
            out.push(code);
        }
    }
    Ok(out)
}

fn list(said: &[String]) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for text in said.iter().map(|text| text::clip(&text::line(text), MAX_NAME_CHARS)) {
        if !text.is_empty() && !out.contains(&text) && out.len() < MAX_LIST {
            out.push(text);
        }
    }
    out
}

/// The primary subtag of a language tag, lower case.
pub(super) fn primary(tag: &str) -> Option<String> {
    let first = tag.trim().split(['-', '_']).next().unwrap_or_default();
    ((2..=3).contains(&first.len()) && first.bytes().all(|b| b.is_ascii_alphabetic()))
        .then(|| first.to_ascii_lowercase())
}

/// The language of a text, where it is long and clear enough to tell.
fn guess(sample: &str) -> Option<String> {
    const CHARS: usize = 2_000;
    let sample: String = sample.chars().take(CHARS).collect();
    let info = whatlang::detect(&sample)?;
    if !info.is_reliable() {
        return None;
    }
    let code = match info.lang() {
        whatlang::Lang::Fra => "fr",
        whatlang::Lang::Eng => "en",
        whatlang::Lang::Por => "pt",
        whatlang::Lang::Spa => "es",
        whatlang::Lang::Ara => "ar",
        whatlang::Lang::Deu => "de",
        whatlang::Lang::Ita => "it",
        whatlang::Lang::Nld => "nl",
        whatlang::Lang::Rus => "ru",
        whatlang::Lang::Ukr => "uk",
        whatlang::Lang::Tur => "tr",
        whatlang::Lang::Pol => "pl",
        whatlang::Lang::Swe => "sv",
        whatlang::Lang::Jpn => "ja",
        whatlang::Lang::Cmn => "zh",
        whatlang::Lang::Kor => "ko",
        whatlang::Lang::Amh => "am",
        whatlang::Lang::Afr => "af",
        whatlang::Lang::Zul => "zu",
        whatlang::Lang::Heb => "he",
        whatlang::Lang::Pes => "fa",
        whatlang::Lang::Hin => "hi",
        other => other.code(),
    };
    Some(code.to_owned())
}

/// The host of a link, for want of a better name of its source.
fn host(link: &str) -> String {
    Url::parse(link)
        .ok()
        .and_then(|url| url.host_str().map(|host| host.trim_start_matches("www.").to_owned()))
        .filter(|host| !host.is_empty())
        .unwrap_or_else(|| "import".to_owned())
}

/// Cut at a paragraph where it is far too long.
fn cut(mut body: String) -> String {
    if body.len() > MAX_BODY_BYTES {
        let mut end = MAX_BODY_BYTES;
        while !body.is_char_boundary(end) {
            end -= 1;
        }
        let end = body.get(..end).and_then(|head| head.rfind("\n\n")).unwrap_or(end);
        body.truncate(end);
    }
    body
}

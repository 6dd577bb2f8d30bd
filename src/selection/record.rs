//! The record of a proposal: a hash of what went in, so that two that differ can be told to have had the same or other
//! inputs.

use jiff::Timestamp;
use serde::Serialize;
use sha2::Digest as _;

use super::{Given, Ran, Settings, Standing, candidates};
use crate::articles::{Article, ArticleId, Lifetime};

/// Everything of an article that can decide something.
#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct Input<'a> {
    url: &'a str,
    article: i64,
    title: &'a str,
    lead: &'a str,
    has_summary: bool,
    language: Option<&'a str>,
    section: Option<&'a str>,
    countries: &'a [String],
    tags: &'a [String],
    author: Option<&'a str>,
    source: &'a str,
    dated: i64,
    value: Option<u8>,
    lifetime: Option<&'static str>,
    embargo_until: Option<i64>,
    retracted: bool,
}

/// A hash of everything that goes into a proposal, whatever the order of arrival.
pub(super) fn inputs(
    articles: &[Article],
    ran: &[Ran],
    standing: &Standing,
    settings: &Settings,
    cut_off: Timestamp,
) -> String {
    let mut all: Vec<Input<'_>> = articles
        .iter()
        .map(|article| Input {
            url: &article.url,
            article: article.id.0,
            title: &article.title,
            lead: candidates::lead(article),
            has_summary: !article.summary.is_empty(),
            language: article.language.as_deref(),
            section: article.section.as_deref(),
            countries: &article.countries,
            tags: &article.tags,
            author: article.author.as_deref(),
            source: &article.source,
            dated: article.dated().as_millisecond(),
            value: article.value,
            lifetime: article.lifetime.map(Lifetime::as_str),
            embargo_until: article.embargo_until.map(Timestamp::as_millisecond),
            retracted: article.retracted_at.is_some(),
        })
        .collect();
    all.sort_unstable();
    let given: Vec<(&ArticleId, &Given)> = standing.given.iter().collect();
    let mut hash = sha2::Sha256::new();
    hash.update(json(&(cut_off.as_millisecond(), settings, ran)));
    hash.update(json(&(&standing.pinned, &standing.removed, given)));
    let mut bonds = standing.bonds.clone();
    bonds.sort_unstable();
    hash.update(json(&(bonds, &standing.stories)));
    for input in &all {
        hash.update(json(input));
    }
    data_encoding::HEXLOWER.encode(&hash.finalize()[..16])
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain structs of texts and numbers always serialise")
}

//! A sample morning in each of the languages that mails speak: ten items, of no interest in their words.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use crate::mail::Error;
use crate::mail::content::{Content, Item};

const TEXTS: &str = include_str!("sample.json");
/// One country each, so that no two stand in a row.
const COUNTRIES: [&str; 10] = ["SN", "CI", "MA", "KE", "CM", "EG", "AO", "TN", "ML", "MZ"];
const SOURCES: [&str; 5] = ["Press A", "Press B", "Press C", "Press D", "Press E"];

#[derive(Deserialize)]
struct Morning {
    preheader: String,
    items: Vec<Text>,
}

#[derive(Deserialize)]
struct Text {
    title: String,
    summary: String,
}

/// Lays a sample morning in this language into a content: so many items at the most, published at this moment.
///
/// # Errors
/// The sample itself does not read.
pub(super) fn lay_out(
    content: &mut Content,
    language: &str,
    most: usize,
    at: Timestamp,
) -> Result<(), Error> {
    let wrong = |error: serde_json::Error| Error::Template(format!("the sample: {error}"));
    let mut mornings: BTreeMap<String, Morning> = serde_json::from_str(TEXTS).map_err(wrong)?;
    let Some(morning) = mornings.remove(language) else { return Ok(()) };
    // As an editor would write them: what is proposed hangs on how many items there are.
    content.preheader = morning.preheader;
    content.subject = morning.items.first().map(|text| text.title.clone()).unwrap_or_default();
    let items = morning.items.into_iter().zip(COUNTRIES).zip(SOURCES.iter().cycle()).zip(1..);
    let items = items.take(most).map(|(((text, country), source), position)| Item {
        position,
        url: format!("https://press.example/{position}"),
        title: text.title,
        summary: text.summary,
        label: None,
        countries: vec![country.to_owned()],
        section: None,
        source: (*source).to_owned(),
        published_at: Some(at),
        image: None,
        language: language.to_owned(),
        reading_minutes: Some(2),
    });
    content.items = items.collect();
    Ok(())
}

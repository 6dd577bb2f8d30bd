//! What an editor may change, as one JSON document: order, pins, words, subject. The desk and scripts share it.
//!
//! A key that is not given stays as it is; `null` gives a text back to the machine. `items` is the order from the
//! first place on: each stands pinned where it is listed unless it says `"pinned": false`; what is not listed is
//! free again, and the machine fills the rest. `removed` is the whole list of articles kept out, `values` that of the
//! news values and lifetimes that editors gave.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize};

use super::{AgendaLine, CorrectionLine, Decision, EditionWords, ItemWords, KeyFigure, LighterItem, Sponsor};
use crate::articles::{ArticleId, Lifetime};
use crate::selection::Given;

/// The document that `edition edit` gives and takes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The newsletter's id; must be the edition's where it is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newsletter: Option<String>,
    /// The edition's date; must be the edition's where it is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// The version that was edited; when somebody changed the edition since, nothing is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// The subject.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub subject: Option<Option<String>>,
    /// The first visible line.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub preheader: Option<Option<String>>,
    /// Two sentences of the editor of the day.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub opening: Option<Option<String>>,
    /// Who signs them.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub signature: Option<Option<String>>,
    /// The key figure of the day.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub figure: Option<Option<KeyFigure>>,
    /// What is coming up today.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub agenda: Option<Option<Vec<AgendaLine>>>,
    /// Something lighter to close with.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub lighter: Option<Option<LighterItem>>,
    /// The sponsor's place.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub sponsor: Option<Option<Sponsor>>,
    /// What the edition of the day before got wrong.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub corrections: Option<Option<Vec<CorrectionLine>>>,
    /// The order, from the first place on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<Vec<DocumentItem>>,
    /// All values and lifetimes that editors gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<Vec<DocumentValue>>,
    /// All articles that are kept out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<Vec<Named>>,
    /// Those that stand ready, in order: given for whoever wants one of them among the items, and not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserves: Option<Vec<Named>>,
}

/// An article, named by its URL alone or with its title beside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a URL, or an object with a url")]
pub enum Named {
    /// By its URL.
    Url(String),
    /// As the document gives it.
    Told {
        /// Its URL.
        url: String,
        /// Its own title, for whoever reads the document.
        #[serde(default)]
        article: String,
    },
}

impl Named {
    /// The article's URL.
    pub fn url(&self) -> &str {
        match self {
            Self::Url(url) | Self::Told { url, .. } => url,
        }
    }
}

/// One item of a [`Document`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentItem {
    /// The article's URL.
    pub url: String,
    /// The article's own title, for whoever reads the document; it is not read back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub article: Option<String>,
    /// Whether it stays at this place; yes where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<bool>,
    /// The editors' own title.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub title: Option<Option<String>>,
    /// The editors' own text.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub summary: Option<Option<String>>,
    /// The editors' own line above the title.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub kicker: Option<Option<String>>,
    /// The editors' own words for the menu.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub label: Option<Option<String>>,
}

/// What an editor says an article is worth, in this edition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentValue {
    /// The article's URL.
    pub url: String,
    /// The article's own title, for whoever reads the document; it is not read back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub article: Option<String>,
    /// Its news value, 1 to 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<u8>,
    /// How long it stays worth reading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<Lifetime>,
}

/// Tells a `null` from a key that is not there.
fn given<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}

/// What a document asks for that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The article store does not have it.
    #[error("{place}: no article {url:?} in the store")]
    Unknown {
        /// Where in the document.
        place: String,
        /// The URL.
        url: String,
    },
    /// Listed twice, or both listed and removed.
    #[error("{place}: {url:?} is named twice")]
    Twice {
        /// Where in the document.
        place: String,
        /// The URL.
        url: String,
    },
    /// More items than the edition has places.
    #[error("items: {given} are pinned, and the edition has {places} places")]
    TooMany {
        /// How many are pinned.
        given: usize,
        /// How many places there are.
        places: usize,
    },
    /// A text that no mail can carry.
    #[error("{place}: {message}")]
    Text {
        /// Where in the document.
        place: String,
        /// What is wrong with it.
        message: &'static str,
    },
}

/// What the document changes: new words around the items, and decisions by article.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The words around the items, when they change.
    pub words: Option<EditionWords>,
    /// Decisions that change.
    pub decisions: BTreeMap<ArticleId, Decision>,
}

impl Document {
    /// The same with every item pinned that is listed elsewhere than it stands, whatever it says of being pinned: who
    /// moves an item in the document that was given out wants it there. `standing` knows the places, from 1.
    pub fn with_moves(&self, standing: impl Fn(&str) -> Option<usize>) -> Self {
        let mut document = self.clone();
        for (at, item) in document.items.iter_mut().flatten().enumerate() {
            if item.pinned == Some(false) && standing(&item.url).is_some_and(|place| place != at + 1) {
                item.pinned = Some(true);
            }
        }
        document
    }
}

/// Works out what a document changes; changes nothing itself.
///
/// `find` knows the articles by URL, `places` is how many items the edition has.
pub fn changes(
    document: &Document,
    words: &EditionWords,
    decisions: &BTreeMap<ArticleId, Decision>,
    find: &BTreeMap<String, ArticleId>,
    places: usize,
) -> Result<Changes, Refused> {
    let mut changes = Changes::default();
    let new_words = apply_words(document, words)?;
    if new_words != *words {
        changes.words = Some(new_words);
    }
    let mut wanted = decisions.clone();
    let known = |place: String, url: &str| {
        find.get(url).copied().ok_or_else(|| Refused::Unknown { place, url: url.to_owned() })
    };
    let mut named = BTreeSet::new();
    if let Some(removed) = &document.removed {
        wanted.values_mut().for_each(|decision| decision.removed = false);
        for (at, url) in removed.iter().map(Named::url).enumerate() {
            let place = format!("removed[{at}]");
            let article = known(place.clone(), url)?;
            if !named.insert(article) {
                return Err(Refused::Twice { place, url: url.to_owned() });
            }
            let decision = wanted.entry(article).or_default();
            decision.removed = true;
            decision.pinned = None;
        }
    }
    if let Some(items) = &document.items {
        let pinned = items.iter().filter(|item| item.pinned != Some(false)).count();
        if pinned > places {
            return Err(Refused::TooMany { given: pinned, places });
        }
        wanted.values_mut().for_each(|decision| decision.pinned = None);
        for (at, item) in items.iter().enumerate() {
            let place = format!("items[{at}]");
            let article = known(place.clone(), &item.url)?;
            if !named.insert(article) {
                return Err(Refused::Twice { place, url: item.url.clone() });
            }
            let decision = wanted.entry(article).or_default();
            decision.removed = false;
            if item.pinned != Some(false) {
                decision.pinned = i64::try_from(at + 1).ok();
            }
            take(&mut decision.words.title, item.title.as_ref(), &format!("{place}.title"), true)?;
            take(&mut decision.words.summary, item.summary.as_ref(), &format!("{place}.summary"), false)?;
            take(&mut decision.words.kicker, item.kicker.as_ref(), &format!("{place}.kicker"), true)?;
            take(&mut decision.words.label, item.label.as_ref(), &format!("{place}.label"), true)?;
        }
    }
    if let Some(values) = &document.values {
        wanted.values_mut().for_each(|decision| decision.given = Given::default());
        let mut named = BTreeSet::new();
        for (at, given) in values.iter().enumerate() {
            let place = format!("values[{at}]");
            let article = known(place.clone(), &given.url)?;
            if !named.insert(article) {
                return Err(Refused::Twice { place, url: given.url.clone() });
            }
            if given.value.is_some_and(|value| !(1..=5).contains(&value)) {
                let place = format!("{place}.value");
                return Err(Refused::Text { place, message: "a news value is a whole number from 1 to 5" });
            }
            wanted.entry(article).or_default().given = Given { value: given.value, lifetime: given.lifetime };
        }
    }
    changes.decisions = wanted
        .into_iter()
        .filter(|(article, decision)| decisions.get(article).cloned().unwrap_or_default() != *decision)
        .collect();
    Ok(changes)
}

fn apply_words(document: &Document, words: &EditionWords) -> Result<EditionWords, Refused> {
    let mut words = words.clone();
    take(&mut words.subject, document.subject.as_ref(), "subject", true)?;
    take(&mut words.preheader, document.preheader.as_ref(), "preheader", true)?;
    take(&mut words.opening, document.opening.as_ref(), "opening", false)?;
    take(&mut words.signature, document.signature.as_ref(), "signature", true)?;
    if let Some(lighter) = &document.lighter {
        if let Some(lighter) = lighter {
            said("lighter.text", &lighter.text)?;
            link("lighter.url", lighter.url.as_ref())?;
        }
        words.lighter.clone_from(lighter);
    }
    if let Some(figure) = &document.figure {
        if let Some(figure) = figure {
            said("figure.figure", &figure.figure)?;
            said("figure.words", &figure.words)?;
            link("figure.url", figure.url.as_ref())?;
        }
        words.figure.clone_from(figure);
    }
    if let Some(sponsor) = &document.sponsor {
        if let Some(sponsor) = sponsor {
            said("sponsor.name", &sponsor.name)?;
            said("sponsor.text", &sponsor.text)?;
            link("sponsor.url", sponsor.url.as_ref())?;
        }
        words.sponsor.clone_from(sponsor);
    }
    if let Some(agenda) = &document.agenda {
        words.agenda = agenda.clone().unwrap_or_default();
        for (at, line) in words.agenda.iter().enumerate() {
            said(&format!("agenda[{at}]"), &line.text)?;
        }
    }
    if let Some(corrections) = &document.corrections {
        words.corrections = corrections.clone().unwrap_or_default();
        for (at, line) in words.corrections.iter().enumerate() {
            said(&format!("corrections[{at}]"), &line.text)?;
        }
    }
    Ok(words)
}

/// A part that is there says something; `null` takes it away.
fn said(place: &str, text: &str) -> Result<(), Refused> {
    if text.trim().is_empty() {
        return Err(Refused::Text { place: place.to_owned(), message: "is empty; null takes the part away" });
    }
    Ok(())
}

/// A link leads to a page that every reader can open.
fn link(place: &str, url: Option<&String>) -> Result<(), Refused> {
    let Some(text) = url else { return Ok(()) };
    let good = url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    if good {
        return Ok(());
    }
    Err(Refused::Text { place: place.to_owned(), message: "expected an https or http URL" })
}

/// Takes a text where one was given. An empty one is the machine's again, like `null`.
fn take(
    target: &mut Option<String>,
    value: Option<&Option<String>>,
    place: &str,
    one_line: bool,
) -> Result<(), Refused> {
    let Some(value) = value else { return Ok(()) };
    let text = value.as_deref().map(str::trim).filter(|text| !text.is_empty());
    if text.is_some_and(|text| one_line && text.chars().any(char::is_control)) {
        return Err(Refused::Text { place: place.to_owned(), message: "line breaks have no place in it" });
    }
    *target = text.map(str::to_owned);
    Ok(())
}

impl Document {
    /// Every URL that it names.
    pub fn urls(&self) -> Vec<String> {
        let items = self.items.iter().flatten().map(|item| item.url.clone());
        let values = self.values.iter().flatten().map(|given| given.url.clone());
        let removed = self.removed.iter().flatten().map(|named| named.url().to_owned());
        items.chain(values).chain(removed).collect()
    }

    /// Puts the editors' words around the items into the document.
    pub fn with_words(mut self, words: &EditionWords) -> Self {
        let words = words.clone();
        self.subject = Some(words.subject);
        self.preheader = Some(words.preheader);
        self.opening = Some(words.opening);
        self.signature = Some(words.signature);
        self.figure = Some(words.figure);
        self.agenda = Some(Some(words.agenda));
        self.lighter = Some(words.lighter);
        self.sponsor = Some(words.sponsor);
        self.corrections = Some(Some(words.corrections));
        self
    }
}

impl DocumentItem {
    /// An item as the document gives it.
    pub fn new(url: String, article: String, pinned: bool, words: &ItemWords) -> Self {
        Self {
            url,
            article: Some(article),
            pinned: Some(pinned),
            title: Some(words.title.clone()),
            summary: Some(words.summary.clone()),
            kicker: Some(words.kicker.clone()),
            label: Some(words.label.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find() -> BTreeMap<String, ArticleId> {
        [("https://a.example/1", 1), ("https://a.example/2", 2), ("https://a.example/3", 3)]
            .into_iter()
            .map(|(url, id)| (url.to_owned(), ArticleId(id)))
            .collect()
    }

    fn edit(text: &str, decisions: &BTreeMap<ArticleId, Decision>) -> Result<Changes, Refused> {
        let document: Document = serde_json::from_str(text).unwrap();
        changes(&document, &EditionWords::default(), decisions, &find(), 2)
    }

    #[test]
    fn p8_what_is_listed_is_pinned_where_it_is_listed() {
        let changes = edit(
            r#"{"subject": "Cacao", "items": [{"url": "https://a.example/2"}, {"url": "https://a.example/1", "title": "Mine"}],
                "removed": ["https://a.example/3"]}"#,
            &BTreeMap::new(),
        )
        .unwrap();
        assert_eq!(changes.words.unwrap().subject.as_deref(), Some("Cacao"));
        assert_eq!(changes.decisions[&ArticleId(2)].pinned, Some(1));
        assert_eq!(changes.decisions[&ArticleId(1)].pinned, Some(2));
        assert_eq!(changes.decisions[&ArticleId(1)].words.title.as_deref(), Some("Mine"));
        assert!(changes.decisions[&ArticleId(3)].removed);
    }

    #[test]
    fn titles_beside_urls_are_for_people_and_not_read_back() {
        let text = r#"{"items": [{"url": "https://a.example/1", "article": "Its own title"}], "removed":
            ["https://a.example/2", {"url": "https://a.example/3", "article": "Another"}],
            "reserves": [{"url": "https://nowhere.example/", "article": "Ready"}]}"#;
        let changes = edit(text, &BTreeMap::new()).unwrap();
        assert_eq!(changes.decisions[&ArticleId(1)].words, ItemWords::default());
        assert!(changes.decisions[&ArticleId(2)].removed && changes.decisions[&ArticleId(3)].removed);
        assert!(serde_json::from_str::<Document>(r#"{"removed": [7]}"#).is_err());
    }

    #[test]
    fn what_is_not_given_stays_and_null_gives_it_back() {
        let words = ItemWords { title: Some("Mine".to_owned()), ..ItemWords::default() };
        let before = BTreeMap::from([(
            ArticleId(1),
            Decision { pinned: Some(1), removed: false, words, ..Decision::default() },
        )]);
        assert_eq!(edit("{}", &before).unwrap(), Changes::default());
        let changes = edit(r#"{"items": [{"url": "https://a.example/1", "title": null}]}"#, &before).unwrap();
        assert_eq!(changes.decisions[&ArticleId(1)].words.title, None);
        assert_eq!(changes.decisions[&ArticleId(1)].pinned, Some(1));
    }

    #[test]
    fn the_parts_around_the_items_are_given_as_a_text_or_in_parts() {
        let changes = edit(
            r#"{"figure": {"figure": "62 %", "words": "of the harvest", "source": "the ministry"},
                "agenda": ["Cabinet meets", {"when": "10:00", "text": "Verdict"}],
                "lighter": {"title": "A goal", "text": "From his own half.", "url": "https://a.example/goal"},
                "sponsor": {"name": "Bank", "text": "Saves.", "url": "https://bank.example/", "link": "Open an account"},
                "corrections": [{"date": "2026-11-23", "text": "It was Tuesday."}]}"#,
            &BTreeMap::new(),
        )
        .unwrap();
        let words = changes.words.unwrap();
        assert_eq!(words.agenda[0], AgendaLine { when: None, text: "Cabinet meets".to_owned() });
        assert_eq!(words.agenda[1].when.as_deref(), Some("10:00"));
        assert_eq!(words.lighter.as_ref().unwrap().title.as_deref(), Some("A goal"));
        assert_eq!(words.corrections[0].date.unwrap().to_string(), "2026-11-23");
        let kept = serde_json::to_string(&words).unwrap();
        assert_eq!(serde_json::from_str::<EditionWords>(&kept).unwrap(), words);
        let old = r#"{"lighter": "A song.", "agenda": ["Noon"], "corrections": ["Two."]}"#;
        assert_eq!(serde_json::from_str::<EditionWords>(old).unwrap().lighter.unwrap().text, "A song.");
    }

    #[test]
    fn p10_what_cannot_be_is_refused_with_its_place() {
        let none = BTreeMap::new();
        let refused = |text: &str| edit(text, &none).unwrap_err().to_string();
        assert_eq!(
            refused(r#"{"items": [{"url": "https://nowhere.example/"}]}"#),
            "items[0]: no article \"https://nowhere.example/\" in the store"
        );
        assert_eq!(
            refused(r#"{"items": [{"url": "https://a.example/1"}], "removed": ["https://a.example/1"]}"#),
            "items[0]: \"https://a.example/1\" is named twice"
        );
        assert_eq!(refused("{\"subject\": \"two\\nlines\"}"), "subject: line breaks have no place in it");
        assert_eq!(
            refused(r#"{"sponsor": {"name": "B", "text": "x", "url": "javascript:alert(1)"}}"#),
            "sponsor.url: expected an https or http URL"
        );
        assert_eq!(refused(r#"{"agenda": ["  "]}"#), "agenda[0]: is empty; null takes the part away");
        let wrong = serde_json::from_str::<Document>(r#"{"agenda": [{"hour": "10"}]}"#).unwrap_err();
        assert!(wrong.to_string().starts_with("a line of the agenda is a text, or an object"), "{wrong}");
        assert!(serde_json::from_str::<Document>(r#"{"subjet": "x"}"#).is_err());
    }
}

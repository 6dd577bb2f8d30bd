//! A newsletter's own tables, made ready to be asked: names folded, themes cut into words, owners of sources.
//!
//! What a table says where an article brings nothing of its own is decided here; what it is worth in points stands
//! in `points`.

use std::collections::BTreeMap;

use super::text::fold;
use super::words::Phrases;
use super::{Given, Settings};
use crate::articles::{Article, Lifetime};
use crate::config::selection::{Selection, Usual};

/// The tables of a newsletter, by folded name.
pub(super) struct Rules<'a> {
    pub(super) selection: &'a Selection,
    pub(super) phrases: &'static Phrases,
    values: Tables<i64>,
    lifetimes: Tables<Lifetime>,
    sources: BTreeMap<String, i64>,
    own: Vec<String>,
    owners: BTreeMap<String, String>,
    themes: Vec<Wanted<'a>>,
    paywall: Vec<String>,
}

struct Tables<T> {
    usual: T,
    authors: BTreeMap<String, T>,
    sections: BTreeMap<String, T>,
    sources: BTreeMap<String, T>,
}

/// Something a table or a person said, and who.
pub(super) enum Said<T> {
    /// The article itself, or an editor.
    Given(T),
    /// A table, for this author, section or source.
    Of(T, String),
    /// Nobody.
    Usual(T),
}

impl<T: Clone> Said<T> {
    pub(super) fn get(&self) -> T {
        match self {
            Self::Given(value) | Self::Of(value, _) | Self::Usual(value) => value.clone(),
        }
    }
}

/// A theme, as words to be found.
struct Wanted<'a> {
    name: &'a str,
    points: i64,
    phrases: Vec<Vec<Pattern>>,
}

struct Pattern {
    start: String,
    open: bool,
}

impl Pattern {
    fn fits(&self, word: &str) -> bool {
        if self.open { word.starts_with(&self.start) } else { word == self.start }
    }
}

impl<'a> Rules<'a> {
    pub(super) fn new(settings: &'a Settings) -> Self {
        let selection = &settings.rules;
        Self {
            selection,
            phrases: Phrases::of(&settings.language),
            values: Tables::new(&selection.value, |value| Some(*value)),
            lifetimes: Tables::new(&selection.lifetime, |text| text.parse().ok()),
            sources: folded(&selection.source.points, |points| Some(*points)),
            own: selection.source.own.iter().map(|name| fold(name)).collect(),
            owners: folded(&selection.source.owners, |owner| Some(fold(owner))),
            themes: selection
                .priority
                .themes
                .iter()
                .map(|(name, theme)| Wanted {
                    name,
                    points: theme.points,
                    phrases: theme.words.iter().map(|phrase| pattern(phrase)).collect(),
                })
                .collect(),
            paywall: selection.copy.paywall_marks.iter().map(|mark| fold(mark)).collect(),
        }
    }

    /// The news value of an article, 1 to 5.
    pub(super) fn value(&self, article: &Article, given: Option<&Given>) -> Said<i64> {
        let own = given.and_then(|given| given.value).or(article.value).map(i64::from);
        self.values.of(article, own.map(|value| value.clamp(1, 5)))
    }

    /// Its lifetime.
    pub(super) fn lifetime(&self, article: &Article, given: Option<&Given>) -> Lifetime {
        self.lifetimes.of(article, given.and_then(|given| given.lifetime).or(article.lifetime)).get()
    }

    /// What its source is worth, and whether that is one's own newsroom.
    pub(super) fn source(&self, article: &Article) -> (i64, bool) {
        let name = fold(&article.source);
        (self.sources.get(&name).copied().unwrap_or(0), self.own.contains(&name))
    }

    /// Whose a source is: the owner named in the table, else itself.
    pub(super) fn owner(&self, source: &str) -> String {
        let name = fold(source);
        self.owners.get(&name).cloned().unwrap_or(name)
    }

    /// The greatest wish of the newsroom that the article fulfils, and its name.
    pub(super) fn priority(&self, article: &Article) -> Option<(i64, String)> {
        let countries = &self.selection.priority.countries;
        let country = article
            .countries
            .iter()
            .filter_map(|code| Some((*countries.get(code)?, self.phrases.country(code).to_owned())));
        let words = if self.themes.is_empty() { Vec::new() } else { words(article) };
        let theme = self
            .themes
            .iter()
            .filter(|theme| theme.phrases.iter().any(|phrase| stands_in(phrase, &words)))
            .map(|theme| (theme.points, theme.name.to_owned()));
        // Of equal ones the first by name, so that the reason told does not hang on the order of the tables.
        country.chain(theme).max_by(|a, b| a.0.cmp(&b.0).then_with(|| b.1.cmp(&a.1)))
    }

    /// Whether the article says that it stands behind a paywall.
    pub(super) fn is_paid(&self, article: &Article) -> bool {
        let title = fold(&article.title);
        let title = title.trim();
        let bracketed = |mark: &String| {
            [('[', ']'), ('(', ')')].iter().any(|(open, close)| {
                let marked = format!("{open}{mark}{close}");
                title.starts_with(&marked) || title.ends_with(&marked)
            })
        };
        article.tags.iter().any(|tag| self.paywall.contains(&fold(tag))) || self.paywall.iter().any(bracketed)
    }
}

impl<T: Clone> Tables<T> {
    fn new<F: Clone>(table: &Usual<F>, one: impl Fn(&F) -> Option<T>) -> Self {
        Self {
            usual: one(&table.usual).expect("the configuration took no lifetime that does not parse"),
            authors: folded(&table.authors, &one),
            sections: folded(&table.sections, &one),
            sources: folded(&table.sources, &one),
        }
    }

    fn of(&self, article: &Article, own: Option<T>) -> Said<T> {
        if let Some(own) = own {
            return Said::Given(own);
        }
        let asked = [
            (article.author.as_deref(), &self.authors),
            (article.section.as_deref(), &self.sections),
            (Some(article.source.as_str()), &self.sources),
        ];
        asked
            .into_iter()
            .find_map(|(name, table)| {
                let name = name?;
                Some(Said::Of(table.get(&fold(name))?.clone(), name.to_owned()))
            })
            .unwrap_or_else(|| Said::Usual(self.usual.clone()))
    }
}

fn folded<F, T>(table: &BTreeMap<String, F>, one: impl Fn(&F) -> Option<T>) -> BTreeMap<String, T> {
    table.iter().filter_map(|(name, value)| Some((fold(name), one(value)?))).collect()
}

/// What a theme is looked for in: the title, the lead and the tags.
fn words(article: &Article) -> Vec<String> {
    let tags = article.tags.join(" ");
    [article.title.as_str(), super::candidates::lead(article), &tags]
        .into_iter()
        .flat_map(|text| {
            fold(text).split(|c: char| !c.is_alphanumeric()).map(str::to_owned).collect::<Vec<_>>()
        })
        .filter(|word| !word.is_empty())
        .collect()
}

fn pattern(phrase: &str) -> Vec<Pattern> {
    fold(phrase)
        .split(|c: char| !(c.is_alphanumeric() || c == '*'))
        .filter_map(|word| {
            let open = word.ends_with('*');
            let start = word.trim_matches('*').to_owned();
            (!start.is_empty()).then_some(Pattern { start, open })
        })
        .collect()
}

fn stands_in(phrase: &[Pattern], words: &[String]) -> bool {
    !phrase.is_empty()
        && words
            .windows(phrase.len())
            .any(|part| phrase.iter().zip(part).all(|(pattern, word)| pattern.fits(word)))
}

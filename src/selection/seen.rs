//! What ran already: how like a candidate is to the items of the last editions, and whether it brings something new.
//!
//! The same story ran when it bears the same id, is the same article, or says nearly the same words. Days may lie
//! between, so that the likeness here knows no window, other than that of `stories`. The way back for real news is
//! the share of names and numbers that no report of it had.

use std::collections::{BTreeMap, BTreeSet};

use super::logarithm::{log2, weight};
use super::text::{self, Tongue};
use super::{Ran, candidates};
use crate::articles::Article;

/// From this likeness on, in thousandths, two texts report one story, whatever their ids; and a story known by its id
/// counts as no less like.
const SAME: i64 = 350;
/// Titles count twice.
const TITLE: u32 = 2;
/// So much of a lead is looked at: some three sentences.
const LEAD: usize = 600;

/// What of a candidate's story ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// How many editions ago, of what costs most.
    pub(super) age: usize,
    /// How like it is to that, in thousandths.
    pub(super) alike: i64,
    /// Percent of its names and numbers that did not run.
    pub(super) new_share: i64,
    /// Whether an editor gave it a value since.
    pub(super) value_again: bool,
}

/// The length of a vector.
const UNIT: u64 = 1 << 15;

type Vector = Vec<(usize, u64)>;
type Counts = BTreeMap<String, u32>;

/// The items that ran, ready to be compared with.
pub(super) struct Past<'a> {
    ran: &'a [Ran],
    /// Of today's articles, in the order given.
    today: Vec<Vector>,
    vectors: Vec<Vector>,
    named: Vec<BTreeSet<String>>,
    by_age: &'a [i64],
}

impl<'a> Past<'a> {
    /// `by_age` says what an edition's age weighs; `articles` are today's, so that common words weigh little.
    pub(super) fn new(ran: &'a [Ran], articles: &[&Article], by_age: &'a [i64]) -> Self {
        if ran.is_empty() {
            return Self { ran, today: Vec::new(), vectors: Vec::new(), named: Vec::new(), by_age };
        }
        let past: Vec<Counts> =
            ran.iter().map(|item| counts(&item.title, &item.lead, item.language.as_deref())).collect();
        let today: Vec<Counts> = articles
            .iter()
            .map(|article| counts(&article.title, candidates::lead(article), article.language.as_deref()))
            .collect();
        let mut documents: BTreeMap<&str, u32> = BTreeMap::new();
        for term in today.iter().chain(&past).flat_map(BTreeMap::keys) {
            *documents.entry(term).or_default() += 1;
        }
        let total = 1 + (today.len() + past.len()) as u64;
        let terms: BTreeMap<&str, (usize, u64)> = documents
            .into_iter()
            .enumerate()
            .map(|(at, (term, count))| (term, (at, log2(total, 1 + u64::from(count)))))
            .collect();
        Self {
            ran,
            today: today.iter().map(|own| vector(own, &terms)).collect(),
            vectors: past.iter().map(|own| vector(own, &terms)).collect(),
            named: ran.iter().map(|item| named(&item.title, &item.lead, item.language.as_deref())).collect(),
            by_age,
        }
    }

    /// What of this article's story ran; `None` where nothing did. `at` is where it stands among today's, `story` its
    /// id today, `given` whether an editor gave it a value for this edition.
    pub(super) fn of(&self, at: usize, article: &Article, story: &str, given: bool) -> Option<Seen> {
        let own = self.today.get(at)?;
        let mut same: Vec<(usize, i64)> = Vec::new();
        for (at, item) in self.ran.iter().enumerate() {
            let alike = if item.article == article.id.0 { 1000 } else { cosine(own, &self.vectors[at]) };
            let known = item.article == article.id.0 || item.story == story;
            if known || alike >= SAME {
                same.push((at, alike.max(SAME)));
            }
        }
        let weight = |at: usize| {
            let age = self.ran[at].age;
            age.checked_sub(1).and_then(|at| self.by_age.get(at)).copied().unwrap_or(0)
        };
        let (at, alike) = same.iter().copied().max_by_key(|(at, alike)| {
            (alike * weight(*at), std::cmp::Reverse(self.ran[*at].age), std::cmp::Reverse(*at))
        })?;
        let told = named(&article.title, candidates::lead(article), article.language.as_deref());
        let new =
            told.iter().filter(|name| same.iter().all(|(at, _)| !self.named[*at].contains(*name))).count();
        let new_share = i64::try_from(new * 100 / told.len().max(1)).unwrap_or(0);
        // A value that came with what ran says nothing about today.
        let ran_itself = self.ran.iter().any(|item| item.article == article.id.0);
        let value_again = given || (article.value.is_some() && !ran_itself);
        Some(Seen { age: self.ran[at].age, alike, new_share, value_again })
    }
}

/// A vector of TF-IDF of length [`UNIT`], in the order of terms.
fn vector(counts: &Counts, terms: &BTreeMap<&str, (usize, u64)>) -> Vector {
    let mut vector: Vector = counts
        .iter()
        .filter_map(|(term, count)| {
            let (at, rarity) = terms.get(term.as_str())?;
            Some((*at, weight(*count, *rarity)))
        })
        .collect();
    let length = vector.iter().map(|(_, weight)| weight * weight).sum::<u64>().isqrt().max(1);
    vector.iter_mut().for_each(|(_, weight)| *weight = (*weight * UNIT + length / 2) / length);
    vector
}

/// The cosine of two vectors in the order of their terms, in thousandths.
fn cosine(a: &Vector, b: &Vector) -> i64 {
    let (mut left, mut right, mut sum) = (0, 0, 0);
    while let (Some((x, one)), Some((y, other))) = (a.get(left), b.get(right)) {
        match x.cmp(y) {
            std::cmp::Ordering::Less => left += 1,
            std::cmp::Ordering::Greater => right += 1,
            std::cmp::Ordering::Equal => {
                sum += one * other;
                left += 1;
                right += 1;
            }
        }
    }
    let thousandths = (sum * 1000 + UNIT * UNIT / 2) / (UNIT * UNIT);
    i64::try_from(thousandths).unwrap_or(1000).min(1000)
}

fn counts(title: &str, lead: &str, language: Option<&str>) -> Counts {
    let tongue = Tongue::of(language, title);
    let stemmer = tongue.stemmer();
    let mut out = BTreeMap::new();
    for (part, times) in [(title, TITLE), (start(lead), 1)] {
        for word in text::words(part, tongue) {
            if !text::is_stopword(&word.folded) {
                *out.entry(text::stem(&word.folded, tongue, stemmer.as_ref())).or_default() += times;
            }
        }
    }
    out
}

/// The names and numbers of a text: words with a capital that no sentence's beginning gives them, and all with a
/// digit. Where a script has no capitals, every word that is no stopword stands for a name.
fn named(title: &str, lead: &str, language: Option<&str>) -> BTreeSet<String> {
    let tongue = Tongue::of(language, title);
    [title, start(lead)]
        .into_iter()
        .flat_map(|part| text::words(part, tongue))
        .filter(|word| {
            let number = word.folded.chars().any(char::is_numeric);
            let caseless = word.folded.chars().all(|c| !c.is_lowercase() && !c.is_numeric());
            number || (word.capital && !word.opens) || caseless
        })
        .filter(|word| !text::is_stopword(&word.folded))
        .map(|word| word.folded)
        .collect()
}

fn start(lead: &str) -> &str {
    let end = lead.char_indices().nth(LEAD).map_or(lead.len(), |(at, _)| at);
    &lead[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selection::tests::article;

    fn ran(age: usize, title: &str, lead: &str) -> Ran {
        Ran {
            age,
            story: "s1".to_owned(),
            article: 900,
            title: title.to_owned(),
            lead: lead.to_owned(),
            language: Some("fr".to_owned()),
        }
    }

    const BEFORE: (&str, &str) = (
        "Port de Banjul : la grève des dockers entre dans sa deuxième semaine",
        "Les dockers du port de Banjul, menés par Lamin Ceesay, refusent l’accord proposé par la direction.",
    );

    #[test]
    fn the_same_article_is_wholly_seen_and_another_event_not_at_all() {
        let past = [ran(1, BEFORE.0, BEFORE.1)];
        let mut same = article(900, BEFORE.0);
        BEFORE.1.clone_into(&mut same.summary);
        let other = article(2, "Le prix du mil recule sur les marchés de Zinder");
        let past = Past::new(&past, &[&same, &other], &[100, 70, 40]);
        let seen = past.of(0, &same, "s9", false).unwrap();
        assert_eq!((seen.age, seen.alike, seen.new_share, seen.value_again), (1, 1000, 0, false));
        assert!(past.of(0, &same, "s9", true).unwrap().value_again);
        assert_eq!(past.of(1, &other, "s2", false), None);
    }

    #[test]
    fn the_same_words_from_another_source_ran_too_and_new_names_are_a_new_turn() {
        let past = [ran(2, BEFORE.0, BEFORE.1)];
        let mut copy = article(1, "Port de Banjul : la grève des dockers continue, deuxième semaine");
        BEFORE.1.clone_into(&mut copy.summary);
        let mut turn = article(2, "Port de Banjul : Fatou Jallow signe la fin de la grève des dockers");
        "Après 16 jours, la ministre Fatou Jallow accorde 12 % aux dockers du port de Banjul."
            .clone_into(&mut turn.summary);
        let past = Past::new(&past, &[&copy, &turn], &[100, 70, 40]);
        let seen = past.of(0, &copy, "s9", false).unwrap();
        assert!(seen.alike > 600 && seen.new_share < 30, "{seen:?}");
        let seen = past.of(1, &turn, "s1", false).unwrap();
        assert!(seen.new_share >= 30 && seen.alike >= SAME, "{seen:?}");
        turn.value = Some(4);
        assert!(past.of(1, &turn, "s1", false).unwrap().value_again);
    }

    #[test]
    fn of_several_editions_the_one_that_costs_most_is_told() {
        let past = [ran(3, BEFORE.0, BEFORE.1), ran(1, BEFORE.0, BEFORE.1)];
        let mut again = article(5, BEFORE.0);
        BEFORE.1.clone_into(&mut again.summary);
        let past = Past::new(&past, &[&again], &[100, 70, 40]);
        assert_eq!(past.of(0, &again, "s1", false).unwrap().age, 1);
    }
}

//! From articles to candidates: what may enter, which story each belongs to, and the points of each.
//!
//! Leaves to `pick` which of them are taken. The order of arrival decides nothing: candidates are put in an order of
//! their own, by points, date and URL.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use super::learning::LEARNED;
use super::rules::Rules;
use super::seen::Past;
use super::stories::{self, Piece, Stories};
use super::text::fold;
use super::words::put;
use super::{Barred, Candidate, Ran, Reason, Settings, Standing, points};
use crate::articles::{Article, ArticleId};

/// Everything that may enter an edition.
pub(super) struct Pool<'a> {
    pub(super) stories: Stories,
    /// In the order of rank.
    pub(super) entries: Vec<Entry<'a>>,
    /// What may not enter, and why.
    pub(super) barred: Vec<Barred>,
}

/// A candidate and what the limits ask of it.
pub(super) struct Entry<'a> {
    pub(super) candidate: Candidate,
    /// Where it stands among the articles.
    pub(super) at: usize,
    /// The country that it counts for.
    pub(super) country: Option<&'a str>,
    /// All that it names.
    pub(super) countries: &'a [String],
    pub(super) section: Option<String>,
    pub(super) source: String,
    /// The place it is pinned to; 0: anywhere.
    pub(super) pinned: Option<i64>,
}

/// So many characters of a text without standfirst are looked at: what a report is about stands at its head, and
/// thousands of whole texts would take seconds and hundreds of megabytes.
const LEAD_CHARS: usize = 3_000;

/// What stands under an article's title: the standfirst, or the head of the text.
pub fn lead(article: &Article) -> &str {
    if article.summary.is_empty() { head(&article.body) } else { &article.summary }
}

/// As much of a text as is looked at.
pub fn head(text: &str) -> &str {
    text.char_indices().nth(LEAD_CHARS).map_or(text, |(end, _)| &text[..end])
}

/// Judges these articles.
pub(super) fn pool<'a>(
    articles: &'a [Article],
    ran: &[Ran],
    standing: &Standing,
    settings: &Settings,
    rules: &Rules<'_>,
    cut_off: Timestamp,
) -> Pool<'a> {
    let mut barred = Vec::new();
    let mut eligible = Vec::new();
    for article in articles {
        match bar(article, standing, settings, rules, cut_off) {
            None => eligible.push(article),
            Some(words) => barred.push(Barred {
                article: article.id,
                url: article.url.clone(),
                title: article.title.clone(),
                words,
            }),
        }
    }
    barred.sort_by(|a, b| (&a.url, a.article).cmp(&(&b.url, b.article)));
    let pieces: Vec<Piece<'_>> = eligible
        .iter()
        .map(|article| Piece {
            key: &article.url,
            title: &article.title,
            lead: lead(article),
            language: article.language.as_deref(),
            at: article.dated().as_millisecond(),
        })
        .collect();
    let place: BTreeMap<ArticleId, usize> =
        eligible.iter().enumerate().map(|(at, article)| (article.id, at)).collect();
    let bonds: Vec<(usize, usize, stories::Bond)> = standing
        .bonds
        .iter()
        .filter_map(|(one, other, bond)| Some((*place.get(one)?, *place.get(other)?, *bond)))
        .collect();
    let stories = stories::find_with(&pieces, &bonds);
    let ids = stories.ids(&pieces, |at| standing.stories.get(&eligible[at].id).map(String::as_str));
    let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (at, story) in stories.of.iter().enumerate() {
        members.entry(*story).or_default().push(at);
    }
    let owners = numbered(eligible.iter().map(|article| rules.owner(&article.source)));
    let sure = settings.rules.points.coverage_sure * 10;
    let past = Past::new(ran, &eligible, &settings.rules.seen.by_age);
    let mut entries: Vec<Entry<'a>> = eligible
        .iter()
        .zip(&stories.of)
        .enumerate()
        .map(|(at, (article, first))| {
            let article: &'a Article = article;
            let story = ids[at].clone();
            let given = standing.given.get(&article.id);
            let seen = past.of(at, article, &story, given.is_some_and(|given| given.value.is_some()));
            let story_of = members.get(first).map_or(&[][..], Vec::as_slice);
            let coverage = coverage(at, story_of, &owners, &stories, sure);
            let reasons = points::reasons(article, given, &coverage, seen, rules, cut_off);
            let reasons = settings.weights.weigh(reasons, &super::traits_of(article));
            let reasons = reasons.into_iter().map(|reason| in_words(reason, rules)).collect::<Vec<_>>();
            let candidate = Candidate {
                article: article.id,
                url: article.url.clone(),
                title: article.title.clone(),
                story,
                country: article.countries.first().cloned(),
                section: article.section.clone(),
                source: article.source.clone(),
                points: reasons.iter().map(|reason| reason.points).sum(),
                reasons,
                alike: 0,
                nearest: None,
                stopped: None,
            };
            Entry {
                candidate,
                at,
                country: article.countries.first().map(String::as_str),
                countries: &article.countries,
                section: article.section.as_deref().map(fold),
                source: fold(&article.source),
                pinned: standing.pinned.get(&article.id).copied(),
            }
        })
        .collect();
    let ties = ties(&entries, &eligible, &stories);
    entries.sort_by(|a, b| rank(a, &ties, &eligible, &stories).cmp(&rank(b, &ties, &eligible, &stories)));
    Pool { stories, entries, barred }
}

/// By story: its newest report, and the one that tells it best: how near that is to all the others, when it came, where.
type Ties<'a> = BTreeMap<String, (Timestamp, Told<'a>)>;
type Told<'a> = (u64, Timestamp, Reverse<&'a str>);

fn ties<'a>(entries: &[Entry<'a>], articles: &[&'a Article], stories: &Stories) -> Ties<'a> {
    let mut ties = Ties::new();
    for entry in entries {
        let own = told(entry, articles, stories);
        let known = ties.entry(entry.candidate.story.clone()).or_insert((own.1, own));
        *known = (known.0.max(own.1), known.1.max(own));
    }
    ties
}

/// How well an article tells its story, as the story's lead is found.
fn told<'a>(entry: &Entry<'_>, articles: &[&'a Article], stories: &Stories) -> Told<'a> {
    let article = articles[entry.at];
    (stories.central(entry.at), article.dated(), Reverse(&article.url))
}

type Rank<'a> =
    (Reverse<i64>, Option<Reverse<(Timestamp, u64)>>, Option<&'a str>, &'a str, Reverse<Told<'a>>, i64);

/// By points; ties by whose story has the newest report and tells most surely of one event, then by the URL of its lead;
/// within a story by which report tells it best. The order of arrival decides nothing.
fn rank<'a>(entry: &'a Entry<'_>, ties: &Ties<'a>, articles: &[&'a Article], stories: &Stories) -> Rank<'a> {
    let candidate = &entry.candidate;
    let story = ties.get(&candidate.story);
    (
        Reverse(candidate.points),
        story.map(|(newest, lead)| Reverse((*newest, lead.0))),
        story.map(|(_, lead)| lead.2.0),
        &candidate.story,
        Reverse(told(entry, articles, stories)),
        candidate.article.0,
    )
}

impl Pool<'_> {
    /// What likeness costs, in thousandths: squared as stories are joined, so that only what is truly alike counts.
    pub(super) fn alike(&self, a: usize, b: usize) -> i64 {
        self.stories.alike(a, b)
    }
}

/// A likeness as editors read it, in thousandths: of its square.
pub(super) fn likeness(squared: i64) -> i64 {
    (squared * 1000).isqrt()
}

/// A number for each name, the same for the same one.
fn numbered(names: impl Iterator<Item = String>) -> Vec<usize> {
    let mut known: HashMap<String, usize> = HashMap::new();
    names
        .map(|name| {
            let next = known.len();
            *known.entry(name).or_insert(next)
        })
        .collect()
}

/// Who reports a story, seen from one of its articles: each owner once, by its report that is most like this one. A
/// report that is hardly like it may have been joined by chance, and counts in part.
fn coverage(at: usize, story: &[usize], owners: &[usize], stories: &Stories, sure: i64) -> points::Coverage {
    let mut counted: BTreeMap<usize, i64> = BTreeMap::from([(owners[at], sure)]);
    for other in story {
        let known = counted.entry(owners[*other]).or_default();
        // One text in thousands of places is one story: what cannot count for more is not compared again.
        if *known < sure {
            *known = likeness(stories.alike(at, *other)).min(sure).max(*known);
        }
    }
    points::Coverage { sources: counted.len(), sure: counted.values().map(|alike| alike * 1000 / sure).sum() }
}

/// What was learned of a trait, in the editor's language.
fn in_words(reason: Reason, rules: &Rules<'_>) -> Reason {
    let phrases = rules.phrases;
    let words = match reason.words.split_once(' ').filter(|_| reason.term == LEARNED) {
        Some(("country", code)) => put(phrases.learned_country, &[("name", phrases.country(code))]),
        Some(("section", name)) => put(phrases.learned_section, &[("name", name)]),
        _ => return reason,
    };
    Reason { words, ..reason }
}

/// What keeps an article from being a candidate at all.
fn bar(
    article: &Article,
    standing: &Standing,
    settings: &Settings,
    rules: &Rules<'_>,
    cut_off: Timestamp,
) -> Option<String> {
    let phrases = rules.phrases;
    if standing.removed.contains(&article.id) {
        return Some(phrases.removed.to_owned());
    }
    // Editors win: what they pinned is in, whatever the rules say.
    if standing.pinned.contains_key(&article.id) {
        return None;
    }
    if article.retracted_at.is_some() {
        return Some(phrases.retracted.to_owned());
    }
    if article.embargo_until.is_some_and(|until| until > cut_off) {
        return Some(phrases.embargo.to_owned());
    }
    if article.dated() > cut_off {
        return Some(phrases.later.to_owned());
    }
    let admitted = |list: &[String], value: Option<&str>| {
        list.is_empty() || value.is_some_and(|value| list.iter().any(|known| fold(known) == fold(value)))
    };
    [
        (&settings.sources, Some(article.source.as_str())),
        (&settings.sections, article.section.as_deref()),
        (&settings.languages, article.language.as_deref()),
    ]
    .into_iter()
    .find(|(list, value)| !admitted(list, *value))
    .map(|(_, value)| put(phrases.not_admitted, &[("name", value.unwrap_or("?"))]))
}

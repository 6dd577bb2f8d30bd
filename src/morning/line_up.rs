//! The line-up of an edition: proposed by the selection, decided by editors, shown to both.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::Serialize;

use super::stories::{self, AlsoIn, Said};
use super::{House, Result};
use crate::articles::{self, Article, ArticleId};
use crate::config::Newsletter;
use crate::db::Conn;
use crate::delivery::{self, Counts};
use crate::editions::edit::{self, Document, DocumentItem, DocumentValue, Named};
use crate::editions::{self, Decision, Edition, Item, ItemWords, LineUp, Place, Who, schedule};
use crate::mail::{self, Language};
use crate::selection::learning::{self, Wish};
use crate::selection::places;
use crate::selection::stories::store as kept_stories;
use crate::selection::words::Phrases;
use crate::selection::{self, Candidate, Given, Proposal, Ran, Reason, Settings, Standing};

/// The edition of this date, opened where there is none yet.
///
/// A date that the rule gives no lock (a Sunday, a day off) is locked at the hour of the rule's next lock: somebody
/// asked for it by name.
pub async fn open(house: &House, newsletter: &Newsletter, date: Date) -> Result<Edition> {
    if let Some(edition) = editions::store::find(&mut house.db.read().await?, &newsletter.id, date).await? {
        return Ok(edition);
    }
    let lock = schedule::lock_for(newsletter, date)?;
    let mut tx = house.db.write().await?;
    let edition = editions::store::open(&mut tx, &newsletter.id, date, lock, house.clock.now()).await?;
    tx.commit().await?;
    Ok(edition)
}

/// The edition of this date for whoever only looks: where nobody has opened one it is shown as it would begin, and none
/// is opened. The clock sends whatever is open.
pub async fn look(house: &House, newsletter: &Newsletter, date: Date) -> Result<Edition> {
    match editions::store::find(&mut house.db.read().await?, &newsletter.id, date).await? {
        Some(edition) => Ok(edition),
        None => Ok(Edition::to_come(&newsletter.id, date, schedule::lock_for(newsletter, date)?)),
    }
}

/// Proposes the line-up anew, with everything editors decided kept; returns the proposal.
pub async fn refresh(house: &House, newsletter: &Newsletter, edition: &Edition) -> Result<Proposal> {
    let mut conn = house.db.read().await?;
    let proposal = propose(&mut conn, newsletter, edition).await?;
    drop(conn);
    let mut tx = house.db.write().await?;
    let now = house.clock.now();
    editions::store::set_line_up(&mut tx, edition.id, &line_up_of(&proposal), now).await?;
    learning::store::record_proposal(&mut tx, &newsletter.id, edition.date, &proposal, now).await?;
    let candidates = proposal.chosen.iter().chain(&proposal.reserves).chain(&proposal.left_out);
    kept_stories::remember(&mut tx, &newsletter.id, candidates, now).await?;
    tx.commit().await?;
    Ok(proposal)
}

/// What would be proposed for an edition; keeps nothing.
pub async fn proposal(house: &House, newsletter: &Newsletter, edition: &Edition) -> Result<Proposal> {
    propose(&mut house.db.read().await?, newsletter, edition).await
}

/// What the selection proposes for an edition, cut off at its lock, whatever today is.
pub(super) async fn propose(conn: &mut Conn, newsletter: &Newsletter, edition: &Edition) -> Result<Proposal> {
    let gathered = gather(conn, newsletter, edition).await?;
    // Thousands of articles are compared with one another: no work for the threads that keep the connections going.
    tokio::task::spawn_blocking(move || gathered.propose())
        .await
        .map_err(|error| super::Error::Start(error.to_string()))
}

/// All that a proposal is made of.
#[derive(Clone, Debug)]
pub(super) struct Gathered {
    pub(super) articles: Vec<Article>,
    pub(super) ran: Vec<Ran>,
    pub(super) standing: Standing,
    pub(super) settings: Settings,
    pub(super) cut_off: jiff::Timestamp,
}

impl Gathered {
    pub(super) fn propose(&self) -> Proposal {
        selection::propose(&self.articles, &self.ran, &self.standing, &self.settings, self.cut_off)
    }
}

/// Gathers what an edition's proposal is made of.
pub(super) async fn gather(conn: &mut Conn, newsletter: &Newsletter, edition: &Edition) -> Result<Gathered> {
    let cut_off = edition.lock_at;
    let from = match editions::store::previous_lock(conn, &newsletter.id, edition.date).await? {
        Some(previous) => previous.checked_sub(newsletter.selection.overlap),
        None => cut_off.checked_sub(newsletter.selection.first_window),
    }
    .unwrap_or(jiff::Timestamp::MIN);
    let mut articles = articles::store::list_window(conn, from, cut_off).await?;
    let decisions = editions::store::decisions(conn, edition.id).await?;
    let mut standing = Standing::default();
    for (article, decision) in &decisions {
        if decision.given != Given::default() {
            standing.given.insert(*article, decision.given);
        }
        if decision.removed {
            standing.removed.insert(*article);
        } else if let Some(place) = decision.pinned {
            standing.pinned.insert(*article, place);
        } else if !decision.words.is_empty() {
            // What an editor reworded stays in, wherever its points put it.
            standing.pinned.insert(*article, 0);
        }
    }
    let missing: Vec<ArticleId> = standing
        .pinned
        .keys()
        .copied()
        .filter(|id| articles.iter().all(|article| article.id != *id))
        .collect();
    articles.extend(articles::store::find_by_ids(conn, &missing).await?);
    articles.iter_mut().for_each(places::complete);
    if let Some(first) = articles.iter().map(|article| article.id).min() {
        standing.stories = kept_stories::known(conn, &newsletter.id, first).await?;
        standing.bonds = kept_stories::bonds(conn, first)
            .await?
            .into_iter()
            .map(|kept| (kept.one, kept.other, kept.bond))
            .collect();
    }
    let ran = ran(conn, newsletter, edition).await?;
    let weights = learning::store::in_force(conn, &newsletter.id).await?.unwrap_or_default();
    let settings = Settings::of(newsletter, weights).for_edition(&newsletter.id, edition.date);
    Ok(Gathered { articles, ran, standing, settings, cut_off })
}

/// What ran in the last editions, with the words that it ran with.
async fn ran(conn: &mut Conn, newsletter: &Newsletter, edition: &Edition) -> Result<Vec<Ran>> {
    let editions = i64::try_from(newsletter.selection.seen.by_age.len()).unwrap_or(0);
    let items = editions::store::ran(conn, &newsletter.id, edition.date, editions).await?;
    let ids: Vec<ArticleId> = items.iter().map(|item| ArticleId(item.article)).collect();
    let articles = articles::store::find_by_ids(conn, &ids).await?;
    let mut dates: Vec<String> = Vec::new();
    let mut out = Vec::new();
    for item in items {
        if !dates.contains(&item.date) {
            dates.push(item.date.clone());
        }
        let article = articles.iter().find(|article| article.id.0 == item.article);
        out.push(Ran {
            age: dates.len(),
            story: item.story,
            article: item.article,
            title: article.map(|article| article.title.clone()).unwrap_or_default(),
            lead: article.map(|article| selection::lead(article).to_owned()).unwrap_or_default(),
            language: article.and_then(|article| article.language.clone()),
        });
    }
    Ok(out)
}

pub(super) fn line_up_of(proposal: &Proposal) -> LineUp {
    let items = |place: Place, candidates: &[Candidate]| {
        candidates
            .iter()
            .zip(1..)
            .map(|(candidate, position)| Item {
                place,
                position,
                article: candidate.article,
                story: candidate.story.clone(),
                points: candidate.points,
                reasons: candidate.reasons.clone(),
            })
            .collect()
    };
    LineUp {
        chosen: items(Place::Chosen, &proposal.chosen),
        reserves: items(Place::Reserve, &proposal.reserves),
    }
}

/// The line-up as it stands; as it would be proposed where nothing was kept of one yet.
async fn standing(conn: &mut Conn, newsletter: &Newsletter, edition: &Edition) -> Result<LineUp> {
    let kept = editions::store::line_up(conn, edition.id).await?;
    let none = kept.chosen.is_empty() && kept.reserves.is_empty() && edition.refreshed_at.is_none();
    if none && edition.state == editions::EditionState::Open {
        return Ok(line_up_of(&propose(conn, newsletter, edition).await?));
    }
    Ok(kept)
}

/// One item as it is shown: `edition show --json` has these keys.
#[derive(Clone, Debug, Serialize)]
pub struct ShownItem {
    /// 1 for the first of its list.
    pub position: i64,
    /// Whether an editor put it there.
    pub pinned: bool,
    /// The article's canonical URL.
    pub url: String,
    /// The title readers will see.
    pub title: String,
    /// The text readers will see.
    pub summary: String,
    /// The sum of its reasons.
    pub points: i64,
    /// Why it stands where it stands.
    pub reasons: Vec<Reason>,
    /// The id of its story.
    pub story: String,
    /// The other reports of its story.
    pub also_in: Vec<AlsoIn>,
}

impl ShownItem {
    /// The reasons that weigh most, by their names.
    pub fn why(&self, phrases: &Phrases) -> String {
        let mut reasons: Vec<&Reason> = self.reasons.iter().filter(|reason| reason.points != 0).collect();
        reasons.sort_by_key(|reason| -reason.points.abs());
        reasons
            .iter()
            .take(3)
            .map(|reason| format!("{} {:+}", phrases.term(&reason.term), reason.points))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// An edition as it is shown.
#[derive(Clone, Debug, Serialize)]
pub struct Shown {
    /// The newsletter's id.
    pub newsletter: String,
    /// The date it bears.
    pub date: String,
    /// Where it stands in its life.
    pub state: editions::EditionState,
    /// The newest approved revision; 0 while nothing is frozen.
    pub revision: i64,
    /// The subject, an editor's or the proposed one.
    pub subject: String,
    /// The first visible line.
    pub preheader: String,
    /// The chosen, in order.
    pub items: Vec<ShownItem>,
    /// The reserves, in order.
    pub reserves: Vec<ShownItem>,
    /// What editors said of which articles report one event, the newest first.
    pub said: Vec<Said>,
    /// The deliveries by state.
    pub counts: Counts,
}

/// The edition with its line-up and its deliveries, as it stands now.
pub async fn shown(house: &House, newsletter: &Newsletter, edition: &Edition) -> Result<Shown> {
    let mut conn = house.db.read().await?;
    let line_up = standing(&mut conn, newsletter, edition).await?;
    let decisions = editions::store::decisions(&mut conn, edition.id).await?;
    let articles = articles_of(&mut conn, &line_up).await?;
    let counts = delivery::store::counts(&mut conn, edition.id).await?;
    let mut also_in: BTreeMap<ArticleId, Vec<AlsoIn>> = BTreeMap::new();
    for item in line_up.chosen.iter().chain(&line_up.reserves) {
        let others = stories::also_in(&mut conn, &newsletter.id, &item.story, item.article).await?;
        also_in.insert(item.article, others);
    }
    let about: Vec<ArticleId> = also_in.keys().copied().collect();
    let said = stories::said(&mut conn, &about).await?;
    drop(conn);
    let show = |item: &editions::Item| {
        let article = articles.get(&item.article);
        let decision = decisions.get(&item.article);
        let words = decision.map(|decision| decision.words.clone()).unwrap_or_default();
        ShownItem {
            position: item.position,
            pinned: decision.is_some_and(|decision| decision.pinned.is_some()),
            url: article.map(|article| article.url.clone()).unwrap_or_default(),
            title: words.title.or_else(|| article.map(|article| article.title.clone())).unwrap_or_default(),
            summary: words.summary.or_else(|| article.map(super::content::summary_of)).unwrap_or_default(),
            points: item.points,
            reasons: item.reasons.clone(),
            story: item.story.clone(),
            also_in: also_in.get(&item.article).cloned().unwrap_or_default(),
        }
    };
    let content =
        super::content::compose(newsletter, edition, &line_up, &decisions, &articles, &house.config);
    let content = mail::render(&content, Language::first_of([newsletter.language.as_str()]))?;
    Ok(Shown {
        newsletter: edition.newsletter.clone(),
        date: edition.date.to_string(),
        state: edition.state,
        revision: edition.revision,
        subject: content.subject.clone(),
        preheader: content.preheader.clone(),
        items: line_up.chosen.iter().map(show).collect(),
        reserves: line_up.reserves.iter().map(show).collect(),
        said,
        counts,
    })
}

/// The articles of a line-up, by id, with the countries that they name where they brought none.
pub(super) async fn articles_of(conn: &mut Conn, line_up: &LineUp) -> Result<BTreeMap<ArticleId, Article>> {
    let ids: Vec<ArticleId> =
        line_up.chosen.iter().chain(&line_up.reserves).map(|item| item.article).collect();
    let mut articles = articles::store::find_by_ids(conn, &ids).await?;
    articles.iter_mut().for_each(places::complete);
    Ok(articles.into_iter().map(|article| (article.id, article)).collect())
}

/// The document that `edition edit` gives.
pub async fn document(house: &House, newsletter: &Newsletter, edition: &Edition) -> Result<Document> {
    let mut conn = house.db.read().await?;
    let line_up = standing(&mut conn, newsletter, edition).await?;
    let decisions = editions::store::decisions(&mut conn, edition.id).await?;
    let removed: Vec<ArticleId> =
        decisions.iter().filter(|(_, decision)| decision.removed).map(|(article, _)| *article).collect();
    let valued: Vec<ArticleId> = decisions
        .iter()
        .filter(|(_, decision)| decision.given != Given::default())
        .map(|(article, _)| *article)
        .collect();
    let values = articles::store::find_by_ids(&mut conn, &valued)
        .await?
        .into_iter()
        .map(|article| {
            let given = decisions.get(&article.id).map(|decision| decision.given).unwrap_or_default();
            let title = Some(article.title);
            DocumentValue { url: article.url, article: title, value: given.value, lifetime: given.lifetime }
        })
        .collect();
    let articles = articles_of(&mut conn, &line_up).await?;
    let removed = articles::store::find_by_ids(&mut conn, &removed).await?;
    let items = line_up
        .chosen
        .iter()
        .filter_map(|item| {
            let article = articles.get(&item.article)?;
            let decision = decisions.get(&item.article);
            let words = decision.map_or_else(ItemWords::default, |decision| decision.words.clone());
            let pinned = decision.is_some_and(|decision| decision.pinned.is_some());
            Some(DocumentItem::new(article.url.clone(), article.title.clone(), pinned, &words))
        })
        .collect();
    let named = |article: &Article| Named::Told { url: article.url.clone(), article: article.title.clone() };
    let reserves =
        line_up.reserves.iter().filter_map(|item| Some(named(articles.get(&item.article)?))).collect();
    Ok(Document {
        newsletter: Some(edition.newsletter.clone()),
        date: Some(edition.date.to_string()),
        version: Some(edition.version),
        items: Some(items),
        values: Some(values),
        removed: Some(removed.iter().map(named).collect()),
        reserves: Some(reserves),
        ..Document::default()
    }
    .with_words(&edition.words))
}

/// Does what a document asks for, whole or not at all; the refusal says what cannot be. An edition that nobody has opened is
/// opened with what is done.
pub async fn edit(
    house: &House,
    newsletter: &Newsletter,
    edition: &Edition,
    document: &Document,
    who: &Who,
) -> Result<std::result::Result<(), String>> {
    if let Some(other) = document.newsletter.as_ref().filter(|id| **id != edition.newsletter) {
        return Ok(Err(format!("newsletter: this is {}, not {other}", edition.newsletter)));
    }
    if let Some(other) = document.date.as_ref().filter(|date| **date != edition.date.to_string()) {
        return Ok(Err(format!("date: this is the edition of {}, not of {other}", edition.date)));
    }
    // Before the transaction: where nothing is kept of it yet, this may take a while.
    let proposed = match edition.refreshed_at {
        None => Some(standing(&mut house.db.read().await?, newsletter, edition).await?),
        Some(_) => None,
    };
    let mut tx = house.db.write().await?;
    let edition = editions::store::load_or_open(&mut tx, edition, house.clock.now()).await?;
    if edition.state.is_final() {
        return Ok(Err(format!("the edition of {} is {}", edition.date, edition.state)));
    }
    if document.version.is_some_and(|version| version != edition.version) {
        return Ok(Err(format!(
            "version: somebody changed the edition since (it is {} now): read it again",
            edition.version
        )));
    }
    let decisions = editions::store::decisions(&mut tx, edition.id).await?;
    let mut find = BTreeMap::new();
    for url in document.urls() {
        if let Some(article) = articles::store::find_by_url(&mut tx, &url).await? {
            find.insert(url, article.id);
        }
    }
    let places = usize::try_from(newsletter.items).unwrap_or(usize::MAX);
    let standing = match proposed.filter(|_| edition.refreshed_at.is_none()) {
        Some(proposed) => proposed,
        None => editions::store::line_up(&mut tx, edition.id).await?,
    };
    let document = &document.with_moves(|url| {
        let item = standing.chosen.iter().find(|item| Some(&item.article) == find.get(url))?;
        usize::try_from(item.position).ok()
    });
    let changes = match edit::changes(document, &edition.words, &decisions, &find, places) {
        Ok(changes) => changes,
        Err(refused) => return Ok(Err(refused.to_string())),
    };
    let now = house.clock.now();
    if let Some(words) = &changes.words {
        editions::store::set_words(&mut tx, edition.id, words).await?;
        editions::store::record(&mut tx, edition.id, now, who, "words", "").await?;
    }
    for (article, decision) in &changes.decisions {
        let position = standing.chosen.iter().find(|item| item.article == *article).map(|item| item.position);
        let before = decisions.get(article).cloned().unwrap_or_default();
        let (old, new) = (words_of(&before), words_of(decision));
        let was = before.given;
        let before = Wish { pinned: before.pinned, removed: before.removed, words: &old, given: was };
        let after =
            Wish { pinned: decision.pinned, removed: decision.removed, words: &new, given: decision.given };
        for step in &learning::steps(*article, position, before, after) {
            learning::store::record_event(&mut tx, &newsletter.id, edition.date, step, &who.0, now).await?;
        }
        editions::store::decide(&mut tx, edition.id, *article, decision).await?;
        let what = match (decision.removed, decision.pinned) {
            (true, _) => "removed",
            (false, Some(_)) => "pinned",
            (false, None) if decision.given != was => "valued",
            (false, None) => "freed",
        };
        editions::store::record(&mut tx, edition.id, now, who, what, &format!("article {}", article.0))
            .await?;
    }
    tx.commit().await?;
    refresh(house, newsletter, &edition).await?;
    Ok(Ok(()))
}

/// An item's own words, in a form that tells whether they changed.
fn words_of(decision: &Decision) -> String {
    serde_json::to_string(&decision.words).unwrap_or_default()
}

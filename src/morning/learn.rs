//! Learning, morning after morning: at each lock what the editors saw and took is kept as a lesson, and how near the
//! given and the learned weights had come by themselves. Putting learned weights in force is for people alone.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;

use super::line_up::{Gathered, gather};
use super::{House, Result};
use crate::articles::{self, ArticleId, Lifetime};
use crate::clock::timestamp;
use crate::config::Newsletter;
use crate::editions::{self, Edition, LineUp, Who};
use crate::selection::learning::store::{self, KeptLesson};
use crate::selection::learning::{
    self, Agreed, Drawn, Figures, Lesson, Lots, Morning, Shown, Verdict, Weights, agreement, fit, lots,
    verdict,
};
use crate::selection::{self, Candidate, Proposal, Settings, traits_of};

/// So many editions are learned from; what is older weighs next to nothing.
const MEMORY: i64 = 200;

impl Gathered {
    /// What these weights would propose if no editor had said a word.
    pub(super) fn alone(&self, weights: Weights) -> Proposal {
        let settings = Settings { weights, lots: None, ..self.settings.clone() };
        selection::propose(&self.articles, &self.ran, &self.standing.facts(), &settings, self.cut_off)
    }
}

/// Keeps the lesson of an edition that is locked. What goes wrong here is said and harms nothing: the edition leaves.
pub(super) async fn keep(house: &House, newsletter: &Newsletter, edition: &Edition) {
    if let Err(error) = try_keep(house, newsletter, edition).await {
        tracing::warn!(
            newsletter.id = %newsletter.id,
            edition.date = %edition.date,
            %error,
            "nothing was learned from this edition"
        );
    }
}

async fn try_keep(house: &House, newsletter: &Newsletter, edition: &Edition) -> Result<()> {
    let date = edition.date;
    let mut conn = house.db.read().await?;
    let gathered = gather(&mut conn, newsletter, edition).await?;
    let kept = store::lessons(&mut conn, &newsletter.id, date, MEMORY).await?;
    let seen = Seen {
        shown: store::shown(&mut conn, &newsletter.id, date).await?,
        drawn: store::drawn(&mut conn, &newsletter.id, date).await?,
    };
    let line_up = editions::store::line_up(&mut conn, edition.id).await?;
    let looked =
        edition.approved_at.is_some() || !store::events(&mut conn, &newsletter.id, date).await?.is_empty();
    drop(conn);
    let lesson = tokio::task::spawn_blocking(move || lesson(date, &gathered, &kept, &line_up, seen))
        .await
        .map_err(|error| super::Error::Start(error.to_string()))?;
    // An edition that left as the machine had it, with no editor near, would only teach the machine that it is right.
    let lesson = if looked { lesson } else { KeptLesson { shown: Vec::new(), ..lesson } };
    let mut tx = house.db.write().await?;
    store::record_lesson(&mut tx, &newsletter.id, &lesson, house.clock.now()).await?;
    tx.commit().await?;
    Ok(())
}

/// What editors had in front of them.
struct Seen {
    shown: Vec<ArticleId>,
    /// Those that stood in reserve by lot.
    drawn: BTreeSet<ArticleId>,
}

/// What an edition teaches, and how near each way of choosing came to it without having learned from it.
fn lesson(date: Date, gathered: &Gathered, kept: &[KeptLesson], line_up: &LineUp, seen: Seen) -> KeptLesson {
    let weights = fit(&seen_from(kept, date));
    let given = gathered.alone(Weights::default());
    let learned = if weights.is_given() { given.clone() } else { gathered.alone(weights.clone()) };
    // What editors leant towards is what really stood there.
    let stood = if gathered.settings.weights.is_given() {
        given.clone()
    } else {
        gathered.alone(gathered.settings.weights.clone())
    };
    let stood_in: BTreeSet<ArticleId> = stood.chosen.iter().map(|candidate| candidate.article).collect();
    let (by_given, by_learned) = (by_article(&given), by_article(&learned));
    let story = |article: ArticleId, otherwise: &str| {
        by_given.get(&article).map_or_else(|| otherwise.to_owned(), |candidate| candidate.story.clone())
    };
    let last: Vec<String> = line_up.chosen.iter().map(|item| story(item.article, &item.story)).collect();
    let taken: BTreeSet<ArticleId> = line_up.chosen.iter().map(|item| item.article).collect();
    let shown: BTreeSet<ArticleId> = seen
        .shown
        .into_iter()
        .chain(line_up.chosen.iter().chain(&line_up.reserves).map(|item| item.article))
        .collect();
    let points =
        |of: &BTreeMap<ArticleId, &Candidate>, id| of.get(&id).map_or(0, |candidate| candidate.points);
    let shown = shown
        .into_iter()
        .filter_map(|id| {
            let candidate = by_given.get(&id)?;
            // Another report of a story that runs was not disliked.
            if !taken.contains(&id) && last.contains(&candidate.story) {
                return None;
            }
            let article = gathered.articles.iter().find(|article| article.id == id)?;
            let drawn = Drawn { given: points(&by_given, id), learned: points(&by_learned, id) };
            Some(Shown {
                terms: candidate.reasons.iter().map(|reason| (reason.term.clone(), reason.points)).collect(),
                traits: traits_of(article),
                proposed: stood_in.contains(&id),
                taken: taken.contains(&id),
                // What was proposed as well was not seen by lot alone.
                drawn: (seen.drawn.contains(&id) && !stood_in.contains(&id)).then_some(drawn),
            })
        })
        .collect();
    let wished = gathered.propose();
    let wished = by_article(&wished);
    let final_items: Vec<&Candidate> =
        line_up.chosen.iter().filter_map(|item| wished.get(&item.article).copied()).collect();
    let figures = Some(Figures::of(&stood.chosen, &final_items));
    let stories = |proposal: &Proposal| -> Vec<String> {
        proposal.chosen.iter().map(|candidate| candidate.story.clone()).collect()
    };
    let relaxed = |proposal: &Proposal| i64::try_from(proposal.relaxed.len()).unwrap_or(i64::MAX);
    let morning = Morning {
        given: agreement(&stories(&given), &last),
        learned: agreement(&stories(&learned), &last),
        given_relaxed: relaxed(&given),
        learned_relaxed: relaxed(&learned),
    };
    let lessons = i64::try_from(kept.iter().filter(|lesson| lesson.teaches()).count()).unwrap_or(i64::MAX);
    KeptLesson { date, shown, morning, lessons, weights, figures }
}

fn by_article(proposal: &Proposal) -> BTreeMap<ArticleId, &Candidate> {
    let all = proposal.chosen.iter().chain(&proposal.reserves).chain(&proposal.left_out);
    all.map(|candidate| (candidate.article, candidate)).collect()
}

/// The lessons as they weigh on this date, oldest first.
fn seen_from(kept: &[KeptLesson], date: Date) -> Vec<Lesson> {
    kept.iter().rev().map(|lesson| lesson.lesson(date)).collect()
}

/// One thing that happened to a line-up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Happened {
    /// When.
    pub at: Timestamp,
    /// `the machine`, or an editor.
    pub who: String,
    /// `proposed`, or what an editor did.
    pub what: &'static str,
    /// To which article, by its title; or how many were proposed.
    pub title: String,
    /// The article's URL.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// Where it stood.
    pub from: Option<i64>,
    /// Where it was put.
    pub to: Option<i64>,
    /// The news value that was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<u8>,
    /// The lifetime that was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<Lifetime>,
}

/// Every proposal for an edition and every step of its editors, in order of time.
pub async fn history(house: &House, newsletter: &Newsletter, date: Date) -> Result<Vec<Happened>> {
    let mut conn = house.db.read().await?;
    let mut out: Vec<Happened> = store::proposals(&mut conn, &newsletter.id, date)
        .await?
        .into_iter()
        .map(|kept| Happened {
            at: timestamp(kept.at),
            who: "the machine".to_owned(),
            what: "proposed",
            title: format!("{} items, {} in reserve", kept.chosen, kept.reserves),
            url: String::new(),
            from: None,
            to: None,
            value: None,
            lifetime: None,
        })
        .collect();
    let events = store::events(&mut conn, &newsletter.id, date).await?;
    let ids: Vec<ArticleId> = events.iter().map(|kept| kept.event.article).collect();
    let articles = articles::store::find_by_ids(&mut conn, &ids).await?;
    out.extend(events.into_iter().map(|kept| {
        let article = articles.iter().find(|article| article.id == kept.event.article);
        Happened {
            at: kept.at,
            who: kept.who,
            what: kept.event.what.as_str(),
            title: article
                .map_or_else(|| format!("article {}", kept.event.article), |known| known.title.clone()),
            url: article.map(|known| known.url.clone()).unwrap_or_default(),
            from: kept.event.from,
            to: kept.event.to,
            value: kept.event.given.value,
            lifetime: kept.event.given.lifetime,
        }
    }));
    // A refresh follows the steps of the same moment.
    out.sort_by_key(|happened| (happened.at, happened.what == "proposed"));
    Ok(out)
}

/// The last proposal for an edition as it was made, with every candidate.
pub async fn record(house: &House, newsletter: &Newsletter, date: Date) -> Result<Option<Proposal>> {
    Ok(store::find_record(&mut house.db.read().await?, &newsletter.id, date).await?)
}

/// One morning of the report.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    /// The edition's date.
    pub date: String,
    /// nDCG@10 of the given weights' own line-up against the final one, in ten-thousandths.
    pub given: i64,
    /// The same of the learned weights, before they had seen this edition.
    pub learned: i64,
    /// From how many editions those were learned.
    pub lessons: i64,
    /// Whether an editor had a hand in it; else it says nothing about either.
    pub looked: bool,
    /// How much of the proposal was kept, and how mixed the final line-up was.
    pub figures: Option<Figures>,
}

/// How learning is doing.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The mornings, newest first.
    pub mornings: Vec<Compared>,
    /// What the newest of them say.
    pub verdict: Verdict,
    /// What editors made of the reserves that were drawn by lot.
    pub lots: Lots,
    /// What would be put in force now.
    pub learned: Weights,
    /// What a person put in force; `None` while the given weights are.
    pub in_force: Option<Weights>,
}

/// How near given and learned weights came, and what is to be learned today.
pub async fn report(house: &House, newsletter: &Newsletter) -> Result<Report> {
    let today = house.clock.civil().to_zoned_datetime(newsletter.timezone.clone()).date();
    let mut conn = house.db.read().await?;
    let kept = store::lessons(&mut conn, &newsletter.id, Date::MAX, MEMORY).await?;
    let in_force = store::in_force(&mut conn, &newsletter.id).await?;
    drop(conn);
    let mornings: Vec<Morning> =
        kept.iter().filter(|lesson| lesson.teaches()).map(|lesson| lesson.morning).collect();
    let compared = kept.iter().map(|lesson| Compared {
        date: lesson.date.to_string(),
        given: lesson.morning.given,
        learned: lesson.morning.learned,
        lessons: lesson.lessons,
        looked: lesson.teaches(),
        figures: lesson.figures,
    });
    Ok(Report {
        mornings: compared.collect(),
        verdict: verdict(&mornings),
        lots: lots(kept.iter().flat_map(|lesson| &lesson.shown)),
        learned: fit(&seen_from(&kept, today)),
        in_force,
    })
}

/// How near given and learned weights came to the editors on the last mornings; `None` before the first was compared.
pub async fn agreed(house: &House, newsletter: &Newsletter) -> Result<Option<Agreed>> {
    let mut conn = house.db.read().await?;
    let kept = store::lessons(&mut conn, &newsletter.id, Date::MAX, MEMORY).await?;
    let mornings: Vec<Morning> =
        kept.iter().filter(|lesson| lesson.teaches()).map(|lesson| lesson.morning).collect();
    Ok(learning::agreed(&mornings))
}

/// Puts the learned weights in force: a person's word, and only when the mornings warrant it or `anyway`.
pub async fn promote(
    house: &House,
    newsletter: &Newsletter,
    anyway: bool,
    who: &Who,
) -> Result<std::result::Result<Weights, String>> {
    let report = report(house, newsletter).await?;
    if report.learned.is_given() {
        return Ok(Err("nothing has been learned yet: the weights are the given ones".to_owned()));
    }
    if !report.verdict.promote && !anyway {
        return Ok(Err(format!("{}; --anyway puts them in force all the same", in_words(&report.verdict))));
    }
    let mut tx = house.db.write().await?;
    let now = house.clock.now();
    store::promote(&mut tx, &newsletter.id, Some(&report.learned), &who.0, now).await?;
    tx.commit().await?;
    Ok(Ok(report.learned))
}

/// Puts the given weights in force again; `false` when they were.
pub async fn demote(house: &House, newsletter: &Newsletter, who: &Who) -> Result<bool> {
    let mut tx = house.db.write().await?;
    if store::in_force(&mut tx, &newsletter.id).await?.is_none() {
        return Ok(false);
    }
    store::promote(&mut tx, &newsletter.id, None, &who.0, house.clock.now()).await?;
    tx.commit().await?;
    Ok(true)
}

/// A verdict for people.
pub fn in_words(verdict: &Verdict) -> String {
    let Verdict { mornings, needed, gain, chance, .. } = verdict;
    let sign = if *gain < 0 { '-' } else { '+' };
    let part = |value: i64| format!("{}.{:04}", value.abs() / 10_000, value.abs() % 10_000);
    let told = format!(
        "over {mornings} mornings {sign}{} nDCG@10, by chance as much: {}",
        part(*gain),
        part(*chance)
    );
    if mornings < needed {
        format!("{mornings} of {needed} mornings compared: too early ({told})")
    } else if verdict.limits_worse {
        format!("limits gave way more often under the learned weights ({told})")
    } else if verdict.promote {
        format!("the learned weights come nearer to the editors ({told})")
    } else {
        format!("the learned weights are not clearly nearer to the editors ({told})")
    }
}

/// What editors made of the reserves that were drawn by lot, for people; `None` where none was shown.
pub fn lots_in_words(lots: &Lots) -> Option<String> {
    let Lots { shown, taken, given, learned } = lots;
    let told = format!("Drawn by lot: {shown} shown, {taken} taken");
    let percent = |part: i64| format!("{}.{} %", part / 100, part % 100 / 10);
    match (shown, taken) {
        (0, _) => None,
        (_, 0) => Some(told),
        (shown, taken) if shown == taken => Some(told),
        _ => Some(format!(
            "{told}; of two of which one was taken, that one stands first by the given weights in {}, by the learned \
             ones in {}",
            percent(*given),
            percent(*learned)
        )),
    }
}

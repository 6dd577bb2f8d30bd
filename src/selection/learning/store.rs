//! The tables `proposal`, `proposal_item`, `editor_event`, `lesson` and `promotion`.
//!
//! Reads no other room's tables. Proposals, events and lessons are only ever added to: they are what happened.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::de::DeserializeOwned;
use sqlx::FromRow;

use super::{Event, Figures, Lesson, Morning, Shown, Weights, What};
use crate::articles::{ArticleId, Lifetime};
use crate::clock::timestamp;
use crate::db::{Conn, Error, Result, on};
use crate::selection::{Candidate, Given, Proposal, Reason, is_drawn};

const LAST_PROPOSAL: &str = "
SELECT id, fingerprint
FROM proposal
WHERE newsletter = $1 AND date = $2
ORDER BY id DESC
LIMIT 1";

const ADD_PROPOSAL: &str = "
INSERT INTO proposal (newsletter, date, at, fingerprint)
VALUES ($1, $2, $3, $4)
RETURNING id";

const KEEP_RECORD: &str = "
UPDATE proposal
SET inputs = $2, record = $3
WHERE id = $1";

// What stood in the last one replaces what stood before: hundreds of candidates a refresh would fill the disk.
const DROP_RECORDS: &str = "
UPDATE proposal
SET record = NULL
WHERE newsletter = $1 AND date = $2 AND id <> $3 AND record IS NOT NULL";

const ADD_PROPOSAL_ITEM: &str = "
INSERT INTO proposal_item (proposal, place, position, article, story, points, reasons)
VALUES ($1, $2, $3, $4, $5, $6, $7)";

/// Keeps what was proposed for an edition, and the record of it; `false` when it is the line-up proposed last.
pub async fn record_proposal(
    conn: &mut Conn,
    newsletter: &str,
    date: Date,
    proposal: &Proposal,
    at: Timestamp,
) -> Result<bool> {
    let fingerprint = fingerprint(proposal);
    let last: Option<(i64, String)> = on!(conn, |c| sqlx::query_as(LAST_PROPOSAL)
        .bind(newsletter)
        .bind(date.to_string())
        .fetch_optional(c)
        .await?);
    if let Some((id, _)) = last.filter(|(_, known)| *known == fingerprint) {
        keep_record(conn, newsletter, date, id, proposal).await?;
        return Ok(false);
    }
    let id: i64 = on!(conn, |c| sqlx::query_scalar(ADD_PROPOSAL)
        .bind(newsletter)
        .bind(date.to_string())
        .bind(at.as_millisecond())
        .bind(&fingerprint)
        .fetch_one(c)
        .await?);
    for (place, candidates) in places(proposal) {
        for (candidate, position) in candidates.iter().zip(1_i64..) {
            let reasons = json(&candidate.reasons);
            on!(conn, |c| sqlx::query(ADD_PROPOSAL_ITEM)
                .bind(id)
                .bind(place)
                .bind(position)
                .bind(candidate.article.0)
                .bind(&candidate.story)
                .bind(candidate.points)
                .bind(reasons)
                .execute(c)
                .await
                .map(drop)?);
        }
    }
    keep_record(conn, newsletter, date, id, proposal).await?;
    Ok(true)
}

async fn keep_record(
    conn: &mut Conn,
    newsletter: &str,
    date: Date,
    id: i64,
    proposal: &Proposal,
) -> Result<()> {
    let record = json(proposal);
    on!(conn, |c| sqlx::query(KEEP_RECORD)
        .bind(id)
        .bind(&proposal.inputs)
        .bind(record)
        .execute(c)
        .await
        .map(drop)?);
    on!(conn, |c| sqlx::query(DROP_RECORDS)
        .bind(newsletter)
        .bind(date.to_string())
        .bind(id)
        .execute(c)
        .await
        .map(drop)?);
    Ok(())
}

const RECORD: &str = "
SELECT record
FROM proposal
WHERE newsletter = $1 AND date = $2 AND record IS NOT NULL
ORDER BY id DESC
LIMIT 1";

/// The last proposal for an edition as it was made, with every candidate; `None` where none was kept.
pub async fn find_record(conn: &mut Conn, newsletter: &str, date: Date) -> Result<Option<Proposal>> {
    let text: Option<String> = on!(conn, |c| sqlx::query_scalar(RECORD)
        .bind(newsletter)
        .bind(date.to_string())
        .fetch_optional(c)
        .await?);
    text.map(|text| parse_json("proposal", "record", &text)).transpose()
}

fn places(proposal: &Proposal) -> [(&'static str, &[Candidate]); 2] {
    [("chosen", proposal.chosen.as_slice()), ("reserve", proposal.reserves.as_slice())]
}

fn fingerprint(proposal: &Proposal) -> String {
    use sha2::Digest as _;
    let mut hash = sha2::Sha256::new();
    for (place, candidates) in places(proposal) {
        for candidate in candidates {
            hash.update(json(&(
                place,
                candidate.article,
                &candidate.story,
                candidate.points,
                &candidate.reasons,
            )));
        }
    }
    data_encoding::HEXLOWER.encode(&hash.finalize()[..16])
}

const SHOWN: &str = "
SELECT DISTINCT proposal_item.article
FROM proposal
JOIN proposal_item ON proposal_item.proposal = proposal.id
WHERE proposal.newsletter = $1 AND proposal.date = $2
ORDER BY proposal_item.article";

/// Every article that was ever proposed for an edition, as chosen or in reserve.
pub async fn shown(conn: &mut Conn, newsletter: &str, date: Date) -> Result<Vec<ArticleId>> {
    let ids: Vec<i64> =
        on!(conn, |c| sqlx::query_scalar(SHOWN).bind(newsletter).bind(date.to_string()).fetch_all(c).await?);
    Ok(ids.into_iter().map(ArticleId).collect())
}

const RESERVES_SHOWN: &str = "
SELECT proposal_item.article, proposal_item.reasons
FROM proposal
JOIN proposal_item ON proposal_item.proposal = proposal.id
WHERE proposal.newsletter = $1 AND proposal.date = $2 AND proposal_item.place = 'reserve'";

/// Every article that ever stood in reserve for an edition because it was drawn by lot.
pub async fn drawn(conn: &mut Conn, newsletter: &str, date: Date) -> Result<BTreeSet<ArticleId>> {
    let rows: Vec<(i64, String)> = on!(conn, |c| sqlx::query_as(RESERVES_SHOWN)
        .bind(newsletter)
        .bind(date.to_string())
        .fetch_all(c)
        .await?);
    let mut out = BTreeSet::new();
    for (article, reasons) in rows {
        let reasons: Vec<Reason> = parse_json("proposal_item", "reasons", &reasons)?;
        if is_drawn(&reasons) {
            out.insert(ArticleId(article));
        }
    }
    Ok(out)
}

const RECORD_EVENT: &str = "
INSERT INTO editor_event
    (newsletter, date, at, who, what, article, from_position, to_position, value, lifetime)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

/// Keeps what an editor did to the line-up of an edition.
pub async fn record_event(
    conn: &mut Conn,
    newsletter: &str,
    date: Date,
    event: &Event,
    who: &str,
    at: Timestamp,
) -> Result<()> {
    on!(conn, |c| sqlx::query(RECORD_EVENT)
        .bind(newsletter)
        .bind(date.to_string())
        .bind(at.as_millisecond())
        .bind(who)
        .bind(event.what.as_str())
        .bind(event.article.0)
        .bind(event.from)
        .bind(event.to)
        .bind(event.given.value.map(i64::from))
        .bind(event.given.lifetime.map(Lifetime::as_str))
        .execute(c)
        .await
        .map(drop)?);
    Ok(())
}

/// One proposal, in numbers.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct KeptProposal {
    /// When, in milliseconds since the epoch.
    pub at: i64,
    /// How many items it chose.
    pub chosen: i64,
    /// How many stood in reserve.
    pub reserves: i64,
}

const PROPOSALS: &str = "
SELECT proposal.at,
       COUNT(CASE WHEN proposal_item.place = 'chosen' THEN 1 END) AS chosen,
       COUNT(CASE WHEN proposal_item.place = 'reserve' THEN 1 END) AS reserves
FROM proposal
LEFT JOIN proposal_item ON proposal_item.proposal = proposal.id
WHERE proposal.newsletter = $1 AND proposal.date = $2
GROUP BY proposal.id, proposal.at
ORDER BY proposal.id";

/// The proposals of an edition, in order.
pub async fn proposals(conn: &mut Conn, newsletter: &str, date: Date) -> Result<Vec<KeptProposal>> {
    Ok(on!(conn, |c| sqlx::query_as(PROPOSALS).bind(newsletter).bind(date.to_string()).fetch_all(c).await?))
}

/// A step of an editor, with when and who.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptEvent {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub who: String,
    /// The step.
    pub event: Event,
}

#[derive(FromRow)]
struct EventRow {
    id: i64,
    at: i64,
    who: String,
    what: String,
    article: i64,
    from_position: Option<i64>,
    to_position: Option<i64>,
    value: Option<i64>,
    lifetime: Option<String>,
}

const EVENTS: &str = "
SELECT id, at, who, what, article, from_position, to_position, value, lifetime
FROM editor_event
WHERE newsletter = $1 AND date = $2
ORDER BY id";

/// Everything that editors did to the line-up of an edition, in order.
pub async fn events(conn: &mut Conn, newsletter: &str, date: Date) -> Result<Vec<KeptEvent>> {
    let rows: Vec<EventRow> =
        on!(conn, |c| sqlx::query_as(EVENTS).bind(newsletter).bind(date.to_string()).fetch_all(c).await?);
    rows.into_iter()
        .map(|row| {
            let wrong = |column, value: &str| Error::Row {
                table: "editor_event",
                column,
                id: row.id,
                value: value.to_owned(),
            };
            let what: What = row.what.parse().map_err(|()| wrong("what", &row.what))?;
            let lifetime =
                row.lifetime.as_deref().map(|text| text.parse().map_err(|()| wrong("lifetime", text)));
            let given = Given {
                value: row.value.and_then(|value| u8::try_from(value).ok()),
                lifetime: lifetime.transpose()?,
            };
            let (from, to) = (row.from_position, row.to_position);
            let event = Event { what, article: ArticleId(row.article), from, to, given };
            Ok(KeptEvent { at: timestamp(row.at), who: row.who, event })
        })
        .collect()
}

/// One morning as it was learned from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptLesson {
    /// The date of the edition.
    pub date: Date,
    /// What its editors saw and took; empty where nobody looked.
    pub shown: Vec<Shown>,
    /// How near each way of choosing had come.
    pub morning: Morning,
    /// From how many editions the learned weights were learned.
    pub lessons: i64,
    /// The learned weights that ran in shadow.
    pub weights: Weights,
    /// What the edition came to; `None` of those before this was kept.
    pub figures: Option<Figures>,
}

impl KeptLesson {
    /// Whether it says anything: an edition that left as the machine had it, with no editor near, agrees with nobody.
    pub fn teaches(&self) -> bool {
        !self.shown.is_empty()
    }

    /// The lesson, seen from this date.
    pub fn lesson(&self, today: Date) -> Lesson {
        let days = today.since(self.date).map_or(0, |span| i64::from(span.get_days()));
        Lesson { days, shown: self.shown.clone() }
    }
}

const RECORD_LESSON: &str = "
INSERT INTO lesson
    (newsletter, date, at, shown, given, learned, given_relaxed, learned_relaxed, lessons, weights, figures)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (newsletter, date) DO NOTHING";

/// Keeps what an edition teaches; the first word stands.
pub async fn record_lesson(
    conn: &mut Conn,
    newsletter: &str,
    lesson: &KeptLesson,
    at: Timestamp,
) -> Result<()> {
    let (shown, weights) = (json(&lesson.shown), json(&lesson.weights));
    on!(conn, |c| sqlx::query(RECORD_LESSON)
        .bind(newsletter)
        .bind(lesson.date.to_string())
        .bind(at.as_millisecond())
        .bind(shown)
        .bind(lesson.morning.given)
        .bind(lesson.morning.learned)
        .bind(lesson.morning.given_relaxed)
        .bind(lesson.morning.learned_relaxed)
        .bind(lesson.lessons)
        .bind(weights)
        .bind(lesson.figures.as_ref().map(json))
        .execute(c)
        .await
        .map(drop)?);
    Ok(())
}

#[derive(FromRow)]
struct LessonRow {
    date: String,
    shown: String,
    given: i64,
    learned: i64,
    given_relaxed: i64,
    learned_relaxed: i64,
    lessons: i64,
    weights: String,
    figures: Option<String>,
}

const LESSONS: &str = "
SELECT date, shown, given, learned, given_relaxed, learned_relaxed, lessons, weights, figures
FROM lesson
WHERE newsletter = $1 AND date < $2
ORDER BY date DESC
LIMIT $3";

/// The lessons of the editions before this date, newest first.
pub async fn lessons(conn: &mut Conn, newsletter: &str, before: Date, limit: i64) -> Result<Vec<KeptLesson>> {
    let rows: Vec<LessonRow> = on!(conn, |c| sqlx::query_as(LESSONS)
        .bind(newsletter)
        .bind(before.to_string())
        .bind(limit)
        .fetch_all(c)
        .await?);
    rows.into_iter()
        .map(|row| {
            let date: Date = row.date.parse().map_err(|_| wrong("lesson", "date", &row.date))?;
            Ok(KeptLesson {
                date,
                shown: parse_json("lesson", "shown", &row.shown)?,
                morning: Morning {
                    given: row.given,
                    learned: row.learned,
                    given_relaxed: row.given_relaxed,
                    learned_relaxed: row.learned_relaxed,
                },
                lessons: row.lessons,
                weights: parse_json("lesson", "weights", &row.weights)?,
                figures: row.figures.map(|text| parse_json("lesson", "figures", &text)).transpose()?,
            })
        })
        .collect()
}

const IN_FORCE: &str = "
SELECT weights
FROM promotion
WHERE newsletter = $1
ORDER BY id DESC
LIMIT 1";

/// The learned weights that a person put in force; `None` while the given ones are.
pub async fn in_force(conn: &mut Conn, newsletter: &str) -> Result<Option<Weights>> {
    let text: Option<Option<String>> =
        on!(conn, |c| sqlx::query_scalar(IN_FORCE).bind(newsletter).fetch_optional(c).await?);
    text.flatten().map(|text| parse_json("promotion", "weights", &text)).transpose()
}

const PROMOTE: &str = "
INSERT INTO promotion (newsletter, at, who, weights)
VALUES ($1, $2, $3, $4)";

/// Puts learned weights in force, or with `None` the given ones again.
pub async fn promote(
    conn: &mut Conn,
    newsletter: &str,
    weights: Option<&Weights>,
    who: &str,
    at: Timestamp,
) -> Result<()> {
    let weights = weights.map(json);
    on!(conn, |c| sqlx::query(PROMOTE)
        .bind(newsletter)
        .bind(at.as_millisecond())
        .bind(who)
        .bind(weights)
        .execute(c)
        .await
        .map(drop)?);
    Ok(())
}

fn json<T: serde::Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("plain structs of texts and numbers always serialise")
}

fn parse_json<T: DeserializeOwned>(table: &'static str, column: &'static str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|_| wrong(table, column, text))
}

// These rows are known by newsletter and date.
fn wrong(table: &'static str, column: &'static str, value: &str) -> Error {
    Error::Row { table, column, id: 0, value: value.to_owned() }
}

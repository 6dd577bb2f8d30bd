//! The tables `edition`, `item`, `decision`, `edition_event`, `revision` and `rendering`.
//!
//! Reads no other room's tables. Every change of an edition raises its `version` and leaves an event.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::de::DeserializeOwned;
use sqlx::FromRow;

use super::{Decision, Edition, EditionId, EditionState, EditionWords, Item, ItemWords, LineUp, Place, Who};
use crate::articles::{ArticleId, Lifetime};
use crate::clock::timestamp;
use crate::db::{Conn, Error, Result, expect_rows, on};
use crate::selection::Given;

#[derive(FromRow)]
struct EditionRow {
    id: i64,
    newsletter: String,
    date: String,
    corrects: i64,
    state: String,
    held_from: Option<String>,
    revision: i64,
    version: i64,
    lock_at: i64,
    words: String,
    approved_by: Option<String>,
    approved_at: Option<i64>,
    reason: Option<String>,
    refreshed_at: Option<i64>,
    locked_at: Option<i64>,
    sent_at: Option<i64>,
}

impl TryFrom<EditionRow> for Edition {
    type Error = Error;

    fn try_from(row: EditionRow) -> Result<Self> {
        let wrong = |column, value: &str| Error::Row {
            table: "edition",
            column,
            id: row.id,
            value: value.to_owned(),
        };
        let state = |text: &str, column| text.parse::<EditionState>().map_err(|()| wrong(column, text));
        Ok(Self {
            id: EditionId(row.id),
            date: row.date.parse().map_err(|_| wrong("date", &row.date))?,
            corrects: (row.corrects != 0).then_some(EditionId(row.corrects)),
            state: state(&row.state, "state")?,
            held_from: row.held_from.as_deref().map(|text| state(text, "held_from")).transpose()?,
            words: serde_json::from_str(&row.words).map_err(|_| wrong("words", &row.words))?,
            newsletter: row.newsletter,
            revision: row.revision,
            version: row.version,
            lock_at: timestamp(row.lock_at),
            approved_by: row.approved_by,
            approved_at: row.approved_at.map(timestamp),
            reason: row.reason,
            refreshed_at: row.refreshed_at.map(timestamp),
            locked_at: row.locked_at.map(timestamp),
            sent_at: row.sent_at.map(timestamp),
        })
    }
}

const FIND: &str = "
SELECT id, newsletter, date, corrects, state, held_from, revision, version, lock_at, words,
       approved_by, approved_at, reason, refreshed_at, locked_at, sent_at
FROM edition
WHERE newsletter = $1 AND date = $2 AND corrects = 0";

/// The edition of this newsletter on this date.
pub async fn find(conn: &mut Conn, newsletter: &str, date: Date) -> Result<Option<Edition>> {
    let row: Option<EditionRow> =
        on!(conn, |c| sqlx::query_as(FIND).bind(newsletter).bind(date.to_string()).fetch_optional(c).await?);
    row.map(Edition::try_from).transpose()
}

const LOAD: &str = "
SELECT id, newsletter, date, corrects, state, held_from, revision, version, lock_at, words,
       approved_by, approved_at, reason, refreshed_at, locked_at, sent_at
FROM edition
WHERE id = $1";

/// The edition of this id.
pub async fn load(conn: &mut Conn, id: EditionId) -> Result<Edition> {
    let row: EditionRow = on!(conn, |c| sqlx::query_as(LOAD).bind(id.0).fetch_one(c).await?);
    row.try_into()
}

const LIST: &str = "
SELECT id, newsletter, date, corrects, state, held_from, revision, version, lock_at, words,
       approved_by, approved_at, reason, refreshed_at, locked_at, sent_at
FROM edition
WHERE newsletter = $1
ORDER BY date DESC, corrects
LIMIT $2";

/// The newest editions of a newsletter, newest first.
pub async fn list(conn: &mut Conn, newsletter: &str, limit: i64) -> Result<Vec<Edition>> {
    let rows: Vec<EditionRow> =
        on!(conn, |c| sqlx::query_as(LIST).bind(newsletter).bind(limit).fetch_all(c).await?);
    rows.into_iter().map(Edition::try_from).collect()
}

const LIST_SENT: &str = "
SELECT id, newsletter, date, corrects, state, held_from, revision, version, lock_at, words,
       approved_by, approved_at, reason, refreshed_at, locked_at, sent_at
FROM edition
WHERE newsletter = $1 AND corrects = 0 AND revision > 0 AND date < $2 AND state IN ('sending', 'sent')
ORDER BY date DESC
LIMIT $3";

/// The editions that have gone out or are going out, newest first; those before this date where one is given.
pub async fn list_sent(
    conn: &mut Conn,
    newsletter: &str,
    before: Option<Date>,
    limit: i64,
) -> Result<Vec<Edition>> {
    // Dates are kept as text, and compared as such: this one stands behind all of them.
    let before = before.map_or_else(|| "9999-99-99".to_owned(), |date| date.to_string());
    let rows: Vec<EditionRow> = on!(conn, |c| sqlx::query_as(LIST_SENT)
        .bind(newsletter)
        .bind(&before)
        .bind(limit)
        .fetch_all(c)
        .await?);
    rows.into_iter().map(Edition::try_from).collect()
}

const LIST_LIVE: &str = "
SELECT id, newsletter, date, corrects, state, held_from, revision, version, lock_at, words,
       approved_by, approved_at, reason, refreshed_at, locked_at, sent_at
FROM edition
WHERE state IN ('open', 'locked', 'sending', 'held')
ORDER BY lock_at, id";

/// Every edition that is not yet over, in the order of their locks.
pub async fn list_live(conn: &mut Conn) -> Result<Vec<Edition>> {
    let rows: Vec<EditionRow> = on!(conn, |c| sqlx::query_as(LIST_LIVE).fetch_all(c).await?);
    rows.into_iter().map(Edition::try_from).collect()
}

const OPEN: &str = "
INSERT INTO edition (newsletter, date, corrects, state, lock_at, created_at)
VALUES ($1, $2, 0, 'open', $3, $4)
ON CONFLICT (newsletter, date, corrects) DO NOTHING";

/// The edition of this date, opened where there is none yet.
pub async fn open(
    conn: &mut Conn,
    newsletter: &str,
    date: Date,
    lock_at: Timestamp,
    now: Timestamp,
) -> Result<Edition> {
    on!(conn, |c| sqlx::query(OPEN)
        .bind(newsletter)
        .bind(date.to_string())
        .bind(lock_at.as_millisecond())
        .bind(now.as_millisecond())
        .execute(c)
        .await
        .map(drop)?);
    find(conn, newsletter, date).await?.ok_or(Error::Rows {
        statement: "open edition",
        expected: 1,
        actual: 0,
    })
}

const SET_LOCK: &str = "
UPDATE edition
SET lock_at = $2
WHERE id = $1 AND state = 'open'";

/// Moves the lock of an open edition: the newsletter's rule was changed.
pub async fn set_lock(conn: &mut Conn, id: EditionId, lock_at: Timestamp) -> Result<()> {
    on!(conn, |c| sqlx::query(SET_LOCK)
        .bind(id.0)
        .bind(lock_at.as_millisecond())
        .execute(c)
        .await
        .map(drop)?);
    Ok(())
}

const SET_STATE: &str = "
UPDATE edition
SET state = $3, held_from = $4, reason = $5, version = version + 1,
    locked_at = CASE WHEN $3 = 'locked' AND locked_at IS NULL THEN $6 ELSE locked_at END,
    sent_at = CASE WHEN $3 = 'sent' THEN $6 ELSE sent_at END
WHERE id = $1 AND state = $2";

/// Moves an edition to another state; `false` when somebody else moved it first.
///
/// # Errors
/// A move that the edition's life does not have is the caller's fault: ask [`EditionState::may_become`] first.
pub async fn set_state(
    conn: &mut Conn,
    edition: &Edition,
    to: EditionState,
    reason: Option<&str>,
    who: &Who,
    at: Timestamp,
) -> Result<bool> {
    let held_from = (to == EditionState::Held).then_some(edition.state.as_str());
    let moved = on!(conn, |c| sqlx::query(SET_STATE)
        .bind(edition.id.0)
        .bind(edition.state.as_str())
        .bind(to.as_str())
        .bind(held_from)
        .bind(reason)
        .bind(at.as_millisecond())
        .execute(c)
        .await?
        .rows_affected());
    if moved == 1 {
        record(conn, edition.id, at, who, to.as_str(), reason.unwrap_or_default()).await?;
    }
    Ok(moved == 1)
}

const SET_WORDS: &str = "
UPDATE edition
SET words = $2, version = version + 1
WHERE id = $1";

/// Keeps the editors' words around the items.
pub async fn set_words(conn: &mut Conn, id: EditionId, words: &EditionWords) -> Result<()> {
    let words = json(words);
    let rows = on!(conn, |c| sqlx::query(SET_WORDS).bind(id.0).bind(words).execute(c).await?.rows_affected());
    expect_rows("set words", 1, rows)
}

const APPROVE: &str = "
UPDATE edition
SET approved_by = $2, approved_at = $3, version = version + 1
WHERE id = $1 AND state = 'open'";

/// Keeps an editor's word that this may go out; `false` when it is open no more.
pub async fn approve(conn: &mut Conn, id: EditionId, who: &Who, at: Timestamp) -> Result<bool> {
    let rows = on!(conn, |c| sqlx::query(APPROVE)
        .bind(id.0)
        .bind(&who.0)
        .bind(at.as_millisecond())
        .execute(c)
        .await?
        .rows_affected());
    if rows == 1 {
        record(conn, id, at, who, "approved", "").await?;
    }
    Ok(rows == 1)
}

#[derive(FromRow)]
struct ItemRow {
    place: String,
    position: i64,
    article: i64,
    story: String,
    points: i64,
    reasons: String,
}

const LINE_UP: &str = "
SELECT place, position, article, story, points, reasons
FROM item
WHERE edition = $1
ORDER BY place, position";

/// The line-up as it stands.
pub async fn line_up(conn: &mut Conn, id: EditionId) -> Result<LineUp> {
    let rows: Vec<ItemRow> = on!(conn, |c| sqlx::query_as(LINE_UP).bind(id.0).fetch_all(c).await?);
    let mut line_up = LineUp::default();
    for row in rows {
        let place = if row.place == Place::Chosen.as_str() { Place::Chosen } else { Place::Reserve };
        let item = Item {
            place,
            position: row.position,
            article: ArticleId(row.article),
            story: row.story,
            points: row.points,
            reasons: parse_json("item", "reasons", row.article, &row.reasons)?,
        };
        match place {
            Place::Chosen => line_up.chosen.push(item),
            Place::Reserve => line_up.reserves.push(item),
        }
    }
    Ok(line_up)
}

const CLEAR_LINE_UP: &str = "
DELETE FROM item
WHERE edition = $1";

const ADD_ITEM: &str = "
INSERT INTO item (edition, place, position, article, story, points, reasons)
VALUES ($1, $2, $3, $4, $5, $6, $7)";

const REFRESHED: &str = "
UPDATE edition
SET refreshed_at = $2, version = version + CASE WHEN $3 = 1 THEN 1 ELSE 0 END
WHERE id = $1";

/// Puts this line-up in the place of the one that stood there; the version rises only when it differs.
pub async fn set_line_up(conn: &mut Conn, id: EditionId, new: &LineUp, at: Timestamp) -> Result<bool> {
    let changed = line_up(conn, id).await? != *new;
    if changed {
        on!(conn, |c| sqlx::query(CLEAR_LINE_UP).bind(id.0).execute(c).await.map(drop)?);
        for item in new.chosen.iter().chain(&new.reserves) {
            let reasons = json(&item.reasons);
            on!(conn, |c| sqlx::query(ADD_ITEM)
                .bind(id.0)
                .bind(item.place.as_str())
                .bind(item.position)
                .bind(item.article.0)
                .bind(&item.story)
                .bind(item.points)
                .bind(reasons)
                .execute(c)
                .await
                .map(drop)?);
        }
    }
    on!(conn, |c| sqlx::query(REFRESHED)
        .bind(id.0)
        .bind(at.as_millisecond())
        .bind(i64::from(changed))
        .execute(c)
        .await
        .map(drop)?);
    Ok(changed)
}

#[derive(FromRow)]
struct DecisionRow {
    article: i64,
    pinned: Option<i64>,
    removed: i64,
    words: String,
    value: Option<i64>,
    lifetime: Option<String>,
}

const DECISIONS: &str = "
SELECT article, pinned, removed, words, value, lifetime
FROM decision
WHERE edition = $1
ORDER BY article";

/// What editors decided about this edition's articles.
pub async fn decisions(conn: &mut Conn, id: EditionId) -> Result<BTreeMap<ArticleId, Decision>> {
    let rows: Vec<DecisionRow> = on!(conn, |c| sqlx::query_as(DECISIONS).bind(id.0).fetch_all(c).await?);
    rows.into_iter()
        .map(|row| {
            let words: ItemWords = parse_json("decision", "words", row.article, &row.words)?;
            // The table's own checks leave nothing else.
            let given = Given {
                value: row.value.and_then(|value| u8::try_from(value).ok()),
                lifetime: row.lifetime.and_then(|lifetime| lifetime.parse().ok()),
            };
            let (pinned, removed) = (row.pinned, row.removed != 0);
            Ok((ArticleId(row.article), Decision { pinned, removed, words, given }))
        })
        .collect()
}

const DECIDE: &str = "
INSERT INTO decision (edition, article, pinned, removed, words, value, lifetime)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (edition, article) DO UPDATE
SET pinned = excluded.pinned, removed = excluded.removed, words = excluded.words, value = excluded.value,
    lifetime = excluded.lifetime";

const TOUCH: &str = "
UPDATE edition
SET version = version + 1
WHERE id = $1";

/// Keeps what an editor decided about one article.
pub async fn decide(conn: &mut Conn, id: EditionId, article: ArticleId, decision: &Decision) -> Result<()> {
    let words = json(&decision.words);
    on!(conn, |c| sqlx::query(DECIDE)
        .bind(id.0)
        .bind(article.0)
        .bind(decision.pinned)
        .bind(i64::from(decision.removed))
        .bind(words)
        .bind(decision.given.value.map(i64::from))
        .bind(decision.given.lifetime.map(Lifetime::as_str))
        .execute(c)
        .await
        .map(drop)?);
    let rows = on!(conn, |c| sqlx::query(TOUCH).bind(id.0).execute(c).await?.rows_affected());
    expect_rows("touch edition", 1, rows)
}

const RECORD: &str = "
INSERT INTO edition_event (edition, at, who, what, detail)
VALUES ($1, $2, $3, $4, $5)";

/// Keeps that something was done to an edition.
pub async fn record(
    conn: &mut Conn,
    id: EditionId,
    at: Timestamp,
    who: &Who,
    what: &str,
    detail: &str,
) -> Result<()> {
    on!(conn, |c| sqlx::query(RECORD)
        .bind(id.0)
        .bind(at.as_millisecond())
        .bind(&who.0)
        .bind(what)
        .bind(detail)
        .execute(c)
        .await
        .map(drop)?);
    Ok(())
}

/// Something that was done to an edition.
#[derive(Clone, Debug, FromRow, serde::Serialize)]
pub struct Event {
    /// When, in milliseconds since the epoch.
    pub at: i64,
    /// By whom.
    pub who: String,
    /// What.
    pub what: String,
    /// And more of it.
    pub detail: String,
}

const EVENTS: &str = "
SELECT at, who, what, detail
FROM edition_event
WHERE edition = $1
ORDER BY id";

/// Everything that was done to an edition, in order.
pub async fn events(conn: &mut Conn, id: EditionId) -> Result<Vec<Event>> {
    Ok(on!(conn, |c| sqlx::query_as(EVENTS).bind(id.0).fetch_all(c).await?))
}

const ADD_REVISION: &str = "
INSERT INTO revision (edition, number, at, who, why, content)
VALUES ($1, $2, $3, $4, $5, $6)";

const SET_REVISION: &str = "
UPDATE edition
SET revision = $2, version = version + 1
WHERE id = $1 AND revision = $2 - 1";

const ADD_RENDERING: &str = "
INSERT INTO rendering (edition, revision, language, prepared)
VALUES ($1, $2, $3, $4)";

/// A revision about to be frozen.
#[derive(Clone, Debug)]
pub struct NewRevision<'a> {
    /// Its number: the edition's revision plus one.
    pub number: i64,
    /// Who froze it.
    pub who: &'a Who,
    /// Why: "lock", or what was corrected.
    pub why: &'a str,
    /// The content, as JSON.
    pub content: &'a str,
    /// The prepared bytes by language.
    pub renderings: &'a [(String, Vec<u8>)],
}

/// Freezes a revision and makes it the newest approved one.
///
/// # Errors
/// [`Error::Rows`] when somebody froze that number first.
pub async fn freeze(conn: &mut Conn, id: EditionId, revision: &NewRevision<'_>, at: Timestamp) -> Result<()> {
    let rows = on!(conn, |c| sqlx::query(SET_REVISION)
        .bind(id.0)
        .bind(revision.number)
        .execute(c)
        .await?
        .rows_affected());
    expect_rows("set revision", 1, rows)?;
    on!(conn, |c| sqlx::query(ADD_REVISION)
        .bind(id.0)
        .bind(revision.number)
        .bind(at.as_millisecond())
        .bind(&revision.who.0)
        .bind(revision.why)
        .bind(revision.content)
        .execute(c)
        .await
        .map(drop)?);
    for (language, prepared) in revision.renderings {
        on!(conn, |c| sqlx::query(ADD_RENDERING)
            .bind(id.0)
            .bind(revision.number)
            .bind(language)
            .bind(prepared)
            .execute(c)
            .await
            .map(drop)?);
    }
    Ok(())
}

const CONTENT: &str = "
SELECT content
FROM revision
WHERE edition = $1 AND number = $2";

/// The content of a revision, as JSON.
pub async fn find_content(conn: &mut Conn, id: EditionId, revision: i64) -> Result<Option<String>> {
    Ok(on!(conn, |c| sqlx::query_scalar(CONTENT).bind(id.0).bind(revision).fetch_optional(c).await?))
}

const RENDERING: &str = "
SELECT prepared
FROM rendering
WHERE edition = $1 AND revision = $2 AND language = $3";

/// The prepared bytes of a revision in one language.
pub async fn find_rendering(
    conn: &mut Conn,
    id: EditionId,
    revision: i64,
    language: &str,
) -> Result<Option<Vec<u8>>> {
    Ok(on!(conn, |c| sqlx::query_scalar(RENDERING)
        .bind(id.0)
        .bind(revision)
        .bind(language)
        .fetch_optional(c)
        .await?))
}

/// One item that ran in a past edition.
#[derive(Clone, Debug, FromRow)]
pub struct RanItem {
    /// The edition's id.
    pub edition: i64,
    /// The date of that edition.
    pub date: String,
    /// The article's id.
    pub article: i64,
    /// Its story then.
    pub story: String,
}

const RAN: &str = "
WITH past AS (
    SELECT id, date
    FROM edition
    WHERE newsletter = $1 AND date < $2 AND state IN ('locked', 'sending', 'sent', 'held')
    ORDER BY date DESC
    LIMIT $3
)
SELECT past.id AS edition, past.date, item.article, item.story
FROM past
JOIN item ON item.edition = past.id AND item.place = 'chosen'
ORDER BY past.date DESC, item.position";

/// What ran in the last editions before this date, newest first.
pub async fn ran(conn: &mut Conn, newsletter: &str, before: Date, editions: i64) -> Result<Vec<RanItem>> {
    Ok(on!(conn, |c| sqlx::query_as(RAN)
        .bind(newsletter)
        .bind(before.to_string())
        .bind(editions)
        .fetch_all(c)
        .await?))
}

const PREVIOUS_LOCK: &str = "
SELECT MAX(lock_at)
FROM edition
WHERE newsletter = $1 AND date < $2 AND state IN ('locked', 'sending', 'sent', 'held')";

/// When the edition before this date was locked; articles older than that had their chance.
pub async fn previous_lock(conn: &mut Conn, newsletter: &str, before: Date) -> Result<Option<Timestamp>> {
    let at: Option<i64> = on!(conn, |c| sqlx::query_scalar(PREVIOUS_LOCK)
        .bind(newsletter)
        .bind(before.to_string())
        .fetch_one(c)
        .await?);
    Ok(at.map(timestamp))
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("plain structs of texts and numbers always serialise")
}

fn parse_json<T: DeserializeOwned>(
    table: &'static str,
    column: &'static str,
    id: i64,
    text: &str,
) -> Result<T> {
    serde_json::from_str(text).map_err(|_| Error::Row { table, column, id, value: text.to_owned() })
}

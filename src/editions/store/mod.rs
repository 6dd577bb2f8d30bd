//! The tables `edition`, `item`, `decision`, `edition_event`, `revision` and `rendering`.
//!
//! Reads no other room's tables. Every change of an edition raises its `version` and leaves an event. The table `edition`
//! itself stands here, what hangs on it in files of its own.

mod decisions;
mod events;
mod line_up;
mod past;
mod revisions;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::de::DeserializeOwned;
use sqlx::FromRow;

use super::{Edition, EditionId, EditionState, EditionWords, Who};
use crate::clock::timestamp;
use crate::db::{Conn, Error, Result, expect_rows, on};
pub use decisions::{decide, decisions};
pub use events::{Event, events, find_newest_event, record};
pub use line_up::{line_up, set_line_up};
pub use past::{RanItem, previous_lock, ran};
pub use revisions::{NewRevision, find_content, find_rendering, freeze};

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

const FIND_FROZEN: &str = "
SELECT id, newsletter, date, corrects, state, held_from, revision, version, lock_at, words,
       approved_by, approved_at, reason, refreshed_at, locked_at, sent_at
FROM edition
WHERE newsletter = $1
ORDER BY CASE WHEN revision > 0 THEN 0 ELSE 1 END, date DESC, corrects
LIMIT 1";

/// The newest edition with a frozen revision; before the first lock, the newest of all.
pub async fn find_frozen(conn: &mut Conn, newsletter: &str) -> Result<Option<Edition>> {
    let row: Option<EditionRow> =
        on!(conn, |c| sqlx::query_as(FIND_FROZEN).bind(newsletter).fetch_optional(c).await?);
    row.map(Edition::try_from).transpose()
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

/// An edition that is not yet over, as far as its row can be read.
#[derive(Debug)]
pub enum Live {
    /// It can.
    Edition(Box<Edition>),
    /// It cannot, of this newsletter: an error of its own, that hides none of the others.
    Unreadable(String, Error),
}

impl Live {
    /// Whose it is.
    pub fn newsletter(&self) -> &str {
        match self {
            Self::Edition(edition) => &edition.newsletter,
            Self::Unreadable(newsletter, _) => newsletter,
        }
    }
}

/// Every edition that is not yet over, in the order of their locks.
pub async fn list_live(conn: &mut Conn) -> Result<Vec<Live>> {
    let rows: Vec<EditionRow> = on!(conn, |c| sqlx::query_as(LIST_LIVE).fetch_all(c).await?);
    let read = |row: EditionRow| {
        let newsletter = row.newsletter.clone();
        match Edition::try_from(row) {
            Ok(edition) => Live::Edition(Box::new(edition)),
            Err(error) => Live::Unreadable(newsletter, error),
        }
    };
    Ok(rows.into_iter().map(read).collect())
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

/// The edition as it stands now; one that nobody has opened is opened by the transaction that does something with it. The
/// clock sends whatever is open: where that transaction comes to nothing, none may be.
pub async fn load_or_open(conn: &mut Conn, edition: &Edition, now: Timestamp) -> Result<Edition> {
    if edition.is_to_come() {
        return open(conn, &edition.newsletter, edition.date, edition.lock_at, now).await;
    }
    load(conn, edition.id).await
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

const HOLD_STILL: &str = "
UPDATE edition
SET version = version
WHERE id = $1";

/// Nobody else moves this edition until the transaction ends.
pub async fn hold_still(conn: &mut Conn, id: EditionId) -> Result<()> {
    let rows = on!(conn, |c| sqlx::query(HOLD_STILL).bind(id.0).execute(c).await?.rows_affected());
    expect_rows("hold an edition still", 1, rows)
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
WHERE id = $1 AND state IN ('open', 'missed', 'skipped')";

/// Keeps an editor's word that this may go out, late where its lock is over; `false` when it is locked.
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

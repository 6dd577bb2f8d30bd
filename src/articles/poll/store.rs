//! The table `feed`: when each was asked, what it said, when it is due.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::FromRow;

use crate::articles::ingest::Tally;
use crate::clock::timestamp;
use crate::db::{Conn, Result, expect_rows, on};

/// How one feed is doing.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct State {
    /// Its name in the configuration.
    pub name: String,
    /// Where it was asked.
    pub url: String,
    /// What its last good answer was marked with.
    pub etag: Option<String>,
    /// When its last good answer was changed, in its own words.
    pub last_modified: Option<String>,
    /// When it is asked next.
    pub next_at: Timestamp,
    /// Failures in a row.
    pub failures: i64,
    /// The last status code.
    pub last_status: Option<i64>,
    /// What was wrong last, or what the operator should know.
    pub last_error: Option<String>,
    /// When it was asked last.
    pub last_asked_at: Option<Timestamp>,
    /// When it last answered well.
    pub last_success_at: Option<Timestamp>,
    /// When it last brought an article that was new.
    pub last_article_at: Option<Timestamp>,
    /// What the last good answer brought.
    pub last: Tally,
    /// When it was first known.
    pub created_at: Timestamp,
}

#[derive(FromRow)]
struct Row {
    name: String,
    url: String,
    etag: Option<String>,
    last_modified: Option<String>,
    next_at: i64,
    failures: i64,
    last_status: Option<i64>,
    last_error: Option<String>,
    last_asked_at: Option<i64>,
    last_success_at: Option<i64>,
    last_article_at: Option<i64>,
    last_new: i64,
    last_updated: i64,
    last_refused: i64,
    created_at: i64,
}

impl From<Row> for State {
    fn from(row: Row) -> Self {
        let count = |n: i64| usize::try_from(n).unwrap_or_default();
        Self {
            name: row.name,
            url: row.url,
            etag: row.etag,
            last_modified: row.last_modified,
            next_at: timestamp(row.next_at),
            failures: row.failures,
            last_status: row.last_status,
            last_error: row.last_error,
            last_asked_at: row.last_asked_at.map(timestamp),
            last_success_at: row.last_success_at.map(timestamp),
            last_article_at: row.last_article_at.map(timestamp),
            last: Tally {
                new: count(row.last_new),
                updated: count(row.last_updated),
                unchanged: 0,
                refused: count(row.last_refused),
            },
            created_at: timestamp(row.created_at),
        }
    }
}

const ALL: &str = "SELECT * FROM feed ORDER BY name";

/// Every feed that was ever asked, by name.
pub async fn list(conn: &mut Conn) -> Result<Vec<State>> {
    let rows: Vec<Row> = on!(conn, |c| sqlx::query_as(ALL).fetch_all(c).await?);
    Ok(rows.into_iter().map(State::from).collect())
}

const ENSURE: &str =
    "INSERT INTO feed (name, url, next_at, failures, last_new, last_updated, last_refused, created_at)
    VALUES ($1, $2, $3, 0, 0, 0, 0, $3) ON CONFLICT (name) DO NOTHING";

// Another URL is another feed under the same name: what the old one said counts for nothing.
const MOVE: &str =
    "UPDATE feed SET url = $2, etag = NULL, last_modified = NULL, failures = 0, last_error = NULL,
        last_status = NULL, next_at = $3
    WHERE name = $1 AND url <> $2";

// Whoever moves `next_at` has the feed; the others find it not due. It comes back by itself when its taker dies.
const CLAIM: &str = "UPDATE feed SET next_at = $3, last_asked_at = $2 WHERE name = $1 AND next_at <= $2";
const ONE: &str = "SELECT * FROM feed WHERE name = $1";

/// Takes a feed to ask it now; `None` where it is not due, or another daemon has it.
pub async fn claim(
    conn: &mut Conn,
    name: &str,
    url: &str,
    now: Timestamp,
    hold: Duration,
) -> Result<Option<State>> {
    let now_ms = now.as_millisecond();
    let until = now_ms.saturating_add(i64::try_from(hold.as_millis()).unwrap_or(i64::MAX));
    for sql in [ENSURE, MOVE] {
        on!(conn, |c| sqlx::query(sql).bind(name).bind(url).bind(now_ms).execute(c).await.map(|_| ())?);
    }
    let taken = on!(conn, |c| {
        sqlx::query(CLAIM).bind(name).bind(now_ms).bind(until).execute(c).await?.rows_affected()
    });
    if taken == 0 {
        return Ok(None);
    }
    let row: Option<Row> = on!(conn, |c| sqlx::query_as(ONE).bind(name).fetch_optional(c).await?);
    Ok(row.map(State::from))
}

const RECORD: &str =
    "UPDATE feed SET etag = $2, last_modified = $3, next_at = $4, failures = $5, last_status = $6,
        last_error = $7, last_asked_at = $8, last_success_at = $9, last_article_at = $10, last_new = $11,
        last_updated = $12, last_refused = $13
    WHERE name = $1";

/// Writes down how a feed is doing.
pub async fn record(conn: &mut Conn, state: &State) -> Result<()> {
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let rows = on!(conn, |c| {
        sqlx::query(RECORD)
            .bind(&state.name)
            .bind(&state.etag)
            .bind(&state.last_modified)
            .bind(state.next_at.as_millisecond())
            .bind(state.failures)
            .bind(state.last_status)
            .bind(&state.last_error)
            .bind(state.last_asked_at.map(Timestamp::as_millisecond))
            .bind(state.last_success_at.map(Timestamp::as_millisecond))
            .bind(state.last_article_at.map(Timestamp::as_millisecond))
            .bind(count(state.last.new))
            .bind(count(state.last.updated))
            .bind(count(state.last.refused))
            .execute(c)
            .await?
            .rows_affected()
    });
    expect_rows("record feed", 1, rows)
}

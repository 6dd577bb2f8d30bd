//! The table `edition_event`: who did what, and when.

use jiff::Timestamp;
use sqlx::FromRow;

use crate::db::{Conn, Result, on};
use crate::editions::{EditionId, Who};

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

const NEWEST: &str = "
SELECT id, detail
FROM edition_event
WHERE edition = $1 AND what = COALESCE($2, what)
ORDER BY id DESC
LIMIT 1";

/// The newest event, of this name where one is given: what tells it from every other, and its detail.
pub async fn find_newest_event(
    conn: &mut Conn,
    id: EditionId,
    what: Option<&str>,
) -> Result<Option<(i64, String)>> {
    Ok(on!(conn, |c| sqlx::query_as(NEWEST).bind(id.0).bind(what).fetch_optional(c).await?))
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

//! The table `unmade`: editions of which no message can be made. Reads `edition`.

use jiff::Timestamp;
use serde::Serialize;
use sqlx::FromRow;

use crate::db::{Conn, Result, on};
use crate::editions::EditionId;

/// An edition that is being sent, and of which no message can be made.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct Unmade {
    /// The edition.
    pub edition: i64,
    /// Its newsletter.
    pub newsletter: String,
    /// Since when, in milliseconds.
    pub since: i64,
    /// Why.
    pub reason: String,
}

const LIST: &str = "
SELECT unmade.edition, edition.newsletter, unmade.since, unmade.reason
FROM unmade
JOIN edition ON edition.id = unmade.edition
WHERE edition.state = 'sending'
ORDER BY unmade.edition";

/// All of them.
pub async fn list_unmade(conn: &mut Conn) -> Result<Vec<Unmade>> {
    Ok(on!(conn, |c| sqlx::query_as(LIST).fetch_all(c).await?))
}

const UNMADE: &str = "
INSERT INTO unmade (edition, since, reason)
VALUES ($1, $2, $3)
ON CONFLICT (edition) DO UPDATE
SET reason = excluded.reason";

/// No message of it can be made; the first moment of it is kept.
pub async fn mark_unmade(conn: &mut Conn, edition: EditionId, since: Timestamp, reason: &str) -> Result<()> {
    on!(conn, |c| sqlx::query(UNMADE)
        .bind(edition.0)
        .bind(since.as_millisecond())
        .bind(reason)
        .execute(c)
        .await
        .map(drop)?);
    Ok(())
}

const MADE: &str = "
DELETE FROM unmade
WHERE edition = $1";

/// One of its messages could be made.
pub async fn mark_made(conn: &mut Conn, edition: EditionId) -> Result<()> {
    on!(conn, |c| sqlx::query(MADE).bind(edition.0).execute(c).await.map(drop)?);
    Ok(())
}

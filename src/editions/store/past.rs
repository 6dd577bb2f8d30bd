//! What ran before: the past editions that a new line-up looks back at.

use jiff::Timestamp;
use jiff::civil::Date;
use sqlx::FromRow;

use crate::clock::timestamp;
use crate::db::{Conn, Result, on};

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

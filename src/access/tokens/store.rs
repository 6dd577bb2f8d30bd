//! The table `token`.

use jiff::Timestamp;

use super::Token;
use crate::db::{Conn, Result, on};

const INSERT: &str = "
INSERT INTO token (name, hash, created_at)
VALUES ($1, $2, $3)
ON CONFLICT (name) DO NOTHING";

pub(super) async fn insert(conn: &mut Conn, name: &str, hash: &str, now: Timestamp) -> Result<bool> {
    let rows = on!(conn, |c| sqlx::query(INSERT)
        .bind(name)
        .bind(hash)
        .bind(now.as_millisecond())
        .execute(c)
        .await?
        .rows_affected());
    Ok(rows == 1)
}

const USED: &str = "
UPDATE token
SET last_used_at = $2
WHERE hash = $1 AND revoked_at IS NULL
RETURNING name";

pub(super) async fn used(conn: &mut Conn, hash: &str, now: Timestamp) -> Result<Option<String>> {
    Ok(on!(conn, |c| sqlx::query_scalar(USED)
        .bind(hash)
        .bind(now.as_millisecond())
        .fetch_optional(c)
        .await?))
}

const LIST: &str = "
SELECT name, created_at, last_used_at, revoked_at
FROM token
ORDER BY id";

/// Every token, the revoked ones too.
pub async fn list(conn: &mut Conn) -> Result<Vec<Token>> {
    Ok(on!(conn, |c| sqlx::query_as(LIST).fetch_all(c).await?))
}

const REVOKE: &str = "
UPDATE token
SET revoked_at = $2
WHERE name = $1 AND revoked_at IS NULL";

/// Ends a token; `false` when there is none of this name that works.
pub async fn revoke(conn: &mut Conn, name: &str, now: Timestamp) -> Result<bool> {
    let rows = on!(conn, |c| sqlx::query(REVOKE)
        .bind(name)
        .bind(now.as_millisecond())
        .execute(c)
        .await?
        .rows_affected());
    Ok(rows == 1)
}

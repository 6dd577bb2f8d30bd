//! The table `sts_policy`: what receiving domains published, kept as long as they said that it holds.

use std::time::Duration;

use sqlx::FromRow;

use super::sts::{Mode, Policy};
use crate::db::{Conn, Result, on};

/// A policy that is kept.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) id: String,
    pub(super) policy: Policy,
    /// When it was had, in milliseconds.
    pub(super) fetched_at: i64,
}

#[derive(FromRow)]
struct Row {
    id: String,
    mode: String,
    mx: String,
    fetched_at: i64,
    expires_at: i64,
}

const FIND: &str = "
SELECT id, mode, mx, fetched_at, expires_at
FROM sts_policy
WHERE domain = $1 AND expires_at > $2";

/// What a domain published, where it still holds.
pub(super) async fn find(conn: &mut Conn, domain: &str, now: i64) -> Result<Option<Kept>> {
    let row: Option<Row> =
        on!(conn, |c| sqlx::query_as(FIND).bind(domain).bind(now).fetch_optional(c).await?);
    Ok(row.and_then(|row| {
        let age = u64::try_from(row.expires_at - row.fetched_at).unwrap_or(0);
        let policy = Policy {
            mode: Mode::read(&row.mode)?,
            mx: row.mx.lines().map(str::to_owned).collect(),
            max_age: Duration::from_millis(age),
        };
        Some(Kept { id: row.id, policy, fetched_at: row.fetched_at })
    }))
}

const KEEP: &str = "
INSERT INTO sts_policy (domain, id, mode, mx, fetched_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (domain) DO UPDATE
SET id = excluded.id, mode = excluded.mode, mx = excluded.mx, fetched_at = excluded.fetched_at,
    expires_at = excluded.expires_at";

/// Keeps what a domain published.
pub(super) async fn keep(conn: &mut Conn, domain: &str, kept: &Kept) -> Result<()> {
    let age = i64::try_from(kept.policy.max_age.as_millis()).unwrap_or(i64::MAX / 2);
    on!(conn, |c| sqlx::query(KEEP)
        .bind(domain)
        .bind(&kept.id)
        .bind(kept.policy.mode.as_str())
        .bind(kept.policy.mx.join("\n"))
        .bind(kept.fetched_at)
        .bind(kept.fetched_at.saturating_add(age))
        .execute(c)
        .await
        .map(drop)?);
    Ok(())
}

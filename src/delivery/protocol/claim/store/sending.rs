//! What is being sent, and what of it is still to be done; nothing is claimed here.
//!
//! Reads `edition`.

use std::sync::LazyLock;

use sqlx::{AssertSqlSafe, FromRow};

use crate::db::{Conn, Result, on};

const FIRST_DEADLINE: &str = "
SELECT MIN(deadline)
FROM delivery
WHERE edition = $1 AND state = 'planned'";

static FIRST_DEADLINE_AGAIN: LazyLock<String> =
    LazyLock::new(|| FIRST_DEADLINE.replace("'planned'", "'deferred'"));
// What is claimed may come back. The plus keeps the planner off the edition's whole index: claims are few.
const FIRST_DEADLINE_CLAIMED: &str = "
SELECT MIN(deadline)
FROM delivery
WHERE +edition = $1 AND state = 'claimed'";

/// The earliest deadline of what is not final of an edition; reads all of that.
pub(in crate::delivery) async fn first_deadline(conn: &mut Conn, edition: i64) -> Result<Option<i64>> {
    let mut first: Option<i64> = None;
    for sql in [FIRST_DEADLINE, FIRST_DEADLINE_AGAIN.as_str(), FIRST_DEADLINE_CLAIMED] {
        let query = AssertSqlSafe(sql);
        let found: Option<i64> = on!(conn, |c| sqlx::query_scalar(query).bind(edition).fetch_one(c).await?);
        first = first.into_iter().chain(found).min();
    }
    Ok(first)
}

#[derive(Clone, Debug, FromRow)]
pub(in crate::delivery) struct Sending {
    pub(in crate::delivery) id: i64,
    pub(in crate::delivery) newsletter: String,
    pub(in crate::delivery) date: String,
    pub(in crate::delivery) revision: i64,
}

const SENDING: &str = "
SELECT id, newsletter, date, revision
FROM edition
WHERE state = 'sending'
ORDER BY lock_at, id";

/// The editions that are being sent.
pub(in crate::delivery) async fn sending(conn: &mut Conn) -> Result<Vec<Sending>> {
    Ok(on!(conn, |c| sqlx::query_as(SENDING).fetch_all(c).await?))
}

const NEXT_PLANNED: &str = "
SELECT MIN(next_at)
FROM delivery
WHERE edition = $1 AND state = 'planned'";

const NEXT_DEFERRED: &str = "
SELECT MIN(next_at)
FROM delivery
WHERE edition = $1 AND state = 'deferred'";

/// When the next planned delivery is due (civil time), and the next retry (real time).
pub(in crate::delivery) async fn next_instants(
    conn: &mut Conn,
    edition: i64,
) -> Result<(Option<i64>, Option<i64>)> {
    let planned: Option<i64> =
        on!(conn, |c| sqlx::query_scalar(NEXT_PLANNED).bind(edition).fetch_one(c).await?);
    let deferred: Option<i64> =
        on!(conn, |c| sqlx::query_scalar(NEXT_DEFERRED).bind(edition).fetch_one(c).await?);
    Ok((planned, deferred))
}

const CLAIMED_BY_ANYONE: &str = "
SELECT COUNT(*)
FROM delivery
-- The plus keeps the planner off the edition's whole index: claims are few.
WHERE +edition = $1 AND state = 'claimed'";

/// How many deliveries of an edition any daemon holds.
pub(in crate::delivery) async fn claimed(conn: &mut Conn, edition: i64) -> Result<i64> {
    Ok(on!(conn, |c| sqlx::query_scalar(CLAIMED_BY_ANYONE).bind(edition).fetch_one(c).await?))
}

#[cfg(test)]
/// Each statement, and what its plan must find its rows by.
pub(super) fn plans() -> Vec<(String, &'static str)> {
    let planned = [FIRST_DEADLINE, NEXT_PLANNED].map(|sql| (sql, "delivery_planned"));
    let deferred = [FIRST_DEADLINE_AGAIN.as_str(), NEXT_DEFERRED].map(|sql| (sql, "delivery_deferred"));
    let claimed = [CLAIMED_BY_ANYONE, FIRST_DEADLINE_CLAIMED].map(|sql| (sql, "delivery_claimed"));
    [planned, deferred, claimed].concat().into_iter().map(|(sql, by)| (sql.to_owned(), by)).collect()
}

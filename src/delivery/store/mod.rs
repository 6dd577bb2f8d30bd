//! The tables `delivery` and `attempt`: counting here; planning, exporting, what people do by hand and what the ledger
//! learned of readers in files of their own, and what changes any number of rows piece by piece. What was pruned is counted
//! as well. And `plan` and `unmade`.
//!
//! Reads `edition`, `subscription`, `subscriber` and `suppression`: planning, claiming and releasing are set-based
//! over them. The statements of the protocol itself stand in `protocol`.

mod by_hand;
mod page;
mod pieces;
mod plan;
mod readers;
mod unmade;

use serde::Serialize;
use sqlx::{AssertSqlSafe, FromRow};

use super::{Counts, DeliveryState, Result};
use crate::db::{Conn, Engine, Error, on};
use crate::editions::EditionId;
use crate::readers::SubscriberId;
pub use by_hand::{Settle, retry, settle, too_late, uncertain, uncertain_piece, withdraw_all};
pub(in crate::delivery) use by_hand::{cancelled_not_over, withdraw};
pub use page::{Page, find_record, page};
pub use pieces::{Piece, Place};
pub(super) use pieces::{Walk, hold, waiting};
pub(super) use plan::{
    Kept, come_nearer, keep, movable, nearest, nowhere, place, plan, plans_unseen, slots, wait_for_planning,
};
pub use readers::{Dead, dead_addresses, domains, forget};
pub use unmade::{Unmade, list_unmade, mark_made, mark_unmade};

/// The statements that stand outside the protocol and run beside it, and what their plan must find their rows by.
#[cfg(test)]
pub(super) fn plans() -> Vec<(&'static str, &'static str)> {
    [by_hand::plans(), page::plans(), pieces::plans(), plan::plans(), readers::plans()].concat()
}

/// The one of two statements that belongs to this connection's engine.
pub(super) fn pick(conn: &Conn, sqlite: &'static str, postgres: &'static str) -> &'static str {
    match conn.engine() {
        Engine::Sqlite => sqlite,
        Engine::Postgres => postgres,
    }
}

/// A list as JSON text, for statements that take one apart.
pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("texts and numbers always serialise")
}

/// A statement about what is `LISTED` in its first parameter, in the words of this connection's engine.
pub(super) fn listed(conn: &Conn, sql: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(sql.replace(
        "= LISTED",
        match conn.engine() {
            Engine::Sqlite => "IN (SELECT value FROM json_each($1))",
            Engine::Postgres => {
                "= ANY (SELECT CAST(value AS BIGINT) FROM jsonb_array_elements_text(CAST($1 AS JSONB)))"
            }
        },
    ))
}

const COUNTS: &str = "
SELECT state, COUNT(*)
FROM delivery
WHERE edition = $1
GROUP BY state
UNION ALL
SELECT state, count
FROM pruned_delivery
WHERE edition = $1";

/// How many deliveries of an edition stand in each state, those that were pruned included.
pub async fn counts(conn: &mut Conn, edition: EditionId) -> Result<Counts> {
    let rows: Vec<(String, i64)> =
        on!(conn, |c| sqlx::query_as(COUNTS).bind(edition.0).fetch_all(c).await).map_err(Error::from)?;
    let mut counts = Counts::default();
    for (state, count) in rows {
        let state: DeliveryState = state.parse().map_err(|()| Error::Row {
            table: "delivery",
            column: "state",
            id: edition.0,
            value: state.clone(),
        })?;
        counts.add(state, count);
    }
    Ok(counts)
}

/// One delivery, in short.
#[derive(Clone, Debug, FromRow)]
pub struct Found {
    /// Its id.
    pub id: i64,
    /// The civil moment of its Date: of the first release, or when it is due.
    pub date_at: i64,
    /// What it carries for good: the revision of the last attempt that did not just put it off.
    pub revision: Option<i64>,
    /// The language of that.
    pub language: Option<String>,
    /// What that said of the reader's consent.
    pub consent: Option<String>,
    /// Where it stands.
    pub state: String,
    /// When it was due, in civil milliseconds.
    pub due_at: i64,
    /// When it is too late, likewise.
    pub deadline: i64,
    /// When it may be tried next: civil while planned, real while deferred.
    pub next_at: i64,
    /// How often it was tried.
    pub tries: i64,
}

const FIND_ONE: &str = "
SELECT delivery.id, COALESCE(attempt.date_at, delivery.due_at) AS date_at,
       carried.revision, carried.language, carried.consent,
       delivery.state, delivery.due_at, delivery.deadline, delivery.next_at, delivery.tries
FROM delivery
LEFT JOIN attempt ON attempt.delivery = delivery.id AND attempt.number = 1
LEFT JOIN attempt AS carried ON carried.delivery = delivery.id AND carried.number = (
    SELECT MAX(told.number)
    FROM attempt AS told
    WHERE told.delivery = delivery.id AND (told.outcome IS NULL OR told.outcome <> 'deferred'))
WHERE delivery.edition = $1 AND delivery.subscriber = $2";

/// The delivery of an edition to a subscriber.
pub async fn find_one(
    conn: &mut Conn,
    edition: EditionId,
    subscriber: SubscriberId,
) -> Result<Option<Found>> {
    Ok(on!(conn, |c| sqlx::query_as(FIND_ONE).bind(edition.0).bind(subscriber.0).fetch_optional(c).await)
        .map_err(Error::from)?)
}

// Three questions, each with an index of its own: together they would read the whole edition.
const UNFINISHED: &str = "
SELECT 1
WHERE EXISTS (SELECT 1 FROM delivery WHERE edition = $1 AND state = 'planned')
   OR EXISTS (SELECT 1 FROM delivery WHERE edition = $1 AND state = 'deferred')
   OR EXISTS (SELECT 1 FROM delivery WHERE +edition = $1 AND state = 'claimed')";

/// Whether every delivery of an edition is final.
pub async fn all_final(conn: &mut Conn, edition: EditionId) -> Result<bool> {
    let found: Option<i32> =
        on!(conn, |c| sqlx::query_scalar(UNFINISHED).bind(edition.0).fetch_optional(c).await)
            .map_err(Error::from)?;
    Ok(found.is_none())
}

/// What an edition's deliveries came to, by relay and by what was said.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct Said {
    /// How many attempts.
    pub attempts: i64,
    /// Through which relay.
    pub relay: String,
    /// What they came to.
    pub outcome: Option<String>,
    /// The basic code.
    pub code: Option<i64>,
    /// The enhanced code.
    pub enhanced: Option<String>,
    /// What it is about.
    pub class: Option<String>,
}

const SAID: &str = "
SELECT CAST(SUM(told.count) AS BIGINT) AS attempts, told.relay, told.outcome, told.code, told.enhanced, told.class
FROM (
    SELECT COUNT(*) AS count, attempt.relay, attempt.outcome, attempt.code, attempt.enhanced, attempt.class
    FROM attempt
    JOIN delivery ON delivery.id = attempt.delivery
    WHERE delivery.edition = $1
    GROUP BY attempt.relay, attempt.outcome, attempt.code, attempt.enhanced, attempt.class
    UNION ALL
    SELECT count, relay, NULLIF(outcome, ''), NULLIF(code, 0), NULLIF(enhanced, ''), NULLIF(class, '')
    FROM pruned_attempt
    WHERE edition = $1
) AS told
GROUP BY told.relay, told.outcome, told.code, told.enhanced, told.class
ORDER BY CAST(SUM(told.count) AS BIGINT) DESC, told.relay, told.code";

/// What relays said about an edition, the most frequent first; of what was pruned too.
pub async fn said(conn: &mut Conn, edition: EditionId) -> Result<Vec<Said>> {
    Ok(on!(conn, |c| sqlx::query_as(SAID).bind(edition.0).fetch_all(c).await).map_err(Error::from)?)
}

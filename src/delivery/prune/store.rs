//! The tables `pruned`, `pruned_delivery` and `pruned_attempt`, and what is taken of `delivery`, `attempt`, `daemon`,
//! `pace` and `warm_up`. Reads `edition`.

use std::sync::LazyLock;

use serde::Serialize;
use sqlx::FromRow;

use crate::db::{Conn, Result, Side, on};
use crate::editions::EditionId;

/// An edition of which something is old.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct Old {
    /// Its id.
    pub id: i64,
    /// Its newsletter.
    pub newsletter: String,
    /// Its date.
    pub date: String,
    /// Whether its deliveries are reduced to counts; otherwise its attempts lose their words.
    pub reduce: bool,
}

// Old enough, and not over: it is left alone, and told.
const UNFINISHED: &str = "
SELECT edition.id, edition.newsletter, edition.date, edition.date < $2 AS reduce
FROM edition
LEFT JOIN pruned ON pruned.edition = edition.id
WHERE (edition.date < $2 OR (edition.date < $1 AND pruned.words_at IS NULL))
  AND EXISTS (SELECT 1 FROM delivery WHERE delivery.edition = edition.id)
  AND (edition.state NOT IN ('sent', 'cancelled', 'missed', 'skipped')
       OR EXISTS (SELECT 1 FROM delivery WHERE delivery.edition = edition.id AND delivery.state = 'planned')
       OR EXISTS (SELECT 1 FROM delivery WHERE delivery.edition = edition.id AND delivery.state = 'deferred')
       OR EXISTS (SELECT 1 FROM delivery WHERE +delivery.edition = edition.id AND delivery.state = 'claimed'))
ORDER BY edition.date, edition.id";

/// The editions older than these dates whose life or deliveries are not over.
pub(super) async fn list_unfinished(conn: &mut Conn, words: &str, deliveries: &str) -> Result<Vec<Old>> {
    Ok(on!(conn, |c| sqlx::query_as(UNFINISHED).bind(words).bind(deliveries).fetch_all(c).await?))
}

const STILL_OVER: &str = "
SELECT 1
FROM edition
WHERE id = $1 AND state IN ('sent', 'cancelled', 'missed', 'skipped')
  AND NOT EXISTS (SELECT 1 FROM delivery WHERE delivery.edition = edition.id AND delivery.state = 'planned')
  AND NOT EXISTS (SELECT 1 FROM delivery WHERE delivery.edition = edition.id AND delivery.state = 'deferred')
  AND NOT EXISTS (SELECT 1 FROM delivery WHERE +delivery.edition = edition.id AND delivery.state = 'claimed')";

/// Whether an edition is still over: since somebody was asked, doubt may have been settled by sending it again.
pub(super) async fn is_over(conn: &mut Conn, edition: EditionId) -> Result<bool> {
    let found: Option<i32> =
        on!(conn, |c| sqlx::query_scalar(STILL_OVER).bind(edition.0).fetch_optional(c).await?);
    Ok(found.is_some())
}

// Dates stand as YYYY-MM-DD and are compared as text. What a cancelled edition's owner has not given back, and what is
// in doubt and sent again by hand, is not final: the edition waits for the next pruning.
const OLD: &str = "
SELECT edition.id, edition.newsletter, edition.date, edition.date < $2 AS reduce
FROM edition
LEFT JOIN pruned ON pruned.edition = edition.id
WHERE edition.state IN ('sent', 'cancelled', 'missed', 'skipped')
  AND (edition.date < $2 OR (edition.date < $1 AND pruned.words_at IS NULL))
  AND EXISTS (SELECT 1 FROM delivery WHERE delivery.edition = edition.id)
  AND NOT EXISTS (SELECT 1 FROM delivery WHERE delivery.edition = edition.id AND delivery.state = 'planned')
  AND NOT EXISTS (SELECT 1 FROM delivery WHERE delivery.edition = edition.id AND delivery.state = 'deferred')
  AND NOT EXISTS (SELECT 1 FROM delivery WHERE +delivery.edition = edition.id AND delivery.state = 'claimed')
ORDER BY edition.date, edition.id";

/// The editions older than these dates: for the words, and for the deliveries.
pub(super) async fn list_old(conn: &mut Conn, words: &str, deliveries: &str) -> Result<Vec<Old>> {
    Ok(on!(conn, |c| sqlx::query_as(OLD).bind(words).bind(deliveries).fetch_all(c).await?))
}

// The sums keep PostgreSQL off the primary key, which it walks for a bare MIN and MAX, through all editions before and
// behind this one.
const BOUNDS: &str = "
SELECT MIN(id + 0), MAX(id + 0)
FROM delivery
WHERE edition = $1";

/// The first and the last of an edition's deliveries; planned together, they stand together.
pub(super) async fn bounds(conn: &mut Conn, edition: EditionId) -> Result<Option<(i64, i64)>> {
    let (first, last): (Option<i64>, Option<i64>) =
        on!(conn, |c| sqlx::query_as(BOUNDS).bind(edition.0).fetch_one(c).await?);
    Ok(first.zip(last))
}

const MARK_DELIVERIES: &str = "
INSERT INTO pruned (edition, deliveries_at)
VALUES ($1, $2)
ON CONFLICT (edition) DO UPDATE
SET deliveries_at = COALESCE(pruned.deliveries_at, excluded.deliveries_at)";

// The plus keeps planners off the edition's whole index: a step is a short piece of the primary key.
const COUNT_DELIVERIES: &str = "
INSERT INTO pruned_delivery (edition, state, count)
SELECT edition, state, COUNT(*)
FROM delivery
WHERE +edition = $1 AND id BETWEEN $2 AND $3
GROUP BY edition, state
ON CONFLICT (edition, state) DO UPDATE
SET count = pruned_delivery.count + excluded.count";

const COUNT_ATTEMPTS: &str = "
INSERT INTO pruned_attempt (edition, relay, outcome, code, enhanced, class, count)
SELECT delivery.edition, attempt.relay, COALESCE(attempt.outcome, ''), COALESCE(attempt.code, 0),
       COALESCE(attempt.enhanced, ''), COALESCE(attempt.class, ''), COUNT(*)
FROM delivery
JOIN attempt ON attempt.delivery = delivery.id
WHERE +delivery.edition = $1 AND delivery.id BETWEEN $2 AND $3 AND attempt.delivery BETWEEN $2 AND $3
GROUP BY delivery.edition, attempt.relay, COALESCE(attempt.outcome, ''), COALESCE(attempt.code, 0),
         COALESCE(attempt.enhanced, ''), COALESCE(attempt.class, '')
ON CONFLICT (edition, relay, outcome, code, enhanced, class) DO UPDATE
SET count = pruned_attempt.count + excluded.count";

const TAKE_ATTEMPTS: &str = "
DELETE FROM attempt
WHERE delivery BETWEEN $2 AND $3
  AND EXISTS (SELECT 1 FROM delivery WHERE delivery.id = attempt.delivery AND +delivery.edition = $1)";

const TAKE_DELIVERIES: &str = "
DELETE FROM delivery
WHERE +edition = $1 AND id BETWEEN $2 AND $3";

/// Counts an edition's deliveries from here to there and takes them; returns how many, and how many attempts.
pub(super) async fn reduce(
    conn: &mut Conn,
    edition: EditionId,
    (first, last): (i64, i64),
    now: i64,
) -> Result<(u64, u64)> {
    on!(conn, |c| sqlx::query(MARK_DELIVERIES).bind(edition.0).bind(now).execute(c).await.map(drop)?);
    for sql in [COUNT_DELIVERIES, COUNT_ATTEMPTS] {
        on!(conn, |c| sqlx::query(sql).bind(edition.0).bind(first).bind(last).execute(c).await.map(drop)?);
    }
    let mut taken = [0, 0];
    for (sql, taken) in [TAKE_ATTEMPTS, TAKE_DELIVERIES].into_iter().zip(&mut taken) {
        *taken = on!(conn, |c| sqlx::query(sql)
            .bind(edition.0)
            .bind(first)
            .bind(last)
            .execute(c)
            .await?
            .rows_affected());
    }
    let [attempts, deliveries] = taken;
    Ok((deliveries, attempts))
}

const SILENCE: &str = "
UPDATE attempt
SET text = NULL, address = ''
WHERE delivery BETWEEN $2 AND $3
  AND (text IS NOT NULL OR address <> '')
  AND EXISTS (SELECT 1 FROM delivery WHERE delivery.id = attempt.delivery AND +delivery.edition = $1)";

/// Takes the relays' words and the addresses of an edition's attempts from here to there; returns of how many.
pub(super) async fn silence(conn: &mut Conn, edition: EditionId, (first, last): (i64, i64)) -> Result<u64> {
    Ok(on!(conn, |c| sqlx::query(SILENCE)
        .bind(edition.0)
        .bind(first)
        .bind(last)
        .execute(c)
        .await?
        .rows_affected()))
}

const MARK_WORDS: &str = "
INSERT INTO pruned (edition, words_at)
VALUES ($1, $2)
ON CONFLICT (edition) DO UPDATE
SET words_at = excluded.words_at";

/// Keeps that an edition's attempts have no words any more.
pub(super) async fn mark_silent(conn: &mut Conn, edition: EditionId, now: i64) -> Result<()> {
    on!(conn, |c| sqlx::query(MARK_WORDS).bind(edition.0).bind(now).execute(c).await.map(drop)?);
    Ok(())
}

const FORGET_DAEMONS: &str = "
DELETE FROM daemon
WHERE gone = 1 AND started_at < $1";

// What is told before it is taken is found by the same words.
static DAEMONS: LazyLock<String> = LazyLock::new(|| counted(FORGET_DAEMONS));

fn counted(forget: &str) -> String {
    forget.replacen("DELETE", "SELECT COUNT(*)", 1)
}

/// How many daemons would be taken.
pub(super) async fn count_daemons(conn: &mut Conn, before: i64) -> Result<i64> {
    let sql = DAEMONS.as_str();
    Ok(on!(conn, |c| sqlx::query_scalar(sql).bind(before).fetch_one(c).await?))
}

/// Takes daemons that are gone and began before this moment.
pub(super) async fn forget_daemons(conn: &mut Conn, before: i64) -> Result<u64> {
    Ok(on!(conn, |c| sqlx::query(FORGET_DAEMONS).bind(before).execute(c).await?.rows_affected()))
}

// The last day on which something was sent is what the next day's cap is made from.
const FORGET_DAYS: &str = "
DELETE FROM warm_up
WHERE day < $1
  AND EXISTS (SELECT 1 FROM warm_up AS later
              WHERE later.relay = warm_up.relay AND later.provider = warm_up.provider AND later.day > warm_up.day
                AND later.taken > 0)";

// A provider that nothing was taken for, that said nothing and asked for nothing since then.
const FORGET_PACES: &str = "
DELETE FROM pace
WHERE provider <> '' AND free_at > 0 AND free_at < $1 * 1000 AND signalled_at < $1
  AND COALESCE(replied_at, 0) < $1 AND COALESCE(down_since, 0) < $1";

static DAYS: LazyLock<String> = LazyLock::new(|| counted(FORGET_DAYS));
static PACES: LazyLock<String> = LazyLock::new(|| counted(FORGET_PACES));

/// How many days of warm-ups, and providers, would be taken.
pub(super) async fn count_paces(conn: &mut Conn, day: &str, before: i64) -> Result<i64> {
    let (of_days, of_paces) = (DAYS.as_str(), PACES.as_str());
    let days: i64 = on!(conn, |c| sqlx::query_scalar(of_days).bind(day).fetch_one(c).await?);
    let paces: i64 = on!(conn, |c| sqlx::query_scalar(of_paces).bind(before).fetch_one(c).await?);
    Ok(days + paces)
}

/// Takes the days of warm-ups before this date, and providers that nothing was heard of since this moment.
pub(super) async fn forget_paces(conn: &mut Conn, day: &str, before: i64) -> Result<u64> {
    let days = on!(conn, |c| sqlx::query(FORGET_DAYS).bind(day).execute(c).await?.rows_affected());
    let paces = on!(conn, |c| sqlx::query(FORGET_PACES).bind(before).execute(c).await?.rows_affected());
    Ok(days + paces)
}

/// Gives some of the file's empty pages back; `true` while there are more. Nothing on PostgreSQL.
pub(super) async fn give_pages_back(conn: &mut Conn) -> Result<bool> {
    match conn.side() {
        Side::Sqlite(c) => {
            sqlx::query("PRAGMA incremental_vacuum(500)").execute(&mut *c).await?;
            let left: i64 = sqlx::query_scalar("PRAGMA freelist_count").fetch_one(c).await?;
            Ok(left > 0)
        }
        Side::Postgres(_) => Ok(false),
    }
}

const PRUNED: &str = "
SELECT deliveries_at
FROM pruned
WHERE edition = $1 AND deliveries_at IS NOT NULL";

/// When an edition's deliveries began to be reduced to counts.
pub async fn pruned_at(conn: &mut Conn, edition: EditionId) -> Result<Option<i64>> {
    Ok(on!(conn, |c| sqlx::query_scalar(PRUNED).bind(edition.0).fetch_optional(c).await?))
}

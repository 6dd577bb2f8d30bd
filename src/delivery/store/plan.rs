//! Planning: one row for every active, unsuppressed subscription; by what an edition was planned (the table `plan`), and
//! what is moved by it.

use std::sync::LazyLock;

use sqlx::{AssertSqlSafe, FromRow};

use super::{json, listed, pick};
use crate::db::{Conn, Engine, Result, on};
use crate::editions::EditionId;
use crate::readers::SubscriberId;

/// When one is due of whose reader zone and hour were not known when the slots were: never, and before all others.
const NOWHERE: i64 = i64::MIN;

const SLOTS: &str = "
SELECT DISTINCT subscriber.timezone, COALESCE(subscription.send_at, subscriber.send_at)
FROM subscription
JOIN subscriber ON subscriber.id = subscription.subscriber
WHERE subscription.newsletter = $1 AND subscription.status = 'active'";

/// The zones and hours that occur among a newsletter's readers.
pub(in crate::delivery) async fn slots(
    conn: &mut Conn,
    newsletter: &str,
) -> Result<Vec<(Option<String>, Option<String>)>> {
    Ok(on!(conn, |c| sqlx::query_as(SLOTS).bind(newsletter).fetch_all(c).await?))
}

// The engines take a list apart in their own ways; all else is the same text. Each statement of PostgreSQL's sees what was
// committed by then: somebody in no slot has changed zone or hour since those were read, and is not left out for it.
const PLAN_SQLITE: &str = "
WITH slot AS MATERIALIZED (
    SELECT json_extract(value, '$[0]') AS zone, json_extract(value, '$[1]') AS hour,
           json_extract(value, '$[2]') AS due_at, json_extract(value, '$[3]') AS deadline
    FROM json_each($3)
)
INSERT INTO delivery (edition, subscriber, subscription, state, due_at, deadline, next_at)
SELECT $1, subscription.subscriber, subscription.id, 'planned', COALESCE(slot.due_at, $4),
       COALESCE(slot.deadline, $4), COALESCE(slot.due_at, $4)
FROM subscription
JOIN subscriber ON subscriber.id = subscription.subscriber
LEFT JOIN slot ON slot.zone = COALESCE(subscriber.timezone, '')
              AND slot.hour = COALESCE(subscription.send_at, subscriber.send_at, '')
WHERE subscription.newsletter = $2 AND subscription.status = 'active'
  AND NOT EXISTS (SELECT 1 FROM suppression WHERE suppression.key_hash = subscriber.key_hash)
ON CONFLICT (edition, subscriber) DO NOTHING";

const PLAN_POSTGRES: &str = "
WITH slot AS MATERIALIZED (
    SELECT value->>0 AS zone, value->>1 AS hour,
           CAST(value->>2 AS BIGINT) AS due_at, CAST(value->>3 AS BIGINT) AS deadline
    FROM jsonb_array_elements(CAST($3 AS JSONB))
)
INSERT INTO delivery (edition, subscriber, subscription, state, due_at, deadline, next_at)
SELECT $1, subscription.subscriber, subscription.id, 'planned', COALESCE(slot.due_at, $4),
       COALESCE(slot.deadline, $4), COALESCE(slot.due_at, $4)
FROM subscription
JOIN subscriber ON subscriber.id = subscription.subscriber
LEFT JOIN slot ON slot.zone = COALESCE(subscriber.timezone, '')
              AND slot.hour = COALESCE(subscription.send_at, subscriber.send_at, '')
WHERE subscription.newsletter = $2 AND subscription.status = 'active'
  AND NOT EXISTS (SELECT 1 FROM suppression WHERE suppression.key_hash = subscriber.key_hash)
ON CONFLICT (edition, subscriber) DO NOTHING";

/// A zone, an hour, and what they mean on an edition's morning.
pub(in crate::delivery) type Slot = (Option<String>, Option<String>, i64, i64);

/// Plans the deliveries of an edition; returns how many. Those in no slot are found by [`nowhere`].
pub(in crate::delivery) async fn plan(
    conn: &mut Conn,
    edition: EditionId,
    newsletter: &str,
    slots: &[Slot],
) -> Result<i64> {
    let slots: Vec<_> = slots
        .iter()
        .map(|(zone, hour, due, deadline)| {
            (zone.as_deref().unwrap_or_default(), hour.as_deref().unwrap_or_default(), due, deadline)
        })
        .collect();
    let slots = json(&slots);
    let sql = pick(conn, PLAN_SQLITE, PLAN_POSTGRES);
    let rows = on!(conn, |c| sqlx::query(sql)
        .bind(edition.0)
        .bind(newsletter)
        .bind(&slots)
        .bind(NOWHERE)
        .execute(c)
        .await?
        .rows_affected());
    Ok(i64::try_from(rows).unwrap_or(i64::MAX))
}

// The index of what is planned is in the order of this instant.
const NOWHERE_YET: &str = "
SELECT delivery.id, subscriber.timezone, COALESCE(subscription.send_at, subscriber.send_at)
FROM delivery
LEFT JOIN subscriber ON subscriber.id = delivery.subscriber
LEFT JOIN subscription ON subscription.id = delivery.subscription
WHERE delivery.edition = $1 AND delivery.state = 'planned' AND delivery.next_at = $2";

/// What is planned for readers who were in no slot, with their zone and hour.
pub(in crate::delivery) async fn nowhere(
    conn: &mut Conn,
    edition: EditionId,
) -> Result<Vec<(i64, Option<String>, Option<String>)>> {
    Ok(on!(conn, |c| sqlx::query_as(NOWHERE_YET).bind(edition.0).bind(NOWHERE).fetch_all(c).await?))
}

// What was put off since it was planned stays so, unless it is due later still. COALESCE keeps SQLite's planner off the
// index of what is planned: it would read all of it.
const PLACE: &str = "
UPDATE delivery
SET due_at = placed.due_at, deadline = placed.deadline,
    next_at = CASE WHEN delivery.next_at > delivery.due_at AND delivery.next_at > placed.due_at
                   THEN delivery.next_at ELSE placed.due_at END
FROM placed
WHERE delivery.id = placed.id AND COALESCE(delivery.state, '') = 'planned'";

static PLACE_SQLITE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "WITH placed AS MATERIALIZED (
    SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS due_at,
           json_extract(value, '$[2]') AS deadline
    FROM json_each($1)
){PLACE}"
    )
});

static PLACE_POSTGRES: LazyLock<String> = LazyLock::new(|| {
    format!(
        "WITH placed AS MATERIALIZED (
    SELECT CAST(value->>0 AS BIGINT) AS id, CAST(value->>1 AS BIGINT) AS due_at,
           CAST(value->>2 AS BIGINT) AS deadline
    FROM jsonb_array_elements(CAST($1 AS JSONB))
){PLACE}"
    )
});

/// Gives deliveries that nobody has claimed yet their two instants.
pub(in crate::delivery) async fn place(conn: &mut Conn, placed: &[(i64, i64, i64)]) -> Result<u64> {
    if placed.is_empty() {
        return Ok(0);
    }
    let sql = AssertSqlSafe(pick(conn, &PLACE_SQLITE, &PLACE_POSTGRES));
    let list = json(placed);
    Ok(on!(conn, |c| sqlx::query(sql).bind(&list).execute(c).await?.rows_affected()))
}

/// By what an edition was planned.
#[derive(Clone, Debug, FromRow)]
pub(in crate::delivery) struct Kept {
    pub(in crate::delivery) date: String,
    pub(in crate::delivery) lock_at: i64,
    pub(in crate::delivery) deadline: String,
    pub(in crate::delivery) window_ms: i64,
    pub(in crate::delivery) hour: String,
    pub(in crate::delivery) zone: String,
}

const KEEP: &str = "
INSERT INTO plan (edition, date, lock_at, deadline, window_ms, hour, zone, nearest)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
-- Planned once more: some may be late sooner.
ON CONFLICT (edition) DO UPDATE
SET nearest = CASE WHEN excluded.nearest < plan.nearest THEN excluded.nearest ELSE plan.nearest END,
    changes = plan.changes + 1";

/// Keeps by what an edition was planned, and the first of its deadlines.
pub(in crate::delivery) async fn keep(
    conn: &mut Conn,
    edition: EditionId,
    kept: &Kept,
    nearest: i64,
) -> Result<()> {
    on!(conn, |c| sqlx::query(KEEP)
        .bind(edition.0)
        .bind(&kept.date)
        .bind(kept.lock_at)
        .bind(&kept.deadline)
        .bind(kept.window_ms)
        .bind(&kept.hour)
        .bind(&kept.zone)
        .bind(nearest)
        .execute(c)
        .await
        .map(drop)?);
    Ok(())
}

const NEAREST: &str = "
SELECT changes, nearest
FROM plan
WHERE edition = $1";

/// How often a deadline of an edition may have come nearer, and what none is before; `None` where nobody keeps it.
pub(in crate::delivery) async fn nearest(conn: &mut Conn, edition: i64) -> Result<Option<(i64, i64)>> {
    Ok(on!(conn, |c| sqlx::query_as(NEAREST).bind(edition).fetch_optional(c).await?))
}

const COME_NEARER: &str = "
UPDATE plan
SET changes = changes + 1, nearest = CASE WHEN nearest > $2 THEN $2 ELSE nearest END
WHERE edition = $1";

/// A deadline of this edition may be as early as this one now.
pub(in crate::delivery) async fn come_nearer(conn: &mut Conn, edition: i64, deadline: i64) -> Result<()> {
    on!(conn, |c| sqlx::query(COME_NEARER).bind(edition).bind(deadline).execute(c).await.map(drop)?);
    Ok(())
}

// What may be planned now of what these readers read. Also what was missed or skipped, for somebody may send it all the
// same; of a newsletter's the newest fourteen, so that years of such days are not years of locks.
const UNPLANNED: &str = "
WITH reads AS MATERIALIZED (
    SELECT DISTINCT newsletter
    FROM subscription
    WHERE subscriber = LISTED
), passed AS MATERIALIZED (
    SELECT newest.id
    FROM reads
    CROSS JOIN LATERAL (
        SELECT edition.id
        FROM edition
        WHERE edition.newsletter = reads.newsletter AND edition.state IN ('missed', 'skipped')
        ORDER BY edition.date DESC
        LIMIT 14
    ) AS newest
)
SELECT id
FROM edition
WHERE (state = 'open' AND newsletter IN (SELECT newsletter FROM reads))
   OR (state IN ('missed', 'skipped') AND id IN (SELECT id FROM passed))
ORDER BY id
FOR SHARE";

// An edition that is opened by the transaction that plans it has no row yet that anybody else could wait for. The key is
// any number that nobody else takes in this database.
const PLANS_UNSEEN: &str = "SELECT pg_advisory_xact_lock(7878451)";
const SEES_ALL: &str = "SELECT pg_advisory_xact_lock_shared(7878451)";

/// Before the transaction opens an edition and plans it: waits for whoever is about to change an hour or a zone, and lets
/// nobody begin before it ends. On SQLite nobody else writes.
pub(in crate::delivery) async fn plans_unseen(conn: &mut Conn) -> Result<()> {
    if conn.engine() == Engine::Postgres {
        on!(conn, |c| sqlx::query(PLANS_UNSEEN).execute(c).await.map(drop)?);
    }
    Ok(())
}

/// Waits until nobody plans for these readers, and lets nobody begin before the transaction ends: whoever plans does not
/// see what is changed here, and what he plans is not seen here. On SQLite nobody else writes.
pub(in crate::delivery) async fn wait_for_planning(conn: &mut Conn, readers: &[SubscriberId]) -> Result<()> {
    if conn.engine() == Engine::Postgres {
        on!(conn, |c| sqlx::query(SEES_ALL).execute(c).await.map(drop)?);
        let (sql, list) = (listed(conn, UNPLANNED), json(readers));
        on!(conn, |c| sqlx::query(sql).bind(&list).execute(c).await.map(drop)?);
    }
    Ok(())
}

/// What is planned for a reader, and what it was planned by.
#[derive(Clone, Debug, FromRow)]
pub(in crate::delivery) struct Movable {
    pub(in crate::delivery) id: i64,
    pub(in crate::delivery) edition: i64,
    pub(in crate::delivery) due_at: i64,
    pub(in crate::delivery) late_at: i64,
    pub(in crate::delivery) reader_zone: Option<String>,
    pub(in crate::delivery) reader_hour: Option<String>,
    #[sqlx(flatten)]
    pub(in crate::delivery) kept: Kept,
}

// CROSS JOIN is SQLite's word for "in this order": an edition, and in it each reader by their own key. Of an open edition
// nothing is planned; it stands here for the words of the index.
const MOVABLE: &str = "
SELECT delivery.id, delivery.edition, delivery.due_at, delivery.deadline AS late_at, subscriber.timezone AS reader_zone,
       COALESCE(subscription.send_at, subscriber.send_at) AS reader_hour,
       plan.date, plan.lock_at, plan.deadline, plan.window_ms, plan.hour, plan.zone
FROM edition
CROSS JOIN plan
CROSS JOIN subscriber
CROSS JOIN delivery
LEFT JOIN subscription ON subscription.id = delivery.subscription
WHERE edition.state IN ('open', 'locked', 'sending', 'held') AND plan.edition = edition.id
  AND subscriber.id = LISTED
  AND delivery.edition = edition.id AND delivery.subscriber = subscriber.id
  AND COALESCE(delivery.state, '') = 'planned'";

/// What is planned for these readers, of editions that are not over, and nobody has claimed.
pub(in crate::delivery) async fn movable(conn: &mut Conn, readers: &[SubscriberId]) -> Result<Vec<Movable>> {
    let (sql, list) = (listed(conn, MOVABLE), json(readers));
    Ok(on!(conn, |c| sqlx::query_as(sql).bind(&list).fetch_all(c).await?))
}

/// The statements that look for single readers, and what their plan must find their rows by.
#[cfg(test)]
pub(in crate::delivery) fn plans() -> Vec<(&'static str, &'static str)> {
    let by_reader = "delivery USING INDEX sqlite_autoindex_delivery_1 (edition=? AND subscriber=?)";
    vec![(MOVABLE, by_reader), (NOWHERE_YET, "delivery_planned (edition=? AND next_at=?)")]
}

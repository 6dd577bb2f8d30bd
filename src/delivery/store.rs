//! The tables `delivery` and `attempt`: planning, counting, exporting, and what people do by hand. What was pruned is
//! counted as well.
//!
//! Reads `edition`, `subscription`, `subscriber` and `suppression`: planning, claiming and releasing are set-based
//! over them. The statements of the protocol itself stand in `protocol`.

use std::collections::BTreeMap;

use serde::Serialize;
use sqlx::FromRow;

use super::ledger::{Attempt, Record};
use super::{Counts, DeliveryId, DeliveryState, Result};
use crate::clock::timestamp;
use crate::db::{Conn, Engine, Error, on};
use crate::editions::EditionId;
use crate::readers::SubscriberId;
use crate::readers::links::Links;

const SLOTS: &str = "
SELECT DISTINCT subscriber.timezone, COALESCE(subscription.send_at, subscriber.send_at)
FROM subscription
JOIN subscriber ON subscriber.id = subscription.subscriber
WHERE subscription.newsletter = $1 AND subscription.status = 'active'";

/// The zones and hours that occur among a newsletter's readers.
pub(super) async fn slots(
    conn: &mut Conn,
    newsletter: &str,
) -> Result<Vec<(Option<String>, Option<String>)>> {
    Ok(on!(conn, |c| sqlx::query_as(SLOTS).bind(newsletter).fetch_all(c).await).map_err(Error::from)?)
}

// The engines take a list apart in their own ways; all else is the same text.
const PLAN_SQLITE: &str = "
WITH slot AS MATERIALIZED (
    SELECT json_extract(value, '$[0]') AS zone, json_extract(value, '$[1]') AS hour,
           json_extract(value, '$[2]') AS due_at, json_extract(value, '$[3]') AS deadline
    FROM json_each($3)
)
INSERT INTO delivery (edition, subscriber, subscription, state, due_at, deadline, next_at)
SELECT $1, subscription.subscriber, subscription.id, 'planned', slot.due_at, slot.deadline, slot.due_at
FROM subscription
JOIN subscriber ON subscriber.id = subscription.subscriber
JOIN slot ON slot.zone = COALESCE(subscriber.timezone, '')
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
SELECT $1, subscription.subscriber, subscription.id, 'planned', slot.due_at, slot.deadline, slot.due_at
FROM subscription
JOIN subscriber ON subscriber.id = subscription.subscriber
JOIN slot ON slot.zone = COALESCE(subscriber.timezone, '')
         AND slot.hour = COALESCE(subscription.send_at, subscriber.send_at, '')
WHERE subscription.newsletter = $2 AND subscription.status = 'active'
  AND NOT EXISTS (SELECT 1 FROM suppression WHERE suppression.key_hash = subscriber.key_hash)
ON CONFLICT (edition, subscriber) DO NOTHING";

/// Plans the deliveries of an edition; each slot is a zone, an hour, and what they mean on its morning.
pub(super) async fn plan(
    conn: &mut Conn,
    edition: EditionId,
    newsletter: &str,
    slots: &[(Option<String>, Option<String>, i64, i64)],
) -> Result<i64> {
    let slots: Vec<_> = slots
        .iter()
        .map(|(zone, hour, due, deadline)| {
            (zone.as_deref().unwrap_or_default(), hour.as_deref().unwrap_or_default(), due, deadline)
        })
        .collect();
    let slots = serde_json::to_string(&slots).expect("texts and numbers always serialise");
    let sql = pick(conn, PLAN_SQLITE, PLAN_POSTGRES);
    let rows = on!(conn, |c| sqlx::query(sql)
        .bind(edition.0)
        .bind(newsletter)
        .bind(&slots)
        .execute(c)
        .await
        .map(|done| done.rows_affected()))
    .map_err(Error::from)?;
    Ok(i64::try_from(rows).unwrap_or(i64::MAX))
}

/// The one of two statements that belongs to this connection's engine.
pub(super) fn pick(conn: &Conn, sqlite: &'static str, postgres: &'static str) -> &'static str {
    match conn.engine() {
        Engine::Sqlite => sqlite,
        Engine::Postgres => postgres,
    }
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
    /// What its mail said of the reader's consent, once it was released.
    pub consent: Option<String>,
}

const FIND_ONE: &str = "
SELECT delivery.id, COALESCE(attempt.date_at, delivery.due_at) AS date_at, attempt.consent
FROM delivery
LEFT JOIN attempt ON attempt.delivery = delivery.id AND attempt.number = 1
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

#[derive(FromRow)]
struct DeliveryRow {
    id: i64,
    subscriber: i64,
    email: Option<String>,
    state: String,
    due_at: i64,
    deadline: i64,
    accepted_at: Option<i64>,
    bounced_at: Option<i64>,
    complained_at: Option<i64>,
}

#[derive(FromRow)]
struct AttemptRow {
    delivery: i64,
    at: i64,
    relay: String,
    address: String,
    revision: i64,
    outcome: Option<String>,
    code: Option<i64>,
    enhanced: Option<String>,
    text: Option<String>,
}

const PAGE: &str = "
SELECT delivery.id, delivery.subscriber, subscriber.address AS email, delivery.state, delivery.due_at,
       delivery.deadline, delivery.accepted_at, delivery.bounced_at, delivery.complained_at
FROM delivery
LEFT JOIN subscriber ON subscriber.id = delivery.subscriber
WHERE delivery.edition = $1 AND delivery.id > $2 AND ($3 = 0 OR delivery.subscriber = $3)
ORDER BY delivery.id
LIMIT $4";

const PAGE_ATTEMPTS: &str = "
SELECT delivery, at, relay, address, revision, outcome, code, enhanced, text
FROM attempt
WHERE delivery > $2 AND delivery <= $3
  AND EXISTS (SELECT 1 FROM delivery WHERE delivery.id = attempt.delivery AND delivery.edition = $1)
ORDER BY delivery, number";

/// A page of an edition's deliveries after this id, with every attempt, and the last id on it.
///
/// `subscriber` narrows it to one; `domain` is the one of the Message-IDs.
pub async fn page(
    conn: &mut Conn,
    edition: EditionId,
    after: i64,
    subscriber: Option<SubscriberId>,
    size: i64,
    links: &Links,
    domain: &str,
) -> Result<Option<(Vec<Record>, i64)>> {
    let subscriber = subscriber.map_or(0, |id| id.0);
    let rows: Vec<DeliveryRow> = on!(conn, |c| sqlx::query_as(PAGE)
        .bind(edition.0)
        .bind(after)
        .bind(subscriber)
        .bind(size)
        .fetch_all(c)
        .await)
    .map_err(Error::from)?;
    let (Some(first), Some(last)) = (rows.first().map(|row| row.id), rows.last().map(|row| row.id)) else {
        return Ok(None);
    };
    let attempts: Vec<AttemptRow> = on!(conn, |c| sqlx::query_as(PAGE_ATTEMPTS)
        .bind(edition.0)
        .bind(first - 1)
        .bind(last)
        .fetch_all(c)
        .await)
    .map_err(Error::from)?;
    let mut by_delivery: BTreeMap<i64, Vec<Attempt>> = BTreeMap::new();
    for row in attempts {
        by_delivery.entry(row.delivery).or_default().push(Attempt {
            at: timestamp(row.at).to_string(),
            relay: row.relay,
            address: row.address,
            revision: row.revision,
            outcome: row.outcome,
            code: row.code,
            enhanced: row.enhanced,
            text: row.text,
        });
    }
    let instant = |at: Option<i64>| at.map(|at| timestamp(at).to_string());
    let records = rows
        .into_iter()
        .map(|row| {
            let attempts = by_delivery.remove(&row.id).unwrap_or_default();
            Record {
                email: row.email,
                subscriber: row.subscriber,
                state: row.state,
                due_at: timestamp(row.due_at).to_string(),
                deadline: timestamp(row.deadline).to_string(),
                revision: attempts.last().map(|attempt| attempt.revision),
                message_id: super::message::message_id(links, DeliveryId(row.id), domain),
                accepted_at: instant(row.accepted_at),
                bounced_at: instant(row.bounced_at),
                complained_at: instant(row.complained_at),
                attempts,
            }
        })
        .collect();
    Ok(Some((records, last)))
}

/// An address that the ledger learned is dead.
#[derive(Clone, Debug, FromRow)]
pub struct Dead {
    /// Its owner.
    pub subscriber: i64,
    /// What the relay said.
    pub reason: String,
}

const DEAD: &str = "
SELECT delivery.subscriber, COALESCE(attempt.text, '') AS reason
FROM attempt
JOIN delivery ON delivery.id = attempt.delivery
JOIN subscriber ON subscriber.id = delivery.subscriber
WHERE attempt.class = 'dead' AND attempt.address = subscriber.address
  AND NOT EXISTS (SELECT 1 FROM suppression WHERE suppression.key_hash = subscriber.key_hash)
ORDER BY attempt.delivery
LIMIT $1";

// A domain that takes no mail on three days (by their dates in UTC), with nothing accepted there since.
const GONE_DOMAINS: &str = "
SELECT delivery.subscriber, COALESCE(MAX(attempt.text), '') AS reason
FROM attempt
JOIN delivery ON delivery.id = attempt.delivery
JOIN subscriber ON subscriber.id = delivery.subscriber
WHERE attempt.class = 'domain' AND attempt.address = subscriber.address
  AND NOT EXISTS (SELECT 1 FROM suppression WHERE suppression.key_hash = subscriber.key_hash)
  AND NOT EXISTS (SELECT 1 FROM delivery AS other
                  WHERE other.subscriber = delivery.subscriber AND other.accepted_at > attempt.at)
GROUP BY delivery.subscriber
HAVING COUNT(DISTINCT attempt.at / 86400000) >= 3
ORDER BY delivery.subscriber
LIMIT $1";

/// Subscribers whose address does not exist, as a relay said, or whose domain took no mail on three days, and who are
/// not suppressed yet.
pub async fn dead_addresses(conn: &mut Conn, limit: i64) -> Result<Vec<Dead>> {
    let mut dead: Vec<Dead> =
        on!(conn, |c| sqlx::query_as(DEAD).bind(limit).fetch_all(c).await).map_err(Error::from)?;
    let gone: Vec<Dead> =
        on!(conn, |c| sqlx::query_as(GONE_DOMAINS).bind(limit).fetch_all(c).await).map_err(Error::from)?;
    dead.extend(gone);
    Ok(dead)
}

const DOMAINS_SQLITE: &str = "
SELECT substr(subscriber.key, instr(subscriber.key, '@') + 1) AS domain, COUNT(*)
FROM subscription
JOIN subscriber ON subscriber.id = subscription.subscriber
WHERE subscription.newsletter = $1 AND subscription.status = 'active'
GROUP BY 1
ORDER BY 2 DESC, 1
LIMIT $2";

const DOMAINS_POSTGRES: &str = "
SELECT substring(subscriber.key FROM position('@' IN subscriber.key) + 1) AS domain, COUNT(*)
FROM subscription
JOIN subscriber ON subscriber.id = subscription.subscriber
WHERE subscription.newsletter = $1 AND subscription.status = 'active'
GROUP BY 1
ORDER BY 2 DESC, 1
LIMIT $2";

/// The domains of a newsletter's readers, those with the most first, and how many there are in each.
pub async fn domains(conn: &mut Conn, newsletter: &str, limit: i64) -> Result<Vec<(String, i64)>> {
    let sql = pick(conn, DOMAINS_SQLITE, DOMAINS_POSTGRES);
    Ok(on!(conn, |c| sqlx::query_as(sql).bind(newsletter).bind(limit).fetch_all(c).await)
        .map_err(Error::from)?)
}

const FORGET: &str = "
UPDATE attempt
SET address = '', consent = NULL
-- Edition by edition, because that is how deliveries are found by their reader.
WHERE delivery IN (SELECT id FROM delivery WHERE edition IN (SELECT id FROM edition) AND subscriber = $1)";

/// Empties a person's address in the ledger: erasure leaves the rows and takes the name.
pub async fn forget(conn: &mut Conn, subscriber: SubscriberId) -> Result<()> {
    on!(conn, |c| sqlx::query(FORGET).bind(subscriber.0).execute(c).await.map(drop)).map_err(Error::from)?;
    Ok(())
}

const SETTLE_ACCEPTED: &str = "
UPDATE delivery
SET state = 'accepted', accepted_at = $3
WHERE edition = $1 AND state = 'uncertain' AND ($2 = 0 OR subscriber = $2)";

const SETTLE_RESEND: &str = "
UPDATE delivery
SET state = 'deferred', next_at = $3
WHERE edition = $1 AND state = 'uncertain' AND ($2 = 0 OR subscriber = $2) AND deadline > $4";

/// How a person ends an uncertain delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settle {
    /// It arrived, somebody knows.
    Accepted,
    /// It goes out again, the same bytes.
    Resend,
}

/// Ends the uncertain deliveries of an edition, of one subscriber or of all; returns how many.
pub async fn settle(
    conn: &mut Conn,
    edition: EditionId,
    subscriber: Option<SubscriberId>,
    how: Settle,
    now: i64,
    civil: i64,
) -> Result<u64> {
    let subscriber = subscriber.map_or(0, |id| id.0);
    let rows = match how {
        Settle::Accepted => on!(conn, |c| sqlx::query(SETTLE_ACCEPTED)
            .bind(edition.0)
            .bind(subscriber)
            .bind(now)
            .execute(c)
            .await
            .map(|done| done.rows_affected())),
        Settle::Resend => on!(conn, |c| sqlx::query(SETTLE_RESEND)
            .bind(edition.0)
            .bind(subscriber)
            .bind(now)
            .bind(civil)
            .execute(c)
            .await
            .map(|done| done.rows_affected())),
    };
    Ok(rows.map_err(Error::from)?)
}

const RETRY: &str = "
UPDATE delivery
SET next_at = $3
WHERE edition = $1 AND state = 'deferred' AND ($2 = 0 OR subscriber = $2)";

/// Makes deferred deliveries due now; returns how many.
pub async fn retry(
    conn: &mut Conn,
    edition: EditionId,
    subscriber: Option<SubscriberId>,
    now: i64,
) -> Result<u64> {
    let subscriber = subscriber.map_or(0, |id| id.0);
    Ok(on!(conn, |c| sqlx::query(RETRY)
        .bind(edition.0)
        .bind(subscriber)
        .bind(now)
        .execute(c)
        .await
        .map(|done| done.rows_affected()))
    .map_err(Error::from)?)
}

const WITHDRAW_ALL: &str = "
UPDATE delivery
SET state = CASE WHEN doubtful = 1 THEN 'uncertain' ELSE 'withdrawn' END
WHERE edition = $1 AND state IN ('planned', 'deferred')";

/// Withdraws what was not accepted of a cancelled edition; what is claimed is its owner's to give back.
pub async fn withdraw_all(conn: &mut Conn, edition: EditionId) -> Result<()> {
    on!(conn, |c| sqlx::query(WITHDRAW_ALL).bind(edition.0).execute(c).await.map(drop))
        .map_err(Error::from)?;
    Ok(())
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
ORDER BY CAST(SUM(told.count) AS BIGINT) DESC, told.relay, told.code
LIMIT 50";

/// What relays said about an edition, the most frequent first; of what was pruned too.
pub async fn said(conn: &mut Conn, edition: EditionId) -> Result<Vec<Said>> {
    Ok(on!(conn, |c| sqlx::query_as(SAID).bind(edition.0).fetch_all(c).await).map_err(Error::from)?)
}

//! Planning: one row for every active, unsuppressed subscription.

use super::pick;
use crate::db::{Conn, Error, on};
use crate::delivery::Result;
use crate::editions::EditionId;

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
pub(in crate::delivery) async fn plan(
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

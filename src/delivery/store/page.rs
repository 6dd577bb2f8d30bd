//! The ledger as it is exported: page by page, each delivery with every attempt.

use std::collections::BTreeMap;

use sqlx::FromRow;

use crate::clock::timestamp;
use crate::db::{Conn, Error, on};
use crate::delivery::ledger::{Attempt, Record};
use crate::delivery::{DeliveryId, Result, message_id};
use crate::editions::EditionId;
use crate::readers::SubscriberId;
use crate::readers::links::Links;

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
                message_id: message_id(links, DeliveryId(row.id), domain),
                accepted_at: instant(row.accepted_at),
                bounced_at: instant(row.bounced_at),
                complained_at: instant(row.complained_at),
                attempts,
            }
        })
        .collect();
    Ok(Some((records, last)))
}

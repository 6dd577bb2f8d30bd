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

// By readers: there is an index of them for each edition, in order. In the order of their ids deliveries would be found by
// the primary key, through all other editions.
const PAGE: &str = "
SELECT delivery.id, delivery.subscriber, subscriber.address AS email, delivery.state, delivery.due_at,
       delivery.deadline, delivery.accepted_at, delivery.bounced_at, delivery.complained_at
FROM delivery
LEFT JOIN subscriber ON subscriber.id = delivery.subscriber
WHERE delivery.edition = $1 AND delivery.subscriber > $2 AND delivery.subscriber <= $3
ORDER BY delivery.subscriber
LIMIT $4";

const PAGE_ATTEMPTS: &str = "
SELECT attempt.delivery, attempt.at, attempt.relay, attempt.address, attempt.revision, attempt.outcome, attempt.code,
       attempt.enhanced, attempt.text
FROM delivery
JOIN attempt ON attempt.delivery = delivery.id
WHERE delivery.edition = $1 AND delivery.subscriber > $2 AND delivery.subscriber <= $3
ORDER BY delivery.subscriber, attempt.number";

/// Some of an edition's deliveries, by subscriber, each with every attempt.
#[derive(Clone, Debug)]
pub struct Page {
    /// What stands on it.
    pub records: Vec<Record>,
    /// Behind whom the next one begins.
    pub last: SubscriberId,
}

/// So many of an edition's deliveries, of the subscribers behind this one; `None` where there are none.
///
/// `domain` is the one of the Message-IDs.
pub async fn page(
    conn: &mut Conn,
    edition: EditionId,
    behind: Option<SubscriberId>,
    size: i64,
    links: &Links,
    domain: &str,
) -> Result<Option<Page>> {
    let behind = behind.map_or(i64::MIN, |id| id.0);
    read(conn, edition, (behind, i64::MAX), size, links, domain).await
}

/// An edition's delivery to a subscriber, with every attempt; `None` where there is none.
pub async fn find_record(
    conn: &mut Conn,
    edition: EditionId,
    subscriber: SubscriberId,
    links: &Links,
    domain: &str,
) -> Result<Option<Record>> {
    let page = read(conn, edition, (subscriber.0 - 1, subscriber.0), 1, links, domain).await?;
    Ok(page.and_then(|page| page.records.into_iter().next()))
}

/// Of the subscribers behind the first of these up to the second.
async fn read(
    conn: &mut Conn,
    edition: EditionId,
    (behind, last): (i64, i64),
    size: i64,
    links: &Links,
    domain: &str,
) -> Result<Option<Page>> {
    let rows: Vec<DeliveryRow> = on!(conn, |c| sqlx::query_as(PAGE)
        .bind(edition.0)
        .bind(behind)
        .bind(last)
        .bind(size)
        .fetch_all(c)
        .await)
    .map_err(Error::from)?;
    let Some(last) = rows.last().map(|row| SubscriberId(row.subscriber)) else {
        return Ok(None);
    };
    let attempts: Vec<AttemptRow> = on!(conn, |c| sqlx::query_as(PAGE_ATTEMPTS)
        .bind(edition.0)
        .bind(behind)
        .bind(last.0)
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
    Ok(Some(Page { records, last }))
}

/// What a page is read by, and what its plan must find its rows by.
#[cfg(test)]
pub(super) fn plans() -> Vec<(&'static str, &'static str)> {
    let by_reader =
        "delivery USING INDEX sqlite_autoindex_delivery_1 (edition=? AND subscriber>? AND subscriber<?)";
    vec![(PAGE, by_reader), (PAGE_ATTEMPTS, "SEARCH attempt USING PRIMARY KEY (delivery=?)")]
}

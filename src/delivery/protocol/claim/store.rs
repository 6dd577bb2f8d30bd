//! The statements that claim what is due, end what came too late, and read what is to be sent.
//!
//! Reads `edition`, `rendering`, `subscription`, `subscriber` and `suppression`.

use std::sync::LazyLock;

use sqlx::{AssertSqlSafe, FromRow};

use crate::db::{Conn, Result, expect_rows, on};
use crate::delivery::DeliveryId;
use crate::delivery::ledger::{Before, Claimed, Me};
use crate::delivery::protocol::json;
use crate::delivery::store::pick;
use crate::mail::Consent;

#[derive(FromRow)]
struct ClaimedRow {
    id: i64,
    edition: i64,
    subscription: i64,
    address: Option<String>,
    timezone: Option<String>,
    language: Option<String>,
    tries: i64,
    deadline: i64,
    doubtful: i64,
    before_revision: Option<i64>,
    before_language: Option<String>,
    before_date_at: Option<i64>,
    before_date_offset: Option<i64>,
    before_relay: Option<String>,
    before_consent: Option<String>,
    consented_at: Option<String>,
    consent_source: Option<String>,
    confirmed_at: Option<i64>,
    wanted: i64,
}

// Whether the reader still wants it is asked here too, so that no connection is spent on those who do not; the
// release asks again. The index gives due rows in order; MATERIALIZED keeps the limit with the lock.
const DUE_SQLITE: &str = "
WITH due AS MATERIALIZED (
    SELECT id
    FROM delivery
    WHERE edition = $1 AND state = 'planned' AND next_at <= $2 AND deadline > $3
    ORDER BY next_at, id
    LIMIT $4
)
SELECT delivery.id, delivery.edition, delivery.subscription, subscriber.address, subscriber.timezone,
       subscriber.language, delivery.tries, delivery.deadline, delivery.doubtful,
       attempt.revision AS before_revision, attempt.language AS before_language,
       attempt.date_at AS before_date_at, attempt.date_offset AS before_date_offset, attempt.relay AS before_relay,
       attempt.consent AS before_consent, subscription.consented_at, subscription.consent_source,
       subscription.confirmed_at,
       CASE WHEN subscription.status = 'active'
             AND NOT EXISTS (SELECT 1 FROM suppression WHERE suppression.key_hash = subscriber.key_hash)
            THEN 1 ELSE 0 END AS wanted
FROM due
JOIN delivery ON delivery.id = due.id
LEFT JOIN subscriber ON subscriber.id = delivery.subscriber
LEFT JOIN subscription ON subscription.id = delivery.subscription
LEFT JOIN attempt ON attempt.delivery = delivery.id AND attempt.number = delivery.tries";

const DUE_POSTGRES: &str = "
WITH due AS MATERIALIZED (
    SELECT id
    FROM delivery
    WHERE edition = $1 AND state = 'planned' AND next_at <= $2 AND deadline > $3
    ORDER BY next_at, id
    LIMIT $4
    FOR UPDATE SKIP LOCKED
)
SELECT delivery.id, delivery.edition, delivery.subscription, subscriber.address, subscriber.timezone,
       subscriber.language, delivery.tries, delivery.deadline, delivery.doubtful,
       attempt.revision AS before_revision, attempt.language AS before_language,
       attempt.date_at AS before_date_at, attempt.date_offset AS before_date_offset, attempt.relay AS before_relay,
       attempt.consent AS before_consent, subscription.consented_at, subscription.consent_source,
       subscription.confirmed_at,
       CAST(CASE WHEN subscription.status = 'active'
             AND NOT EXISTS (SELECT 1 FROM suppression WHERE suppression.key_hash = subscriber.key_hash)
            THEN 1 ELSE 0 END AS BIGINT) AS wanted
FROM due
JOIN delivery ON delivery.id = due.id
LEFT JOIN subscriber ON subscriber.id = delivery.subscriber
LEFT JOIN subscription ON subscription.id = delivery.subscription
LEFT JOIN attempt ON attempt.delivery = delivery.id AND attempt.number = delivery.tries";

const CLAIM_SQLITE: &str = "
UPDATE delivery
SET state = 'claimed', daemon = $2, epoch = $3
WHERE id IN (SELECT value FROM json_each($1)) AND state IN ('planned', 'deferred')";

const CLAIM_POSTGRES: &str = "
UPDATE delivery
SET state = 'claimed', daemon = $2, epoch = $3
WHERE id = ANY (SELECT CAST(value AS BIGINT) FROM jsonb_array_elements_text(CAST($1 AS JSONB)))
  AND state IN ('planned', 'deferred')";

const UNWANTED_SQLITE: &str = "
UPDATE delivery
SET state = CASE WHEN doubtful = 1 THEN 'uncertain' ELSE 'withdrawn' END
WHERE id IN (SELECT value FROM json_each($1)) AND state IN ('planned', 'deferred')";

const UNWANTED_POSTGRES: &str = "
UPDATE delivery
SET state = CASE WHEN doubtful = 1 THEN 'uncertain' ELSE 'withdrawn' END
WHERE id = ANY (SELECT CAST(value AS BIGINT) FROM jsonb_array_elements_text(CAST($1 AS JSONB)))
  AND state IN ('planned', 'deferred')";

// The same for retries: the state is written out, because each has its own index, and a planner takes a partial index
// only for the index's own words.
static DUE_AGAIN_SQLITE: LazyLock<String> = LazyLock::new(|| DUE_SQLITE.replace("'planned'", "'deferred'"));
static DUE_AGAIN_POSTGRES: LazyLock<String> =
    LazyLock::new(|| DUE_POSTGRES.replace("'planned'", "'deferred'"));

/// What is due of an edition.
#[derive(Clone, Copy, Debug)]
pub(in crate::delivery) struct Due {
    pub(in crate::delivery) edition: i64,
    /// Fresh mail by civil time, or retries by real time.
    pub(in crate::delivery) fresh: bool,
    pub(in crate::delivery) until: i64,
    pub(in crate::delivery) civil: i64,
    pub(in crate::delivery) limit: i64,
}

/// Claims what is due, sets aside what nobody wants any more; returns the claimed, in order, and how many rows it saw.
pub(in crate::delivery) async fn claim(conn: &mut Conn, me: Me, due: Due) -> Result<(Vec<Claimed>, usize)> {
    let sql = if due.fresh {
        pick(conn, DUE_SQLITE, DUE_POSTGRES)
    } else {
        pick(conn, &DUE_AGAIN_SQLITE, &DUE_AGAIN_POSTGRES)
    };
    let rows: Vec<ClaimedRow> = on!(conn, |c| sqlx::query_as(AssertSqlSafe(sql))
        .bind(due.edition)
        .bind(due.until)
        .bind(due.civil)
        .bind(due.limit)
        .fetch_all(c)
        .await?);
    let seen = rows.len();
    let (wanted, unwanted): (Vec<ClaimedRow>, Vec<ClaimedRow>) =
        rows.into_iter().partition(|row| row.wanted == 1 && row.address.is_some());
    if !unwanted.is_empty() {
        let sql = pick(conn, UNWANTED_SQLITE, UNWANTED_POSTGRES);
        let ids = json(&unwanted.iter().map(|row| row.id).collect::<Vec<_>>());
        on!(conn, |c| sqlx::query(sql).bind(&ids).execute(c).await.map(drop)?);
    }
    if !wanted.is_empty() {
        let sql = pick(conn, CLAIM_SQLITE, CLAIM_POSTGRES);
        let ids = json(&wanted.iter().map(|row| row.id).collect::<Vec<_>>());
        let rows = on!(conn, |c| sqlx::query(sql)
            .bind(&ids)
            .bind(me.daemon)
            .bind(me.epoch)
            .execute(c)
            .await?
            .rows_affected());
        expect_rows("claim", wanted.len() as u64, rows)?;
    }
    let mut claimed: Vec<Claimed> = wanted.into_iter().map(Claimed::from).collect();
    claimed.sort_by_key(|held| held.id);
    Ok((claimed, seen))
}

const PLANNED: &str = "
SELECT delivery.id, delivery.edition, delivery.subscription, subscriber.address, subscriber.timezone,
       subscriber.language, delivery.tries, delivery.deadline, delivery.doubtful,
       CAST(NULL AS BIGINT) AS before_revision, CAST(NULL AS TEXT) AS before_language,
       CAST(NULL AS BIGINT) AS before_date_at, CAST(NULL AS BIGINT) AS before_date_offset,
       CAST(NULL AS TEXT) AS before_relay, CAST(NULL AS TEXT) AS before_consent, subscription.consented_at,
       subscription.consent_source, subscription.confirmed_at, CAST(1 AS BIGINT) AS wanted
FROM delivery
JOIN subscriber ON subscriber.id = delivery.subscriber
LEFT JOIN subscription ON subscription.id = delivery.subscription
WHERE delivery.edition = $1 AND delivery.id > $2 AND delivery.state = 'planned'
ORDER BY delivery.id
LIMIT $3";

/// What is planned, after this delivery, without claiming it.
pub(in crate::delivery) async fn read_planned(
    conn: &mut Conn,
    edition: i64,
    after: i64,
    limit: i64,
) -> Result<Vec<Claimed>> {
    let rows: Vec<ClaimedRow> =
        on!(conn, |c| sqlx::query_as(PLANNED).bind(edition).bind(after).bind(limit).fetch_all(c).await?);
    Ok(rows.into_iter().map(Claimed::from).collect())
}

impl From<ClaimedRow> for Claimed {
    fn from(row: ClaimedRow) -> Self {
        let before = match (row.before_revision, row.before_date_at, row.before_date_offset, row.before_relay)
        {
            (Some(revision), Some(date_at), Some(date_offset), Some(relay)) => {
                Some(Before { revision, date_at, date_offset, relay })
            }
            _ => None,
        };
        let doubtful = row.doubtful == 1;
        let consent = if doubtful {
            row.before_consent.as_deref().map(Consent::read).unwrap_or_default()
        } else {
            Consent::of(row.consented_at.as_deref(), row.confirmed_at, row.consent_source.as_deref())
        };
        Self {
            id: DeliveryId(row.id),
            edition: row.edition,
            subscription: row.subscription,
            address: row.address.unwrap_or_default(),
            timezone: row.timezone,
            language: if doubtful { row.before_language.or(row.language) } else { row.language },
            consent,
            tries: row.tries,
            deadline: row.deadline,
            doubtful,
            before,
        }
    }
}

const EXPIRE: &str = "
UPDATE delivery
SET state = CASE WHEN doubtful = 1 THEN 'uncertain' ELSE 'expired' END
WHERE edition = $1 AND state = 'planned' AND deadline <= $2";

static EXPIRE_AGAIN: LazyLock<String> = LazyLock::new(|| EXPIRE.replace("'planned'", "'deferred'"));

/// Ends what came too late; only unclaimed rows, for the claimed are their owner's.
pub(in crate::delivery) async fn expire(conn: &mut Conn, edition: i64, civil: i64) -> Result<u64> {
    let mut rows = 0;
    for sql in [EXPIRE, EXPIRE_AGAIN.as_str()] {
        let query = AssertSqlSafe(sql);
        rows += on!(conn, |c| sqlx::query(query).bind(edition).bind(civil).execute(c).await?.rows_affected());
    }
    Ok(rows)
}

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
    pub(in crate::delivery) revision: i64,
}

const SENDING: &str = "
SELECT id, newsletter, revision
FROM edition
WHERE state = 'sending'
ORDER BY lock_at, id";

/// The editions that are being sent.
pub(in crate::delivery) async fn sending(conn: &mut Conn) -> Result<Vec<Sending>> {
    Ok(on!(conn, |c| sqlx::query_as(SENDING).fetch_all(c).await?))
}

const RENDERING: &str = "
SELECT prepared
FROM rendering
WHERE edition = $1 AND revision = $2 AND language = $3";

/// The prepared bytes of a revision in one language.
pub(in crate::delivery) async fn rendering(
    conn: &mut Conn,
    edition: i64,
    revision: i64,
    language: &str,
) -> Result<Option<Vec<u8>>> {
    Ok(on!(conn, |c| sqlx::query_scalar(RENDERING)
        .bind(edition)
        .bind(revision)
        .bind(language)
        .fetch_optional(c)
        .await?))
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
/// Each statement of a morning, and what its plan must find its rows by.
pub(in crate::delivery::protocol) fn plans() -> Vec<(String, &'static str)> {
    let by_state = [DUE_SQLITE, EXPIRE, FIRST_DEADLINE, NEXT_PLANNED].map(|sql| (sql, "delivery_planned"));
    let again =
        [DUE_AGAIN_SQLITE.as_str(), EXPIRE_AGAIN.as_str(), FIRST_DEADLINE_AGAIN.as_str(), NEXT_DEFERRED];
    let by_key =
        [CLAIM_SQLITE, UNWANTED_SQLITE].map(|sql| (sql, "SEARCH delivery USING INTEGER PRIMARY KEY"));
    by_state
        .into_iter()
        .chain(again.map(|sql| (sql, "delivery_deferred")))
        .chain(by_key)
        .chain([CLAIMED_BY_ANYONE, FIRST_DEADLINE_CLAIMED].map(|sql| (sql, "delivery_claimed")))
        .map(|(sql, by)| (sql.to_owned(), by))
        .collect()
}

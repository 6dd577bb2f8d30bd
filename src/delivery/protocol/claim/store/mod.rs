//! The statements that claim what is due and end what came too late; `sending` reads what is to be sent.
//!
//! Reads `subscription`, `subscriber` and `suppression`.

mod sending;

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, FromRow};

use crate::db::{Conn, Result, on};
use crate::delivery::DeliveryId;
use crate::delivery::ledger::{Before, Claimed, Me};
use crate::delivery::store::{hold, json, listed};
use crate::mail::Consent;
pub(in crate::delivery) use sending::{Sending, claimed, first_deadline, next_instants, sending};

/// One that was never tried: nothing was sent or said of it before. SQLite gives it as an array, in this order.
#[derive(FromRow, Deserialize)]
struct FreshRow {
    id: i64,
    subscription: i64,
    address: Option<String>,
    timezone: Option<String>,
    language: Option<String>,
    deadline: i64,
    consented_at: Option<String>,
    consent_source: Option<String>,
    confirmed_at: Option<i64>,
    wanted: i64,
}

/// One that waits for another try, or was put off before its first.
#[derive(FromRow)]
struct DeferredRow {
    #[sqlx(flatten)]
    fresh: FreshRow,
    tries: i64,
    doubtful: i64,
    before_revision: Option<i64>,
    before_language: Option<String>,
    before_date_at: Option<i64>,
    before_date_offset: Option<i64>,
    before_relay: Option<String>,
    before_consent: Option<String>,
}

// Whether the reader still wants it is asked here too, so that no connection is spent on those who do not; the
// release asks again. The index gives due rows in order; MATERIALIZED keeps the limit with the lock. A join, and no
// sub-select: PostgreSQL's planner, which does not know the limit, would read every suppression for it.
const FRESH: &str = "
WITH due AS MATERIALIZED (
    SELECT id, subscriber, subscription, deadline, tries, doubtful
    FROM delivery
    WHERE edition = $1 AND state = 'planned' AND next_at <= $2 AND deadline > $3
    ORDER BY next_at, id
    LIMIT $4
)
SELECT due.id, due.subscription, subscriber.address, subscriber.timezone, subscriber.language, due.deadline,
       subscription.consented_at, subscription.consent_source, subscription.confirmed_at,
       CAST(CASE WHEN subscriber.address IS NOT NULL AND subscription.status = 'active'
             AND suppression.key_hash IS NULL THEN 1 ELSE 0 END AS BIGINT) AS wanted
FROM due
LEFT JOIN subscriber ON subscriber.id = due.subscriber
LEFT JOIN subscription ON subscription.id = due.subscription
LEFT JOIN suppression ON suppression.key_hash = subscriber.key_hash";

// As one row: each that comes back is a turn of SQLite's worker thread and of ours.
static FRESH_SQLITE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT json_group_array(json_array(id, subscription, address, timezone, language, deadline, consented_at,\n\
         consent_source, confirmed_at, wanted))\nFROM ({FRESH}\n)"
    )
});

/// The same for retries, with what was sent before: where one is in doubt, what a reader may have, whatever was refused
/// since. The state is written out, because each has its own index, and a planner takes a partial index only for the
/// index's own words.
static DEFERRED: LazyLock<String> = LazyLock::new(|| {
    FRESH.replace("'planned'", "'deferred'").replace(
        "due.id, ",
        "due.tries, due.doubtful, attempt.revision AS before_revision, attempt.language AS before_language,
       attempt.date_at AS before_date_at, attempt.date_offset AS before_date_offset, attempt.relay AS before_relay,
       attempt.consent AS before_consent, due.id, ",
    ) + "
LEFT JOIN attempt ON attempt.delivery = due.id AND attempt.number = COALESCE(
    (SELECT MAX(doubt.number) FROM attempt AS doubt
     WHERE due.doubtful = 1 AND doubt.delivery = due.id AND doubt.outcome = 'uncertain'), due.tries)"
});

// All of C in one statement, which is a transaction of its own: one answer from the server instead of six. Several daemons
// look at the same rows: each locks its own. The fence's lock is taken before anything else is looked at, because
// everything else hangs on `me`.
fn at_once(found: &str) -> String {
    let found = found.trim_start_matches("\nWITH ").replacen(
        "\n)\n",
        "\n    FOR UPDATE SKIP LOCKED\n),\nfound AS MATERIALIZED (\n",
        1,
    );
    let found = found.replace("deadline > $3", "deadline > $3 AND EXISTS (SELECT 1 FROM me)");
    format!(
        "WITH me AS MATERIALIZED (
    SELECT 1 FROM daemon WHERE id = $5 AND epoch = $6 AND gone = 0 FOR SHARE
),
{found}
)
UPDATE delivery
SET state = CASE WHEN found.wanted = 1 THEN 'claimed' WHEN delivery.doubtful = 1 THEN 'uncertain' ELSE 'withdrawn' END,
    daemon = CASE WHEN found.wanted = 1 THEN CAST($5 AS BIGINT) END,
    epoch = CASE WHEN found.wanted = 1 THEN CAST($6 AS BIGINT) END
FROM found
WHERE delivery.id = found.id AND delivery.state IN ('planned', 'deferred')
RETURNING found.*"
    )
}

static FRESH_POSTGRES: LazyLock<String> = LazyLock::new(|| at_once(FRESH));
// Attempts are as they stood when the statement began, and a row that is locked is as it is by then. Where somebody tried
// it in between, it waits for the next claim, which sees what that attempt carried.
static DEFERRED_POSTGRES: LazyLock<String> = LazyLock::new(|| {
    at_once(&DEFERRED.replace(
        "\nFROM due\n",
        "\nFROM due\nJOIN delivery AS seen ON seen.id = due.id AND seen.tries = due.tries\n",
    ))
});

// Nothing is locked or written by it: who waits for an hour asks often.
const ANY_FRESH: &str = "
SELECT EXISTS (SELECT 1 FROM daemon WHERE id = $4 AND epoch = $5 AND gone = 0),
       EXISTS (SELECT 1 FROM delivery
               WHERE edition = $1 AND state = 'planned' AND next_at <= $2 AND deadline > $3)";

static ANY_DEFERRED: LazyLock<String> = LazyLock::new(|| ANY_FRESH.replace("'planned'", "'deferred'"));

// SQLite's, step by step. Claims the deliveries in a list ($3, JSON) for a life ($1, $2). COALESCE keeps the planner off
// the indexes of what is due: it would read all of them for each.
const CLAIM_SQLITE: &str = "
UPDATE delivery
SET state = 'claimed', daemon = $1, epoch = $2
WHERE id IN (SELECT value FROM json_each($3)) AND COALESCE(state, '') IN ('planned', 'deferred')";

// The same for what was looked at a moment ago, on SQLite ($3: each a `Looked`), where it is still what it was then. The
// next attempt of one that was tried since would bear the number of another; one that was moved to another hour or zone,
// or put off, would leave before it is due, or by a deadline that it no longer has.
pub(in crate::delivery::protocol) const CLAIM_FRESH_SQLITE: &str = "
WITH due AS MATERIALIZED (
    SELECT value ->> 0 AS id, value ->> 1 AS deadline, value ->> 2 AS until
    FROM json_each($3)
)
UPDATE delivery
SET state = 'claimed', daemon = $1, epoch = $2
FROM due
WHERE delivery.id = due.id AND delivery.deadline = due.deadline AND delivery.next_at <= due.until
  AND COALESCE(delivery.state, '') = 'planned'";

const CLAIMED_OF_SQLITE: &str = "
SELECT id
FROM delivery
WHERE id IN (SELECT value FROM json_each($1)) AND COALESCE(state, '') = 'claimed' AND daemon = $2 AND epoch = $3";

const UNWANTED_SQLITE: &str = "
UPDATE delivery
SET state = CASE WHEN doubtful = 1 THEN 'uncertain' ELSE 'withdrawn' END
WHERE id IN (SELECT value FROM json_each($1)) AND state IN ('planned', 'deferred')";

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

/// One that was found to be due and is to be claimed as it was then: which, its deadline, and until when it was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(in crate::delivery) struct Looked(pub(in crate::delivery) i64, i64, i64);

/// What is due, and those among it that nobody wants any more.
#[derive(Debug, Default)]
pub(in crate::delivery) struct Found {
    pub(in crate::delivery) wanted: Vec<Claimed>,
    pub(in crate::delivery) unwanted: Vec<i64>,
}

impl Found {
    /// How many rows that is.
    pub(in crate::delivery) fn seen(&self) -> usize {
        self.wanted.len() + self.unwanted.len()
    }

    /// What of it is to be claimed, as it was when this was asked.
    pub(in crate::delivery) fn looked(&self, due: Due) -> Vec<Looked> {
        self.wanted.iter().map(|held| Looked(held.id.0, held.deadline, due.until)).collect()
    }

    /// Of these rows of an edition.
    fn of(edition: i64, rows: Vec<impl Row>) -> Self {
        let mut found = Self::default();
        for row in rows {
            let (wanted, held) = (row.fresh().wanted == 1, row.held(edition));
            if wanted { found.wanted.push(held) } else { found.unwanted.push(held.id.0) }
        }
        found.wanted.sort_by_key(|held| held.id);
        found
    }
}

/// Looks for what is due, in order, on SQLite.
pub(super) async fn due(conn: &mut Conn, due: Due) -> Result<Found> {
    let Due { edition, fresh, until, civil, limit } = due;
    if fresh {
        let sql = FRESH_SQLITE.as_str();
        let rows: String = on!(conn, |c| sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(edition)
            .bind(until)
            .bind(civil)
            .bind(limit)
            .fetch_one(c)
            .await?);
        let rows: Vec<FreshRow> =
            serde_json::from_str(&rows).map_err(|error| sqlx::Error::Decode(error.into()))?;
        return Ok(Found::of(edition, rows));
    }
    let sql = DEFERRED.as_str();
    let rows: Vec<DeferredRow> = on!(conn, |c| sqlx::query_as(AssertSqlSafe(sql))
        .bind(edition)
        .bind(until)
        .bind(civil)
        .bind(limit)
        .fetch_all(c)
        .await?);
    Ok(Found::of(edition, rows))
}

/// Whether this life still counts, and whether anything is due that may be free, on PostgreSQL.
pub(super) async fn any_due(conn: &mut Conn, me: Me, due: Due) -> Result<(bool, bool)> {
    let sql = AssertSqlSafe(if due.fresh { ANY_FRESH } else { ANY_DEFERRED.as_str() });
    Ok(on!(conn, |c| sqlx::query_as(sql)
        .bind(due.edition)
        .bind(due.until)
        .bind(due.civil)
        .bind(me.daemon)
        .bind(me.epoch)
        .fetch_one(c)
        .await?))
}

/// Claims what is due and is not in anybody else's hands, on PostgreSQL, and ends what of it nobody wants any more; returns
/// both, and nothing for a life that is over. The connection must not be in a transaction.
pub(super) async fn take_due(conn: &mut Conn, me: Me, due: Due) -> Result<Found> {
    Ok(if due.fresh {
        Found::of(due.edition, taken::<FreshRow>(conn, me, due, FRESH_POSTGRES.as_str()).await?)
    } else {
        Found::of(due.edition, taken::<DeferredRow>(conn, me, due, DEFERRED_POSTGRES.as_str()).await?)
    })
}

async fn taken<R>(conn: &mut Conn, me: Me, due: Due, sql: &'static str) -> Result<Vec<R>>
where
    R: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
{
    Ok(on!(conn, |c| sqlx::query_as(AssertSqlSafe(sql))
        .bind(due.edition)
        .bind(due.until)
        .bind(due.civil)
        .bind(due.limit)
        .bind(me.daemon)
        .bind(me.epoch)
        .fetch_all(c)
        .await?))
}

/// Ends what nobody wants any more, on SQLite.
pub(super) async fn set_aside(conn: &mut Conn, unwanted: &[i64]) -> Result<()> {
    if unwanted.is_empty() {
        return Ok(());
    }
    let ids = json(unwanted);
    on!(conn, |c| sqlx::query(UNWANTED_SQLITE).bind(&ids).execute(c).await.map(drop)?);
    Ok(())
}

/// Claims, on SQLite, what was found in this transaction; returns how many.
pub(super) async fn take(conn: &mut Conn, me: Me, ids: &[i64]) -> Result<u64> {
    let ids = json(ids);
    Ok(on!(conn, |c| sqlx::query(CLAIM_SQLITE)
        .bind(me.daemon)
        .bind(me.epoch)
        .bind(&ids)
        .execute(c)
        .await?
        .rows_affected()))
}

/// Claims, on SQLite, what was found a moment ago and is still what it was; returns what of it is ours now.
pub(in crate::delivery::protocol) async fn take_fresh(
    conn: &mut Conn,
    me: Me,
    due: &[Looked],
) -> Result<Vec<i64>> {
    if due.is_empty() {
        return Ok(Vec::new());
    }
    let (sql, list) = (CLAIM_FRESH_SQLITE, json(due));
    on!(conn, |c| sqlx::query(sql).bind(me.daemon).bind(me.epoch).bind(&list).execute(c).await.map(drop)?);
    claimed_of(conn, me, due).await
}

/// Those of these deliveries that are ours, on SQLite.
pub(in crate::delivery::protocol) async fn claimed_of(
    conn: &mut Conn,
    me: Me,
    due: &[Looked],
) -> Result<Vec<i64>> {
    let ids = json(&due.iter().map(|looked| looked.0).collect::<Vec<_>>());
    Ok(on!(conn, |c| sqlx::query_scalar(CLAIMED_OF_SQLITE)
        .bind(&ids)
        .bind(me.daemon)
        .bind(me.epoch)
        .fetch_all(c)
        .await?))
}

// By readers: both engines have an index of them for each edition, in order.
const PLANNED: &str = "
SELECT delivery.id, delivery.subscription, subscriber.address, subscriber.timezone, subscriber.language,
       delivery.deadline, subscription.consented_at, subscription.consent_source, subscription.confirmed_at,
       CAST(1 AS BIGINT) AS wanted, delivery.subscriber
FROM delivery
JOIN subscriber ON subscriber.id = delivery.subscriber
LEFT JOIN subscription ON subscription.id = delivery.subscription
WHERE delivery.edition = $1 AND delivery.subscriber > $2 AND delivery.state = 'planned'
ORDER BY delivery.subscriber
LIMIT $3";

/// One that is only read.
#[derive(FromRow)]
struct PlannedRow {
    #[sqlx(flatten)]
    fresh: FreshRow,
    subscriber: i64,
}

/// What is planned for readers behind this one, in their order, without claiming it; and the last of them.
pub(in crate::delivery) async fn read_planned(
    conn: &mut Conn,
    edition: i64,
    after: i64,
    limit: i64,
) -> Result<(Vec<Claimed>, i64)> {
    let rows: Vec<PlannedRow> =
        on!(conn, |c| sqlx::query_as(PLANNED).bind(edition).bind(after).bind(limit).fetch_all(c).await?);
    let last = rows.last().map_or(after, |row| row.subscriber);
    Ok((rows.into_iter().map(|row| row.fresh.held(edition)).collect(), last))
}

/// What is due, as it is read.
trait Row {
    fn fresh(&self) -> &FreshRow;

    fn held(self, edition: i64) -> Claimed;
}

impl Row for FreshRow {
    fn fresh(&self) -> &FreshRow {
        self
    }

    fn held(self, edition: i64) -> Claimed {
        let consent =
            Consent::of(self.consented_at.as_deref(), self.confirmed_at, self.consent_source.as_deref());
        Claimed {
            id: DeliveryId(self.id),
            edition,
            subscription: self.subscription,
            address: self.address.unwrap_or_default(),
            timezone: self.timezone,
            language: self.language,
            consent,
            tries: 0,
            deadline: self.deadline,
            doubtful: false,
            before: None,
        }
    }
}

impl Row for DeferredRow {
    fn fresh(&self) -> &FreshRow {
        &self.fresh
    }

    fn held(self, edition: i64) -> Claimed {
        let before =
            match (self.before_revision, self.before_date_at, self.before_date_offset, self.before_relay) {
                (Some(revision), Some(date_at), Some(date_offset), Some(relay)) => {
                    Some(Before { revision, date_at, date_offset, relay })
                }
                _ => None,
            };
        let held = self.fresh.held(edition);
        let held = Claimed { tries: self.tries, doubtful: self.doubtful == 1, before, ..held };
        if !held.doubtful {
            return held;
        }
        // Whoever may have it already gets the same bytes again.
        Claimed {
            language: self.before_language.or(held.language),
            consent: self.before_consent.as_deref().map(Consent::read).unwrap_or_default(),
            ..held
        }
    }
}

const EXPIRE: &str = "
UPDATE delivery
SET state = CASE WHEN doubtful = 1 THEN 'uncertain' ELSE 'expired' END
WHERE id = LISTED AND COALESCE(state, '') IN ('planned', 'deferred') AND deadline <= $2";

/// Ends those of these that are too late; only unclaimed rows, for the claimed are their owner's. What another daemon has
/// in hand is that one's to end.
pub(in crate::delivery) async fn expire(conn: &mut Conn, ids: Vec<i64>, civil: i64) -> Result<u64> {
    let ids = json(&hold(conn, ids, false).await?);
    let sql = listed(conn, EXPIRE);
    Ok(on!(conn, |c| sqlx::query(sql).bind(&ids).bind(civil).execute(c).await?.rows_affected()))
}

#[cfg(test)]
/// Each statement of a morning, and what its plan must find its rows by.
pub(in crate::delivery::protocol) fn plans() -> Vec<(String, &'static str)> {
    let by_key = [CLAIM_SQLITE, CLAIM_FRESH_SQLITE, CLAIMED_OF_SQLITE, UNWANTED_SQLITE, EXPIRE]
        .map(|sql| (sql, "SEARCH delivery USING INTEGER PRIMARY KEY"));
    let planned = [(FRESH_SQLITE.as_str(), "delivery_planned")];
    let read = [(PLANNED, "delivery USING INDEX sqlite_autoindex_delivery_1 (edition=? AND subscriber>?)")];
    let deferred = [(DEFERRED.as_str(), "delivery_deferred")];
    let own =
        by_key.into_iter().chain(planned).chain(read).chain(deferred).map(|(sql, by)| (sql.to_owned(), by));
    own.chain(sending::plans()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p3_a_claim_on_postgresql_hangs_on_its_life_and_passes_over_what_others_hold() {
        for (sql, state) in [(&FRESH_POSTGRES, "'planned'"), (&DEFERRED_POSTGRES, "'deferred'")] {
            let due = &sql[sql.find("due AS").unwrap()..sql.find("found AS").unwrap()];
            for part in [state, "EXISTS (SELECT 1 FROM me)", "LIMIT $4\n    FOR UPDATE SKIP LOCKED"] {
                assert!(due.contains(part), "{part}: {due}");
            }
            assert!(sql.starts_with("WITH me AS MATERIALIZED"), "{}", sql.as_str());
        }
        assert!(DEFERRED_POSTGRES.contains("seen.tries = due.tries"), "{}", DEFERRED_POSTGRES.as_str());
    }
}

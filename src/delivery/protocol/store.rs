//! The statements of the delivery protocol: join, claim, release, take over.
//!
//! Reads `edition`, `subscription`, `subscriber` and `suppression`. Each function is part of a short transaction in
//! `mod.rs`; none is ever open across the network. The engines differ in how a list is taken apart and in what
//! locks a row (SQLite has one writer, so `BEGIN IMMEDIATE` is the lock); all else is the same text.

use std::sync::LazyLock;

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Either, FromRow, Row as _};

use super::Beginning;
use crate::db::{Conn, Result, Side, expect_rows, on};
use crate::delivery::DeliveryId;
use crate::delivery::ledger::{Before, Claimed, Me, Move, Release, Verdict};
use crate::delivery::store::pick;

const JOIN: &str = "
INSERT INTO daemon (lease_until, started_at, host, pid, birth)
VALUES ($1, $2, $3, $4, $5)
RETURNING id, epoch";

pub(in crate::delivery) async fn join(
    conn: &mut Conn,
    beginning: &Beginning,
    lease_until: i64,
    now: i64,
) -> Result<Me> {
    let (daemon, epoch): (i64, i64) = on!(conn, |c| sqlx::query_as(JOIN)
        .bind(lease_until)
        .bind(now)
        .bind(&beginning.host)
        .bind(i64::from(beginning.pid))
        .bind(&beginning.birth)
        .fetch_one(c)
        .await?);
    Ok(Me { daemon, epoch })
}

const CLOCK_POSTGRES: &str = "
SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)";

/// The database's own clock, which leases are measured by: daemons on several hosts disagree. `None` on SQLite,
/// where all of them read the same clock.
pub(in crate::delivery) async fn database_clock(conn: &mut Conn) -> Result<Option<i64>> {
    match conn.side() {
        Side::Sqlite(_) => Ok(None),
        Side::Postgres(c) => Ok(Some(sqlx::query_scalar(CLOCK_POSTGRES).fetch_one(c).await?)),
    }
}

const HEARTBEAT: &str = "
UPDATE daemon
SET lease_until = $3
WHERE id = $1 AND epoch = $2 AND gone = 0";

/// Renews the lease; `false` when somebody took over.
pub(in crate::delivery) async fn heartbeat(conn: &mut Conn, me: Me, lease_until: i64) -> Result<bool> {
    let rows = on!(conn, |c| sqlx::query(HEARTBEAT)
        .bind(me.daemon)
        .bind(me.epoch)
        .bind(lease_until)
        .execute(c)
        .await?
        .rows_affected());
    Ok(rows == 1)
}

const FENCE_SQLITE: &str = "
SELECT 1
FROM daemon
WHERE id = $1 AND epoch = $2 AND gone = 0";

// Held against the takeover's FOR UPDATE until this transaction ends.
const FENCE_POSTGRES: &str = "
SELECT 1
FROM daemon
WHERE id = $1 AND epoch = $2 AND gone = 0
FOR SHARE";

/// Whether this life still counts, for the whole transaction.
pub(in crate::delivery) async fn fence(conn: &mut Conn, me: Me) -> Result<bool> {
    let sql = pick(conn, FENCE_SQLITE, FENCE_POSTGRES);
    let found: Option<i32> =
        on!(conn, |c| sqlx::query_scalar(sql).bind(me.daemon).bind(me.epoch).fetch_optional(c).await?);
    Ok(found.is_some())
}

#[derive(Clone, Debug, FromRow)]
pub(in crate::delivery) struct Other {
    pub(in crate::delivery) id: i64,
    pub(in crate::delivery) epoch: i64,
    pub(in crate::delivery) lease_until: i64,
    pub(in crate::delivery) host: String,
    pub(in crate::delivery) pid: i64,
    pub(in crate::delivery) birth: String,
}

const OTHERS: &str = "
SELECT id, epoch, lease_until, host, pid, birth
FROM daemon
WHERE gone = 0 AND id <> $1
ORDER BY id";

/// Every other daemon that has not left.
pub(in crate::delivery) async fn others(conn: &mut Conn, me: i64) -> Result<Vec<Other>> {
    Ok(on!(conn, |c| sqlx::query_as(OTHERS).bind(me).fetch_all(c).await?))
}

const BURY: &str = "
UPDATE daemon
SET epoch = epoch + 1, gone = 1
WHERE id = $1 AND epoch = $2 AND gone = 0";

/// Ends another daemon's life; `false` when somebody else did, or it renewed its lease meanwhile.
pub(in crate::delivery) async fn bury(conn: &mut Conn, daemon: i64, epoch: i64) -> Result<bool> {
    let rows = on!(conn, |c| sqlx::query(BURY).bind(daemon).bind(epoch).execute(c).await?.rows_affected());
    Ok(rows == 1)
}

const LEASE_FOR_UPDATE_POSTGRES: &str = "
SELECT lease_until
FROM daemon
WHERE id = $1 AND epoch = $2 AND gone = 0
FOR UPDATE";

const LEASE_SQLITE: &str = "
SELECT lease_until
FROM daemon
WHERE id = $1 AND epoch = $2 AND gone = 0";

/// The lease of another daemon, held still until this transaction ends.
pub(in crate::delivery) async fn lock_lease(conn: &mut Conn, daemon: i64, epoch: i64) -> Result<Option<i64>> {
    let sql = pick(conn, LEASE_SQLITE, LEASE_FOR_UPDATE_POSTGRES);
    Ok(on!(conn, |c| sqlx::query_scalar(sql).bind(daemon).bind(epoch).fetch_optional(c).await?))
}

const OPEN_TO_UNCERTAIN: &str = "
UPDATE attempt
SET outcome = 'uncertain', text = NULL
WHERE daemon = $1 AND epoch = $2 AND outcome IS NULL";

const UNCERTAIN_DELIVERIES: &str = "
UPDATE delivery
SET state = CASE WHEN $5 = 1 THEN 'uncertain'
                 WHEN deadline <= $4 THEN 'uncertain'
                 ELSE 'deferred' END,
    next_at = $3, tries = tries + 1, doubtful = 1, daemon = NULL, epoch = NULL
WHERE state = 'claimed' AND daemon = $1 AND epoch = $2
  AND EXISTS (SELECT 1 FROM attempt
              WHERE attempt.delivery = delivery.id AND attempt.number = delivery.tries + 1
                AND attempt.daemon = $1 AND attempt.epoch = $2)";

const CLAIMED_TO_PLANNED: &str = "
UPDATE delivery
SET state = CASE WHEN tries > 0 THEN 'deferred' ELSE 'planned' END, daemon = NULL, epoch = NULL
WHERE state = 'claimed' AND daemon = $1 AND epoch = $2";

/// Makes a dead daemon's open attempts uncertain and gives the rest of its work back; returns how many of each.
///
/// `hold`: uncertain deliveries rest for an operator instead of being sent again at `next_at`.
pub(in crate::delivery) async fn take_over(
    conn: &mut Conn,
    dead: Me,
    next_at: i64,
    civil: i64,
    hold: bool,
) -> Result<(u64, u64)> {
    let open = on!(conn, |c| sqlx::query(OPEN_TO_UNCERTAIN)
        .bind(dead.daemon)
        .bind(dead.epoch)
        .execute(c)
        .await?
        .rows_affected());
    let uncertain = on!(conn, |c| sqlx::query(UNCERTAIN_DELIVERIES)
        .bind(dead.daemon)
        .bind(dead.epoch)
        .bind(next_at)
        .bind(civil)
        .bind(i64::from(hold))
        .execute(c)
        .await?
        .rows_affected());
    expect_rows("uncertain deliveries of a dead daemon", open, uncertain)?;
    let back = on!(conn, |c| sqlx::query(CLAIMED_TO_PLANNED)
        .bind(dead.daemon)
        .bind(dead.epoch)
        .execute(c)
        .await?
        .rows_affected());
    Ok((uncertain, back))
}

const LEAVE: &str = "
UPDATE daemon
SET gone = 1
WHERE id = $1 AND epoch = $2";

/// This daemon holds nothing any more, and says so.
pub(in crate::delivery) async fn leave(conn: &mut Conn, me: Me) -> Result<()> {
    on!(conn, |c| sqlx::query(CLAIMED_TO_PLANNED)
        .bind(me.daemon)
        .bind(me.epoch)
        .execute(c)
        .await
        .map(drop)?);
    on!(conn, |c| sqlx::query(LEAVE).bind(me.daemon).bind(me.epoch).execute(c).await.map(drop)?);
    Ok(())
}

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
       CAST(NULL AS TEXT) AS before_relay, CAST(1 AS BIGINT) AS wanted
FROM delivery
JOIN subscriber ON subscriber.id = delivery.subscriber
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
        Self {
            id: DeliveryId(row.id),
            edition: row.edition,
            subscription: row.subscription,
            address: row.address.unwrap_or_default(),
            timezone: row.timezone,
            language: if doubtful { row.before_language.or(row.language) } else { row.language },
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

const FINISH_SQLITE: &str = "
WITH told AS MATERIALIZED (
    SELECT json_extract(value, '$[0]') AS delivery, json_extract(value, '$[1]') AS number,
           json_extract(value, '$[2]') AS outcome, json_extract(value, '$[3]') AS code,
           json_extract(value, '$[4]') AS enhanced, json_extract(value, '$[5]') AS text,
           json_extract(value, '$[6]') AS class
    FROM json_each($1)
)
UPDATE attempt
SET outcome = told.outcome, code = told.code, enhanced = told.enhanced, text = told.text, class = told.class
FROM told
WHERE attempt.delivery = told.delivery AND attempt.number = told.number
  AND (attempt.outcome IS NULL OR attempt.outcome = 'uncertain')";

const FINISH_POSTGRES: &str = "
WITH told AS MATERIALIZED (
    SELECT CAST(value->>0 AS BIGINT) AS delivery, CAST(value->>1 AS BIGINT) AS number,
           value->>2 AS outcome, CAST(value->>3 AS BIGINT) AS code, value->>4 AS enhanced, value->>5 AS text,
           value->>6 AS class
    FROM jsonb_array_elements(CAST($1 AS JSONB))
)
UPDATE attempt
SET outcome = told.outcome, code = told.code, enhanced = told.enhanced, text = told.text, class = told.class
FROM told
WHERE attempt.delivery = told.delivery AND attempt.number = told.number
  AND (attempt.outcome IS NULL OR attempt.outcome = 'uncertain')";

/// Records what open attempts came to. One that a takeover made uncertain meanwhile is told as well (a late answer).
pub(in crate::delivery) async fn finish(conn: &mut Conn, told: &[(i64, i64, Verdict)]) -> Result<()> {
    let sql = pick(conn, FINISH_SQLITE, FINISH_POSTGRES);
    let list = told_json(told);
    on!(conn, |c| sqlx::query(sql).bind(&list).execute(c).await.map(drop)?);
    Ok(())
}

fn told_json(told: &[(i64, i64, Verdict)]) -> String {
    let list: Vec<_> = told
        .iter()
        .map(|(delivery, number, verdict)| {
            (
                delivery,
                number,
                verdict.outcome.map(crate::delivery::Outcome::as_str),
                verdict.code,
                &verdict.enhanced,
                &verdict.text,
                verdict.class.map(crate::delivery::classify::Class::as_str),
            )
        })
        .collect();
    json(&list)
}

const REFUSE_SQLITE: &str = "
WITH told AS MATERIALIZED (
    SELECT json_extract(value, '$[0]') AS delivery, json_extract(value, '$[1]') AS number,
           json_extract(value, '$[2]') AS at, json_extract(value, '$[3]') AS relay,
           json_extract(value, '$[4]') AS address, json_extract(value, '$[5]') AS revision,
           json_extract(value, '$[6]') AS language, json_extract(value, '$[7]') AS date_at,
           json_extract(value, '$[8]') AS date_offset, json_extract(value, '$[9]') AS outcome,
           json_extract(value, '$[10]') AS code, json_extract(value, '$[11]') AS enhanced,
           json_extract(value, '$[12]') AS text, json_extract(value, '$[13]') AS class
    FROM json_each($1)
)
INSERT INTO attempt (delivery, number, daemon, epoch, at, relay, address, revision, language, date_at, date_offset,
                     outcome, code, enhanced, text, class)
SELECT told.delivery, told.number, $2, $3, told.at, told.relay, told.address, told.revision, told.language,
       told.date_at, told.date_offset, told.outcome, told.code, told.enhanced, told.text, told.class
FROM told
JOIN delivery ON delivery.id = told.delivery
WHERE delivery.state = 'claimed' AND delivery.daemon = $2 AND delivery.epoch = $3
ON CONFLICT (delivery, number) DO NOTHING";

const REFUSE_POSTGRES: &str = "
WITH told AS MATERIALIZED (
    SELECT CAST(value->>0 AS BIGINT) AS delivery, CAST(value->>1 AS BIGINT) AS number,
           CAST(value->>2 AS BIGINT) AS at, value->>3 AS relay, value->>4 AS address,
           CAST(value->>5 AS BIGINT) AS revision, value->>6 AS language, CAST(value->>7 AS BIGINT) AS date_at,
           CAST(value->>8 AS BIGINT) AS date_offset, value->>9 AS outcome, CAST(value->>10 AS BIGINT) AS code,
           value->>11 AS enhanced, value->>12 AS text, value->>13 AS class
    FROM jsonb_array_elements(CAST($1 AS JSONB))
)
INSERT INTO attempt (delivery, number, daemon, epoch, at, relay, address, revision, language, date_at, date_offset,
                     outcome, code, enhanced, text, class)
SELECT told.delivery, told.number, $2, $3, told.at, told.relay, told.address, told.revision, told.language,
       told.date_at, told.date_offset, told.outcome, told.code, told.enhanced, told.text, told.class
FROM told
JOIN delivery ON delivery.id = told.delivery
WHERE delivery.state = 'claimed' AND delivery.daemon = $2 AND delivery.epoch = $3
ON CONFLICT (delivery, number) DO NOTHING";

/// Records attempts that were refused before their body: they were never open.
pub(in crate::delivery) async fn refuse(conn: &mut Conn, me: Me, told: &[(Release, Verdict)]) -> Result<()> {
    let sql = pick(conn, REFUSE_SQLITE, REFUSE_POSTGRES);
    let list: Vec<_> = told
        .iter()
        .map(|(release, verdict)| {
            serde_json::json!([
                release.delivery.0,
                release.number,
                release.at,
                release.relay,
                release.address,
                release.revision,
                release.language,
                release.date_at,
                release.date_offset,
                verdict.outcome.map(crate::delivery::Outcome::as_str),
                verdict.code,
                verdict.enhanced,
                verdict.text,
                verdict.class.map(crate::delivery::classify::Class::as_str),
            ])
        })
        .collect();
    let list = json(&list);
    on!(conn, |c| sqlx::query(sql).bind(&list).bind(me.daemon).bind(me.epoch).execute(c).await.map(drop)?);
    Ok(())
}

const MOVE_SQLITE: &str = "
WITH moved AS MATERIALIZED (
    SELECT json_extract(value, '$[0]') AS delivery, json_extract(value, '$[1]') AS state,
           json_extract(value, '$[2]') AS next_at, json_extract(value, '$[3]') AS tries,
           json_extract(value, '$[4]') AS doubtful, json_extract(value, '$[5]') AS accepted_at
    FROM json_each($1)
)
UPDATE delivery
SET state = moved.state, next_at = moved.next_at, tries = moved.tries, doubtful = moved.doubtful,
    accepted_at = moved.accepted_at, daemon = NULL, epoch = NULL
FROM moved
-- The plus keeps the planner off the index of claims: it would read all of them for each move.
WHERE delivery.id = moved.delivery AND +delivery.state = 'claimed' AND delivery.daemon = $2 AND delivery.epoch = $3
RETURNING delivery.id";

const MOVE_POSTGRES: &str = "
WITH moved AS MATERIALIZED (
    SELECT CAST(value->>0 AS BIGINT) AS delivery, value->>1 AS state, CAST(value->>2 AS BIGINT) AS next_at,
           CAST(value->>3 AS BIGINT) AS tries, CAST(value->>4 AS BIGINT) AS doubtful,
           CAST(value->>5 AS BIGINT) AS accepted_at
    FROM jsonb_array_elements(CAST($1 AS JSONB))
)
UPDATE delivery
SET state = moved.state, next_at = moved.next_at, tries = moved.tries, doubtful = moved.doubtful,
    accepted_at = moved.accepted_at, daemon = NULL, epoch = NULL
FROM moved
WHERE delivery.id = moved.delivery AND delivery.state = 'claimed' AND delivery.daemon = $2 AND delivery.epoch = $3
RETURNING delivery.id";

const LATE: &str = "
UPDATE delivery
SET state = 'accepted', accepted_at = $2, tries = CASE WHEN tries < $3 THEN $3 ELSE tries END
WHERE id = $1 AND state IN ('deferred', 'planned', 'uncertain')";

/// Moves the deliveries of told attempts. An acceptance that comes after a takeover still ends its delivery, when
/// nobody holds it again: no resend.
pub(in crate::delivery) async fn move_on(conn: &mut Conn, me: Me, moves: &[Move]) -> Result<()> {
    let sql = pick(conn, MOVE_SQLITE, MOVE_POSTGRES);
    let list = moves_json(moves);
    let moved: Vec<i64> = on!(conn, |c| sqlx::query_scalar(sql)
        .bind(&list)
        .bind(me.daemon)
        .bind(me.epoch)
        .fetch_all(c)
        .await?);
    if moved.len() == moves.len() {
        return Ok(());
    }
    record_late(conn, moves).await
}

fn moves_json(moves: &[Move]) -> String {
    let list: Vec<_> = moves
        .iter()
        .map(|m| (m.delivery.0, m.state.as_str(), m.next_at, m.number, i64::from(m.doubtful), m.accepted_at))
        .collect();
    json(&list)
}

/// Ends with their acceptance those that were taken over meanwhile; the statement leaves alone what moved already.
async fn record_late(conn: &mut Conn, moves: &[Move]) -> Result<()> {
    for late in moves {
        if let Some(accepted_at) = late.accepted_at {
            on!(conn, |c| sqlx::query(LATE)
                .bind(late.delivery.0)
                .bind(accepted_at)
                .bind(late.number)
                .execute(c)
                .await
                .map(drop)?);
        }
    }
    Ok(())
}

const RELEASE_SQLITE: &str = "
WITH asked AS MATERIALIZED (
    SELECT json_extract(value, '$[0]') AS delivery, json_extract(value, '$[1]') AS number,
           json_extract(value, '$[2]') AS at, json_extract(value, '$[3]') AS relay,
           json_extract(value, '$[4]') AS address, json_extract(value, '$[5]') AS revision,
           json_extract(value, '$[6]') AS language, json_extract(value, '$[7]') AS date_at,
           json_extract(value, '$[8]') AS date_offset
    FROM json_each($1)
)
INSERT INTO attempt (delivery, number, daemon, epoch, at, relay, address, revision, language, date_at, date_offset)
SELECT asked.delivery, asked.number, $2, $3, asked.at, asked.relay, asked.address, asked.revision, asked.language,
       asked.date_at, asked.date_offset
FROM asked
CROSS JOIN delivery ON delivery.id = asked.delivery
CROSS JOIN edition ON edition.id = delivery.edition
CROSS JOIN subscription ON subscription.id = delivery.subscription
CROSS JOIN subscriber ON subscriber.id = delivery.subscriber
WHERE delivery.state = 'claimed' AND delivery.daemon = $2 AND delivery.epoch = $3
  AND edition.state = 'sending' AND (delivery.doubtful = 1 OR edition.revision = asked.revision)
  AND delivery.deadline > $4
  AND subscription.status = 'active' AND subscriber.address = asked.address
  AND NOT EXISTS (SELECT 1 FROM suppression WHERE suppression.key_hash = subscriber.key_hash)
RETURNING delivery";

const RELEASE_POSTGRES: &str = "
WITH asked AS MATERIALIZED (
    SELECT CAST(value->>0 AS BIGINT) AS delivery, CAST(value->>1 AS BIGINT) AS number,
           CAST(value->>2 AS BIGINT) AS at, value->>3 AS relay, value->>4 AS address,
           CAST(value->>5 AS BIGINT) AS revision, value->>6 AS language, CAST(value->>7 AS BIGINT) AS date_at,
           CAST(value->>8 AS BIGINT) AS date_offset
    FROM jsonb_array_elements(CAST($1 AS JSONB))
)
INSERT INTO attempt (delivery, number, daemon, epoch, at, relay, address, revision, language, date_at, date_offset)
SELECT asked.delivery, asked.number, $2, $3, asked.at, asked.relay, asked.address, asked.revision, asked.language,
       asked.date_at, asked.date_offset
FROM asked
JOIN delivery ON delivery.id = asked.delivery
JOIN edition ON edition.id = delivery.edition
JOIN subscription ON subscription.id = delivery.subscription
JOIN subscriber ON subscriber.id = delivery.subscriber
WHERE delivery.state = 'claimed' AND delivery.daemon = $2 AND delivery.epoch = $3
  AND edition.state = 'sending' AND (delivery.doubtful = 1 OR edition.revision = asked.revision)
  AND delivery.deadline > $4
  AND subscription.status = 'active' AND subscriber.address = asked.address
  AND NOT EXISTS (SELECT 1 FROM suppression WHERE suppression.key_hash = subscriber.key_hash)
RETURNING delivery";

/// Opens an attempt for each delivery that may still leave; returns those. The others were held, withdrawn, expired,
/// corrected or moved meanwhile.
pub(in crate::delivery) async fn release(
    conn: &mut Conn,
    me: Me,
    asked: &[Release],
    civil: i64,
) -> Result<Vec<i64>> {
    let sql = pick(conn, RELEASE_SQLITE, RELEASE_POSTGRES);
    let list = asked_json(asked);
    Ok(on!(conn, |c| sqlx::query_scalar(sql)
        .bind(&list)
        .bind(me.daemon)
        .bind(me.epoch)
        .bind(civil)
        .fetch_all(c)
        .await?))
}

fn asked_json(asked: &[Release]) -> String {
    let list: Vec<_> = asked
        .iter()
        .map(|r| {
            (
                r.delivery.0,
                r.number,
                r.at,
                &r.relay,
                &r.address,
                r.revision,
                &r.language,
                r.date_at,
                r.date_offset,
            )
        })
        .collect();
    json(&list)
}

// A whole release in one turn of SQLite's worker thread, BEGIN and COMMIT included: there the turns cost more than the
// statements. The parameters are shared: $1 outcomes, $2 and $3 who we are, $4 moves, $5 what is asked for, $6 the civil
// time. Where the fence finds nothing the rest touches nothing either.
static TOGETHER_SQLITE: LazyLock<String> = LazyLock::new(|| {
    let fence = FENCE_SQLITE.replace("$2", "$3").replace("$1", "$2");
    let finish = format!("{FINISH_SQLITE}\n  AND EXISTS ({fence})");
    let moves = MOVE_SQLITE.replace("$1", "$4").replace("RETURNING delivery.id", "");
    let release = RELEASE_SQLITE.replace("$4", "$6").replace("$1", "$5");
    ["BEGIN IMMEDIATE", fence.as_str(), &finish, &moves, &release, "COMMIT"].join(";\n")
});

// The same as one statement, which is a transaction of its own: one answer from the server instead of six. The fence's
// lock is taken before anything else is looked at, because everything else hangs on `me`.
static TOGETHER_POSTGRES: LazyLock<String> = LazyLock::new(|| {
    let fence = FENCE_POSTGRES.replace("$2", "$3").replace("$1", "$2");
    let moves = MOVE_POSTGRES.replace("$1", "$4");
    let release = RELEASE_POSTGRES.replace("$4", "$6").replace("$1", "$5");
    // Each is `WITH list AS (…) statement`: the lists go to the front, the statements become parts beside them.
    let parts = |sql: &str| -> (String, String) {
        let (list, statement) = sql.split_once("\n)\n").expect("a list, then a statement");
        (list.replacen("WITH ", "", 1), statement.to_owned())
    };
    let ((told, finish), (moved, moves), (asked, release)) =
        (parts(FINISH_POSTGRES), parts(&moves), parts(&release));
    format!(
        "WITH me AS MATERIALIZED ({fence}\n),\n{told}\n),\n{moved}\n),\n{asked}\n),\n\
         finish AS ({finish}\n  AND EXISTS (SELECT 1 FROM me)),\n\
         moves AS ({}),\n\
         release AS ({})\n\
         SELECT CAST(0 AS BIGINT), CAST(0 AS BIGINT) FROM me\n\
         UNION ALL SELECT CAST(1 AS BIGINT), COUNT(*) FROM moves\n\
         UNION ALL SELECT CAST(2 AS BIGINT), delivery FROM release",
        moves.replace("\nRETURNING", "\n  AND EXISTS (SELECT 1 FROM me)\nRETURNING"),
        release.replace("\nRETURNING", "\n  AND EXISTS (SELECT 1 FROM me)\nRETURNING"),
    )
});

/// What [`together`] found.
#[derive(Debug, Default)]
pub(in crate::delivery) struct Together {
    /// Whether this life still counts.
    pub(in crate::delivery) alive: bool,
    /// How many deliveries were moved.
    pub(in crate::delivery) moved: u64,
    /// The deliveries whose attempts are open now.
    pub(in crate::delivery) released: Vec<i64>,
}

/// Fence, outcomes, moves and release as a transaction of their own, in one turn; nothing is kept where the fence
/// finds nothing. The connection must not be in a transaction.
pub(in crate::delivery) async fn together(
    conn: &mut Conn,
    me: Me,
    told: &[(i64, i64, Verdict)],
    moves: &[Move],
    asked: &[Release],
    civil: i64,
) -> Result<Together> {
    let sql = pick(conn, &TOGETHER_SQLITE, &TOGETHER_POSTGRES);
    let (told, moves, asked) = (told_json(told), moves_json(moves), asked_json(asked));
    match conn.side() {
        Side::Sqlite(c) => {
            let query = sqlx::query(AssertSqlSafe(sql)).bind(told).bind(me.daemon).bind(me.epoch);
            let query = query.bind(moves).bind(asked).bind(civil);
            let found = read_together_sqlite(sqlx::Executor::fetch_many(&mut *c, query)).await;
            if found.is_err() {
                // Whatever failed may have left the transaction open; the connection is the only writer.
                drop(sqlx::query("ROLLBACK").execute(c).await);
            }
            found
        }
        Side::Postgres(c) => {
            let query = sqlx::query_as(AssertSqlSafe(sql)).bind(told).bind(me.daemon).bind(me.epoch);
            let rows: Vec<(i64, i64)> = query.bind(moves).bind(asked).bind(civil).fetch_all(c).await?;
            let mut found = Together::default();
            for (what, value) in rows {
                match what {
                    0 => found.alive = true,
                    1 => found.moved = value.unsigned_abs(),
                    _ => found.released.push(value),
                }
            }
            Ok(found)
        }
    }
}

/// Which statement of [`TOGETHER_SQLITE`] is which.
const AT_FENCE: usize = 1;
const AT_MOVES: usize = 3;

async fn read_together_sqlite(
    mut results: futures_util::stream::BoxStream<
        '_,
        sqlx::Result<Either<sqlx::sqlite::SqliteQueryResult, sqlx::sqlite::SqliteRow>>,
    >,
) -> Result<Together> {
    let (mut found, mut statement) = (Together::default(), 0);
    while let Some(result) = results.try_next().await? {
        match result {
            Either::Left(done) => {
                if statement == AT_MOVES {
                    found.moved = done.rows_affected();
                }
                statement += 1;
            }
            Either::Right(_) if statement == AT_FENCE => found.alive = true,
            Either::Right(row) => found.released.push(row.try_get(0)?),
        }
    }
    Ok(found)
}

const UNOPEN_SQLITE: &str = "
DELETE FROM attempt
WHERE delivery IN (SELECT value FROM json_each($1)) AND outcome IS NULL AND daemon = $2 AND epoch = $3";

const UNOPEN_POSTGRES: &str = "
DELETE FROM attempt
WHERE delivery = ANY (SELECT CAST(value AS BIGINT) FROM jsonb_array_elements_text(CAST($1 AS JSONB)))
  AND outcome IS NULL AND daemon = $2 AND epoch = $3";

/// Takes back open attempts whose dot, as this process knows, was never written.
pub(in crate::delivery) async fn unopen(conn: &mut Conn, me: Me, asked: &[Release]) -> Result<()> {
    let sql = pick(conn, UNOPEN_SQLITE, UNOPEN_POSTGRES);
    let list = json(&asked.iter().map(|release| release.delivery.0).collect::<Vec<_>>());
    on!(conn, |c| sqlx::query(sql).bind(&list).bind(me.daemon).bind(me.epoch).execute(c).await.map(drop)?);
    Ok(())
}

const GIVE_BACK_SQLITE: &str = "
UPDATE delivery
SET state = CASE
        WHEN deadline > $4
         AND EXISTS (SELECT 1 FROM edition WHERE edition.id = delivery.edition AND edition.state <> 'cancelled')
         AND EXISTS (SELECT 1 FROM subscription JOIN subscriber ON subscriber.id = subscription.subscriber
                     WHERE subscription.id = delivery.subscription AND subscription.status = 'active'
                       AND NOT EXISTS (SELECT 1 FROM suppression WHERE suppression.key_hash = subscriber.key_hash))
        THEN CASE WHEN tries > 0 THEN 'deferred' ELSE 'planned' END
        WHEN doubtful = 1 THEN 'uncertain'
        WHEN deadline <= $4 THEN 'expired'
        ELSE 'withdrawn' END,
    daemon = NULL, epoch = NULL
WHERE id IN (SELECT value FROM json_each($1)) AND state = 'claimed' AND daemon = $2 AND epoch = $3";

const GIVE_BACK_POSTGRES: &str = "
UPDATE delivery
SET state = CASE
        WHEN deadline > $4
         AND EXISTS (SELECT 1 FROM edition WHERE edition.id = delivery.edition AND edition.state <> 'cancelled')
         AND EXISTS (SELECT 1 FROM subscription JOIN subscriber ON subscriber.id = subscription.subscriber
                     WHERE subscription.id = delivery.subscription AND subscription.status = 'active'
                       AND NOT EXISTS (SELECT 1 FROM suppression WHERE suppression.key_hash = subscriber.key_hash))
        THEN CASE WHEN tries > 0 THEN 'deferred' ELSE 'planned' END
        WHEN doubtful = 1 THEN 'uncertain'
        WHEN deadline <= $4 THEN 'expired'
        ELSE 'withdrawn' END,
    daemon = NULL, epoch = NULL
WHERE id = ANY (SELECT CAST(value AS BIGINT) FROM jsonb_array_elements_text(CAST($1 AS JSONB)))
  AND state = 'claimed' AND daemon = $2 AND epoch = $3";

/// Gives claims back that did not leave: to wait again, or to the end that befits them. No attempt is counted.
pub(in crate::delivery) async fn give_back(
    conn: &mut Conn,
    me: Me,
    deliveries: &[i64],
    civil: i64,
) -> Result<()> {
    let sql = pick(conn, GIVE_BACK_SQLITE, GIVE_BACK_POSTGRES);
    let list = json(&deliveries);
    on!(conn, |c| sqlx::query(sql)
        .bind(&list)
        .bind(me.daemon)
        .bind(me.epoch)
        .bind(civil)
        .execute(c)
        .await
        .map(drop)?);
    Ok(())
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

fn json<T: serde::Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("texts and numbers always serialise")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{Db, Options};

    /// The steps that SQLite takes for a statement, after its tables were looked at while the ledger was empty.
    async fn steps(conn: &mut Conn, sql: &str) -> String {
        let Side::Sqlite(c) = conn.side() else { unreachable!("it was opened as SQLite") };
        let explain = format!("EXPLAIN QUERY PLAN {sql}");
        let rows = sqlx::query(AssertSqlSafe(explain.as_str())).fetch_all(c).await.unwrap();
        rows.iter().map(|row| row.get::<String, _>("detail")).collect::<Vec<_>>().join("\n")
    }

    #[tokio::test]
    async fn p1_no_statement_of_a_morning_reads_a_whole_edition() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("plan.db").display());
        let db = Db::open(&Options::new(&url)).await.unwrap();
        db.migrate().await.unwrap();
        let mut tx = db.write().await.unwrap();
        crate::readers::sample::store::make(&mut tx, "plan", 1, 2000, 0).await.unwrap();
        on!(&mut tx, |c| sqlx::query("ANALYZE").execute(c).await.map(drop).unwrap());
        for sql in [DUE_SQLITE, &DUE_AGAIN_SQLITE, EXPIRE, &EXPIRE_AGAIN, NEXT_PLANNED, NEXT_DEFERRED] {
            let steps = steps(&mut tx, sql).await;
            let index = if sql.contains("'deferred'") { "delivery_deferred" } else { "delivery_planned" };
            assert!(steps.contains(index), "{sql}\n{steps}");
            assert!(!steps.contains("TEMP B-TREE"), "{sql}\n{steps}");
        }
        for sql in [CLAIM_SQLITE, MOVE_SQLITE, RELEASE_SQLITE] {
            let steps = steps(&mut tx, sql).await;
            let by_id =
                steps.contains("SEARCH delivery USING INTEGER PRIMARY KEY") || steps.contains("rowid=?");
            assert!(by_id, "{sql}\n{steps}");
        }
        let steps = steps(&mut tx, CLAIMED_BY_ANYONE).await;
        assert!(steps.contains("delivery_claimed"), "{steps}");
    }
}

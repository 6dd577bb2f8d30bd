//! The statements of a daemon's life: join, heartbeat, fence, take over, leave.
//!
//! Each function is part of a short transaction in `mod.rs`; none is ever open across the network. The engines differ
//! in what locks a row (SQLite has one writer, so `BEGIN IMMEDIATE` is the lock); all else is the same text.

use sqlx::FromRow;

use super::Beginning;
use crate::db::{Conn, Result, Side, expect_rows, on};
use crate::delivery::ledger::Me;
use crate::delivery::protocol::release;
use crate::delivery::store::pick;

// The epoch is the hour of the beginning: a server that took another's place may give a number out again that it does
// not know of, and two lives would be one.
const JOIN: &str = "
INSERT INTO daemon (lease_until, started_at, host, pid, birth, epoch)
VALUES ($1, $2, $3, $4, $5, $2)
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

// Whose it is may be hidden from us; a backup is no standby.
const FOLLOWED_POSTGRES: &str = "
SELECT EXISTS (SELECT 1 FROM pg_stat_replication WHERE COALESCE(application_name, '') <> 'pg_basebackup'),
       current_setting('synchronous_standby_names') <> ''
       AND current_setting('synchronous_commit') NOT IN ('off', 'local')";

/// Whether a standby follows the server, and whether our commits wait for one. SQLite has none.
pub(in crate::delivery) async fn followed(conn: &mut Conn) -> Result<(bool, bool)> {
    match conn.side() {
        Side::Sqlite(_) => Ok((false, false)),
        Side::Postgres(c) => Ok(sqlx::query_as(FOLLOWED_POSTGRES).fetch_one(c).await?),
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

// An open attempt's delivery is claimed by the same life: the index of claims finds it, and an index of open attempts
// would be written twice for every message.
const OPEN_TO_UNCERTAIN: &str = "
UPDATE attempt
SET outcome = 'uncertain', text = NULL
WHERE (delivery, number) IN (SELECT id, tries + 1 FROM delivery
                             WHERE state = 'claimed' AND daemon = $1 AND epoch = $2)
  AND daemon = $1 AND epoch = $2 AND outcome IS NULL";

const UNCERTAIN_DELIVERIES: &str = "
UPDATE delivery
-- A late answer may have said meanwhile that an earlier attempt arrived.
SET state = CASE WHEN accepted_at IS NOT NULL THEN 'accepted'
                 WHEN $5 = 1 THEN 'uncertain'
                 WHEN deadline <= $4 THEN 'uncertain'
                 ELSE 'deferred' END,
    next_at = $3, tries = tries + 1, doubtful = 1, daemon = NULL, epoch = NULL
WHERE state = 'claimed' AND daemon = $1 AND epoch = $2
  AND EXISTS (SELECT 1 FROM attempt
              WHERE attempt.delivery = delivery.id AND attempt.number = delivery.tries + 1
                AND attempt.daemon = $1 AND attempt.epoch = $2)";

const CLAIMED_TO_PLANNED: &str = "
UPDATE delivery
SET state = CASE WHEN accepted_at IS NOT NULL THEN 'accepted'
                 WHEN tries > 0 THEN 'deferred'
                 ELSE 'planned' END, daemon = NULL, epoch = NULL
WHERE state = 'claimed' AND daemon = $1 AND epoch = $2";

const CLAIMS_SQLITE: &str = "
SELECT id, accepted_at
FROM delivery
WHERE state = 'claimed' AND daemon = $1 AND epoch = $2";

// A late answer is noted on a claimed row: it comes before this, or finds the row given back. The sum keeps the planner off
// the index that gives this order: all of the ledger would be read by it.
const CLAIMS_POSTGRES: &str = "
SELECT id, accepted_at
FROM delivery
WHERE state = 'claimed' AND daemon = $1 AND epoch = $2
ORDER BY id + 0
FOR UPDATE";

/// Of a life's claims those that are known to have arrived; the claims are held still until this transaction ends.
async fn arrived_meanwhile(conn: &mut Conn, life: Me) -> Result<Vec<i64>> {
    let sql = pick(conn, CLAIMS_SQLITE, CLAIMS_POSTGRES);
    let claims: Vec<(i64, Option<i64>)> =
        on!(conn, |c| sqlx::query_as(sql).bind(life.daemon).bind(life.epoch).fetch_all(c).await?);
    Ok(claims.into_iter().filter(|(_, accepted_at)| accepted_at.is_some()).map(|(id, _)| id).collect())
}

/// Makes the open attempts of a life that ends uncertain and gives the rest of its work back; returns how many of each.
///
/// `hold`: uncertain deliveries rest for an operator instead of being sent again at `next_at`.
pub(in crate::delivery) async fn take_over(
    conn: &mut Conn,
    dead: Me,
    next_at: i64,
    civil: i64,
    hold: bool,
) -> Result<(u64, u64)> {
    let arrived = arrived_meanwhile(conn, dead).await?;
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
    release::arrived(conn, &arrived).await?;
    Ok((uncertain, back))
}

const LEAVE: &str = "
UPDATE daemon
SET gone = 1
WHERE id = $1 AND epoch = $2";

/// This daemon says that it is gone.
pub(in crate::delivery) async fn leave(conn: &mut Conn, me: Me) -> Result<()> {
    on!(conn, |c| sqlx::query(LEAVE).bind(me.daemon).bind(me.epoch).execute(c).await.map(drop)?);
    Ok(())
}

// A run that ignores due times heeds only what is deferred.
const PUT_OFF: &str = "
UPDATE delivery
SET state = 'deferred', next_at = $3, daemon = NULL, epoch = NULL
WHERE state = 'claimed' AND daemon = $1 AND epoch = $2 AND accepted_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM attempt
                  WHERE attempt.delivery = delivery.id AND attempt.number = delivery.tries + 1
                    AND attempt.daemon = $1 AND attempt.epoch = $2)";

/// What this life holds and has not begun waits until then.
pub(in crate::delivery) async fn put_off(conn: &mut Conn, me: Me, next_at: i64) -> Result<()> {
    on!(conn, |c| sqlx::query(PUT_OFF)
        .bind(me.daemon)
        .bind(me.epoch)
        .bind(next_at)
        .execute(c)
        .await
        .map(drop)?);
    Ok(())
}

#[cfg(test)]
/// The takeover's statements, and what their plan must find their rows by.
pub(in crate::delivery::protocol) fn plans() -> Vec<(String, &'static str)> {
    [OPEN_TO_UNCERTAIN, UNCERTAIN_DELIVERIES, CLAIMED_TO_PLANNED, CLAIMS_SQLITE, PUT_OFF]
        .map(|sql| (sql.to_owned(), "delivery_claimed"))
        .into()
}

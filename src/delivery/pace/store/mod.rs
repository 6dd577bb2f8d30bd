//! The tables `pace`, `connection` and `warm_up`: limits that all daemons keep together.
//!
//! Reads `daemon`: a connection whose daemon is gone is nobody's. Each function is part of a short transaction; on
//! PostgreSQL rows are locked as they are read, on SQLite there is one writer.

mod connections;
mod warm_up;

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::Serialize;
use sqlx::FromRow;

use super::limit::Limit;
use crate::db::{Conn, Result, on};
use crate::delivery::store::pick;
pub use connections::connections;
pub(in crate::delivery) use connections::{Numbered, connect, disconnect, ours};
pub use warm_up::{Warm, cap_of, warm_list};
pub(in crate::delivery) use warm_up::{warm_take, warm_tell};

/// What is kept of a relay and a provider.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct Row {
    /// The relay.
    pub relay: String,
    /// The receiving provider; empty for the relay as a whole.
    pub provider: String,
    /// Nothing is sent until then, in milliseconds.
    pub suspended_until: Option<i64>,
    /// No more connections than this.
    pub connections: Option<i64>,
    /// No shorter wait from start to start, in microseconds.
    pub gap: Option<i64>,
    /// When the first step back is taken, in milliseconds.
    pub holds_until: i64,
    /// How long each takes.
    pub step: i64,
    /// When the last signal came.
    pub signalled_at: i64,
    /// Since when nobody could be reached.
    pub down_since: Option<i64>,
    /// Why.
    pub reason: Option<String>,
    /// The last reply that was no yes.
    pub reply: Option<String>,
    /// When it came.
    pub replied_at: Option<i64>,
    /// How many messages were taken.
    pub accepted: i64,
    /// How many tries were put off.
    pub deferred: i64,
    /// How many messages were refused.
    pub rejected: i64,
}

impl Row {
    /// Of somebody who was never heard of.
    pub(super) fn of_nobody(relay: &str, provider: &str) -> Self {
        Self {
            relay: relay.to_owned(),
            provider: provider.to_owned(),
            suspended_until: None,
            connections: None,
            gap: None,
            holds_until: 0,
            step: 0,
            signalled_at: 0,
            down_since: None,
            reason: None,
            reply: None,
            replied_at: None,
            accepted: 0,
            deferred: 0,
            rejected: 0,
        }
    }

    /// What signals asked for.
    pub fn limit(&self) -> Limit {
        Limit {
            suspended_until: self.suspended_until,
            connections: self.connections,
            interval: self.gap,
            holds_until: self.holds_until,
            step: self.step,
            signalled_at: self.signalled_at,
        }
    }
}

const LIST: &str = "
SELECT relay, provider, suspended_until, connections, gap, holds_until, step, signalled_at, down_since, reason,
       reply, replied_at, accepted, deferred, rejected
FROM pace
ORDER BY relay, provider";

/// Everything that is kept; whoever was never slowed down, out of reach or refused is not in it.
pub async fn list(conn: &mut Conn) -> Result<Vec<Row>> {
    Ok(on!(conn, |c| sqlx::query_as(LIST).fetch_all(c).await?))
}

const LIMITED: &str = "
SELECT relay, provider, suspended_until, connections, gap, holds_until, step, signalled_at, down_since, reason,
       reply, replied_at, accepted, deferred, rejected
FROM pace
-- The first half is the index's own condition: no planner knows what is bound.
WHERE signalled_at > 0 AND signalled_at > $1";

/// Whom signals were heard of since then, in milliseconds, in no order: few, however many are written to.
pub async fn limited(conn: &mut Conn, since: i64) -> Result<Vec<Row>> {
    Ok(on!(conn, |c| sqlx::query_as(LIMITED).bind(since).fetch_all(c).await?))
}

// Of whom each daemon takes one block after the other.
const TAKERS: &str = "
SELECT COUNT(*)
FROM daemon
WHERE gone = 0";

const TAKE: &str = "
INSERT INTO pace (relay, provider, free_at)
VALUES ($1, $2, $3 + $4)
ON CONFLICT (relay, provider) DO UPDATE
-- What lies further ahead than all that could be taken was written before the clock was set back, or at another pace.
SET free_at = CASE WHEN pace.free_at > $3 AND pace.free_at < $3 + $5 THEN pace.free_at ELSE $3 END + $4
RETURNING free_at - $4";

/// A daemon has one block at a time: of this pace, or of the one before it, whose step back doubled it.
const BLOCKS_AHEAD: i64 = 2;
/// So late may be what a transaction heard of the time, in microseconds.
const TIME_AHEAD: i64 = 5_000_000;

/// Takes starts from the shared limit: `length` of it, in microseconds; returns when they begin.
pub async fn take(conn: &mut Conn, relay: &str, provider: &str, length: i64, now: i64) -> Result<i64> {
    let takers: i64 = on!(conn, |c| sqlx::query_scalar(TAKERS).fetch_one(c).await?);
    let ahead = length.saturating_mul(BLOCKS_AHEAD * takers.max(1)).saturating_add(TIME_AHEAD);
    Ok(on!(conn, |c| sqlx::query_scalar(TAKE)
        .bind(relay)
        .bind(provider)
        .bind(now)
        .bind(length)
        .bind(ahead)
        .fetch_one(c)
        .await?))
}

const LOCK_SQLITE: &str = "
SELECT relay, provider, suspended_until, connections, gap, holds_until, step, signalled_at, down_since, reason,
       reply, replied_at, accepted, deferred, rejected
FROM pace
WHERE relay = $1 AND provider = $2";

const LOCK_POSTGRES: &str = "
SELECT relay, provider, suspended_until, connections, gap, holds_until, step, signalled_at, down_since, reason,
       reply, replied_at, accepted, deferred, rejected
FROM pace
WHERE relay = $1 AND provider = $2
FOR UPDATE";

const LIMIT: &str = "
INSERT INTO pace (relay, provider, suspended_until, connections, gap, holds_until, step, signalled_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (relay, provider) DO UPDATE
SET suspended_until = excluded.suspended_until, connections = excluded.connections, gap = excluded.gap,
    holds_until = excluded.holds_until, step = excluded.step, signalled_at = excluded.signalled_at";

/// Makes a new limit of the one that is kept, whoever wrote it; returns the new one.
pub(in crate::delivery) async fn change(
    conn: &mut Conn,
    relay: &str,
    provider: &str,
    make: impl FnOnce(Limit) -> Limit,
) -> Result<Limit> {
    let sql = pick(conn, LOCK_SQLITE, LOCK_POSTGRES);
    let row: Option<Row> =
        on!(conn, |c| sqlx::query_as(sql).bind(relay).bind(provider).fetch_optional(c).await?);
    let before = row.map(|row| row.limit()).unwrap_or_default();
    let after = make(before);
    if after != before {
        on!(conn, |c| sqlx::query(LIMIT)
            .bind(relay)
            .bind(provider)
            .bind(after.suspended_until)
            .bind(after.connections)
            .bind(after.interval)
            .bind(after.holds_until)
            .bind(after.step)
            .bind(after.signalled_at)
            .execute(c)
            .await
            .map(drop)?);
    }
    Ok(after)
}

const SET_BACK: &str = "
UPDATE pace
SET suspended_until = suspended_until - (signalled_at - $1), holds_until = holds_until - (signalled_at - $1),
    signalled_at = $1
WHERE signalled_at > 0 AND signalled_at > $1 + $2";

/// Whatever signal lies so much further ahead than now was heard before the clock was set back: what it asked for holds as
/// if it had been heard now.
pub async fn set_back(conn: &mut Conn, now: i64, ahead: i64) -> Result<()> {
    on!(conn, |c| sqlx::query(SET_BACK).bind(now).bind(ahead).execute(c).await.map(drop)?);
    Ok(())
}

const FREE: &str = "
UPDATE pace
SET suspended_until = NULL, connections = NULL, gap = NULL, holds_until = 0, step = 0,
    -- Daemons heed what is newer than what they know, though the clock was set back meanwhile. Of whom no signal was heard
    -- they know nothing, and look at nothing many times a second.
    signalled_at = CASE WHEN signalled_at = 0 THEN 0 WHEN signalled_at >= $2 THEN signalled_at + 1 ELSE $2 END,
    down_since = NULL, reason = NULL
WHERE relay = $1";

/// Forgets what signals asked for of everything that goes through a relay.
pub async fn free(conn: &mut Conn, relay: &str, now: i64) -> Result<()> {
    on!(conn, |c| sqlx::query(FREE).bind(relay).bind(now).execute(c).await.map(drop)?);
    Ok(())
}

/// What was said since it was last told.
#[derive(Clone, Debug, Default)]
pub(in crate::delivery) struct Said {
    pub(in crate::delivery) accepted: i64,
    pub(in crate::delivery) deferred: i64,
    pub(in crate::delivery) rejected: i64,
    /// The last reply that was no yes, and when it came.
    pub(in crate::delivery) reply: Option<(String, i64)>,
    /// When a message was answered last by whoever does not refuse us as a sender.
    pub(in crate::delivery) answered_at: Option<i64>,
    /// What was taken of a day's cap and did not leave.
    pub(in crate::delivery) back: BTreeMap<Date, i64>,
}

impl Said {
    pub(in crate::delivery) fn is_nothing(&self) -> bool {
        self.accepted + self.deferred + self.rejected == 0 && self.back.is_empty() && self.reply.is_none()
    }

    /// Adds what was said before that.
    pub(in crate::delivery) fn add_earlier(&mut self, earlier: Self) {
        self.accepted += earlier.accepted;
        self.deferred += earlier.deferred;
        self.rejected += earlier.rejected;
        self.reply = self.reply.take().or(earlier.reply);
        self.answered_at = self.answered_at.max(earlier.answered_at);
        for (day, count) in earlier.back {
            *self.back.entry(day).or_default() += count;
        }
    }
}

const TELL: &str = "
INSERT INTO pace (relay, provider, reply, replied_at, accepted, deferred, rejected)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (relay, provider) DO UPDATE
-- Whoever answered since is no longer out of reach, whichever daemon found that they were.
SET down_since = CASE WHEN pace.down_since < $8 THEN NULL ELSE pace.down_since END,
    reason = CASE WHEN pace.down_since < $8 THEN NULL ELSE pace.reason END,
    reply = COALESCE(excluded.reply, pace.reply), replied_at = COALESCE(excluded.replied_at, pace.replied_at),
    accepted = pace.accepted + excluded.accepted, deferred = pace.deferred + excluded.deferred,
    rejected = pace.rejected + excluded.rejected";

/// Adds what was said since it was last told.
pub(in crate::delivery) async fn tell(
    conn: &mut Conn,
    relay: &str,
    provider: &str,
    said: &Said,
) -> Result<()> {
    let (reply, at) = said.reply.clone().unzip();
    on!(conn, |c| sqlx::query(TELL)
        .bind(relay)
        .bind(provider)
        .bind(&reply)
        .bind(at)
        .bind(said.accepted)
        .bind(said.deferred)
        .bind(said.rejected)
        .bind(said.answered_at)
        .execute(c)
        .await
        .map(drop)?);
    Ok(())
}

const DOWN: &str = "
INSERT INTO pace (relay, provider, down_since, reason)
VALUES ($1, $2, $3, $4)
ON CONFLICT (relay, provider) DO UPDATE
SET down_since = COALESCE(pace.down_since, excluded.down_since), reason = excluded.reason";

const UP: &str = "
UPDATE pace
SET down_since = NULL, reason = NULL
WHERE relay = $1 AND provider = $2 AND down_since IS NOT NULL";

/// Nobody there can be reached, and why; or somebody can again.
pub(in crate::delivery) async fn down(
    conn: &mut Conn,
    relay: &str,
    provider: &str,
    why: Option<&str>,
    now: i64,
) -> Result<()> {
    match why {
        Some(why) => on!(conn, |c| sqlx::query(DOWN)
            .bind(relay)
            .bind(provider)
            .bind(now)
            .bind(why)
            .execute(c)
            .await
            .map(drop)?),
        None => on!(conn, |c| sqlx::query(UP).bind(relay).bind(provider).execute(c).await.map(drop)?),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Row as _};

    use super::*;
    use crate::db::{Db, Options, Side};

    #[tokio::test]
    async fn what_is_looked_at_many_times_a_second_reads_only_whom_signals_were_heard_of() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("plan.db").display());
        let db = Db::open(&Options::new(&url)).await.unwrap();
        db.migrate().await.unwrap();
        let mut tx = db.write().await.unwrap();
        let Side::Sqlite(c) = tx.side() else { unreachable!("it was opened as SQLite") };
        let rows = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {LIMITED}"))).fetch_all(c).await;
        let steps: Vec<String> = rows.unwrap().iter().map(|row| row.get("detail")).collect();
        assert_eq!(steps, ["SEARCH pace USING INDEX pace_signalled (signalled_at>?)"]);
    }
}

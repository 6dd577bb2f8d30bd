//! The table `warm_up`: a new identity's days, provider by provider.

use serde::Serialize;
use sqlx::FromRow;

use crate::config::WarmUp;
use crate::db::{Conn, Error, Result, on};
use crate::delivery::pace::warm_up::{self, Day};
use crate::delivery::store::pick;

const LAST_DAY: &str = "
SELECT cap, taken, deferred
FROM warm_up
WHERE relay = $1 AND provider = $2 AND day < $3 AND taken > 0
ORDER BY day DESC
LIMIT 1";

const BEGIN_DAY: &str = "
INSERT INTO warm_up (relay, provider, day, cap)
VALUES ($1, $2, $3, $4)
ON CONFLICT (relay, provider, day) DO NOTHING";

const TAKE_TODAY: &str = "
UPDATE warm_up
SET taken = taken + CASE WHEN cap - taken < $4 THEN cap - taken ELSE $4 END,
    emptied_at = CASE WHEN cap - taken <= $4 THEN $5 ELSE emptied_at END
WHERE relay = $1 AND provider = $2 AND day = $3 AND cap > taken
RETURNING taken, emptied_at";

const TODAY: &str = "
SELECT taken, emptied_at
FROM warm_up
WHERE relay = $1 AND provider = $2 AND day = $3";

const TODAY_LOCKED: &str = "
SELECT taken, emptied_at
FROM warm_up
WHERE relay = $1 AND provider = $2 AND day = $3
FOR UPDATE";

fn day((cap, taken, deferred): (i64, i64, i64)) -> Day {
    Day { cap, taken, deferred }
}

/// What was had of a day's cap, and when the last of it was taken; the day is begun where nobody did yet.
async fn warm_day(
    conn: &mut Conn,
    relay: &str,
    provider: &str,
    today: &str,
    plan: &WarmUp,
) -> Result<(i64, Option<i64>)> {
    let sql = pick(conn, TODAY, TODAY_LOCKED);
    for begun in [false, true] {
        if begun {
            let cap = cap_of(conn, relay, provider, today, plan).await?;
            // Another daemon may begin it in the same moment: whose row it is does not matter, it is read anew.
            on!(conn, |c| sqlx::query(BEGIN_DAY)
                .bind(relay)
                .bind(provider)
                .bind(today)
                .bind(cap)
                .execute(c)
                .await
                .map(drop)?);
        }
        let known: Option<(i64, Option<i64>)> = on!(conn, |c| sqlx::query_as(sql)
            .bind(relay)
            .bind(provider)
            .bind(today)
            .fetch_optional(c)
            .await?);
        if let Some(known) = known {
            return Ok(known);
        }
    }
    Err(Error::Rows { statement: "a day of a warm-up", expected: 1, actual: 0 })
}

/// What a day's cap is or would be.
pub async fn cap_of(conn: &mut Conn, relay: &str, provider: &str, today: &str, plan: &WarmUp) -> Result<i64> {
    let last: Option<(i64, i64, i64)> = on!(conn, |c| sqlx::query_as(LAST_DAY)
        .bind(relay)
        .bind(provider)
        .bind(today)
        .fetch_optional(c)
        .await?);
    Ok(warm_up::cap(plan, last.map(day)))
}

/// What was to be had of a day's cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::delivery) struct Taken {
    /// How many.
    pub(in crate::delivery) count: i64,
    /// When the last of it was taken, where nothing is left; in milliseconds of real time.
    pub(in crate::delivery) emptied_at: Option<i64>,
}

/// Takes so many of a day's cap, or what is left of it.
pub(in crate::delivery) async fn warm_take(
    conn: &mut Conn,
    relay: &str,
    provider: &str,
    today: &str,
    (count, now): (i64, i64),
    plan: &WarmUp,
) -> Result<Taken> {
    let (before, emptied_at) = warm_day(conn, relay, provider, today, plan).await?;
    let after: Option<(i64, Option<i64>)> = on!(conn, |c| sqlx::query_as(TAKE_TODAY)
        .bind(relay)
        .bind(provider)
        .bind(today)
        .bind(count)
        .bind(now)
        .fetch_optional(c)
        .await?);
    let (after, emptied_at) = after.unwrap_or((before, emptied_at));
    Ok(Taken { count: after - before, emptied_at })
}

const GIVE_TODAY: &str = "
UPDATE warm_up
SET taken = CASE WHEN taken > $4 THEN taken - $4 ELSE 0 END, deferred = deferred + $5
WHERE relay = $1 AND provider = $2 AND day = $3";

/// Gives back what was taken and did not leave, and tells how many of those that left were deferred.
pub(in crate::delivery) async fn warm_tell(
    conn: &mut Conn,
    relay: &str,
    provider: &str,
    today: &str,
    back: i64,
    deferred: i64,
) -> Result<()> {
    on!(conn, |c| sqlx::query(GIVE_TODAY)
        .bind(relay)
        .bind(provider)
        .bind(today)
        .bind(back)
        .bind(deferred)
        .execute(c)
        .await
        .map(drop)?);
    Ok(())
}

/// A provider's day.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct Warm {
    /// The relay.
    pub relay: String,
    /// The receiving provider.
    pub provider: String,
    /// How much it may have.
    pub cap: i64,
    /// How much it had.
    pub taken: i64,
    /// How much of that was deferred there.
    pub deferred: i64,
}

const WARM_LIST: &str = "
SELECT relay, provider, cap, taken, deferred
FROM warm_up
WHERE day = $1
ORDER BY relay, provider";

/// Everything that warms up on a day.
pub async fn warm_list(conn: &mut Conn, today: &str) -> Result<Vec<Warm>> {
    Ok(on!(conn, |c| sqlx::query_as(WARM_LIST).bind(today).fetch_all(c).await?))
}

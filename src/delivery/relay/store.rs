//! The table `relay`: what every daemon and command knows of the relays.

use jiff::Timestamp;
use serde::Serialize;
use sqlx::FromRow;

use crate::db::{Conn, Result, on};

/// What is known of a relay.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct Known {
    /// Its name.
    pub name: String,
    /// Since when it is left alone, but for a try now and then, in milliseconds.
    pub down_since: Option<i64>,
    /// Why.
    pub reason: Option<String>,
    /// Until when nothing is given to it, in milliseconds.
    pub paused_until: Option<i64>,
}

impl Known {
    /// Whether nothing is given to it now, in milliseconds of shared time.
    pub fn is_paused(&self, now: i64) -> bool {
        self.paused_until.is_some_and(|until| until > now)
    }

    /// Whether it may take mail again though nobody knows: it was out of reach. A refusal of us as a sender is over when a
    /// message is answered, or when somebody says so; a greeting proves nothing.
    pub(in crate::delivery) fn may_be_back(&self) -> bool {
        self.down_since.is_some_and(|since| self.paused_until.is_none_or(|until| until <= since))
    }
}

const LIST: &str = "
SELECT name, down_since, reason, paused_until
FROM relay
ORDER BY name";

/// Everything that is known; a relay that never failed is not in it.
pub async fn list(conn: &mut Conn) -> Result<Vec<Known>> {
    Ok(on!(conn, |c| sqlx::query_as(LIST).fetch_all(c).await?))
}

const DOWN: &str = "
INSERT INTO relay (name, down_since, reason)
VALUES ($1, $2, $3)
ON CONFLICT (name) DO UPDATE
SET down_since = COALESCE(relay.down_since, excluded.down_since), reason = excluded.reason";

/// It is left alone; the first moment of it is kept.
pub async fn mark_down(conn: &mut Conn, name: &str, since: Timestamp, reason: &str) -> Result<()> {
    on!(conn, |c| sqlx::query(DOWN)
        .bind(name)
        .bind(since.as_millisecond())
        .bind(reason)
        .execute(c)
        .await
        .map(drop)?);
    Ok(())
}

const UP: &str = "
UPDATE relay
SET down_since = NULL, reason = NULL
WHERE name = $1 AND down_since IS NOT NULL";

/// It takes mail again.
pub async fn mark_up(conn: &mut Conn, name: &str) -> Result<()> {
    on!(conn, |c| sqlx::query(UP).bind(name).execute(c).await.map(drop)?);
    Ok(())
}

const ANSWERED: &str = "
UPDATE relay
SET down_since = NULL, reason = NULL
WHERE name = $1
  AND down_since < $2
  -- What was on the wire when it refused us is answered after that.
  AND (paused_until IS NULL OR paused_until <= $2)";

/// It answered about a message then: whatever is marked before that, by whichever daemon, is over.
pub async fn mark_answered(conn: &mut Conn, name: &str, at: i64) -> Result<()> {
    on!(conn, |c| sqlx::query(ANSWERED).bind(name).bind(at).execute(c).await.map(drop)?);
    Ok(())
}

const GREETED: &str = "
UPDATE relay
SET down_since = NULL, reason = NULL
WHERE name = $1
  AND down_since < $2
  -- Whoever refuses us as a sender greets us all the same.
  AND (paused_until IS NULL OR paused_until <= down_since)";

/// It greeted us, and was asked for that then: that it was out of reach before is over.
pub async fn mark_greeted(conn: &mut Conn, name: &str, asked_at: i64) -> Result<()> {
    on!(conn, |c| sqlx::query(GREETED).bind(name).bind(asked_at).execute(c).await.map(drop)?);
    Ok(())
}

const BLOCKED: &str = "
INSERT INTO relay (name, down_since, reason, paused_until)
VALUES ($1, $2, $3, $4)
ON CONFLICT (name) DO UPDATE
SET down_since = COALESCE(relay.down_since, excluded.down_since), reason = excluded.reason,
    -- An operator may want it left alone for longer.
    paused_until = CASE
        WHEN relay.paused_until > excluded.paused_until THEN relay.paused_until
        ELSE excluded.paused_until
    END";

/// It refuses us as a sender: no daemon gives it anything until then, unless an operator lets it go on.
pub async fn block(
    conn: &mut Conn,
    name: &str,
    since: Timestamp,
    until: Timestamp,
    reason: &str,
) -> Result<()> {
    on!(conn, |c| sqlx::query(BLOCKED)
        .bind(name)
        .bind(since.as_millisecond())
        .bind(reason)
        .bind(until.as_millisecond())
        .execute(c)
        .await
        .map(drop)?);
    Ok(())
}

const PAUSE: &str = "
INSERT INTO relay (name, paused_until, reason)
VALUES ($1, $2, $3)
ON CONFLICT (name) DO UPDATE
-- Why it is down is told until it takes mail again, whatever an operator does meanwhile.
SET paused_until = excluded.paused_until,
    reason = CASE WHEN relay.down_since IS NULL THEN excluded.reason ELSE relay.reason END";

/// Nothing is given to it until then; `None` lets it go on.
pub async fn pause(conn: &mut Conn, name: &str, until: Option<i64>, reason: Option<&str>) -> Result<()> {
    on!(conn, |c| sqlx::query(PAUSE).bind(name).bind(until).bind(reason).execute(c).await.map(drop)?);
    Ok(())
}

//! The tables `clock`, `alarm` and `alarm_copy`.
//!
//! Reads no other room's tables: what the alarms are about is asked of the rooms.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::FromRow;

use super::alert;
use crate::clock::timestamp;
use crate::config::Alert;
use crate::db::{Conn, Result, on};

const SEEN_UNTIL: &str = "
SELECT seen_until
FROM clock
WHERE newsletter = $1";

/// Up to when the locks of a newsletter were looked at; `None` before the first time.
pub async fn seen_until(conn: &mut Conn, newsletter: &str) -> Result<Option<Timestamp>> {
    let at: Option<i64> =
        on!(conn, |c| sqlx::query_scalar(SEEN_UNTIL).bind(newsletter).fetch_optional(c).await?);
    Ok(at.map(timestamp))
}

const SEE: &str = "
INSERT INTO clock (newsletter, seen_until)
VALUES ($1, $2)
ON CONFLICT (newsletter) DO UPDATE
SET seen_until = CASE WHEN clock.seen_until < excluded.seen_until THEN excluded.seen_until ELSE clock.seen_until END";

/// Keeps that the locks of a newsletter were looked at up to here; never goes back.
pub async fn see_until(conn: &mut Conn, newsletter: &str, until: Timestamp) -> Result<()> {
    on!(conn, |c| sqlx::query(SEE)
        .bind(newsletter)
        .bind(until.as_millisecond())
        .execute(c)
        .await
        .map(drop)?);
    Ok(())
}

const RAISE: &str = "
INSERT INTO alarm (key, newsletter, subject, body, raised_at)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (key) DO NOTHING";

const COPY: &str = "
INSERT INTO alarm_copy (alarm, target, next_at)
VALUES ($1, $2, $3)
ON CONFLICT (alarm, target) DO NOTHING";

/// Something that a person must know.
#[derive(Clone, Debug)]
pub struct NewAlarm<'a> {
    /// Names the thing and the day, moment or event it began with: the same key is raised once.
    pub key: String,
    /// Whose it is; `None` for what concerns the whole house.
    pub newsletter: Option<&'a str>,
    /// What happened, in one line.
    pub subject: String,
    /// What it means and what helps.
    pub body: String,
}

/// Raises an alarm for these ears; `false` when it was raised before.
pub async fn raise(conn: &mut Conn, alarm: &NewAlarm<'_>, ears: &[Alert], now: Timestamp) -> Result<bool> {
    let rows = on!(conn, |c| sqlx::query(RAISE)
        .bind(&alarm.key)
        .bind(alarm.newsletter)
        .bind(&alarm.subject)
        .bind(&alarm.body)
        .bind(now.as_millisecond())
        .execute(c)
        .await?
        .rows_affected());
    if rows == 0 {
        return Ok(false);
    }
    for ear in ears {
        let target = alert::target(ear);
        on!(conn, |c| sqlx::query(COPY)
            .bind(&alarm.key)
            .bind(&target)
            .bind(now.as_millisecond())
            .execute(c)
            .await
            .map(drop)?);
    }
    Ok(true)
}

const OPEN_CLOCK_ALARM: &str = "
SELECT COUNT(*)
FROM alarm
WHERE key LIKE 'clock:%' AND COALESCE(newsletter, '') = $1 AND cleared_at IS NULL";

/// Whether an alarm about this newsletter's clock, or the house's, is not over.
pub async fn open_clock_alarm(conn: &mut Conn, newsletter: Option<&str>) -> Result<bool> {
    let of = newsletter.unwrap_or_default();
    let open: i64 = on!(conn, |c| sqlx::query_scalar(OPEN_CLOCK_ALARM).bind(of).fetch_one(c).await?);
    Ok(open > 0)
}

const CLEAR_CLOCK_ALARMS: &str = "
UPDATE alarm
SET cleared_at = $2
WHERE key LIKE 'clock:%' AND COALESCE(newsletter, '') = $1 AND cleared_at IS NULL";

/// Keeps that what this newsletter's clock, or the house's, was told about is over.
pub async fn clear_clock_alarms(conn: &mut Conn, newsletter: Option<&str>, now: Timestamp) -> Result<()> {
    let of = newsletter.unwrap_or_default();
    on!(conn, |c| sqlx::query(CLEAR_CLOCK_ALARMS)
        .bind(of)
        .bind(now.as_millisecond())
        .execute(c)
        .await
        .map(drop)?);
    Ok(())
}

/// One alarm on its way to one ear.
#[derive(Clone, Debug, FromRow)]
pub struct Copy {
    /// The alarm's key.
    pub alarm: String,
    /// An address, or a URL.
    pub target: String,
    /// How often it was tried.
    pub tries: i64,
    /// Whose it is.
    pub newsletter: Option<String>,
    /// What happened.
    pub subject: String,
    /// What it means and what helps.
    pub body: String,
    /// When, in milliseconds since the epoch.
    pub raised_at: i64,
}

const DUE: &str = "
SELECT alarm_copy.alarm, alarm_copy.target, alarm_copy.tries, alarm.newsletter, alarm.subject, alarm.body,
       alarm.raised_at
FROM alarm_copy
JOIN alarm ON alarm.key = alarm_copy.alarm
WHERE alarm_copy.sent_at IS NULL AND alarm_copy.next_at <= $1 AND alarm.raised_at > $2
ORDER BY alarm.raised_at, alarm_copy.alarm, alarm_copy.target
LIMIT 50";

/// The copies that are due; none of an alarm that is too old to be told.
pub async fn due_copies(conn: &mut Conn, now: Timestamp) -> Result<Vec<Copy>> {
    let (now, oldest) = (now.as_millisecond(), (now - alert::GIVEN_UP).as_millisecond());
    Ok(on!(conn, |c| sqlx::query_as(DUE).bind(now).bind(oldest).fetch_all(c).await?))
}

const CLAIM_COPY: &str = "
UPDATE alarm_copy
SET tries = tries + 1, next_at = $4
WHERE alarm = $1 AND target = $2 AND tries = $3 AND sent_at IS NULL";

/// Takes a copy to try it; `false` when another daemon took it. Until `again` nobody else tries it.
pub async fn claim_copy(conn: &mut Conn, copy: &Copy, now: Timestamp, again: Duration) -> Result<bool> {
    let again = now.as_millisecond() + i64::try_from(again.as_millis()).unwrap_or(i64::MAX / 2);
    let rows = on!(conn, |c| sqlx::query(CLAIM_COPY)
        .bind(&copy.alarm)
        .bind(&copy.target)
        .bind(copy.tries)
        .bind(again)
        .execute(c)
        .await?
        .rows_affected());
    Ok(rows == 1)
}

const HEARD: &str = "
UPDATE alarm_copy
SET sent_at = $3
WHERE alarm = $1 AND target = $2";

/// Keeps that a copy was heard.
pub async fn mark_heard(conn: &mut Conn, copy: &Copy, now: Timestamp) -> Result<()> {
    on!(conn, |c| sqlx::query(HEARD)
        .bind(&copy.alarm)
        .bind(&copy.target)
        .bind(now.as_millisecond())
        .execute(c)
        .await
        .map(drop)?);
    Ok(())
}

/// An alarm as it is listed.
#[derive(Clone, Debug, FromRow, serde::Serialize)]
pub struct Alarm {
    /// Its key.
    pub key: String,
    /// Whose it is.
    pub newsletter: Option<String>,
    /// What happened.
    pub subject: String,
    /// When, in milliseconds since the epoch.
    pub raised_at: i64,
}

const ALARMS: &str = "
SELECT key, newsletter, subject, raised_at
FROM alarm
ORDER BY raised_at DESC, key
LIMIT $1";

/// The newest alarms.
pub async fn alarms(conn: &mut Conn, limit: i64) -> Result<Vec<Alarm>> {
    Ok(on!(conn, |c| sqlx::query_as(ALARMS).bind(limit).fetch_all(c).await?))
}

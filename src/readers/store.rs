//! The tables `subscriber`, `subscription` and `suppression`.
//!
//! Reads no other room's tables. Lists travel as one JSON text and are taken apart by the engine.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use serde::Serialize;
use sqlx::FromRow;

use super::links::Links;
use super::{Address, SubscriberId, SubscriptionId};
use crate::db::{Conn, Engine, Result, on};

/// A person, as they are shown.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct Subscriber {
    /// Their id.
    pub id: i64,
    /// Their address, in their own spelling.
    pub address: String,
    /// Their name.
    pub name: Option<String>,
    /// Their language.
    pub language: Option<String>,
    /// Their time zone.
    pub timezone: Option<String>,
    /// Their morning hour.
    pub send_at: Option<String>,
    /// Since when we know them, in milliseconds.
    pub created_at: i64,
}

/// A standing wish, as it is shown.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct Subscription {
    /// Its id.
    pub id: i64,
    /// Whose it is.
    pub subscriber: i64,
    /// For which newsletter.
    pub newsletter: String,
    /// Where it stands.
    pub status: String,
    /// Its own morning hour.
    pub send_at: Option<String>,
    /// When the reader said yes.
    pub consented_at: Option<String>,
    /// Where.
    pub consent_source: Option<String>,
    /// In which words.
    pub consent_text: Option<String>,
    /// When it was confirmed, in milliseconds.
    pub confirmed_at: Option<i64>,
    /// When it ended, in milliseconds.
    pub ended_at: Option<i64>,
    /// By which door.
    pub ended_by: Option<String>,
}

/// An address that must not be written to.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct Suppression {
    /// The address's key; `None` once its owner was erased.
    pub key: Option<String>,
    /// Why.
    pub reason: String,
    /// More of it.
    pub note: Option<String>,
    /// Since when, in milliseconds.
    pub since: i64,
}

fn pick(conn: &Conn, sqlite: &'static str, postgres: &'static str) -> &'static str {
    match conn.engine() {
        Engine::Sqlite => sqlite,
        Engine::Postgres => postgres,
    }
}

fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("texts and numbers always serialise")
}

const FIND: &str = "
SELECT id, address, name, language, timezone, send_at, created_at
FROM subscriber
WHERE key = $1";

/// The person of this address.
pub async fn find(conn: &mut Conn, address: &Address) -> Result<Option<Subscriber>> {
    Ok(on!(conn, |c| sqlx::query_as(FIND).bind(address.key()).fetch_optional(c).await?))
}

const BY_ID: &str = "
SELECT id, address, name, language, timezone, send_at, created_at
FROM subscriber
WHERE id = $1";

/// The person of this id.
pub async fn find_by_id(conn: &mut Conn, id: SubscriberId) -> Result<Option<Subscriber>> {
    Ok(on!(conn, |c| sqlx::query_as(BY_ID).bind(id.0).fetch_optional(c).await?))
}

const LIST: &str = "
SELECT id, address, name, language, timezone, send_at, created_at
FROM subscriber
WHERE id > $1
ORDER BY id
LIMIT $2";

/// A page of people after this id.
pub async fn list(conn: &mut Conn, after: i64, limit: i64) -> Result<Vec<Subscriber>> {
    Ok(on!(conn, |c| sqlx::query_as(LIST).bind(after).bind(limit).fetch_all(c).await?))
}

const SUBSCRIPTIONS: &str = "
SELECT id, subscriber, newsletter, status, send_at, consented_at, consent_source, consent_text, confirmed_at,
       ended_at, ended_by
FROM subscription
WHERE subscriber >= $1 AND subscriber <= $2
ORDER BY subscriber, newsletter";

/// The wishes of the people from the first id to the last.
pub async fn subscriptions(conn: &mut Conn, first: i64, last: i64) -> Result<Vec<Subscription>> {
    Ok(on!(conn, |c| sqlx::query_as(SUBSCRIPTIONS).bind(first).bind(last).fetch_all(c).await?))
}

const SUBSCRIPTION: &str = "
SELECT id, subscriber, newsletter, status, send_at, consented_at, consent_source, consent_text, confirmed_at,
       ended_at, ended_by
FROM subscription
WHERE id = $1";

/// The wish of this id.
pub async fn find_subscription(conn: &mut Conn, id: SubscriptionId) -> Result<Option<Subscription>> {
    Ok(on!(conn, |c| sqlx::query_as(SUBSCRIPTION).bind(id.0).fetch_optional(c).await?))
}

const END: &str = "
UPDATE subscription
SET status = 'ended', ended_at = $2, ended_by = $3
WHERE id = $1 AND status <> 'ended'";

/// Ends a wish; `false` when it had ended before, or is gone.
pub async fn end(conn: &mut Conn, id: SubscriptionId, door: &str, now: Timestamp) -> Result<bool> {
    let rows = on!(conn, |c| sqlx::query(END)
        .bind(id.0)
        .bind(now.as_millisecond())
        .bind(door)
        .execute(c)
        .await?
        .rows_affected());
    Ok(rows == 1)
}

const AGAIN: &str = "
UPDATE subscription
SET status = 'active', ended_at = NULL, ended_by = NULL, confirmed_at = $2
WHERE id = $1 AND (ended_by IS NULL OR ended_by <> 'complaint')";

/// Makes a wish active by the reader's own act: a confirmation, or a change of mind on their own page.
pub async fn activate(conn: &mut Conn, id: SubscriptionId, now: Timestamp) -> Result<()> {
    on!(conn, |c| sqlx::query(AGAIN).bind(id.0).bind(now.as_millisecond()).execute(c).await.map(drop)?);
    Ok(())
}

const PREFER: &str = "
UPDATE subscriber
SET language = $2, timezone = $3, send_at = $4, updated_at = $5
WHERE id = $1";

/// Keeps what a reader chose on their own page.
pub async fn prefer(
    conn: &mut Conn,
    id: SubscriberId,
    language: Option<&str>,
    timezone: Option<&str>,
    send_at: Option<&str>,
    now: Timestamp,
) -> Result<()> {
    on!(conn, |c| sqlx::query(PREFER)
        .bind(id.0)
        .bind(language)
        .bind(timezone)
        .bind(send_at)
        .bind(now.as_millisecond())
        .execute(c)
        .await
        .map(drop)?);
    Ok(())
}

const COUNT_ACTIVE: &str = "
SELECT COUNT(*)
FROM subscription
WHERE newsletter = $1 AND status = 'active'";

/// How many readers a newsletter has.
pub async fn count_active(conn: &mut Conn, newsletter: &str) -> Result<i64> {
    Ok(on!(conn, |c| sqlx::query_scalar(COUNT_ACTIVE).bind(newsletter).fetch_one(c).await?))
}

const LANGUAGES: &str = "
SELECT DISTINCT subscriber.language
FROM subscription
JOIN subscriber ON subscriber.id = subscription.subscriber
WHERE subscription.newsletter = $1 AND subscription.status = 'active' AND subscriber.language IS NOT NULL";

/// The languages that a newsletter's readers gave.
pub async fn languages(conn: &mut Conn, newsletter: &str) -> Result<Vec<String>> {
    Ok(on!(conn, |c| sqlx::query_scalar(LANGUAGES).bind(newsletter).fetch_all(c).await?))
}

const SUPPRESS: &str = "
INSERT INTO suppression (key_hash, key, reason, note, since)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (key_hash) DO NOTHING";

/// Keeps an address from being written to; `false` when it was before.
pub async fn suppress(
    conn: &mut Conn,
    links: &Links,
    address: &Address,
    reason: &str,
    note: Option<&str>,
    now: Timestamp,
) -> Result<bool> {
    let hash = links.key_hash(address.key());
    let rows = on!(conn, |c| sqlx::query(SUPPRESS)
        .bind(&hash)
        .bind(address.key())
        .bind(reason)
        .bind(note)
        .bind(now.as_millisecond())
        .execute(c)
        .await?
        .rows_affected());
    Ok(rows == 1)
}

const SUPPRESS_SUBSCRIBER: &str = "
INSERT INTO suppression (key_hash, key, reason, note, since)
SELECT key_hash, key, $2, $3, $4
FROM subscriber
WHERE id = $1
ON CONFLICT (key_hash) DO NOTHING";

/// Keeps a person from being written to, by their id.
pub async fn suppress_subscriber(
    conn: &mut Conn,
    id: SubscriberId,
    reason: &str,
    note: &str,
    now: Timestamp,
) -> Result<()> {
    on!(conn, |c| sqlx::query(SUPPRESS_SUBSCRIBER)
        .bind(id.0)
        .bind(reason)
        .bind(note)
        .bind(now.as_millisecond())
        .execute(c)
        .await
        .map(drop)?);
    Ok(())
}

const UNSUPPRESS: &str = "
DELETE FROM suppression
WHERE key_hash = $1 AND reason <> 'erased'";

const LET_IN: &str = "
UPDATE subscriber
SET unsuppressed_at = $2
WHERE key = $1";

/// Lets an address be written to again, whatever servers said of it before; `false` when it was not suppressed, or its
/// owner was erased.
pub async fn unsuppress(conn: &mut Conn, links: &Links, address: &Address, now: Timestamp) -> Result<bool> {
    let hash = links.key_hash(address.key());
    let rows = on!(conn, |c| sqlx::query(UNSUPPRESS).bind(&hash).execute(c).await?.rows_affected());
    if rows == 0 {
        return Ok(false);
    }
    on!(conn, |c| sqlx::query(LET_IN)
        .bind(address.key())
        .bind(now.as_millisecond())
        .execute(c)
        .await
        .map(drop)?);
    Ok(true)
}

const SUPPRESSION: &str = "
SELECT key, reason, note, since
FROM suppression
WHERE key_hash = $1";

/// Why an address must not be written to.
pub async fn find_suppression(
    conn: &mut Conn,
    links: &Links,
    address: &Address,
) -> Result<Option<Suppression>> {
    let hash = links.key_hash(address.key());
    Ok(on!(conn, |c| sqlx::query_as(SUPPRESSION).bind(&hash).fetch_optional(c).await?))
}

const SUPPRESSIONS: &str = "
SELECT key, reason, note, since
FROM suppression
ORDER BY id";

/// Every address that must not be written to.
pub async fn suppressions(conn: &mut Conn) -> Result<Vec<Suppression>> {
    Ok(on!(conn, |c| sqlx::query_as(SUPPRESSIONS).fetch_all(c).await?))
}

const ERASE_SUPPRESSION: &str = "
INSERT INTO suppression (key_hash, key, reason, note, since)
VALUES ($1, NULL, 'erased', NULL, $2)
ON CONFLICT (key_hash) DO UPDATE
SET key = NULL, reason = 'erased', note = NULL";

const ERASE: &str = "
DELETE FROM subscriber
WHERE key = $1";

/// Forgets a person; only a keyed hash stays, so that nobody adds them again. The ledger's own traces are emptied
/// by whoever calls this.
pub async fn erase(conn: &mut Conn, links: &Links, address: &Address, now: Timestamp) -> Result<bool> {
    let hash = links.key_hash(address.key());
    on!(conn, |c| sqlx::query(ERASE_SUPPRESSION)
        .bind(&hash)
        .bind(now.as_millisecond())
        .execute(c)
        .await
        .map(drop)?);
    Ok(on!(conn, |c| sqlx::query(ERASE).bind(address.key()).execute(c).await?.rows_affected()) == 1)
}

/// One person of an import, checked.
#[derive(Clone, Debug, Serialize)]
pub struct NewSubscriber {
    /// Lower-case NFC local part @ A-label domain.
    pub key: String,
    /// The same under our key.
    pub key_hash: String,
    /// Their own spelling.
    pub address: String,
    /// Their name, where it was given; what is `None` stays as it was.
    pub name: Option<String>,
    /// Their language.
    pub language: Option<String>,
    /// Their time zone.
    pub timezone: Option<String>,
    /// Their morning hour.
    pub send_at: Option<String>,
}

#[derive(FromRow)]
struct KnownRow {
    id: i64,
    key: String,
    name: Option<String>,
    language: Option<String>,
    timezone: Option<String>,
    send_at: Option<String>,
}

const KNOWN_SQLITE: &str = "
SELECT id, key, name, language, timezone, send_at
FROM subscriber
WHERE key IN (SELECT value FROM json_each($1))";

const KNOWN_POSTGRES: &str = "
SELECT id, key, name, language, timezone, send_at
FROM subscriber
WHERE key = ANY (SELECT jsonb_array_elements_text(CAST($1 AS JSONB)))";

const SUPPRESSED_SQLITE: &str = "
SELECT key_hash
FROM suppression
WHERE key_hash IN (SELECT value FROM json_each($1))";

const SUPPRESSED_POSTGRES: &str = "
SELECT key_hash
FROM suppression
WHERE key_hash = ANY (SELECT jsonb_array_elements_text(CAST($1 AS JSONB)))";

/// Which of these are suppressed.
pub async fn suppressed(conn: &mut Conn, people: &[NewSubscriber]) -> Result<HashSet<String>> {
    let sql = pick(conn, SUPPRESSED_SQLITE, SUPPRESSED_POSTGRES);
    let list = json(&people.iter().map(|person| &person.key_hash).collect::<Vec<_>>());
    let found: Vec<String> = on!(conn, |c| sqlx::query_scalar(sql).bind(&list).fetch_all(c).await?);
    Ok(found.into_iter().collect())
}

const UPSERT_SQLITE: &str = "
INSERT INTO subscriber (key, key_hash, address, name, language, timezone, send_at, created_at, updated_at)
SELECT json_extract(value, '$.key'), json_extract(value, '$.key_hash'), json_extract(value, '$.address'),
       json_extract(value, '$.name'), json_extract(value, '$.language'), json_extract(value, '$.timezone'),
       json_extract(value, '$.send_at'), $2, $2
FROM json_each($1)
WHERE true
ON CONFLICT (key) DO UPDATE
SET name = COALESCE(excluded.name, subscriber.name), language = COALESCE(excluded.language, subscriber.language),
    timezone = COALESCE(excluded.timezone, subscriber.timezone), send_at = COALESCE(excluded.send_at, subscriber.send_at),
    updated_at = excluded.updated_at";

const UPSERT_POSTGRES: &str = "
INSERT INTO subscriber (key, key_hash, address, name, language, timezone, send_at, created_at, updated_at)
SELECT value->>'key', value->>'key_hash', value->>'address', value->>'name', value->>'language',
       value->>'timezone', value->>'send_at', $2, $2
FROM jsonb_array_elements(CAST($1 AS JSONB))
ON CONFLICT (key) DO UPDATE
SET name = COALESCE(excluded.name, subscriber.name), language = COALESCE(excluded.language, subscriber.language),
    timezone = COALESCE(excluded.timezone, subscriber.timezone), send_at = COALESCE(excluded.send_at, subscriber.send_at),
    updated_at = excluded.updated_at";

/// What became of one person of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Not known before.
    New,
    /// Known, and something is different now.
    Updated,
    /// Known, and nothing is.
    Unchanged,
}

/// Adds people, or brings what is known of them up to date; returns id and change by key. Keys must be distinct.
pub async fn upsert(
    conn: &mut Conn,
    people: &[NewSubscriber],
    now: Timestamp,
) -> Result<HashMap<String, (SubscriberId, Change)>> {
    let known_sql = pick(conn, KNOWN_SQLITE, KNOWN_POSTGRES);
    let keys = json(&people.iter().map(|person| &person.key).collect::<Vec<_>>());
    let known: Vec<KnownRow> = on!(conn, |c| sqlx::query_as(known_sql).bind(&keys).fetch_all(c).await?);
    let known: HashMap<String, KnownRow> = known.into_iter().map(|row| (row.key.clone(), row)).collect();
    let differs = |new: &Option<String>, old: &Option<String>| new.is_some() && new != old;
    let mut changes = HashMap::new();
    let mut write = Vec::new();
    for person in people {
        let change = match known.get(&person.key) {
            None => Change::New,
            Some(row)
                if differs(&person.name, &row.name)
                    || differs(&person.language, &row.language)
                    || differs(&person.timezone, &row.timezone)
                    || differs(&person.send_at, &row.send_at) =>
            {
                Change::Updated
            }
            Some(_) => Change::Unchanged,
        };
        if change != Change::Unchanged {
            write.push(person);
        }
        changes.insert(person.key.clone(), change);
    }
    let mut ids: HashMap<String, i64> = known.into_iter().map(|(key, row)| (key, row.id)).collect();
    if !write.is_empty() {
        let sql = pick(conn, UPSERT_SQLITE, UPSERT_POSTGRES);
        let list = json(&write);
        on!(conn, |c| sqlx::query(sql).bind(&list).bind(now.as_millisecond()).execute(c).await.map(drop)?);
        let rows: Vec<KnownRow> = on!(conn, |c| sqlx::query_as(known_sql).bind(&keys).fetch_all(c).await?);
        ids.extend(rows.into_iter().map(|row| (row.key, row.id)));
    }
    Ok(changes
        .into_iter()
        .filter_map(|(key, change)| Some((key.clone(), (SubscriberId(*ids.get(&key)?), change))))
        .collect())
}

/// One wish of an import, checked.
#[derive(Clone, Debug, Serialize)]
pub struct NewSubscription {
    /// Whose.
    pub subscriber: i64,
    /// For which newsletter.
    pub newsletter: String,
    /// Where it stands.
    pub status: &'static str,
    /// When the reader said yes.
    pub consented_at: Option<String>,
    /// Where.
    pub consent_source: Option<String>,
    /// In which words.
    pub consent_text: Option<String>,
}

const STANDING_SQLITE: &str = "
SELECT subscriber, newsletter, status
FROM subscription
WHERE subscriber IN (SELECT json_extract(value, '$.subscriber') FROM json_each($1))";

const STANDING_POSTGRES: &str = "
SELECT subscriber, newsletter, status
FROM subscription
WHERE subscriber = ANY (SELECT CAST(value->>'subscriber' AS BIGINT) FROM jsonb_array_elements(CAST($1 AS JSONB)))";

/// How the wishes of these people stand before an import: what has ended stays so (P4).
pub async fn standing(conn: &mut Conn, wishes: &[NewSubscription]) -> Result<HashMap<(i64, String), String>> {
    let sql = pick(conn, STANDING_SQLITE, STANDING_POSTGRES);
    let list = json(wishes);
    let rows: Vec<(i64, String, String)> =
        on!(conn, |c| sqlx::query_as(sql).bind(&list).fetch_all(c).await?);
    Ok(rows.into_iter().map(|(subscriber, newsletter, status)| ((subscriber, newsletter), status)).collect())
}

const SUBSCRIBE_SQLITE: &str = "
INSERT INTO subscription (subscriber, newsletter, status, consented_at, consent_source, consent_text, created_at)
SELECT json_extract(value, '$.subscriber'), json_extract(value, '$.newsletter'), json_extract(value, '$.status'),
       json_extract(value, '$.consented_at'), json_extract(value, '$.consent_source'),
       json_extract(value, '$.consent_text'), $2
FROM json_each($1)
WHERE true
ON CONFLICT (subscriber, newsletter) DO UPDATE
SET status = CASE WHEN subscription.status = 'active' AND excluded.status = 'pending' THEN 'active'
                  ELSE excluded.status END,
    consented_at = COALESCE(excluded.consented_at, subscription.consented_at),
    consent_source = COALESCE(excluded.consent_source, subscription.consent_source),
    consent_text = COALESCE(excluded.consent_text, subscription.consent_text)
WHERE subscription.status <> 'ended'";

const SUBSCRIBE_POSTGRES: &str = "
INSERT INTO subscription (subscriber, newsletter, status, consented_at, consent_source, consent_text, created_at)
SELECT CAST(value->>'subscriber' AS BIGINT), value->>'newsletter', value->>'status', value->>'consented_at',
       value->>'consent_source', value->>'consent_text', $2
FROM jsonb_array_elements(CAST($1 AS JSONB))
ON CONFLICT (subscriber, newsletter) DO UPDATE
SET status = CASE WHEN subscription.status = 'active' AND excluded.status = 'pending' THEN 'active'
                  ELSE excluded.status END,
    consented_at = COALESCE(excluded.consented_at, subscription.consented_at),
    consent_source = COALESCE(excluded.consent_source, subscription.consent_source),
    consent_text = COALESCE(excluded.consent_text, subscription.consent_text)
WHERE subscription.status <> 'ended'";

/// Adds wishes, or brings them up to date; never one that has ended.
pub async fn subscribe(conn: &mut Conn, wishes: &[NewSubscription], now: Timestamp) -> Result<()> {
    let sql = pick(conn, SUBSCRIBE_SQLITE, SUBSCRIBE_POSTGRES);
    let list = json(wishes);
    on!(conn, |c| sqlx::query(sql).bind(&list).bind(now.as_millisecond()).execute(c).await.map(drop)?);
    Ok(())
}

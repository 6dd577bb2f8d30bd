//! Pages of readers and suppressions, read here and written there.

use serde::Serialize;
use sqlx::FromRow;

use crate::db::{Conn, Engine, Result, on};

/// An active reader of a newsletter.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct Reader {
    /// The subscriber's id.
    pub id: i64,
    key: String,
    key_hash: String,
    address: String,
    language: Option<String>,
    timezone: Option<String>,
    send_at: Option<String>,
    wish: i64,
    own_hour: Option<String>,
}

const READERS: &str = "
SELECT subscriber.id, subscriber.key, subscriber.key_hash, subscriber.address, subscriber.language,
       subscriber.timezone, subscriber.send_at, subscription.id AS wish, subscription.send_at AS own_hour
FROM subscription
JOIN subscriber ON subscriber.id = subscription.subscriber
WHERE subscription.newsletter = $1 AND subscription.status = 'active' AND subscription.subscriber > $2
ORDER BY subscription.subscriber
LIMIT $3";

/// The active readers of a newsletter behind this one.
pub async fn readers_after(conn: &mut Conn, newsletter: &str, after: i64, limit: i64) -> Result<Vec<Reader>> {
    Ok(on!(conn, |c| sqlx::query_as(READERS).bind(newsletter).bind(after).bind(limit).fetch_all(c).await?))
}

// The engines take a list apart in their own ways; all else is the same text.
const SUBSCRIBERS_SQLITE: &str = "
INSERT INTO subscriber (id, key, key_hash, address, language, timezone, send_at, created_at, updated_at)
SELECT value->>'id', value->>'key', value->>'key_hash', value->>'address', value->>'language',
       value->>'timezone', value->>'send_at', 0, 0
FROM json_each($1)";

const SUBSCRIBERS_POSTGRES: &str = "
INSERT INTO subscriber (id, key, key_hash, address, language, timezone, send_at, created_at, updated_at)
SELECT CAST(value->>'id' AS BIGINT), value->>'key', value->>'key_hash', value->>'address', value->>'language',
       value->>'timezone', value->>'send_at', 0, 0
FROM jsonb_array_elements(CAST($1 AS JSONB))";

const WISHES_SQLITE: &str = "
INSERT INTO subscription (id, subscriber, newsletter, status, send_at, created_at)
SELECT value->>'wish', value->>'id', $2, 'active', value->>'own_hour', 0
FROM json_each($1)";

const WISHES_POSTGRES: &str = "
INSERT INTO subscription (id, subscriber, newsletter, status, send_at, created_at)
SELECT CAST(value->>'wish' AS BIGINT), CAST(value->>'id' AS BIGINT), $2, 'active', value->>'own_hour', 0
FROM jsonb_array_elements(CAST($1 AS JSONB))";

/// Adds these to a newsletter's readers, where there are none of these ids yet.
pub async fn add(conn: &mut Conn, newsletter: &str, readers: &[Reader]) -> Result<()> {
    let (people, wishes) = match conn.engine() {
        Engine::Sqlite => (SUBSCRIBERS_SQLITE, WISHES_SQLITE),
        Engine::Postgres => (SUBSCRIBERS_POSTGRES, WISHES_POSTGRES),
    };
    let list = json(readers);
    on!(conn, |c| sqlx::query(people).bind(&list).execute(c).await.map(drop)?);
    on!(conn, |c| sqlx::query(wishes).bind(&list).bind(newsletter).execute(c).await.map(drop)?);
    Ok(())
}

/// A suppression, as far as a morning reads it.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct Suppressed {
    /// Its id.
    pub id: i64,
    key_hash: String,
    reason: String,
    since: i64,
}

const SUPPRESSIONS: &str = "
SELECT id, key_hash, reason, since
FROM suppression
WHERE id > $1
ORDER BY id
LIMIT $2";

/// The suppressions behind this one.
pub async fn suppressions_after(conn: &mut Conn, after: i64, limit: i64) -> Result<Vec<Suppressed>> {
    Ok(on!(conn, |c| sqlx::query_as(SUPPRESSIONS).bind(after).bind(limit).fetch_all(c).await?))
}

const SUPPRESS_SQLITE: &str = "
INSERT INTO suppression (id, key_hash, reason, since)
SELECT value->>'id', value->>'key_hash', value->>'reason', value->>'since'
FROM json_each($1)";

const SUPPRESS_POSTGRES: &str = "
INSERT INTO suppression (id, key_hash, reason, since)
SELECT CAST(value->>'id' AS BIGINT), value->>'key_hash', value->>'reason', CAST(value->>'since' AS BIGINT)
FROM jsonb_array_elements(CAST($1 AS JSONB))";

/// Suppresses these, where there are none of these ids yet.
pub async fn suppress(conn: &mut Conn, suppressed: &[Suppressed]) -> Result<()> {
    let sql = match conn.engine() {
        Engine::Sqlite => SUPPRESS_SQLITE,
        Engine::Postgres => SUPPRESS_POSTGRES,
    };
    let list = json(suppressed);
    on!(conn, |c| sqlx::query(sql).bind(&list).execute(c).await.map(drop)?);
    Ok(())
}

fn json<T: Serialize>(list: &[T]) -> String {
    serde_json::to_string(list).expect("texts and numbers always serialise")
}

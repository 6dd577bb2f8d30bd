//! Made-up readers: one set-based statement for each table, on an empty scratch database.

use crate::db::{Conn, Engine, Result, on};

// Series are made in their own ways; all else is the same text. Zones and hours vary as on a real list; the domains
// end in .example, which nobody can own (RFC 2606).
const READERS_SQLITE: &str = "
WITH RECURSIVE series (n) AS (
    SELECT $1 + 0
    UNION ALL
    SELECT n + 1 FROM series WHERE n < $2
)
INSERT INTO subscriber (key, key_hash, address, timezone, send_at, created_at, updated_at)
SELECT 'reader.' || n || '@d' || (n % 499) || '.example', 'sample-' || n,
       'reader.' || n || '@d' || (n % 499) || '.example',
       CASE n % 7 WHEN 0 THEN 'Africa/Dakar' WHEN 1 THEN 'Africa/Abidjan' WHEN 2 THEN 'Africa/Kinshasa'
                  WHEN 3 THEN 'Africa/Casablanca' WHEN 4 THEN 'Europe/Paris' ELSE NULL END,
       CASE WHEN n % 11 = 0 THEN '07:15' ELSE NULL END, $3, $3
FROM series";

const READERS_POSTGRES: &str = "
INSERT INTO subscriber (key, key_hash, address, timezone, send_at, created_at, updated_at)
SELECT 'reader.' || n || '@d' || (n % 499) || '.example', 'sample-' || n,
       'reader.' || n || '@d' || (n % 499) || '.example',
       CASE n % 7 WHEN 0 THEN 'Africa/Dakar' WHEN 1 THEN 'Africa/Abidjan' WHEN 2 THEN 'Africa/Kinshasa'
                  WHEN 3 THEN 'Africa/Casablanca' WHEN 4 THEN 'Europe/Paris' ELSE NULL END,
       CASE WHEN n % 11 = 0 THEN '07:15' ELSE NULL END, $3, $3
FROM generate_series($1, $2) AS series (n)";

const WISHES: &str = "
INSERT INTO subscription (subscriber, newsletter, status, created_at)
SELECT subscriber.id, $1, 'active', $2
FROM subscriber
WHERE NOT EXISTS (SELECT 1 FROM subscription
                  WHERE subscription.subscriber = subscriber.id AND subscription.newsletter = $1)";

/// Makes the readers `first` to `last`, subscribed to this newsletter with everybody who is not yet.
pub async fn make(conn: &mut Conn, newsletter: &str, first: i64, last: i64, at: i64) -> Result<()> {
    let sql = match conn.engine() {
        Engine::Sqlite => READERS_SQLITE,
        Engine::Postgres => READERS_POSTGRES,
    };
    on!(conn, |c| sqlx::query(sql).bind(first).bind(last).bind(at).execute(c).await.map(drop)?);
    on!(conn, |c| sqlx::query(WISHES).bind(newsletter).bind(at).execute(c).await.map(drop)?);
    Ok(())
}

//! What the ledger knows of readers: addresses and domains that turned out to be dead, where they are, and how one of
//! them is forgotten.

use sqlx::FromRow;

use super::pick;
use crate::db::{Conn, Error, on};
use crate::delivery::Result;
use crate::readers::SubscriberId;

/// An address that the ledger learned is dead.
#[derive(Clone, Debug, FromRow)]
pub struct Dead {
    /// Its owner.
    pub subscriber: i64,
    /// What the relay said.
    pub reason: String,
}

const DEAD: &str = "
SELECT delivery.subscriber, COALESCE(attempt.text, '') AS reason
FROM attempt
JOIN delivery ON delivery.id = attempt.delivery
JOIN subscriber ON subscriber.id = delivery.subscriber
WHERE attempt.class = 'dead' AND attempt.address = subscriber.address
  AND NOT EXISTS (SELECT 1 FROM suppression WHERE suppression.key_hash = subscriber.key_hash)
ORDER BY attempt.delivery
LIMIT $1";

// A domain that takes no mail on three days (by their dates in UTC), with nothing accepted there since.
const GONE_DOMAINS: &str = "
SELECT delivery.subscriber, COALESCE(MAX(attempt.text), '') AS reason
FROM attempt
JOIN delivery ON delivery.id = attempt.delivery
JOIN subscriber ON subscriber.id = delivery.subscriber
WHERE attempt.class = 'domain' AND attempt.address = subscriber.address
  AND NOT EXISTS (SELECT 1 FROM suppression WHERE suppression.key_hash = subscriber.key_hash)
  AND NOT EXISTS (SELECT 1 FROM delivery AS other
                  WHERE other.subscriber = delivery.subscriber AND other.accepted_at > attempt.at)
GROUP BY delivery.subscriber
HAVING COUNT(DISTINCT attempt.at / 86400000) >= 3
ORDER BY delivery.subscriber
LIMIT $1";

/// Subscribers whose address does not exist, as a relay said, or whose domain took no mail on three days, and who are
/// not suppressed yet.
pub async fn dead_addresses(conn: &mut Conn, limit: i64) -> Result<Vec<Dead>> {
    let mut dead: Vec<Dead> =
        on!(conn, |c| sqlx::query_as(DEAD).bind(limit).fetch_all(c).await).map_err(Error::from)?;
    let gone: Vec<Dead> =
        on!(conn, |c| sqlx::query_as(GONE_DOMAINS).bind(limit).fetch_all(c).await).map_err(Error::from)?;
    dead.extend(gone);
    Ok(dead)
}

const DOMAINS_SQLITE: &str = "
SELECT substr(subscriber.key, instr(subscriber.key, '@') + 1) AS domain, COUNT(*)
FROM subscription
JOIN subscriber ON subscriber.id = subscription.subscriber
WHERE subscription.newsletter = $1 AND subscription.status = 'active'
GROUP BY 1
ORDER BY 2 DESC, 1
LIMIT $2";

const DOMAINS_POSTGRES: &str = "
SELECT substring(subscriber.key FROM position('@' IN subscriber.key) + 1) AS domain, COUNT(*)
FROM subscription
JOIN subscriber ON subscriber.id = subscription.subscriber
WHERE subscription.newsletter = $1 AND subscription.status = 'active'
GROUP BY 1
ORDER BY 2 DESC, 1
LIMIT $2";

/// The domains of a newsletter's readers, those with the most first, and how many there are in each.
pub async fn domains(conn: &mut Conn, newsletter: &str, limit: i64) -> Result<Vec<(String, i64)>> {
    let sql = pick(conn, DOMAINS_SQLITE, DOMAINS_POSTGRES);
    Ok(on!(conn, |c| sqlx::query_as(sql).bind(newsletter).bind(limit).fetch_all(c).await)
        .map_err(Error::from)?)
}

const FORGET: &str = "
UPDATE attempt
-- Servers repeat the address in what they say.
SET address = '', consent = NULL, text = NULL
-- Edition by edition, because that is how deliveries are found by their reader.
WHERE delivery IN (SELECT id FROM delivery WHERE edition IN (SELECT id FROM edition) AND subscriber = $1)";

/// Empties a person's address in the ledger, and what servers said of it: erasure leaves the rows, with codes and
/// classes, and takes the name.
pub async fn forget(conn: &mut Conn, subscriber: SubscriberId) -> Result<()> {
    on!(conn, |c| sqlx::query(FORGET).bind(subscriber.0).execute(c).await.map(drop)).map_err(Error::from)?;
    Ok(())
}

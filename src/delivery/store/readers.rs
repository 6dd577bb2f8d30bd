//! What the ledger knows of readers: addresses and domains that turned out to be dead or closed, where they are, and how
//! one of them is forgotten.

use sqlx::FromRow;

use super::pick;
use crate::db::{Conn, Error, on};
use crate::delivery::Result;
use crate::readers::SubscriberId;

/// An address that the ledger learned takes no mail any more.
#[derive(Clone, Debug, FromRow)]
pub struct Dead {
    /// Its owner.
    pub subscriber: i64,
    /// What the relay said.
    pub reason: String,
}

/// What was said so long ago says nothing any more of who is alive, in milliseconds. A reader who is written to each week
/// was written to often enough by then.
const REMEMBERED: i64 = 28 * 86_400_000;
/// No edition is under way for longer.
const UNDER_WAY: i64 = 7 * 86_400_000;

// From what was said lately, by its own index, and by keys from there. CROSS JOIN is SQLite's word for "in this order".
const DEAD: &str = "
SELECT delivery.subscriber, COALESCE(attempt.text, '') AS reason
FROM attempt
CROSS JOIN delivery
CROSS JOIN subscriber
WHERE attempt.class = 'dead' AND attempt.at > $2
  AND delivery.id = attempt.delivery AND subscriber.id = delivery.subscriber
  AND attempt.address = subscriber.address
  AND attempt.at >= COALESCE(subscriber.unsuppressed_at, 0)
  AND NOT EXISTS (SELECT 1 FROM suppression WHERE suppression.key_hash = subscriber.key_hash)
ORDER BY attempt.at
LIMIT $1";

// Who was turned away with a class so often, and was sent nothing that was accepted since. Whether something was is asked
// edition by edition, because that is how deliveries are found by their reader, and only of those editions that can tell.
macro_rules! turned_away {
    ($class:literal, $often:literal) => {
        concat!(
            "
WITH refused AS MATERIALIZED (
    SELECT delivery.subscriber, delivery.edition, attempt.at, attempt.text
    FROM attempt
    CROSS JOIN delivery
    CROSS JOIN subscriber
    WHERE attempt.class = '",
            $class,
            "' AND attempt.at > $2
      AND delivery.id = attempt.delivery AND subscriber.id = delivery.subscriber
      AND attempt.address = subscriber.address
      AND attempt.at >= COALESCE(subscriber.unsuppressed_at, 0)
      AND NOT EXISTS (SELECT 1 FROM suppression WHERE suppression.key_hash = subscriber.key_hash)
), often AS MATERIALIZED (
    SELECT many.subscriber,
           (SELECT MAX(other.accepted_at)
            FROM edition
            CROSS JOIN delivery AS other
            WHERE edition.locked_at > $3
              AND other.edition = edition.id AND other.subscriber = many.subscriber) AS accepted_at
    FROM (SELECT subscriber
          FROM refused
          GROUP BY subscriber
          HAVING ",
            $often,
            ") AS many
)
SELECT refused.subscriber, COALESCE(MAX(refused.text), '') AS reason
FROM often
JOIN refused ON refused.subscriber = often.subscriber
WHERE often.accepted_at IS NULL OR refused.at >= often.accepted_at
GROUP BY refused.subscriber
HAVING ",
            $often,
            "
ORDER BY refused.subscriber
LIMIT $1"
        )
    };
}

// By their dates in UTC.
const GONE_DOMAINS: &str = turned_away!("domain", "COUNT(DISTINCT refused.at / 86400000) >= 3");

// An address may be closed for a moment: however often that is said of one edition, or of those of one morning, the next one
// asks again.
const DISABLED: &str = turned_away!(
    "disabled",
    "COUNT(DISTINCT refused.edition) >= 2 AND COUNT(DISTINCT refused.at / 86400000) >= 2"
);

/// Subscribers whose address does not exist, as a relay said within the last weeks, or took no mail in two editions of
/// two days, or whose domain took none on three days, and who are not suppressed yet; at most so many of each. Who lets somebody be
/// written to again is believed: what was said before counts no more.
pub async fn dead_addresses(conn: &mut Conn, limit: i64, now: i64) -> Result<Vec<Dead>> {
    let since = now - REMEMBERED;
    let mut dead: Vec<Dead> = on!(conn, |c| sqlx::query_as(DEAD).bind(limit).bind(since).fetch_all(c).await)
        .map_err(Error::from)?;
    for turned_away in [DISABLED, GONE_DOMAINS] {
        let gone: Vec<Dead> = on!(conn, |c| sqlx::query_as(turned_away)
            .bind(limit)
            .bind(since)
            .bind(since - UNDER_WAY)
            .fetch_all(c)
            .await)
        .map_err(Error::from)?;
        dead.extend(gone);
    }
    Ok(dead)
}

/// What looks for them, and what its plan must find its rows by.
#[cfg(test)]
pub(super) fn plans() -> Vec<(&'static str, &'static str)> {
    let of_reader = "other USING INDEX sqlite_autoindex_delivery_1 (edition=? AND subscriber=?)";
    vec![
        (DEAD, "attempt USING INDEX attempt_dead_at (at>?)"),
        (DISABLED, "attempt USING INDEX attempt_disabled_at (at>?)"),
        (DISABLED, of_reader),
        (GONE_DOMAINS, "attempt USING INDEX attempt_domain_at (at>?)"),
        (GONE_DOMAINS, of_reader),
    ]
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

//! Figures of the scratch ledger, and of the real one for a morning under way: who the readers are, when they are due. Reads `delivery`, `attempt` and `subscriber`.

use sqlx::{AssertSqlSafe, FromRow};

use super::forecast::Slot;
use super::report::Share;
use crate::db::{Conn, Engine, Result, on};
use crate::editions::EditionId;

const SLOTS: &str = "
SELECT due_at, deadline, COUNT(*) AS count
FROM delivery
WHERE edition = $1
GROUP BY due_at, deadline
ORDER BY due_at, deadline";

/// How many deliveries are due when, in the order in which they are claimed.
pub(super) async fn slots(conn: &mut Conn, edition: EditionId) -> Result<Vec<Slot>> {
    Ok(on!(conn, |c| sqlx::query_as(SLOTS).bind(edition.0).fetch_all(c).await?))
}

const OWED: &str = "
SELECT due_at, deadline, COUNT(*) AS count
FROM delivery
WHERE edition = $1 AND state IN ('planned', 'claimed', 'deferred')
GROUP BY due_at, deadline
ORDER BY due_at, deadline";

/// The same of those that are not final.
pub(super) async fn owed(conn: &mut Conn, edition: EditionId) -> Result<Vec<Slot>> {
    Ok(on!(conn, |c| sqlx::query_as(OWED).bind(edition.0).fetch_all(c).await?))
}

const LANGUAGES: &str = "
SELECT COALESCE(subscriber.language, $2) AS name, COUNT(*) AS count
FROM delivery
JOIN subscriber ON subscriber.id = delivery.subscriber
WHERE delivery.edition = $1
GROUP BY COALESCE(subscriber.language, $2)
ORDER BY COUNT(*) DESC, COALESCE(subscriber.language, $2)";

/// The readers' languages, the most frequent first; who gave none reads the newsletter's.
pub(super) async fn languages(conn: &mut Conn, edition: EditionId, own: &str) -> Result<Vec<Share>> {
    Ok(on!(conn, |c| sqlx::query_as(LANGUAGES).bind(edition.0).bind(own).fetch_all(c).await?))
}

const ZONES: &str = "
SELECT COALESCE(subscriber.timezone, $2) AS name, COUNT(*) AS count
FROM delivery
JOIN subscriber ON subscriber.id = delivery.subscriber
WHERE delivery.edition = $1
GROUP BY COALESCE(subscriber.timezone, $2)
ORDER BY COUNT(*) DESC, COALESCE(subscriber.timezone, $2)";

/// The readers' zones, the most frequent first; who gave none lives in the newsletter's.
pub(super) async fn zones(conn: &mut Conn, edition: EditionId, own: &str) -> Result<Vec<Share>> {
    Ok(on!(conn, |c| sqlx::query_as(ZONES).bind(edition.0).bind(own).fetch_all(c).await?))
}

// The key is a plain local part @ A-labels; each engine finds the domain in its own way.
const PROVIDERS: &str = "
SELECT DOMAIN AS name, COUNT(*) AS count
FROM delivery
JOIN subscriber ON subscriber.id = delivery.subscriber
WHERE delivery.edition = $1
GROUP BY DOMAIN
ORDER BY COUNT(*) DESC, DOMAIN
LIMIT 10";

/// The domains where most readers have their addresses.
pub(super) async fn providers(conn: &mut Conn, edition: EditionId) -> Result<Vec<Share>> {
    let domain = match conn.engine() {
        Engine::Sqlite => "substr(subscriber.key, instr(subscriber.key, '@') + 1)",
        Engine::Postgres => "substr(subscriber.key, position('@' IN subscriber.key) + 1)",
    };
    // Only the expression of two constants is put in.
    let sql = PROVIDERS.replace("DOMAIN", domain);
    Ok(on!(conn, |c| sqlx::query_as(AssertSqlSafe(sql.as_str())).bind(edition.0).fetch_all(c).await?))
}

/// An address that no mail can bear.
#[derive(Clone, Debug, FromRow)]
pub(super) struct Unfit {
    pub(super) address: String,
    pub(super) why: String,
}

// The sink refuses nobody: who was rejected, was so by ourselves.
const UNFIT: &str = "
SELECT attempt.address, COALESCE(attempt.text, '') AS why
FROM attempt
JOIN delivery ON delivery.id = attempt.delivery
WHERE delivery.edition = $1 AND delivery.state = 'rejected'
ORDER BY attempt.delivery
LIMIT 100";

/// The first hundred readers whose address cannot be written to.
pub(super) async fn unfit(conn: &mut Conn, edition: EditionId) -> Result<Vec<Unfit>> {
    Ok(on!(conn, |c| sqlx::query_as(UNFIT).bind(edition.0).fetch_all(c).await?))
}

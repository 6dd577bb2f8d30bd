//! What the doctor reads in the database; it writes nothing.
//!
//! Reads `daemon`, `delivery`, `attempt` and `pace` of the room `delivery`, `edition_event` of `editions`, and `subscriber`
//! of `readers`: each a number over all of its rows, which no room has a use for.

use crate::db::{Conn, Result, on};

const DAEMONS: &str = "
SELECT COUNT(*)
FROM daemon
WHERE gone = 0";

/// How many daemons have joined and not left.
pub(super) async fn daemons(conn: &mut Conn) -> Result<i64> {
    Ok(on!(conn, |c| sqlx::query_scalar(DAEMONS).fetch_one(c).await?))
}

// Real times alone: civil ones stand where somebody set them. Attempts have no index by time; the newest deliveries' are
// new enough.
const NEWEST: &str = "
SELECT MAX(at)
FROM (
    SELECT MAX(started_at) AS at FROM daemon
    UNION ALL
    SELECT MAX(replied_at) FROM pace
    UNION ALL
    SELECT MAX(at) FROM edition_event
    UNION ALL
    SELECT MAX(at) FROM attempt WHERE delivery IN (SELECT id FROM delivery ORDER BY id DESC LIMIT 1000)
) AS newest";

/// The newest moment that the ledger knows of, in milliseconds of real time.
pub(super) async fn newest(conn: &mut Conn) -> Result<Option<i64>> {
    Ok(on!(conn, |c| sqlx::query_scalar(NEWEST).fetch_one(c).await?))
}

const ZONES: &str = "
SELECT timezone, COUNT(*)
FROM subscriber
WHERE timezone IS NOT NULL
GROUP BY timezone
ORDER BY timezone";

/// The zones that readers have, and how many each.
pub(super) async fn zones(conn: &mut Conn) -> Result<Vec<(String, i64)>> {
    Ok(on!(conn, |c| sqlx::query_as(ZONES).fetch_all(c).await?))
}

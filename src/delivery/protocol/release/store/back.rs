//! What goes back: open attempts whose dot was never written, and claims that did not leave.
//!
//! Reads `edition`, `subscription`, `subscriber` and `suppression`.

use std::sync::LazyLock;

use sqlx::AssertSqlSafe;

use super::arrived;
use crate::db::{Conn, Result, on};
use crate::delivery::ledger::{Me, Release};
use crate::delivery::protocol::Later;
use crate::delivery::store::{json, pick};

// What we hold claimed was opened by nobody else, or a takeover would have said so: where another life is named, a
// statement that it had given up came late.
pub(super) const UNOPEN_SQLITE: &str = "
DELETE FROM attempt
WHERE delivery IN (SELECT id FROM delivery
                   WHERE id IN (SELECT value FROM json_each($1)) AND COALESCE(state, '') = 'claimed'
                     AND daemon = $2 AND epoch = $3)
  AND outcome IS NULL";

const UNOPEN_POSTGRES: &str = "
DELETE FROM attempt
WHERE delivery IN (SELECT id FROM delivery
                   WHERE id = ANY (SELECT CAST(value AS BIGINT) FROM jsonb_array_elements_text(CAST($1 AS JSONB)))
                     AND state = 'claimed' AND daemon = $2 AND epoch = $3)
  AND outcome IS NULL";

/// Takes back open attempts whose dot, as this process knows, was never written.
pub(in crate::delivery::protocol::release) async fn unopen(
    conn: &mut Conn,
    me: Me,
    asked: &[Release],
) -> Result<()> {
    let sql = pick(conn, UNOPEN_SQLITE, UNOPEN_POSTGRES);
    let list = json(&asked.iter().map(|release| release.delivery.0).collect::<Vec<_>>());
    on!(conn, |c| sqlx::query(sql).bind(&list).bind(me.daemon).bind(me.epoch).execute(c).await.map(drop)?);
    Ok(())
}

const GIVE_BACK: &str = "
UPDATE delivery
SET state = CASE
        WHEN accepted_at IS NOT NULL THEN 'accepted'
        WHEN deadline > $4
         AND EXISTS (SELECT 1 FROM edition WHERE edition.id = delivery.edition AND edition.state <> 'cancelled')
         AND EXISTS (SELECT 1 FROM subscription JOIN subscriber ON subscriber.id = subscription.subscriber
                     WHERE subscription.id = delivery.subscription AND subscription.status = 'active'
                       AND NOT EXISTS (SELECT 1 FROM suppression WHERE suppression.key_hash = subscriber.key_hash))
        THEN CASE WHEN tries > 0 THEN 'deferred' ELSE 'planned' END
        WHEN doubtful = 1 THEN 'uncertain'
        WHEN deadline <= $4 THEN 'expired'
        ELSE 'withdrawn' END,
    daemon = NULL, epoch = NULL";

/// What this life holds, of those that are named before it.
const OURS: &str = "AND state = 'claimed' AND daemon = $2 AND epoch = $3";

pub(super) static GIVE_BACK_SQLITE: LazyLock<String> =
    LazyLock::new(|| format!("{GIVE_BACK}\nWHERE id IN (SELECT value FROM json_each($1)) {OURS}"));
static GIVE_BACK_POSTGRES: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{GIVE_BACK}\nWHERE id = ANY (SELECT CAST(value AS BIGINT) FROM jsonb_array_elements_text(CAST($1 AS JSONB)))\n  {OURS}"
    )
});

/// Gives claims back that did not leave: to wait again, or to the end that befits them. No attempt is counted.
pub(in crate::delivery::protocol::release) async fn give_back(
    conn: &mut Conn,
    me: Me,
    deliveries: &[i64],
    civil: i64,
) -> Result<()> {
    let sql = AssertSqlSafe(pick(conn, &GIVE_BACK_SQLITE, &GIVE_BACK_POSTGRES));
    let list = json(&deliveries);
    on!(conn, |c| sqlx::query(sql)
        .bind(&list)
        .bind(me.daemon)
        .bind(me.epoch)
        .bind(civil)
        .execute(c)
        .await
        .map(drop)?);
    arrived(conn, deliveries).await
}

pub(super) const PUT_OFF_SQLITE: &str = "
WITH later AS MATERIALIZED (
    SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS state,
           json_extract(value, '$[2]') AS next_at
    FROM json_each($1)
)
UPDATE delivery
SET state = CASE WHEN delivery.tries > 0 THEN 'deferred' ELSE later.state END, next_at = later.next_at
FROM later
WHERE delivery.id = later.id AND delivery.state IN ('planned', 'deferred')";

const PUT_OFF_POSTGRES: &str = "
WITH later AS MATERIALIZED (
    SELECT CAST(value->>0 AS BIGINT) AS id, value->>1 AS state, CAST(value->>2 AS BIGINT) AS next_at
    FROM jsonb_array_elements(CAST($1 AS JSONB))
)
UPDATE delivery
SET state = CASE WHEN delivery.tries > 0 THEN 'deferred' ELSE later.state END, next_at = later.next_at
FROM later
WHERE delivery.id = later.id AND delivery.state IN ('planned', 'deferred')";

/// Puts claims off that were given back in this transaction: nobody was asked about them, so no attempt is counted.
pub(in crate::delivery::protocol::release) async fn put_off(conn: &mut Conn, later: &[Later]) -> Result<()> {
    let sql = pick(conn, PUT_OFF_SQLITE, PUT_OFF_POSTGRES);
    let list: Vec<_> =
        later.iter().map(|later| (later.delivery, later.state.as_str(), later.next_at)).collect();
    let list = json(&list);
    on!(conn, |c| sqlx::query(sql).bind(&list).execute(c).await.map(drop)?);
    Ok(())
}

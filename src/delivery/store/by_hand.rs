//! What people do by hand: doubt that is settled, retries that are due now, an edition that is withdrawn.

use crate::db::{Conn, Error, on};
use crate::delivery::Result;
use crate::editions::EditionId;
use crate::readers::SubscriberId;

const SETTLE_ACCEPTED: &str = "
UPDATE delivery
SET state = 'accepted', accepted_at = $3
WHERE edition = $1 AND state = 'uncertain' AND ($2 = 0 OR subscriber = $2)";

const SETTLE_RESEND: &str = "
UPDATE delivery
SET state = 'deferred', next_at = $3
WHERE edition = $1 AND state = 'uncertain' AND ($2 = 0 OR subscriber = $2) AND deadline > $4";

/// How a person ends an uncertain delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settle {
    /// It arrived, somebody knows.
    Accepted,
    /// It goes out again, the same bytes.
    Resend,
}

/// Ends the uncertain deliveries of an edition, of one subscriber or of all; returns how many.
pub async fn settle(
    conn: &mut Conn,
    edition: EditionId,
    subscriber: Option<SubscriberId>,
    how: Settle,
    now: i64,
    civil: i64,
) -> Result<u64> {
    let subscriber = subscriber.map_or(0, |id| id.0);
    let rows = match how {
        Settle::Accepted => on!(conn, |c| sqlx::query(SETTLE_ACCEPTED)
            .bind(edition.0)
            .bind(subscriber)
            .bind(now)
            .execute(c)
            .await
            .map(|done| done.rows_affected())),
        Settle::Resend => on!(conn, |c| sqlx::query(SETTLE_RESEND)
            .bind(edition.0)
            .bind(subscriber)
            .bind(now)
            .bind(civil)
            .execute(c)
            .await
            .map(|done| done.rows_affected())),
    };
    Ok(rows.map_err(Error::from)?)
}

const UNCERTAIN: &str = "
SELECT COUNT(*)
FROM delivery
WHERE edition = $1 AND state = 'uncertain' AND ($2 = 0 OR subscriber = $2)";

/// How many deliveries of an edition are uncertain, of one subscriber or of all.
pub async fn uncertain(conn: &mut Conn, edition: EditionId, subscriber: Option<SubscriberId>) -> Result<i64> {
    let subscriber = subscriber.map_or(0, |id| id.0);
    let sql = UNCERTAIN;
    Ok(on!(conn, |c| sqlx::query_scalar(sql).bind(edition.0).bind(subscriber).fetch_one(c).await)
        .map_err(Error::from)?)
}

const RETRY: &str = "
UPDATE delivery
SET next_at = $3
WHERE edition = $1 AND state = 'deferred' AND ($2 = 0 OR subscriber = $2)";

/// Makes deferred deliveries due now; returns how many.
pub async fn retry(
    conn: &mut Conn,
    edition: EditionId,
    subscriber: Option<SubscriberId>,
    now: i64,
) -> Result<u64> {
    let subscriber = subscriber.map_or(0, |id| id.0);
    Ok(on!(conn, |c| sqlx::query(RETRY)
        .bind(edition.0)
        .bind(subscriber)
        .bind(now)
        .execute(c)
        .await
        .map(|done| done.rows_affected()))
    .map_err(Error::from)?)
}

const WITHDRAW_ALL: &str = "
UPDATE delivery
SET state = CASE WHEN doubtful = 1 THEN 'uncertain' ELSE 'withdrawn' END
WHERE edition = $1 AND state IN ('planned', 'deferred')";

const CANCELLED: &str = "
SELECT id
FROM edition
WHERE state = 'cancelled'
  AND (EXISTS (SELECT 1 FROM delivery WHERE delivery.edition = edition.id AND delivery.state = 'planned')
    OR EXISTS (SELECT 1 FROM delivery WHERE delivery.edition = edition.id AND delivery.state = 'deferred'))";

/// Cancelled editions with deliveries that are not final: what was claimed when they were cancelled, and put off since.
pub(in crate::delivery) async fn cancelled_not_over(conn: &mut Conn) -> Result<Vec<EditionId>> {
    let found: Vec<i64> =
        on!(conn, |c| sqlx::query_scalar(CANCELLED).fetch_all(c).await).map_err(Error::from)?;
    Ok(found.into_iter().map(EditionId).collect())
}

/// Withdraws what was not accepted of a cancelled edition; what is claimed is its owner's to give back.
pub async fn withdraw_all(conn: &mut Conn, edition: EditionId) -> Result<()> {
    on!(conn, |c| sqlx::query(WITHDRAW_ALL).bind(edition.0).execute(c).await.map(drop))
        .map_err(Error::from)?;
    Ok(())
}

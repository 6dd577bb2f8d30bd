//! What people do by hand: doubt that is settled, retries that are due now, an edition that is withdrawn; piece by piece.

use std::sync::LazyLock;

use super::pieces::{self, Piece, Place, Walk};
use super::{come_nearer, json, listed};
use crate::db::{Conn, Db, Error, on};
use crate::delivery::{CHANNEL, Result};
use crate::editions::EditionId;
use crate::readers::SubscriberId;

// By readers: there is an index of them for each edition, in order.
const UNCERTAIN_PIECE: &str = "
SELECT subscriber, id
FROM delivery
WHERE edition = $1 AND state = 'uncertain' AND subscriber <= $2 AND (subscriber, id) > ($3, $4)
ORDER BY subscriber, id
LIMIT $5";

static DEFERRED_PIECE: LazyLock<String> =
    LazyLock::new(|| UNCERTAIN_PIECE.replace("'uncertain'", "'deferred'"));

/// A piece of an edition's deliveries, of one subscriber or of all.
async fn piece(
    conn: &mut Conn,
    sql: &'static str,
    edition: EditionId,
    subscriber: Option<SubscriberId>,
    behind: Place,
) -> Result<Piece> {
    let (last, behind) = match subscriber {
        Some(one) => (one.0, Place(one.0, i64::MIN)),
        None => (i64::MAX, behind),
    };
    Ok(pieces::find(conn, sql, edition.0, last, behind).await?)
}

/// A piece of an edition's uncertain deliveries, of one subscriber or of all.
pub async fn uncertain_piece(
    conn: &mut Conn,
    edition: EditionId,
    subscriber: Option<SubscriberId>,
    behind: Place,
) -> Result<Piece> {
    piece(conn, UNCERTAIN_PIECE, edition, subscriber, behind).await
}

const SETTLE_ACCEPTED: &str = "
UPDATE delivery
SET state = 'accepted', accepted_at = $2
WHERE id = LISTED AND state = 'uncertain'";

const SETTLE_RESEND: &str = "
UPDATE delivery
SET state = 'deferred', next_at = $2
WHERE id = LISTED AND state = 'uncertain' AND deadline > $3";

/// How a person ends an uncertain delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settle {
    /// It arrived, somebody knows.
    Accepted,
    /// It goes out again, the same bytes.
    Resend,
}

/// Ends a piece of an edition's uncertain deliveries; returns how many.
pub async fn settle(
    conn: &mut Conn,
    edition: EditionId,
    piece: Piece,
    how: Settle,
    now: i64,
    civil: i64,
) -> Result<u64> {
    let ids = json(&pieces::hold(conn, piece.ids, true).await?);
    let rows = match how {
        Settle::Accepted => {
            let sql = listed(conn, SETTLE_ACCEPTED);
            on!(conn, |c| sqlx::query(sql)
                .bind(&ids)
                .bind(now)
                .execute(c)
                .await
                .map(|done| done.rows_affected()))
        }
        Settle::Resend => {
            let sql = listed(conn, SETTLE_RESEND);
            on!(conn, |c| sqlx::query(sql)
                .bind(&ids)
                .bind(now)
                .bind(civil)
                .execute(c)
                .await
                .map(|done| done.rows_affected()))
        }
    };
    let rows = rows.map_err(Error::from)?;
    if how == Settle::Resend && rows > 0 {
        come_nearer(conn, edition.0, civil).await?;
    }
    Ok(rows)
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
SET next_at = $2
WHERE id = LISTED AND COALESCE(state, '') = 'deferred' AND deadline > $3";

/// Makes deferred deliveries due now whose deadline is to come; returns how many.
pub async fn retry(
    db: &Db,
    edition: EditionId,
    subscriber: Option<SubscriberId>,
    now: i64,
    civil: i64,
) -> Result<u64> {
    let (mut rows, mut behind) = (0, Some(Place::FIRST));
    while let Some(place) = behind {
        let piece = piece(&mut db.read().await?, &DEFERRED_PIECE, edition, subscriber, place).await?;
        behind = piece.next;
        let mut tx = db.write().await?;
        let (sql, ids) = (listed(&tx, RETRY), json(&pieces::hold(&mut tx, piece.ids, true).await?));
        rows += on!(&mut tx, |c| sqlx::query(sql)
            .bind(&ids)
            .bind(now)
            .bind(civil)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))
        .map_err(Error::from)?;
        tx.notify(CHANNEL).await?;
        tx.commit().await?;
    }
    Ok(rows)
}

const TOO_LATE: &str = "
SELECT COUNT(*)
FROM delivery
WHERE edition = $1 AND state = 'deferred' AND ($2 = 0 OR subscriber = $2) AND deadline <= $3";

/// How many deferred deliveries of an edition are past their deadline, of one subscriber or of all.
pub async fn too_late(
    conn: &mut Conn,
    edition: EditionId,
    subscriber: Option<SubscriberId>,
    civil: i64,
) -> Result<i64> {
    let subscriber = subscriber.map_or(0, |id| id.0);
    let sql = TOO_LATE;
    Ok(on!(conn, |c| sqlx::query_scalar(sql).bind(edition.0).bind(subscriber).bind(civil).fetch_one(c).await)
        .map_err(Error::from)?)
}

const WITHDRAW: &str = "
UPDATE delivery
SET state = CASE WHEN doubtful = 1 THEN 'uncertain' ELSE 'withdrawn' END
WHERE id = LISTED AND COALESCE(state, '') IN ('planned', 'deferred')";

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

/// Withdraws a piece of what was not accepted of a cancelled edition; what is claimed is its owner's to give back. Returns
/// where the walk goes on.
pub(in crate::delivery) async fn withdraw(db: &Db, edition: EditionId, walk: Walk) -> Result<Option<Walk>> {
    let (ids, next) = pieces::waiting(&mut db.read().await?, edition.0, i64::MAX, walk).await?;
    if !ids.is_empty() {
        let mut tx = db.write().await?;
        let (sql, ids) = (listed(&tx, WITHDRAW), json(&pieces::hold(&mut tx, ids, false).await?));
        on!(&mut tx, |c| sqlx::query(sql).bind(&ids).execute(c).await.map(drop)).map_err(Error::from)?;
        tx.commit().await?;
    }
    Ok(next)
}

/// Withdraws all of it.
pub async fn withdraw_all(db: &Db, edition: EditionId) -> Result<()> {
    let mut walk = Some(Walk::START);
    while let Some(so_far) = walk {
        walk = withdraw(db, edition, so_far).await?;
    }
    Ok(())
}

/// What looks for pieces and ends them, and what its plan must find its rows by.
#[cfg(test)]
pub(super) fn plans() -> Vec<(&'static str, &'static str)> {
    let by_reader = "delivery USING INDEX sqlite_autoindex_delivery_1 (edition=? AND subscriber>?";
    let by_key = "SEARCH delivery USING INTEGER PRIMARY KEY";
    vec![(UNCERTAIN_PIECE, by_reader), (SETTLE_ACCEPTED, by_key), (SETTLE_RESEND, by_key), (WITHDRAW, by_key)]
}

//! C: claims what is due in batches, and ends what came too late.

mod store;

pub(super) use store::{CLAIM_FRESH_SQLITE, claimed_of, take_fresh};
pub(in crate::delivery) use store::{
    Due, Found, Looked, Sending, claimed, first_deadline, next_instants, read_planned, sending,
};

use super::{Recent, Turn, life};
use crate::db::{Db, Engine, expect_rows};
use crate::delivery::ledger::{Claimed, Me};
use crate::delivery::store::{Walk, waiting};
use crate::delivery::{Error, Result};

/// C: claims what is due, and sets aside what nobody wants any more, in a transaction of its own; returns what was
/// claimed, and how many rows were seen in all.
///
/// # Errors
/// [`Error::Fenced`]: this life is over. As [`Recent::expect_settled`].
pub(in crate::delivery) async fn claim(
    db: &Db,
    me: Me,
    due: Due,
    _turn: Turn<'_>,
    recent: &Recent,
) -> Result<(Vec<Claimed>, usize)> {
    if db.engine() == Engine::Postgres {
        return claim_at_once(db, me, due, recent).await;
    }
    let mut tx = db.write().await?;
    recent.expect_settled(db)?;
    if !life::fence(&mut tx, me).await? {
        return Err(Error::Fenced);
    }
    let found = store::due(&mut tx, due).await?;
    store::set_aside(&mut tx, &found.unwanted).await?;
    if !found.wanted.is_empty() {
        let ids: Vec<i64> = found.wanted.iter().map(|held| held.id.0).collect();
        let taken = store::take(&mut tx, me, &ids).await?;
        expect_rows("claim", ids.len() as u64, taken)?;
    }
    tx.commit().await?;
    let seen = found.seen();
    Ok((found.wanted, seen))
}

/// The same on PostgreSQL, over a connection whose server has done so before.
async fn claim_at_once(db: &Db, me: Me, due: Due, recent: &Recent) -> Result<(Vec<Claimed>, usize)> {
    let mut conn = db.writer().await?;
    recent.expect_settled(db)?;
    let found = store::take_due(&mut conn, me, due).await?;
    let seen = found.seen();
    if seen == 0 && !life::fence(&mut conn, me).await? {
        return Err(Error::Fenced);
    }
    db.keep(conn);
    Ok((found.wanted, seen))
}

/// Whether [`claim`] may find anything on PostgreSQL.
///
/// # Errors
/// [`Error::Fenced`]: this life is over. As [`Recent::expect_settled`].
pub(in crate::delivery) async fn any_due(db: &Db, me: Me, due: Due, recent: &Recent) -> Result<bool> {
    let mut conn = db.read().await?;
    recent.expect_settled(db)?;
    let (alive, any) = store::any_due(&mut conn, me, due).await?;
    db.keep_reader(conn);
    if alive { Ok(any) } else { Err(Error::Fenced) }
}

/// The first step of C on SQLite: what is due is looked for beside the one writer. What was never tried is claimed by the
/// next [`release`](super::release), because a transaction of its own would have every dot wait for one more turn of
/// the disk. Where somebody wants it no more, [`claim`] looks again.
pub(in crate::delivery) async fn look(db: &Db, due: Due) -> Result<Found> {
    Ok(store::due(&mut db.read().await?, due).await?)
}

/// Ends a piece of what came too late and nobody holds; returns where the walk goes on. It is looked for beside the
/// writer.
pub(in crate::delivery) async fn expire(
    db: &Db,
    edition: i64,
    civil: i64,
    walk: Walk,
) -> Result<Option<Walk>> {
    let (ids, next) = waiting(&mut db.read().await?, edition, civil, walk).await?;
    if !ids.is_empty() {
        let mut tx = db.write().await?;
        store::expire(&mut tx, ids, civil).await?;
        tx.commit().await?;
    }
    Ok(next)
}

#[cfg(test)]
pub(super) use store::plans;

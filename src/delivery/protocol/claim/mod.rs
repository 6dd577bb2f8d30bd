//! C: claims what is due in batches, and ends what came too late.

mod store;

pub(super) use store::{CLAIM_FRESH_SQLITE, take_fresh};
pub(in crate::delivery) use store::{
    Due, Found, Sending, claimed, first_deadline, next_instants, read_planned, rendering, sending,
};

use super::{Turns, life};
use crate::db::{Db, expect_rows};
use crate::delivery::ledger::{Claimed, Me};
use crate::delivery::{Error, Result};

/// C: claims what is due, in a transaction of its own; returns how many rows it saw besides.
pub(in crate::delivery) async fn claim(
    db: &Db,
    me: Me,
    due: Due,
    turns: &Turns,
) -> Result<(Vec<Claimed>, usize)> {
    let _turn = turns.to_claim().await;
    let mut tx = db.write().await?;
    if !life::fence(&mut tx, me).await? {
        return Err(Error::Fenced);
    }
    let found = store::due(&mut tx, due).await?;
    store::set_aside(&mut tx, &found.unwanted).await?;
    let ids: Vec<i64> = found.wanted.iter().map(|held| held.id.0).collect();
    let taken = store::take(&mut tx, me, &ids).await?;
    expect_rows("claim", ids.len() as u64, taken)?;
    tx.commit().await?;
    let seen = found.len();
    Ok((found.wanted, seen))
}

/// C in two steps, on SQLite: what is due and was never tried is looked for beside the one writer, to be claimed by the
/// next [`release`](super::release). A transaction of its own would have every dot wait for one more turn of the disk.
pub(in crate::delivery) async fn look(db: &Db, due: Due) -> Result<Found> {
    let mut conn = db.read().await?;
    let found = store::due(&mut conn, due).await?;
    drop(conn);
    if !found.unwanted.is_empty() {
        let mut tx = db.write().await?;
        store::set_aside(&mut tx, &found.unwanted).await?;
        tx.commit().await?;
    }
    Ok(found)
}

/// Ends what came too late and nobody holds.
pub(in crate::delivery) async fn expire(db: &Db, edition: i64, civil: i64) -> Result<u64> {
    let mut tx = db.write().await?;
    let expired = store::expire(&mut tx, edition, civil).await?;
    tx.commit().await?;
    Ok(expired)
}

#[cfg(test)]
pub(super) use store::plans;

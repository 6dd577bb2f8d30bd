//! C: claims what is due in batches, and ends what came too late.

mod store;

pub(in crate::delivery) use store::{
    Due, Sending, claimed, first_deadline, next_instants, read_planned, rendering, sending,
};

use super::life;
use crate::db::Db;
use crate::delivery::ledger::{Claimed, Me};
use crate::delivery::{Error, Result};

/// C: claims what is due.
pub(in crate::delivery) async fn claim(db: &Db, me: Me, due: Due) -> Result<(Vec<Claimed>, usize)> {
    let mut tx = db.write().await?;
    if !life::fence(&mut tx, me).await? {
        return Err(Error::Fenced);
    }
    let claimed = store::claim(&mut tx, me, due).await?;
    tx.commit().await?;
    Ok(claimed)
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

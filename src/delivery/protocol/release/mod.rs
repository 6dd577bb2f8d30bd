//! R: the one commit in front of every final dot.

mod recent;
mod store;

pub(in crate::delivery) use recent::Recent;

use super::{Looked, Round, claim, life};
use crate::db::{self, Conn, Db};
use crate::delivery::ledger::{Me, Move, Release, Verdict};
use crate::delivery::{DeliveryState, Error, Result};
pub(super) use store::arrived;

/// What one commit holds.
#[derive(Debug, Default)]
pub(in crate::delivery) struct Group {
    /// Open attempts that were answered, or never will be, and where their deliveries go.
    pub(in crate::delivery) finished: Vec<(Verdict, Move)>,
    /// Attempts refused before their body, likewise.
    pub(in crate::delivery) refused: Vec<(Release, Verdict, Move)>,
    /// Bodies that wait to be ended.
    pub(in crate::delivery) asked: Vec<Release>,
    /// Claims that go back.
    pub(in crate::delivery) back: Vec<i64>,
    /// Claims that go back and wait.
    pub(in crate::delivery) later: Vec<Later>,
    /// What was found to be due and was never tried, to be claimed where it is still so. On SQLite alone, where a claim
    /// of its own would hold up every dot; PostgreSQL has no statement for it.
    pub(in crate::delivery) due: Vec<Looked>,
}

/// What a commit came to.
#[derive(Debug, Default)]
pub(in crate::delivery) struct Kept {
    /// The deliveries whose dot may be written now.
    pub(in crate::delivery) released: Vec<i64>,
    /// Of those that were due, the ones that are ours now.
    pub(in crate::delivery) claimed: Vec<i64>,
}

/// A claim that goes back, because whoever would take it takes nothing before then.
#[derive(Clone, Copy, Debug)]
pub(in crate::delivery) struct Later {
    pub(in crate::delivery) delivery: i64,
    /// What it is meanwhile, where it was never tried: planned (and `next_at` is civil) or deferred (and it is real).
    pub(in crate::delivery) state: DeliveryState,
    pub(in crate::delivery) next_at: i64,
}

/// R, and C of what was found to be due: one transaction, and a second one where something goes back.
///
/// Safe to be called again with the same group and round after an error: nothing in `asked` has had its dot written, so
/// what a lost answer to COMMIT may have opened is opened again, what was recorded is recorded the same, and nothing that
/// was given back is claimed before the round is over.
///
/// # Errors
/// [`Error::Fenced`]: this life is over; only the answers were recorded, where they still count. As
/// [`Recent::expect_told`].
pub(in crate::delivery) async fn release(
    db: &Db,
    me: Me,
    group: &Group,
    civil: i64,
    round: &mut Round,
    recent: &Recent,
) -> Result<Kept> {
    // Of one that was in doubt a late answer may have come, which is looked for on the long way alone.
    let in_doubt = group.finished.iter().any(|(_, to)| to.doubtful && to.accepted_at.is_none());
    if round.is_again() || in_doubt || !group.refused.is_empty() {
        return release_step_by_step(db, me, group, civil, round, recent).await;
    }
    let mut conn = db.writer().await?;
    recent.expect_told(db)?;
    let server = db.server();
    let found = store::together(&mut conn, me, group, civil).await?;
    db.keep(conn);
    expect_still(db, server)?;
    // Where a claim was no longer ours, or nothing was, the long way says what still counts; what was opened on the way
    // is opened again.
    let told = group.finished.len() as u64;
    let all = found.moved == told && found.finished == told;
    let nothing = found.moved == 0 && found.released.is_empty() && found.claimed.is_empty();
    if !all || nothing {
        round.repeat();
        return release_step_by_step(db, me, group, civil, round, recent).await;
    }
    if found.released.len() < group.asked.len() || !group.back.is_empty() || !group.later.is_empty() {
        round.begin_giving_back().await;
        let mut tx = db.write().await?;
        expect_still(db, server)?;
        give_back(&mut tx, me, group, &found.released, civil).await?;
        tx.commit().await?;
    }
    Ok(Kept { released: found.released, claimed: found.claimed })
}

async fn release_step_by_step(
    db: &Db,
    me: Me,
    group: &Group,
    civil: i64,
    round: &mut Round,
    recent: &Recent,
) -> Result<Kept> {
    round.begin_giving_back().await;
    let mut tx = db.write().await?;
    recent.expect_told(db)?;
    let server = db.server();
    let alive = life::fence(&mut tx, me).await?;
    if !group.finished.is_empty() {
        store::finish(&mut tx, me, &group.finished).await?;
        store::move_on(&mut tx, me, &group.finished).await?;
    }
    if !alive {
        tx.commit().await?;
        return Err(Error::Fenced);
    }
    if !group.refused.is_empty() {
        let (refused, moves): (Vec<_>, Vec<_>) = group
            .refused
            .iter()
            .map(|(release, verdict, to)| ((release.clone(), verdict.clone()), (verdict.clone(), *to)))
            .unzip();
        store::refuse(&mut tx, me, &refused).await?;
        store::move_on(&mut tx, me, &moves).await?;
    }
    let mut released = Vec::new();
    if !group.asked.is_empty() {
        if round.is_again() {
            store::unopen(&mut tx, me, &group.asked).await?;
        }
        released = store::release(&mut tx, me, &group.asked, civil).await?;
    }
    give_back(&mut tx, me, group, &released, civil).await?;
    let claimed = claim::take_fresh(&mut tx, me, &group.due).await?;
    tx.commit().await?;
    expect_still(db, server)?;
    Ok(Kept { released, claimed })
}

/// Holds a commit to the server that began it: another one may not know what was just kept, and was told without it.
fn expect_still(db: &Db, server: u64) -> Result<()> {
    if db.server() == server { Ok(()) } else { Err(db::Error::Restarted.into()) }
}

/// What is not wanted, and what was asked for and may not leave, goes back.
async fn give_back(tx: &mut Conn, me: Me, group: &Group, released: &[i64], civil: i64) -> Result<()> {
    let kept = group.asked.iter().map(|release| release.delivery.0).filter(|id| !released.contains(id));
    let later = group.later.iter().map(|later| later.delivery);
    let back: Vec<i64> = group.back.iter().copied().chain(kept).chain(later).collect();
    if !back.is_empty() {
        store::give_back(tx, me, &back, civil).await?;
    }
    if !group.later.is_empty() {
        store::put_off(tx, &group.later).await?;
    }
    Ok(())
}

#[cfg(test)]
pub(super) use store::plans;

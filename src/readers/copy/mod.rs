//! A newsletter's readers copied from one database into another: for rehearsals, on a scratch ledger.
//!
//! Page by page, so that memory does not grow with the list. What a morning reads of them is copied and nothing else:
//! no name, no record of consent.

pub mod store;

use crate::db::{Db, Result};

/// So many readers in one transaction.
const PAGE: i64 = 5_000;

/// Copies a newsletter's active readers and every suppression, ids included; `say` hears how many there are by now.
///
/// # Errors
/// Those of either database; `to` then holds some of them.
pub async fn copy(from: &Db, to: &Db, newsletter: &str, say: &(dyn Fn(u64) + Sync)) -> Result<u64> {
    let mut source = from.read().await?;
    let (mut after, mut count) = (0, 0);
    loop {
        let page = store::suppressions_after(&mut source, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.id;
        let mut tx = to.write().await?;
        store::suppress(&mut tx, &page).await?;
        tx.commit().await?;
    }
    after = 0;
    loop {
        let page = store::readers_after(&mut source, newsletter, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(count) };
        after = last.id;
        count += page.len() as u64;
        let mut tx = to.write().await?;
        store::add(&mut tx, newsletter, &page).await?;
        tx.commit().await?;
        say(count);
    }
}

//! Addresses that do not exist or take nothing, and domains that take no mail any more: nobody writes to them again.
//!
//! What the ledger learned becomes suppressions: read from the later room, written by the earlier one's own hand. It is
//! looked at now and then, beside the clock: a refused reader has no other try before the next edition, and to look may
//! take longer than a lock can wait.

use super::{House, Result};
use crate::delivery::store;
use crate::readers;

/// The most of one transaction, of each kind.
const PIECE: i64 = 500;

/// Suppresses those who are not suppressed yet; returns how many there were.
///
/// # Errors
/// The store; what was suppressed by then is kept.
pub async fn suppress(house: &House) -> Result<usize> {
    let mut count = 0;
    loop {
        let now = house.clock.now();
        let mut conn = house.db.read().await?;
        let dead = store::dead_addresses(&mut conn, PIECE, now.as_millisecond()).await?;
        drop(conn);
        if dead.is_empty() {
            break;
        }
        let mut tx = house.db.write().await?;
        for fact in &dead {
            let id = readers::SubscriberId(fact.subscriber);
            readers::store::suppress_subscriber(&mut tx, id, "bounce", &fact.reason, now).await?;
        }
        tx.commit().await?;
        count += dead.len();
        if i64::try_from(dead.len()).unwrap_or(0) < PIECE {
            break;
        }
    }
    if count > 0 {
        tracing::info!(count, "addresses that take no mail any more were suppressed");
    }
    Ok(count)
}

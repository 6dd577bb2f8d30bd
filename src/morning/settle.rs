//! Doubt that a person ends, piece by piece: with an edition that is over, what is to be sent again opens it anew.

use super::{House, Result};
use crate::delivery::CHANNEL;
use crate::delivery::store::{self, Piece, Place, Settle};
use crate::editions::{self, EditionId, EditionState, Who};
use crate::readers::SubscriberId;

/// What became of an edition's uncertain deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Ended, or on their way again.
    pub settled: u64,
    /// Uncertain still: their deadline has passed, so nothing of them is sent any more.
    pub too_late: i64,
}

/// Ends the uncertain deliveries of an edition, of one subscriber or of all.
///
/// What is sent again of a `sent` edition moves that back to `sending`. `Err` in the result: the edition is cancelled,
/// and nothing of it is sent any more.
///
/// # Errors
/// The store.
pub async fn settle(
    house: &House,
    edition: EditionId,
    subscriber: Option<SubscriberId>,
    how: Settle,
    who: &Who,
) -> Result<std::result::Result<Settled, String>> {
    let (mut settled, mut behind) = (0, Some(Place::FIRST));
    // Asked for once at least: the edition may be one of which nothing is sent any more.
    while let Some(place) = behind {
        let piece = store::uncertain_piece(&mut house.db.read().await?, edition, subscriber, place).await?;
        behind = piece.next;
        match settle_piece(house, edition, piece, how, who).await? {
            Ok(count) => settled += count,
            Err(refused) => return Ok(Err(refused)),
        }
    }
    let too_late = store::uncertain(&mut house.db.read().await?, edition, subscriber).await?;
    Ok(Ok(Settled { settled, too_late }))
}

async fn settle_piece(
    house: &House,
    edition: EditionId,
    piece: Piece,
    how: Settle,
    who: &Who,
) -> Result<std::result::Result<u64, String>> {
    let mut tx = house.db.write().await?;
    // Held still, so that the clock does not find it over meanwhile.
    editions::store::hold_still(&mut tx, edition).await?;
    let edition = editions::store::load(&mut tx, edition).await?;
    let again = how == Settle::Resend;
    if again && edition.state == EditionState::Cancelled {
        return Ok(Err(format!("the edition of {} is {}", edition.date, edition.state)));
    }
    let (now, civil) = (house.clock.now_ms(), house.clock.civil_ms());
    let settled = store::settle(&mut tx, edition.id, piece, how, now, civil).await?;
    if again && settled > 0 && edition.state == EditionState::Sent {
        let why = Some("delivery settle --resend");
        editions::store::set_state(&mut tx, &edition, EditionState::Sending, why, who, house.clock.now())
            .await?;
    }
    tx.notify(CHANNEL).await?;
    tx.commit().await?;
    Ok(Ok(settled))
}

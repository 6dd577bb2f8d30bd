//! Deferred deliveries that a person wants tried now, and what stands in their way all the same.

use super::{House, Result, waits};
use crate::config::Newsletter;
use crate::delivery::store;
use crate::editions::{Edition, EditionState};
use crate::readers::{Address, SubscriberId};

/// Makes the deferred deliveries of an edition due now, of one subscriber or of all; says how many are, and what stands in
/// their way and keeps the others. `Err` in the result: nothing of the edition is sent any more.
///
/// # Errors
/// The store.
pub async fn retry(
    house: &House,
    newsletter: &Newsletter,
    edition: &Edition,
    whose: Option<(SubscriberId, Address)>,
) -> Result<std::result::Result<Vec<String>, String>> {
    if edition.state == EditionState::Cancelled {
        return Ok(Err(format!("the edition of {} is {}", edition.date, edition.state)));
    }
    let subscriber = whose.as_ref().map(|(subscriber, _)| *subscriber);
    let (now, civil) = (house.clock.now_ms(), house.clock.civil_ms());
    let due = store::retry(&house.db, edition.id, subscriber, now, civil).await?;
    let late = store::too_late(&mut house.db.read().await?, edition.id, subscriber, civil).await?;
    // Of the relays some may take mail and some not, or not to everybody.
    let relays = if due > 0 {
        let address = whose.as_ref().map(|(_, address)| address.as_str());
        waits::relays(house, newsletter, address, &newsletter.timezone).await?
    } else {
        Vec::new()
    };
    let mut told = Vec::new();
    match waits::stop(house, newsletter, edition).await? {
        Some(stop) if due > 0 => {
            told.extend([format!("None leaves now; {due} are due as soon as that is over."), stop]);
        }
        _ if relays.is_empty() => told.push(format!("{due} deliveries are due now.")),
        _ => told.push(format!("{due} deliveries are due now, and leave as this lets them:")),
    }
    told.extend(relays);
    if late > 0 {
        told.push(format!("{late} are not sent any more: their deadline has passed."));
    }
    Ok(Ok(told))
}

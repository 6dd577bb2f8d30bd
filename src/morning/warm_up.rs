//! Whether a new identity's caps carry an edition: told once, by the clock before the lock, or by whoever locks.

use std::time::Duration;

use jiff::civil::Date;

use super::alert::{self, Cause};
use super::{House, Result};
use crate::config::Newsletter;
use crate::delivery::forecast;
use crate::editions::{self, Edition, Who};

/// What the event is called that tells whether a new identity's caps carry an edition.
const FORECAST: &str = "forecast";
/// Name servers are not waited for any longer: what they would tell is worth no late morning.
const PATIENCE: Duration = Duration::from_secs(30);

/// Tells once when a new identity's caps do not carry an edition on this day; returns what was told now.
pub(super) async fn tell(
    house: &House,
    newsletter: &Newsletter,
    edition: &Edition,
    day: Date,
    who: &Who,
) -> Result<Option<String>> {
    let mut relays = newsletter.relays.iter().filter_map(|name| house.config.relays.get(name));
    if relays.all(|relay| relay.warm_up.is_none()) {
        return Ok(None);
    }
    let events = editions::store::events(&mut house.db.read().await?, edition.id).await?;
    if events.iter().any(|event| event.what == FORECAST) {
        return Ok(None);
    }
    let things = (&house.db, &house.clock, &house.random);
    let asked = forecast::shorts(things, &house.config, newsletter, day);
    let Ok(shorts) = tokio::time::timeout(PATIENCE, asked).await else {
        tracing::warn!(
            edition.id = edition.id.0,
            "whether the warm-up carries it could not be found in time"
        );
        return Ok(None);
    };
    let words = forecast::in_words(&shorts?);
    let told = words.clone().unwrap_or_else(|| "The warm-up carries it.".to_owned());
    let mut tx = house.db.write().await?;
    let now = house.clock.now();
    editions::store::record(&mut tx, edition.id, now, who, FORECAST, &told).await?;
    if let Some(words) = &words {
        alert::raise(&mut tx, newsletter, &Cause::WarmUp(edition.date, words.clone()), now).await?;
    }
    tx.commit().await?;
    Ok(words)
}

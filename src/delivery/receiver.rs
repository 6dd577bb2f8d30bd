//! Whose servers take an address's mail, for somebody who asks what holds up a single delivery.

use std::time::Duration;

use tokio::time::timeout;

use super::message::wire_address;
use super::mx::Ways;
use super::pace::Providers;
use crate::clock::{Clock, Random};
use crate::config::Config;
use crate::db::Db;

/// Somebody looks at a screen meanwhile.
const LONGEST: Duration = Duration::from_secs(5);

/// The receiving provider of an address, as daemons call it; `None` where nobody can say within a moment.
pub async fn provider_of(
    (db, clock, random): (&Db, &Clock, &Random),
    config: &Config,
    providers: &Providers,
    address: &str,
) -> Option<String> {
    let address = wire_address(address);
    let (_, domain) = address.rsplit_once('@')?;
    let of = (db.clone(), clock.clone());
    let ways = Ways::new(config.delivery.resolver, providers.clone(), random.clone(), of).ok()?;
    timeout(LONGEST, ways.provider(domain)).await.ok().flatten()
}

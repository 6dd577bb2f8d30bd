//! Whether a new identity's caps carry an edition: told before its lock, while something can still be done.

use std::collections::BTreeMap;

use futures_util::StreamExt as _;
use jiff::civil::Date;

use super::mx::Ways;
use super::pace::{Providers, store as paces};
use super::{Error, Result, store};
use crate::clock::{Clock, Random};
use crate::config::{Config, Newsletter};
use crate::db::Db;

/// So many domains are asked about, those with the most readers; the others are few to each provider.
const DOMAINS: i64 = 500;
/// Questions at a time.
const QUESTIONS: usize = 32;

/// A provider that cannot have all of its mail on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Short {
    /// The receiving provider.
    pub provider: String,
    /// How many readers it has.
    pub readers: i64,
    /// How many of them may have mail that day, over all of the newsletter's relays.
    pub cap: i64,
}

/// The providers whose readers a newsletter's relays cannot all reach on a day; none where a relay without caps can.
pub async fn shorts(
    (db, clock, random): (&Db, &Clock, &Random),
    config: &Config,
    newsletter: &Newsletter,
    day: Date,
) -> Result<Vec<Short>> {
    let relays: Vec<_> = newsletter.relays.iter().filter_map(|name| config.relays.get(name)).collect();
    let capped: Vec<_> = relays
        .iter()
        .filter_map(|relay| Some((&relay.name, relay.warm_up.filter(|plan| plan.from <= day)?)))
        .collect();
    if capped.is_empty() || capped.len() < relays.len() {
        return Ok(Vec::new());
    }
    let providers = Providers::load(config.delivery.providers_file.as_deref()).map_err(Error::Rules)?;
    let ways = Ways::new(config.delivery.resolver, providers, random.clone(), (db.clone(), clock.clone()))
        .map_err(Error::Relay)?;
    let domains = store::domains(&mut db.read().await?, &newsletter.id, DOMAINS).await?;
    let found: Vec<(Option<String>, i64)> = futures_util::stream::iter(domains)
        .map(|(domain, readers)| {
            let ways = &ways;
            async move { (ways.find(&domain).await.ok().map(|route| route.provider.clone()), readers) }
        })
        .buffer_unordered(QUESTIONS)
        .collect()
        .await;
    let mut readers: BTreeMap<String, i64> = BTreeMap::new();
    for (provider, count) in found {
        if let Some(provider) = provider {
            *readers.entry(provider).or_default() += count;
        }
    }
    let mut conn = db.read().await?;
    let mut shorts = Vec::new();
    for (provider, readers) in readers {
        let mut cap = 0_i64;
        for (relay, plan) in &capped {
            cap += paces::cap_of(&mut conn, relay, &provider, &day.to_string(), plan).await?;
        }
        if readers > cap {
            shorts.push(Short { provider, readers, cap });
        }
    }
    Ok(shorts)
}

/// The same, in one sentence; `None` where everybody can be reached.
pub fn in_words(shorts: &[Short]) -> Option<String> {
    let parts: Vec<String> = shorts
        .iter()
        .map(|short| format!("{} of {} readers at {}", short.cap, short.readers, short.provider))
        .collect();
    (!parts.is_empty()).then(|| {
        format!(
            "The warm-up lets the edition reach only {}; the others will expire without it.",
            parts.join(", ")
        )
    })
}

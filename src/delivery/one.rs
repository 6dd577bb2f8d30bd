//! One message of our own (a notice, a test copy) over a session of its own, outside the ledger.

use std::sync::Arc;

use super::engine::host_name;
use super::message::wire_address;
use super::mx::{self, Going, Ways};
use super::pace::Providers;
use super::session::{Session, send_over};
use crate::clock::{Clock, Random};
use crate::config::{Config, Relay, RelayKind};
use crate::db::Db;

/// What a message of our own needs to find its way.
#[derive(Clone, Copy, Debug)]
pub struct With<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// Where policies are kept.
    pub db: &'a Db,
    /// The times.
    pub clock: &'a Clock,
    /// Random numbers.
    pub random: &'a Random,
}

/// Why one message of our own was not taken, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untaken {
    /// The relay could not be asked: another may take it.
    #[error("{0}")]
    Unasked(String),
    /// What it said, or that it was lost on the way: it may have it.
    #[error("{0}")]
    Said(String),
}

/// Sends one message of our own over a session of its own.
///
/// # Errors
/// What the server said, or why it could not be asked.
pub async fn send_one(
    with: With<'_>,
    relay: &Relay,
    from: &str,
    to: &str,
    body: &[u8],
) -> Result<(), Untaken> {
    let (session, to) = open(with, relay, to).await.map_err(Untaken::Unasked)?;
    send_over(session, from, &to, body).await.map_err(Untaken::Said)
}

/// A session with whoever takes mail to this address, and the address as it is named there.
async fn open(with: With<'_>, relay: &Relay, to: &str) -> Result<(Session, String), String> {
    let timeouts = with.config.delivery.timeouts;
    let helo = relay.helo.clone().unwrap_or_else(host_name);
    if relay.kind != RelayKind::Mx {
        let session = Session::open(relay, &helo, timeouts).await.map_err(|lost| lost.to_string())?;
        return Ok((session, to.to_owned()));
    }
    let settings = &with.config.delivery;
    let providers = Providers::load(settings.providers_file.as_deref())?;
    let things = (with.db.clone(), with.clock.clone());
    let ways = Ways::new(settings.resolver, providers, with.random.clone(), things)?;
    let address = wire_address(to);
    let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
    let route: Arc<_> = ways.find(domain).await.map_err(|nowhere| nowhere.reply().0.to_string())?;
    let going = Going { port: relay.port, helo: &helo, timeouts };
    let (session, _) = mx::open(&ways, &route, going).await.map_err(|unopened| unopened.lost.to_string())?;
    Ok((session, address))
}

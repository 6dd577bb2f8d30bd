//! The daemon: every role in one process, or some of them, day after day.
//!
//! Each role is a loop that does what is due and waits for a notice or a moment. A loop that fails says so and goes
//! on: the database may be away for a while, and comes back. The first signal drains all of them.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::tick::Troubles;
use super::{House, Result, dead, ears, tick};
use crate::articles::fetch::Fetcher;
use crate::articles::poll;
use crate::lifecycle::Shutdown;
use crate::telemetry::Trouble;
use crate::web;

/// How often the clock looks, when nothing wakes it.
const CLOCK: Duration = Duration::from_secs(1);
/// How often feeds are looked at; each has its own `every`.
const INGEST: Duration = Duration::from_secs(5);
/// How often it is looked for addresses that do not exist.
const DEAD: Duration = Duration::from_secs(15);
/// After a failure a loop waits so long.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// What a daemon does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Schedules, locks, plans, raises alarms.
    Clock,
    /// Polls feeds.
    Ingest,
    /// Delivers.
    Send,
    /// Takes returned mail.
    Receive,
    /// Serves pages and the push interface.
    Web,
}

impl Role {
    /// All of them.
    pub fn all() -> BTreeSet<Self> {
        [Self::Clock, Self::Ingest, Self::Send, Self::Receive, Self::Web].into()
    }

    /// Whether the daemon has anything to run for it.
    pub fn runs(self) -> bool {
        match self {
            Self::Clock | Self::Ingest | Self::Send | Self::Web => true,
            Self::Receive => false,
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "clock" => Ok(Self::Clock),
            "ingest" => Ok(Self::Ingest),
            "send" => Ok(Self::Send),
            "receive" => Ok(Self::Receive),
            "web" => Ok(Self::Web),
            _ => Err(format!("expected clock, ingest, send or web, found {text:?}")),
        }
    }
}

/// Beside the answer to a final dot, an end in good order takes no longer.
const GRACE: Duration = Duration::from_secs(60);

/// Runs these roles until told to stop.
///
/// # Errors
/// [`super::Error::Start`] when something of it cannot start; [`super::Error::Broke`], after an end in good order, when a
/// part of it broke.
pub async fn serve(house: &House, roles: &BTreeSet<Role>, shutdown: &Shutdown) -> Result<()> {
    // Before anything else begins: the clock would lock an edition that nobody can send.
    let engine = roles.contains(&Role::Send).then(|| super::send::engine(house)).transpose()?.map(Arc::new);
    let troubles = Arc::new(Troubles::default());
    let mut running = JoinSet::new();
    if roles.contains(&Role::Web) {
        let state = web::State {
            sending: engine.clone(),
            looking: roles.contains(&Role::Clock).then(|| troubles.clone()),
            ..web::State::new(
                house.config.clone(),
                house.db.clone(),
                house.clock.clone(),
                house.random.clone(),
                house.links.clone(),
            )
        };
        let shutdown = shutdown.clone();
        // Bound before anything else starts: an address in use is a fault to be told, not to be retried.
        let listener =
            web::bind(&house.config).await.map_err(|error| super::Error::Start(error.to_string()))?;
        running.spawn(
            async move { web::serve(listener, web::routes(state), &shutdown, web::LONGEST_END).await },
        );
    }
    if roles.contains(&Role::Clock) {
        let (house, shutdown) = (house.clone(), shutdown.clone());
        running.spawn(async move { clock(&house, &troubles, &shutdown).await });
    }
    if roles.contains(&Role::Clock) {
        let (house, shutdown) = (house.clone(), shutdown.clone());
        running.spawn(async move { alarms(&house, &shutdown).await });
    }
    if roles.contains(&Role::Clock) {
        let (house, shutdown) = (house.clone(), shutdown.clone());
        running.spawn(async move { dead_addresses(&house, &shutdown).await });
    }
    if roles.contains(&Role::Ingest) {
        let fetcher =
            Fetcher::new(&house.config.fetch).map_err(|error| super::Error::Start(error.to_string()))?;
        let (house, shutdown) = (house.clone(), shutdown.clone());
        running.spawn(async move { ingest(&house, &fetcher, &shutdown).await });
    }
    if let Some(engine) = engine {
        let shutdown = shutdown.clone();
        running.spawn(async move { engine.run(&shutdown).await });
    }
    ready();
    tracing::info!(roles = roles.len(), listen = %house.config.web.listen, "serving");
    let timeouts = house.config.delivery.timeouts;
    all_ended(running, shutdown, timeouts.block + timeouts.dot + GRACE).await
}

/// Waits for every part of the daemon. One that ends unasked takes the others with it, in good order where that takes no
/// longer than this.
async fn all_ended(mut parts: JoinSet<()>, shutdown: &Shutdown, longest: Duration) -> Result<()> {
    let mut whole = Ok(());
    while let Some(ended) = parts.join_next().await {
        let why = match ended {
            Ok(()) if shutdown.is_draining() => continue,
            Ok(()) => "it ended, and nobody had asked it to".to_owned(),
            Err(error) => error.to_string(),
        };
        tracing::error!(reason = %why, "a part of the daemon broke: stopping, so that it is started anew");
        if whole.is_ok() {
            // Nobody asked for this end, so nobody else makes it one.
            let shutdown = shutdown.clone();
            tokio::spawn(async move {
                tokio::time::sleep(longest).await;
                shutdown.stop();
            });
        }
        whole = Err(super::Error::Broke);
        shutdown.drain();
    }
    whole
}

/// Tells systemd that we are up, where it asked to be told.
fn ready() {
    // Not under systemd there is nobody to tell.
    drop(sd_notify::notify(&[sd_notify::NotifyState::Ready]));
}

async fn clock(house: &House, troubles: &Troubles, shutdown: &Shutdown) {
    while !shutdown.is_draining() {
        let looked = house.db.answered_at_length(tick::tick(house)).await;
        let wait = if troubles.tell(house, looked).await { CLOCK } else { AFTER_FAILURE };
        pause(shutdown, wait).await;
    }
}

/// Beside the clock: an ear that is slow to hear delays no lock.
async fn alarms(house: &House, shutdown: &Shutdown) {
    let mute = Trouble::new("alarms could not be looked at; trying again", "alarms are looked at again");
    while !shutdown.is_draining() {
        let mut wait = CLOCK;
        match ears::ring(house, shutdown).await {
            Ok(()) => mute.over(),
            Err(error) => {
                mute.met(&error);
                wait = AFTER_FAILURE;
            }
        }
        pause(shutdown, wait).await;
    }
}

async fn dead_addresses(house: &House, shutdown: &Shutdown) {
    let unseen = Trouble::new(
        "addresses that do not exist could not be looked for; trying again",
        "addresses that do not exist are looked for again",
    );
    while !shutdown.is_draining() {
        let mut wait = DEAD;
        match house.db.answered_at_length(dead::suppress(house)).await {
            Ok(_) => unseen.over(),
            Err(error) => {
                unseen.met(&error);
                wait = AFTER_FAILURE;
            }
        }
        pause(shutdown, wait).await;
    }
}

async fn ingest(house: &House, fetcher: &Fetcher, shutdown: &Shutdown) {
    let unasked = Trouble::new("feeds could not be polled; trying again", "feeds are polled again");
    while !shutdown.is_draining() {
        let mut wait = INGEST;
        let House { db, config, clock, random, .. } = house;
        match poll::poll_due(db, config, clock, random, fetcher, shutdown).await {
            Ok(_) => unasked.over(),
            Err(error) => {
                unasked.met(&error);
                wait = AFTER_FAILURE;
            }
        }
        pause(shutdown, wait).await;
    }
}

async fn pause(shutdown: &Shutdown, wait: Duration) {
    tokio::select! {
        () = tokio::time::sleep(wait) => {}
        () = shutdown.draining() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A daemon of two parts: one that ends when it is told to, and this one; what came of it.
    async fn daemon(shutdown: &Shutdown, part: impl Future<Output = ()> + Send + 'static) -> Result<()> {
        let mut parts = JoinSet::new();
        let told = shutdown.clone();
        parts.spawn(async move { told.draining().await });
        parts.spawn(part);
        all_ended(parts, shutdown, GRACE).await
    }

    #[tokio::test]
    async fn p1_a_daemon_of_which_a_part_breaks_ends_with_an_error_so_that_it_is_started_anew() {
        let broke = daemon(&Shutdown::new(), async { panic!("it broke") }).await;
        assert!(matches!(broke, Err(crate::morning::Error::Broke)), "{broke:?}");
        let ended = daemon(&Shutdown::new(), async {}).await;
        assert!(matches!(ended, Err(crate::morning::Error::Broke)), "a part that ends by itself: {ended:?}");
    }

    #[tokio::test]
    async fn a_daemon_that_is_told_to_end_ends_well() {
        let shutdown = Shutdown::new();
        let told = shutdown.clone();
        assert!(daemon(&shutdown, async move { told.drain() }).await.is_ok());
    }
}

//! The engine: lives of a daemon, each of which joins, claims in batches, hands out, and leaves.
//!
//! A life (`life`) ends when another daemon declared it dead (it was stopped for longer than its lease), when something
//! of it broke, or with an error: a new one begins, unless it was told to stop. They have a thread of their own (`apart`).
//! What sending needs from files is read once, before anything is claimed.

mod apart;
mod life;
mod troubles;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::classify::Rules;
use super::commit::Committer;
use super::dispatch::{Dispatch, Leash, Untold};
use super::message::{self, Composer, Signers};
use super::mx::Ways;
use super::pace::Providers;
use super::protocol::{self, Recent};
use super::relay::Relay;
use super::worker::{Losses, Refusals, Shared};
use super::{Error, Result, retry};
use crate::clock::{Clock, Random};
use crate::config::{Config, Newsletter};
use crate::db::Db;
use crate::editions::EditionId;
use crate::lifecycle::Shutdown;
use crate::readers::links::Links;
use life::{End, Life};
pub(super) use troubles::Troubles;

/// What a run of the engine is for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mode {
    /// Only this edition; every one that is being sent otherwise.
    pub edition: Option<EditionId>,
    /// Due times are ignored; deadlines hold.
    pub now: bool,
    /// One pass over what is due, instead of until the end.
    pub once: bool,
    /// The civil clock jumps to the next due time when nothing is on the wire and no retry waits.
    pub jump: bool,
    /// Nothing is claimed or recorded: every planned delivery goes out and none is known to have. For measuring what
    /// the ledger costs, on a stage.
    pub unrecorded: bool,
}

/// Sends what is owed.
#[derive(Clone, Debug)]
pub struct Engine {
    db: Db,
    config: Arc<Config>,
    clock: Clock,
    random: Random,
    links: Links,
    signers: Arc<Signers>,
    rules: Rules,
    providers: Arc<Providers>,
    /// What was found about domains; `None` where no relay asks about them.
    ways: Option<Arc<Ways>>,
    newsletters: Arc<BTreeMap<String, Arc<Newsletter>>>,
    /// What lives that were declared dead still wait to hear.
    left_behind: TaskTracker,
    /// What the last life could not tell the ledger.
    untold: Arc<Mutex<Untold>>,
    troubles: Arc<Troubles>,
    recent: Arc<Recent>,
}

impl Engine {
    /// An engine over this database and these relays.
    ///
    /// # Errors
    /// The rules for replies or for providers, when the configuration replaces them; a key that cannot sign; no resolver,
    /// where one is needed.
    pub fn new(config: Arc<Config>, db: Db, clock: Clock, random: Random, links: Links) -> Result<Self> {
        let (rules, providers) = rules(&config)?;
        let signers = Arc::new(message::signers(&config)?);
        let ways = ways(&config, &providers, &random, (&db, &clock))?.map(Arc::new);
        let newsletters = config.newsletters.iter();
        let newsletters =
            Arc::new(newsletters.map(|(id, one)| (id.clone(), Arc::new(one.clone()))).collect());
        let providers = Arc::new(providers);
        Ok(Self {
            db,
            config,
            clock,
            random,
            links,
            signers,
            rules,
            providers,
            ways,
            newsletters,
            left_behind: TaskTracker::new(),
            untold: Arc::default(),
            troubles: Arc::default(),
            recent: Arc::default(),
        })
    }

    /// Whether something keeps it from sending, as far as it knows.
    pub fn is_in_trouble(&self) -> bool {
        self.troubles.last()
    }

    /// Runs as a daemon until told to drain; lives follow one another.
    pub async fn run(&self, shutdown: &Shutdown) {
        while !shutdown.is_draining() {
            if let Err(error) = self.run_edition(Mode::default(), shutdown).await {
                self.stopped(&error, shutdown).await;
            }
        }
    }

    /// Sends one edition as [`run_edition`](Self::run_edition) does, and goes on where the database was away.
    ///
    /// # Errors
    /// As there; the database's that pass only if told to drain meanwhile.
    pub async fn see_through(&self, mode: Mode, shutdown: &Shutdown) -> Result<()> {
        loop {
            match self.run_edition(mode, shutdown).await {
                Err(Error::Db(error)) if error.may_pass() => {
                    let error = Error::Db(error);
                    self.stopped(&error, shutdown).await;
                    if shutdown.is_draining() {
                        return Err(error);
                    }
                }
                result => {
                    if result.is_ok() {
                        self.troubles.stopped.over();
                    }
                    return result;
                }
            }
        }
    }

    /// Tells that a life ended with this, and waits a little before the next.
    async fn stopped(&self, error: &Error, shutdown: &Shutdown) {
        self.troubles.stopped.met(error);
        pause(shutdown, Duration::from_secs(2)).await;
    }

    /// Sends one edition as one more daemon, until each of its deliveries is final (or one pass is over).
    ///
    /// # Errors
    /// The store's; whatever sending reads from files and the system.
    pub async fn run_edition(&self, mode: Mode, shutdown: &Shutdown) -> Result<()> {
        let shutdown = shutdown.clone();
        self.apart(move |engine| async move {
            loop {
                match engine.live(mode, &shutdown).await {
                    Err(Error::Fenced) => tracing::warn!("another daemon took over; joining anew"),
                    // A run without a record does not know what it has sent.
                    Err(error @ Error::Broken) if !mode.unrecorded => engine.stopped(&error, &shutdown).await,
                    result => return result,
                }
            }
        })
        .await
    }

    async fn live(&self, mode: Mode, shutdown: &Shutdown) -> Result<()> {
        let settings = &self.config.delivery;
        let joined = protocol::join(&self.db, &self.clock, settings.lease, settings.host.as_deref());
        let me = self.db.answered(joined).await?;
        let committer = if mode.unrecorded {
            Committer::unrecorded()
        } else {
            let (clock, random) = (self.clock.clone(), self.random.clone());
            let (troubles, recent) = (self.troubles.clone(), self.recent.clone());
            Committer::start(self.db.clone(), clock, random, me, settings, troubles, recent)
        };
        let shared = Shared {
            db: self.db.clone(),
            clock: self.clock.clone(),
            composer: Composer::new(
                self.db.clone(),
                self.config.clone(),
                self.links.clone(),
                self.signers.clone(),
            )?,
            committer: committer.clone(),
            rules: self.rules.clone(),
            timeouts: settings.timeouts,
            helo: host_name(),
            refusals: Refusals::default(),
            losses: Losses::default(),
            retry: retry::wait(&settings.retry, 1),
        };
        let relays = self.config.relays.iter();
        let relays =
            relays.map(|(name, config)| (name.clone(), Arc::new(Relay::new(config.clone())))).collect();
        let dispatch = Arc::new(Dispatch::new(
            shared,
            me,
            relays,
            self.providers.clone(),
            self.ways.clone(),
            self.random.clone(),
            mode,
        ));
        let _leash = Leash(dispatch.clone());
        dispatch.take_up(std::mem::take(&mut *self.untold()));
        let life = Life::new(self, mode, me, dispatch.clone());
        let pulse = life.pulse();
        let result = tokio::select! {
            // First: whoever waits for a committer that broke hears that this life is over.
            biased;
            () = committer.broken() => Err(Error::Broken),
            () = dispatch.broken() => Err(Error::Broken),
            result = life.clone().go(shutdown) => result,
            error = pulse => Err(error),
            () = shutdown.stopping() => Ok(()),
        };
        let end = match &result {
            Err(Error::Fenced) => End::Unheard,
            Err(Error::Broken) if committer.is_broken() => End::Unheard,
            Err(Error::Broken) => End::Broken,
            _ => End::Whole,
        };
        life.end(end, shutdown).await;
        self.untold().extend(dispatch.untold());
        result
    }

    fn untold(&self) -> MutexGuard<'_, Untold> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How domains are asked about, where a relay needs to know.
fn ways(
    config: &Config,
    providers: &Providers,
    random: &Random,
    (db, clock): (&Db, &Clock),
) -> Result<Option<Ways>> {
    if config.relays.values().all(|relay| !relay.providers) {
        return Ok(None);
    }
    let over = (db.clone(), clock.clone());
    Ways::new(config.delivery.resolver, providers.clone(), random.clone(), over)
        .map(Some)
        .map_err(Error::Relay)
}

async fn pause(shutdown: &Shutdown, length: Duration) {
    // The clock or the signal, whichever is first.
    drop(timeout(length, shutdown.draining()).await);
}

/// The rules for replies and for providers: our own, or those that the configuration names.
fn rules(config: &Config) -> Result<(Rules, Providers)> {
    let replies = match &config.delivery.rules_file {
        None => Rules::built_in(),
        Some(path) => {
            let told =
                |error: String| Error::Rules(format!("delivery.rules_file: {}: {error}", path.display()));
            let text = std::fs::read_to_string(path).map_err(|error| told(error.to_string()))?;
            Rules::parse(&text).map_err(told)?
        }
    };
    let told = |error: String| Error::Rules(format!("delivery.providers_file: {error}"));
    Ok((replies, Providers::load(config.delivery.providers_file.as_deref()).map_err(told)?))
}

/// Whether everything that sending reads from files can be used.
///
/// # Errors
/// The first that cannot, with its key.
pub fn try_out(config: &Config) -> Result<()> {
    try_out_rules(config)?;
    message::signers(config).map(drop)
}

/// Whether the rules for replies and for providers can be read.
///
/// # Errors
/// The first that cannot, with its key.
pub fn try_out_rules(config: &Config) -> Result<()> {
    rules(config).map(drop)
}

/// The name we greet with: the machine's own, when it looks like one that others can look up.
pub fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
        })
        .unwrap_or_else(|| "localhost".to_owned())
}

//! The engine: lives of a daemon, each of which joins, claims in batches, hands out, and leaves.
//!
//! A life ends when it is told to stop, or when another daemon declared it dead (it was stopped for longer than its
//! lease): then a new one begins. Fresh mail goes before retries, so that trouble never delays the untroubled.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::classify::Rules;
use super::commit::Committer;
use super::dispatch::{Dispatch, Leash};
use super::ledger::Me;
use super::message::{self, Composer, Signers};
use super::mx::Ways;
use super::pace::Providers;
use super::protocol::{self, Due, Sending};
use super::relay::Relay;
use super::worker::Shared;
use super::{CHANNEL, Error, Result, store};
use crate::clock::{Clock, Random, timestamp};
use crate::config::{Config, Newsletter, Uncertain};
use crate::db::{Db, Notices};
use crate::editions::EditionId;
use crate::lifecycle::Shutdown;
use crate::readers::links::Links;

/// How often due work is looked for when nobody says that there is some.
const POLL: Duration = Duration::from_millis(500);
/// How often the editions and the operators' wishes are looked at while there is work. A release looks anew at both
/// what is held and what was corrected, so that nothing leaves by an old look.
const LOOK: Duration = Duration::from_millis(50);
/// No limit that a signal asked for outlives it by so much, in milliseconds.
const LONGEST_LIMIT: i64 = 7 * 86_400_000;
/// How often it is told what providers said.
const TELL: Duration = Duration::from_secs(1);
/// How often late deliveries are ended.
const SWEEP: Duration = Duration::from_secs(5);

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
        let ways = if config.relays.values().any(|relay| relay.providers) {
            let ways = Ways::new(
                config.delivery.resolver,
                providers.clone(),
                random.clone(),
                (db.clone(), clock.clone()),
            );
            Some(Arc::new(ways.map_err(Error::Relay)?))
        } else {
            None
        };
        let newsletters = config.newsletters.iter();
        let newsletters =
            Arc::new(newsletters.map(|(id, one)| (id.clone(), Arc::new(one.clone()))).collect());
        let providers = Arc::new(providers);
        Ok(Self { db, config, clock, random, links, signers, rules, providers, ways, newsletters })
    }

    /// Runs as a daemon until told to drain; lives follow one another.
    pub async fn run(&self, shutdown: &Shutdown) {
        while !shutdown.is_draining() {
            match self.live(Mode::default(), shutdown).await {
                Ok(()) => {}
                Err(Error::Fenced) => tracing::warn!("another daemon took over; joining anew"),
                Err(error) => {
                    tracing::error!(%error, "sending stopped; trying again");
                    pause(shutdown, Duration::from_secs(2)).await;
                }
            }
        }
    }

    /// Sends one edition as one more daemon, until each of its deliveries is final (or one pass is over).
    pub async fn run_edition(&self, mode: Mode, shutdown: &Shutdown) -> Result<()> {
        loop {
            match self.live(mode, shutdown).await {
                Err(Error::Fenced) => tracing::warn!("another daemon took over; joining anew"),
                result => return result,
            }
        }
    }

    async fn live(&self, mode: Mode, shutdown: &Shutdown) -> Result<()> {
        let settings = &self.config.delivery;
        let me = protocol::join(&self.db, &self.clock, settings.lease, settings.host.as_deref()).await?;
        let committer = if mode.unrecorded {
            Committer::unrecorded()
        } else {
            Committer::start(self.db.clone(), self.clock.clone(), self.random.clone(), me, settings)
        };
        let shared = Shared {
            db: self.db.clone(),
            clock: self.clock.clone(),
            composer: Composer::new(
                self.db.clone(),
                self.config.clone(),
                self.links.clone(),
                self.signers.clone(),
            ),
            committer: committer.clone(),
            rules: self.rules.clone(),
            timeouts: settings.timeouts,
            helo: host_name(),
            against_us: Mutex::default(),
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
        let now = Instant::now();
        let life = Life {
            engine: self,
            mode,
            me,
            dispatch,
            next_sweep: now,
            next_look: now,
            next_telling: now + TELL,
            last_seen: 0,
        };
        let pulse = life.pulse();
        let result = tokio::select! {
            result = life.clone().go(shutdown) => result,
            error = pulse => Err(error),
            () = shutdown.stopping() => Ok(()),
        };
        life.end(matches!(result, Err(Error::Fenced)), shutdown).await;
        result
    }
}

#[derive(Clone)]
struct Life<'a> {
    engine: &'a Engine,
    mode: Mode,
    me: Me,
    dispatch: Arc<Dispatch>,
    next_sweep: Instant,
    next_look: Instant,
    next_telling: Instant,
    /// The last delivery that was read, where nothing is claimed.
    last_seen: i64,
}

impl Life<'_> {
    /// Renews the lease and takes over the dead, every third of a lease; ends only when this life was ended.
    fn pulse(&self) -> impl Future<Output = Error> + use<> {
        let (db, clock, me) = (self.engine.db.clone(), self.engine.clock.clone(), self.me);
        let settings = self.engine.config.delivery.clone();
        async move {
            let hold = settings.uncertain == Uncertain::Hold;
            let first_wait = settings.retry.first().copied().unwrap_or(Duration::from_secs(60));
            loop {
                match protocol::heartbeat(&db, &clock, me, settings.lease).await {
                    Err(Error::Fenced) => return Error::Fenced,
                    Err(error) => tracing::error!(%error, "the lease could not be renewed; trying again"),
                    Ok(()) => {
                        if let Err(error) =
                            protocol::take_over(&db, &clock, me, settings.host.as_deref(), first_wait, hold)
                                .await
                        {
                            tracing::error!(%error, "dead daemons could not be looked for; trying again");
                        }
                    }
                }
                sleep(settings.lease / 3).await;
            }
        }
    }

    async fn go(mut self, shutdown: &Shutdown) -> Result<()> {
        let settings = &self.engine.config.delivery;
        let hold = settings.uncertain == Uncertain::Hold;
        let first_wait = settings.retry.first().copied().unwrap_or(Duration::from_secs(60));
        // What died with an earlier run of ours is taken up before anything else.
        protocol::take_over(
            &self.engine.db,
            &self.engine.clock,
            self.me,
            settings.host.as_deref(),
            first_wait,
            hold,
        )
        .await?;
        let mut notices = self.engine.db.listen(CHANNEL).await.ok().flatten();
        let mut editions = Vec::new();
        loop {
            if shutdown.is_draining() {
                return Ok(());
            }
            if Instant::now() >= self.next_look {
                self.next_look = Instant::now() + LOOK;
                self.heed_operators().await?;
                editions = self.editions().await?;
                self.recall(&editions).await;
            }
            let mut busy = false;
            for sending in &editions {
                busy |= self.claim(sending).await?;
            }
            if !busy {
                self.next_look = Instant::now();
            }
            if Instant::now() >= self.next_telling {
                self.next_telling = Instant::now() + TELL;
                if let Err(error) = self.dispatch.tell().await {
                    tracing::warn!(%error, "what providers said could not be told");
                }
            }
            if !busy && !self.dispatch.is_busy() {
                self.sweep(&editions).await?;
                if self.finished(&editions).await? {
                    return Ok(());
                }
                self.jump(&editions).await?;
            }
            if !busy {
                self.wait(&mut notices, shutdown).await;
            }
        }
    }

    /// Relays that somebody paused or let go on, and limits that somebody changed, from any process.
    async fn heed_operators(&self) -> Result<()> {
        let mut conn = self.engine.db.read().await?;
        let known = super::relay::store::list(&mut conn).await?;
        let since = self.engine.clock.now_ms() - LONGEST_LIMIT;
        let limits = super::pace::store::limited(&mut conn, since.max(0)).await?;
        drop(conn);
        self.dispatch.heed(&limits);
        let now = self.engine.clock.now_ms();
        let mut back = Vec::new();
        for (name, relay) in &self.dispatch.relays {
            let until = known.iter().find(|known| known.name == *name).and_then(|known| known.paused_until);
            let left = until.and_then(|until| u64::try_from(until - now).ok()).filter(|left| *left > 0);
            let jobs = relay.stop_until(left.map(|left| Instant::now() + Duration::from_millis(left)));
            back.extend(jobs.iter().map(|job| job.held.id.0));
        }
        self.dispatch.give(back, Vec::new()).await;
        Ok(())
    }

    /// What was claimed and may not leave any more goes back at once: each of it would begin at the relay and break off.
    async fn recall(&self, editions: &[Sending]) {
        let jobs = self.dispatch.relays.values().flat_map(|relay| relay.recall(editions));
        let back: Vec<i64> = jobs.map(|job| job.held.id.0).collect();
        self.dispatch.give(back, Vec::new()).await;
    }

    async fn editions(&self) -> Result<Vec<Sending>> {
        let mut conn = self.engine.db.read().await?;
        let all = protocol::sending(&mut conn).await?;
        Ok(match self.mode.edition {
            Some(edition) => all.into_iter().filter(|sending| sending.id == edition.0).collect(),
            None => all,
        })
    }

    /// Claims what is due of an edition and hands it out; `true` when there was something.
    async fn claim(&mut self, sending: &Sending) -> Result<bool> {
        let Some(newsletter) = self.engine.newsletters.get(&sending.newsletter) else {
            return Ok(false);
        };
        let relays = self.dispatch.up(newsletter);
        if relays.is_empty() {
            return Ok(false);
        }
        let batch = usize::try_from(self.engine.config.delivery.batch).unwrap_or(500);
        let waiting = self.dispatch.waiting(newsletter);
        // Lanes hold no more than they can do soon, so that one of them does not keep the others waiting.
        let most = if relays.iter().any(|relay| relay.config.providers) { batch * 4 } else { batch };
        if waiting * 2 > most {
            // Enough in hand: a claim that waits long here could not be done by another daemon.
            sleep(Duration::from_millis(2)).await;
            return Ok(true);
        }
        let mut seen_any = false;
        let mut room = (most - waiting).min(batch);
        if self.mode.unrecorded {
            let mut conn = self.engine.db.read().await?;
            let limit = i64::try_from(room).unwrap_or(500);
            let read = protocol::read_planned(&mut conn, sending.id, self.last_seen, limit).await?;
            self.last_seen = read.last().map_or(self.last_seen, |held| held.id.0);
            let any = !read.is_empty();
            self.dispatch.hand_out(read, sending, newsletter, &relays).await;
            return Ok(any);
        }
        for fresh in [true, false] {
            if room == 0 {
                break;
            }
            let civil = self.engine.clock.civil_ms();
            let until = match (fresh, self.mode.now) {
                (true, true) => i64::MAX,
                (true, false) => civil,
                (false, _) => self.engine.clock.now_ms(),
            };
            let due =
                Due { edition: sending.id, fresh, until, civil, limit: i64::try_from(room).unwrap_or(500) };
            let (claimed, seen) = protocol::claim(&self.engine.db, self.me, due).await?;
            seen_any |= seen > 0;
            room = room.saturating_sub(claimed.len());
            self.dispatch.hand_out(claimed, sending, newsletter, &relays).await;
        }
        Ok(seen_any)
    }

    async fn sweep(&mut self, editions: &[Sending]) -> Result<()> {
        if Instant::now() < self.next_sweep && self.mode.edition.is_none() {
            return Ok(());
        }
        self.next_sweep = Instant::now() + SWEEP;
        for sending in editions {
            protocol::expire(&self.engine.db, sending.id, self.engine.clock.civil_ms()).await?;
        }
        Ok(())
    }

    /// Whether the run is over: one pass was asked for, or its edition has nothing left to do.
    async fn finished(&self, editions: &[Sending]) -> Result<bool> {
        let Some(edition) = self.mode.edition else { return Ok(false) };
        if self.mode.once || self.mode.unrecorded || editions.is_empty() {
            return Ok(true);
        }
        store::all_final(&mut self.engine.db.read().await?, edition).await
    }

    /// Moves the civil clock to the next due time, when nothing at all is to be done before it.
    async fn jump(&self, editions: &[Sending]) -> Result<()> {
        if !self.mode.jump {
            return Ok(());
        }
        let mut conn = self.engine.db.read().await?;
        let mut next: Option<i64> = None;
        for sending in editions {
            let (planned, deferred) = protocol::next_instants(&mut conn, sending.id).await?;
            if deferred.is_some() || protocol::claimed(&mut conn, sending.id).await? > 0 {
                return Ok(());
            }
            next = [next, planned].into_iter().flatten().min();
        }
        if let Some(next) = next.filter(|next| *next > self.engine.clock.civil_ms()) {
            self.engine.clock.set_civil(timestamp(next));
        }
        Ok(())
    }

    /// Until somebody calls, or it is time to look again.
    async fn wait(&self, notices: &mut Option<Notices>, shutdown: &Shutdown) {
        // A run that jumps or that is about one edition looks often: somebody waits for it.
        let poll = if self.mode.edition.is_some() { POLL / 25 } else { POLL };
        match notices {
            Some(listening) => {
                tokio::select! {
                    heard = listening.next() => if heard.is_err() { *notices = None },
                    () = sleep(poll) => {}
                    () = shutdown.draining() => {}
                }
            }
            None => pause(shutdown, poll).await,
        }
    }

    /// Drains: what waits goes back, what is on the wire is finished, the ledger is told that nothing is held.
    async fn end(&self, fenced: bool, shutdown: &Shutdown) {
        let back = self.dispatch.close();
        if fenced {
            // Nothing begins here any more, but who waits for the answer to a dot hears it: it is recorded as a late one.
            let mut tasks = self.dispatch.tasks();
            tokio::spawn(async move { while tasks.join_next().await.is_some() {} });
            return;
        }
        let drained = async {
            self.dispatch.give(back, Vec::new()).await;
            let mut tasks = self.dispatch.tasks();
            while tasks.join_next().await.is_some() {}
        };
        tokio::pin!(drained);
        // A slow server's answer is waited for under a lease that is renewed.
        let alive = tokio::select! {
            () = &mut drained => true,
            _ = self.pulse() => false,
            () = shutdown.stopping() => {
                // What was open stays open: the next daemon on this host makes it uncertain. That is the truth.
                self.dispatch.tasks().abort_all();
                return;
            }
        };
        if !alive {
            tokio::select! {
                () = &mut drained => {}
                () = shutdown.stopping() => self.dispatch.tasks().abort_all(),
            }
            return;
        }
        if let Err(error) = self.dispatch.tell().await {
            tracing::warn!(%error, "what providers said last could not be told");
        }
        if let Err(error) = protocol::leave(&self.engine.db, self.me).await {
            tracing::warn!(%error, "could not say goodbye to the ledger; the lease will run out");
        }
    }
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
    rules(config)?;
    message::signers(config).map(drop)
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

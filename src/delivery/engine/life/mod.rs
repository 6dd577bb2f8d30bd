//! One life of a daemon: it renews its lease, claims what is due and hands it out (`claims`), ends what is late
//! (`sweeps`), heeds operators, and leaves.

mod claims;
mod sweeps;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use self::sweeps::{Deadlines, Passes};
use super::{Engine, Mode, pause};
use crate::clock::timestamp;
use crate::db::Notices;
use crate::delivery::dispatch::Dispatch;
use crate::delivery::ledger::Me;
use crate::delivery::pace::limit::AHEAD;
use crate::delivery::protocol::{self, Doubt, Sending};
use crate::delivery::{CHANNEL, Error, Result, pace, store};
use crate::lifecycle::Shutdown;

/// How often due work is looked for when nobody says that there is some.
const POLL: Duration = Duration::from_millis(500);
/// How often the editions and the operators' wishes are looked at while there is work. A release looks anew at both
/// what is held and what was corrected, so that nothing leaves by an old look.
const LOOK: Duration = Duration::from_millis(50);
/// No limit that a signal asked for outlives it by so much, in milliseconds.
const LONGEST_LIMIT: i64 = 7 * 86_400_000;
/// How often it is told what providers said.
const TELL: Duration = Duration::from_secs(1);
/// A renewal may take so long, however short the lease is.
const LEAST: Duration = Duration::from_secs(3);

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Everything that works for it can be waited for.
    Whole,
    /// The same, but for what broke: what that had in hand is still claimed then.
    Broken,
    /// The ledger takes no more of it than late answers: it counts as dead, or what would tell the ledger broke.
    Unheard,
}

/// One life.
#[derive(Clone)]
pub(super) struct Life<'a> {
    engine: &'a Engine,
    mode: Mode,
    me: Me,
    /// Which server it joined.
    server: u64,
    dispatch: Arc<Dispatch>,
    next_sweep: Instant,
    deadlines: Deadlines,
    passes: Passes,
    next_look: Instant,
    next_telling: Instant,
    /// The editions of which a claim, of fresh mail or of retries, found as much as it asked for.
    more: BTreeSet<(i64, bool)>,
    /// The last reader whose delivery was read, where nothing is claimed.
    last_seen: i64,
}

impl<'a> Life<'a> {
    pub(super) fn new(engine: &'a Engine, mode: Mode, me: Me, dispatch: Arc<Dispatch>) -> Self {
        let now = Instant::now();
        Self {
            engine,
            mode,
            me,
            server: engine.db.server(),
            dispatch,
            next_sweep: now,
            deadlines: Deadlines::default(),
            passes: Passes::default(),
            next_look: now,
            next_telling: now + TELL,
            more: BTreeSet::new(),
            last_seen: 0,
        }
    }

    /// Renews the lease and takes over the dead, every third of a lease; ends only when this life was ended.
    pub(super) fn pulse(&self) -> impl Future<Output = Error> + use<> {
        let (db, clock, me) = (self.engine.db.clone(), self.engine.clock.clone(), self.me);
        let (settings, troubles) = (self.engine.config.delivery.clone(), self.engine.troubles.clone());
        let recent = self.engine.recent.clone();
        async move {
            let (doubt, turn, limit) =
                (Doubt::of(&settings), settings.lease / 3, (settings.lease / 2).max(LEAST));
            loop {
                let began = Instant::now();
                // Behind a connection that died without a word there is time for another before the lease runs out.
                let renewed = protocol::heartbeat(&db, &clock, me, settings.lease);
                match db.answered_within(limit, renewed).await {
                    Err(Error::Fenced) => return Error::Fenced,
                    Err(error) => troubles.stale.met(&error),
                    Ok(()) => {
                        troubles.stale.over();
                        let host = settings.host.as_deref();
                        let taken = async {
                            // What others take for open may have been answered.
                            recent.catch_up(&db, &clock, me, doubt).await?;
                            protocol::take_over(&db, &clock, me, host, doubt).await?;
                            recent.look(&db, me).await
                        };
                        match db.answered_within(limit, taken).await {
                            Err(error) => troubles.blind.met(&error),
                            Ok(()) => troubles.blind.over(),
                        }
                    }
                }
                sleep(turn.saturating_sub(began.elapsed()).max(turn / 10)).await;
            }
        }
    }

    pub(super) async fn go(mut self, shutdown: &Shutdown) -> Result<()> {
        let settings = &self.engine.config.delivery;
        let host = settings.host.as_deref();
        let (db, clock) = (&self.engine.db, &self.engine.clock);
        self.catch_up().await?;
        // The pulse asks again, and tells what keeps it from hearing.
        drop(self.ask(self.engine.recent.look(db, self.me)).await);
        // What died with an earlier run of ours is taken up before anything else.
        self.ask(protocol::take_over(db, clock, self.me, host, Doubt::of(settings))).await?;
        let mut notices = db.answered(db.listen(CHANNEL)).await.ok().flatten();
        let mut editions = Vec::new();
        loop {
            if shutdown.is_draining() {
                return Ok(());
            }
            self.engine.recent.expect_same(&self.engine.db, self.server)?;
            if Instant::now() >= self.next_look {
                self.next_look = Instant::now() + LOOK;
                self.heed_others().await?;
                editions = self.ask(self.editions()).await?;
                self.recall(&editions).await;
                self.dispatch.relieve().await;
            }
            // Looked at before claiming: what went back since then is claimed in the next turn, not forgotten by the last.
            let idle = !self.dispatch.is_busy();
            let mut busy = false;
            for sending in &editions {
                busy |= self.claim(sending, shutdown).await?;
            }
            if !busy {
                self.next_look = Instant::now();
            }
            if Instant::now() >= self.next_telling {
                self.next_telling = Instant::now() + TELL;
                if let Err(error) = self.dispatch.tell().await {
                    tracing::warn!(%error, "what providers said could not be told");
                }
                if let Err(error) = self.dispatch.give_back_left_over().await {
                    tracing::warn!(%error, "connections could not be given back; trying again");
                }
            }
            // With more to end the next turn comes at once, and claims and operators are looked at before it.
            busy |= self.sweep(&editions).await?;
            if !busy && idle && !self.dispatch.is_busy() {
                if self.ask(self.finished(&editions)).await? {
                    // Its edition may have been cancelled, and nobody else be there.
                    return self.withdraw_the_cancelled(shutdown).await;
                }
                self.ask(self.jump(&editions)).await?;
            }
            self.engine.troubles.stopped.over();
            if !busy {
                self.wait(&mut notices, shutdown).await;
            }
        }
    }

    /// Tells a server that took another's place what it lacks.
    async fn catch_up(&self) -> Result<()> {
        let (db, clock) = (&self.engine.db, &self.engine.clock);
        let doubt = Doubt::of(&self.engine.config.delivery);
        self.ask(self.engine.recent.catch_up(db, clock, self.me, doubt)).await
    }

    /// Asks the ledger for something that is done in a moment.
    fn ask<T>(&self, asking: impl Future<Output = Result<T>>) -> impl Future<Output = Result<T>> {
        self.engine.db.answered(asking)
    }

    /// Asks it for something that may touch a whole edition.
    fn ask_at_length<T>(&self, asking: impl Future<Output = Result<T>>) -> impl Future<Output = Result<T>> {
        self.engine.db.answered_at_length(asking)
    }

    /// Relays that somebody paused or let go on, and limits that somebody changed, from any process.
    async fn heed_others(&self) -> Result<()> {
        self.dispatch.heed_pauses().await?;
        let now = self.engine.clock.shared_ms();
        let mut rows = self.ask(self.limited(now)).await?;
        if rows.iter().any(|row| row.signalled_at > now + AHEAD) {
            self.ask(self.set_back()).await?;
            rows = self.ask(self.limited(now)).await?;
        }
        self.dispatch.heed(rows);
        Ok(())
    }

    async fn limited(&self, now: i64) -> Result<Vec<pace::store::Row>> {
        let since = (now - LONGEST_LIMIT).max(0);
        let mut conn = self.engine.db.read().await?;
        let rows = pace::store::limited(&mut conn, since).await?;
        self.engine.db.keep_reader(conn);
        Ok(rows)
    }

    /// The shared clock was set back: what was asked for by it before holds no longer than if it had been asked for now.
    async fn set_back(&self) -> Result<()> {
        let mut tx = self.engine.db.write().await?;
        let now = protocol::shared_clock(&mut tx, &self.engine.clock).await?;
        pace::store::set_back(&mut tx, now, AHEAD).await?;
        tx.commit().await?;
        Ok(())
    }

    /// What was claimed and may not leave any more goes back at once: each of it would begin at the relay and break off.
    async fn recall(&self, editions: &[Sending]) {
        // A run without a record sends whatever it is given.
        let civil = if self.mode.unrecorded { i64::MIN } else { self.engine.clock.civil_ms() };
        let jobs = self.dispatch.relays.values().flat_map(|relay| relay.recall(editions, civil));
        let back: Vec<i64> = jobs.map(|job| job.held.id.0).collect();
        self.dispatch.give(back, Vec::new()).await;
    }

    async fn editions(&self) -> Result<Vec<Sending>> {
        let mut conn = self.engine.db.read().await?;
        let all = protocol::sending(&mut conn).await?;
        self.engine.db.keep_reader(conn);
        Ok(match self.mode.edition {
            Some(edition) => all.into_iter().filter(|sending| sending.id == edition.0).collect(),
            None => all,
        })
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
        let Some(listening) = notices else {
            pause(shutdown, poll).await;
            // A server that was away is listened to again; on SQLite there is nothing to hear.
            let again = timeout(poll, self.engine.db.listen(CHANNEL)).await;
            *notices = again.ok().and_then(std::result::Result::ok).flatten();
            return;
        };
        tokio::select! {
            heard = listening.next() => if heard.is_err() { *notices = None },
            () = sleep(poll) => {}
            () = shutdown.draining() => {}
        }
    }

    async fn leave(&self, broken: bool) -> Result<()> {
        let doubt = Doubt::of(&self.engine.config.delivery);
        // What is open at a server that took another's place may have been answered.
        self.engine.recent.catch_up(&self.engine.db, &self.engine.clock, self.me, doubt).await?;
        protocol::leave(&self.engine.db, &self.engine.clock, self.me, doubt, broken).await
    }

    /// Drains: what waits goes back, what is on the wire is finished, the ledger is told that nothing is held.
    pub(super) async fn end(&self, end: End, shutdown: &Shutdown) {
        let back = self.dispatch.close();
        if end == End::Unheard {
            // Nothing begins here any more, but who waits for the answer to a dot hears it: it is recorded as a late one.
            let mut tasks = self.dispatch.tasks();
            self.engine.left_behind.spawn(async move { while tasks.join_next().await.is_some() {} });
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
        if let Err(error) = self.ask(self.leave(end == End::Broken)).await {
            tracing::warn!(%error, "could not say goodbye to the ledger; the lease will run out");
        }
    }
}

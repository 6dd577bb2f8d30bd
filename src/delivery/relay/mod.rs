//! A relay as one daemon sees it: its lanes, how fast it may go, whether it is down or paused.
//!
//! A failing relay is delayed once, not once per message: what waits for it goes back to the ledger, uncounted, and
//! another relay of the newsletter takes it where there is one. Where the receivers' own servers are written to, that
//! holds for each way to them, and the relay itself is never down.

mod booking;
mod health;
mod lane;
mod share;
pub mod store;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::classify::Class;
use super::ledger::Claimed;
use super::mx::Route;
use super::pace::{Base, Bucket, Providers, limit};
use super::protocol::Sending;
use super::reply::Reply;
use crate::config::{self, Newsletter, RelayKind};
use crate::telemetry::Trouble;
pub(super) use lane::{Carried, Connection, Lane};
pub(super) use share::Share;

use health::{Health, LONGEST_DELAY};

/// A relay that was down, and has nothing to do, is asked so often whether it is back.
const ASKED_EVERY: Duration = Duration::from_secs(60);
/// A lane that has had nothing to do for so long is forgotten.
const IDLE_LANE: Duration = Duration::from_secs(60);

/// One claimed delivery on its way to a connection.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) held: Claimed,
    pub(super) sending: Sending,
    pub(super) newsletter: Arc<Newsletter>,
    /// Which relays may take it, the next one last.
    pub(super) choices: Vec<Arc<Relay>>,
    /// Where it goes, where its receivers' own servers are written to.
    pub(super) route: Option<Arc<Route>>,
    /// What is said instead, where it can go nowhere.
    pub(super) nowhere: Option<(Reply, Class)>,
    /// Of a new identity's cap, where there is one.
    pub(super) share: Option<Share>,
    /// 0..=1000, drawn once: spreads what would come at one moment.
    pub(super) spread: u16,
}

impl Job {
    /// With how long it waits for one thing that others wait for too.
    pub(super) fn waiting(self, wait: Duration) -> (Self, Duration) {
        let wait = self.spread_over(wait);
        (self, wait)
    }

    /// So long, and up to a fifth more: what waits for one thing does not come at one moment.
    pub(super) fn spread_over(&self, wait: Duration) -> Duration {
        wait + wait.mul_f64(0.2 * f64::from(self.spread) / 1000.0)
    }
}

/// What a connection gets when it asks for work.
#[derive(Debug)]
pub(super) enum Next {
    /// This.
    Job(Box<Job>),
    /// Nothing before this moment.
    NotBefore(Instant),
    /// Nothing before a block of starts was taken.
    Take,
    /// Nothing at the moment.
    Nothing,
    /// Nothing any more.
    Closed,
}

/// One relay.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) config: config::Relay,
    /// The pace of all of it.
    pub(super) bucket: Bucket,
    /// The ledger does not say how much of it may start, or when.
    unknown_limits: Trouble,
    /// Connections of this daemon that may still be opened.
    permits: Arc<Semaphore>,
    /// Those of them that may be opened at a time to whoever could not be reached at the last try: a quarter.
    doubtful: Arc<Semaphore>,
    /// How many wait for one that may be opened.
    wanting: AtomicUsize,
    /// Cancelled when nothing more goes through it: what is only waited for is given up.
    pub(super) closing: CancellationToken,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    lanes: BTreeMap<String, Arc<Lane>>,
    closed: bool,
    health: Health,
    /// It refuses us as a sender.
    refusal: Option<Refusal>,
    /// Until when the ledger says that nothing is given to it: an operator wants it so, or a daemon was refused.
    paused_until: Option<Instant>,
    /// When it was asked last whether it is there.
    asked_at: Option<Instant>,
}

/// A relay refuses us as a sender: nothing is given to it for a while.
#[derive(Clone, Copy, Debug)]
struct Refusal {
    until: Instant,
    /// The ledger has been seen to pause it since: its word counts, so that whoever ends the pause there ends it here.
    /// This is kept all the same, because the ledger does not say whose pause it is.
    in_ledger: bool,
}

impl State {
    fn blocked_until(&self, now: Instant) -> Option<Instant> {
        let refused_until = self.refusal.filter(|refusal| !refusal.in_ledger).map(|refusal| refusal.until);
        self.health.down_until(now).max(refused_until).max(self.paused_until).filter(|until| *until > now)
    }

    fn drain(&self) -> Vec<Job> {
        self.lanes.values().flat_map(|lane| lane.drain()).collect()
    }
}

/// Somebody waits for a connection.
struct Waits<'a>(&'a AtomicUsize);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Relay {
    pub(super) fn new(config: config::Relay) -> Self {
        let base = Base { connections: config.connections, interval: config.rate.map(limit::interval) };
        let permits = Arc::new(Semaphore::new(config.connections as usize));
        let doubtful = Arc::new(Semaphore::new((config.connections as usize / 4).max(1)));
        let closing = CancellationToken::new();
        let (bucket, wanting) = (Bucket::new(base), AtomicUsize::new(0));
        let unknown_limits = Trouble::new(
            "the ledger cannot be asked how much mail may start: what has a limit waits",
            "the ledger says again how much mail may start",
        );
        Self { bucket, unknown_limits, permits, doubtful, wanting, closing, config, state: Mutex::default() }
    }

    /// What the ledger says of a limit; `None` when it says nothing, which is told.
    pub(super) fn limits_told<T, E: Display>(&self, answer: Result<T, E>) -> Option<T> {
        match answer {
            Ok(told) => {
                self.unknown_limits.over();
                Some(told)
            }
            Err(error) => {
                self.unknown_limits.met(&format_args!("{}: {error}", self.config.name));
                None
            }
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the receivers' own servers are written to.
    pub(super) fn is_mx(&self) -> bool {
        self.config.kind == RelayKind::Mx
    }

    /// One of this daemon's connections, to be opened and kept as long as this is: waits until there is one, and sessions
    /// that have nothing to do end for it.
    pub(super) async fn permit(&self) -> OwnedSemaphorePermit {
        if let Ok(permit) = self.permits.clone().try_acquire_owned() {
            return permit;
        }
        self.wanting.fetch_add(1, Ordering::AcqRel);
        let waits = Waits(&self.wanting);
        self.lanes().iter().for_each(|lane| lane.wake());
        let permit = self.permits.clone().acquire_owned().await.expect("nobody closes it");
        drop(waits);
        permit
    }

    /// One of those that may be opened, for as long as it is being opened, to whoever could not be reached at the last try;
    /// `None` where there are enough of them: the dead would keep every connection from the living.
    pub(super) fn permit_to_try_again(&self) -> Option<OwnedSemaphorePermit> {
        self.doubtful.clone().try_acquire_owned().ok()
    }

    /// Whether somebody waits for a connection that a session with nothing to do keeps.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanting.load(Ordering::Acquire) > 0
    }

    /// Whether it takes mail, as far as we know; `now` in milliseconds of real time.
    pub(super) fn is_up(&self, now: i64) -> bool {
        self.state().blocked_until(Instant::now()).is_none() && self.bucket.now(now).suspended_until.is_none()
    }

    /// Whether it has nothing to do, and was not asked lately whether it is there; it counts as asked now. `now` in
    /// milliseconds of real time.
    pub(super) fn may_be_asked(&self, now: i64) -> bool {
        if !self.is_up(now) || self.lanes().iter().any(|lane| lane.is_at_work()) {
            return false;
        }
        let (mut state, now) = (self.state(), Instant::now());
        let may = state.asked_at.is_none_or(|at| now - at >= ASKED_EVERY);
        if may {
            state.asked_at = Some(now);
        }
        may
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.lanes().iter().map(|lane| lane.waiting()).sum()
    }

    /// Every lane that there is.
    pub(super) fn lanes(&self) -> Vec<Arc<Lane>> {
        self.state().lanes.values().cloned().collect()
    }

    /// The lane to a provider, begun where there is none.
    pub(super) fn lane(&self, provider: &str, providers: &Providers) -> Arc<Lane> {
        let mut state = self.state();
        if let Some(lane) = state.lanes.get(provider) {
            return lane.clone();
        }
        let own = self.config.messages_per_connection;
        let lane = if self.config.providers {
            let bears = providers.bears(provider);
            let base = Base { connections: bears.connections, interval: bears.rate.map(limit::interval) };
            Lane::new(provider, bears.messages_per_connection.min(own), true, Bucket::new(base))
        } else {
            let base = Base { connections: self.config.connections, interval: None };
            Lane::new(provider, own, false, Bucket::new(base))
        };
        let lane = Arc::new(lane);
        state.lanes.insert(provider.to_owned(), lane.clone());
        lane
    }

    /// Those of these that a lane could take in now, and the others, each with how long it would wait; where the relay
    /// itself takes nothing, nobody knows how long.
    pub(super) fn sift(
        &self,
        lane: &Lane,
        jobs: Vec<Job>,
        now: i64,
    ) -> (Vec<Job>, Vec<(Job, Option<Duration>)>) {
        if !self.is_up(now) {
            return (Vec::new(), jobs.into_iter().map(|job| (job, None)).collect());
        }
        let (fit, others) = lane.sift(jobs, now);
        (fit, others.into_iter().map(|(job, wait)| (job, Some(wait))).collect())
    }

    /// What waits in a lane, cannot begin soon, and does not have to wait there; each with how long it would.
    pub(super) fn surplus(&self, lane: &Lane, now: i64) -> Vec<(Job, Duration)> {
        let mut back = lane.surplus(now);
        back.extend(lane.overflow(&self.bucket.now(now), now));
        back
    }

    /// Whether it has a pace as a whole, its own or one that was asked for.
    pub(super) fn is_slow(&self, now: i64) -> bool {
        self.bucket.now(now).interval.is_some()
    }

    /// Forgets lanes that have had nothing to do for a while.
    pub(super) fn tidy(&self) {
        self.state().lanes.retain(|_, lane| !lane.is_idle(IDLE_LANE));
    }

    /// The next one of a lane that may start now.
    pub(super) fn next(&self, lane: &Lane, carried: Option<&Carried>, strict: bool, now: i64) -> Next {
        let state = self.state();
        if state.closed {
            return Next::Closed;
        }
        if let Some(until) = state.blocked_until(Instant::now()) {
            return Next::NotBefore(until);
        }
        drop(state);
        lane.next(carried, strict, now, &self.bucket)
    }

    /// It cannot be reached, or answers nothing: nothing is tried for a while. Returns what waited, to go back, and whether
    /// that is new since it answered last.
    pub(super) fn down(&self) -> (Vec<Job>, bool) {
        let mut state = self.state();
        let (_, anew) = state.health.down(LONGEST_DELAY);
        state.lanes.values().for_each(|lane| lane.uncrowd());
        (state.drain(), anew)
    }

    /// A session ended without an answer about a message; `true` when that happened too often in a row to be chance.
    pub(super) fn gone(&self) -> bool {
        self.state().health.gone()
    }

    /// It answered about a message; `true` when it had been left alone.
    pub(super) fn up(&self) -> bool {
        self.state().health.up()
    }

    /// It refuses us as a sender: nothing is given to it for so long, or until the ledger's word is known. Returns what
    /// waited, to go back, and whether that is new: not where it refused us before, and that is not over.
    pub(super) fn refused(&self, length: Duration) -> (Vec<Job>, bool) {
        let now = Instant::now();
        let mut state = self.state();
        let anew = state.refusal.is_none_or(|refusal| refusal.until <= now);
        state.refusal = Some(Refusal { until: now + length, in_ledger: false });
        (state.drain(), anew)
    }

    /// The ledger says that nothing is given to it until then, or that it goes on. Returns what waited, to go back.
    pub(super) fn pause_until(&self, until: Option<Instant>) -> Vec<Job> {
        let mut state = self.state();
        let resumed = state.paused_until.is_some() && until.is_none();
        state.paused_until = until;
        state.refusal = match state.refusal {
            // A refusal that the ledger does not know yet holds until it does.
            Some(refusal) if until.is_some() => Some(Refusal { in_ledger: true, ..refusal }),
            refusal => refusal.filter(|refusal| !refusal.in_ledger),
        };
        let back = if until.is_some() { state.drain() } else { Vec::new() };
        if resumed {
            state.lanes.values().for_each(|lane| lane.wake());
        }
        back
    }

    /// What waits for it and may not leave as it is any more, to go back: everything while nothing is given to it, and
    /// otherwise what is late by now, and what is of editions that are not sent just now, or that were corrected
    /// meanwhile. A doubtful delivery repeats what it carried.
    pub(super) fn recall(&self, sent: &[Sending], civil: i64) -> Vec<Job> {
        // A worker may have put back what it had in hand after its relay was closed to everything.
        let state = self.state();
        if state.blocked_until(Instant::now()).is_some() {
            return state.drain();
        }
        drop(state);
        let may_leave = |job: &Job| {
            let as_it_is = |now: &Sending| now.revision == job.sending.revision || job.held.doubtful;
            job.held.deadline > civil && sent.iter().any(|now| now.id == job.sending.id && as_it_is(now))
        };
        self.lanes().iter().flat_map(|lane| lane.recall(may_leave)).collect()
    }

    /// Nothing more: connections end. Returns what waited, to go back.
    pub(super) fn close(&self) -> Vec<Job> {
        let mut state = self.state();
        state.closed = true;
        self.closing.cancel();
        let waiting = state.drain();
        state.lanes.values().for_each(|lane| lane.wake());
        waiting
    }

    /// Whether it was closed.
    pub(super) fn is_closed(&self) -> bool {
        self.state().closed
    }
}

#[cfg(test)]
pub(super) mod tests;

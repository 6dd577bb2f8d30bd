//! What goes through one relay to one receiving provider: its own queue, connections, pace and back-off.
//!
//! A relay that keeps no providers' limits has a single lane. What a lane cannot take soon it does not hold: it names the
//! moment when it could, each message one of its own, and the ledger keeps it until then; so a slow provider delays
//! nobody else's mail and fills nobody's memory.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::civil::Date;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

use super::booking::{Booking, LONGEST_WAIT, gap};
use super::health::Healths;
use super::{Job, Share};
use crate::delivery::mx::{Peer, Route};
use crate::delivery::pace::limit::Now;
use crate::delivery::pace::store::Said;
use crate::delivery::pace::{Bucket, Start};

/// Among so many of the first that wait, one that the open session can carry goes first.
const LOOK_AHEAD: usize = 256;
/// A lane holds what it can do in so long, and what its connections are at, twice.
const HELD: Duration = Duration::from_secs(2);
/// So many that wait are worth another connection to a provider.
const MESSAGES_WORTH_A_CONNECTION: u32 = 5;

/// The session that asks for the next message: what it was opened for, and with which host.
#[derive(Clone, Debug)]
pub(in crate::delivery) struct Carried {
    pub(in crate::delivery) route: Option<Arc<Route>>,
    pub(in crate::delivery) peer: Peer,
}

impl Carried {
    /// Whether this session may carry that message.
    pub(in crate::delivery) fn carries(&self, job: &Job) -> bool {
        match (&self.route, &job.route) {
            (Some(own), Some(other)) => other.shares(own, &self.peer),
            (None, None) => true,
            _ => false,
        }
    }
}

/// A connection on one way, open or being opened, for as long as this lives.
#[derive(Debug)]
pub(in crate::delivery) struct Connection {
    lane: Arc<Lane>,
    route: Option<Arc<Route>>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut state = self.lane.state();
        if let Some(count) = state.connections.get_mut(&self.route) {
            *count -= 1;
            if *count == 0 {
                state.connections.remove(&self.route);
            }
        }
    }
}

/// One lane.
#[derive(Debug)]
pub(in crate::delivery) struct Lane {
    /// The receiving provider; empty for a relay's single lane.
    pub(in crate::delivery) provider: String,
    /// After so many messages a connection is closed.
    pub(in crate::delivery) messages_per_connection: u32,
    /// Whether its connections are counted together with those of other daemons.
    pub(in crate::delivery) shared: bool,
    /// Its pace.
    pub(in crate::delivery) bucket: Bucket,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug)]
struct State {
    waiting: VecDeque<Job>,
    workers: u32,
    health: Healths,
    /// How many connections there are on each way.
    connections: HashMap<Option<Arc<Route>>, u32>,
    booked: Booking,
    crowded_until: Option<Instant>,
    idle_since: Instant,
    said: Said,
    down_told: bool,
}

impl State {
    fn retire(&mut self) {
        self.workers = self.workers.saturating_sub(1);
        self.idle_since = Instant::now();
    }

    /// What waits for this way.
    fn drain_way(&mut self, route: Option<&Arc<Route>>) -> Vec<Job> {
        let (back, stay) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition::<Vec<Job>, _>(|job| job.route.as_ref() == route);
        self.waiting = stay.into();
        back
    }
}

impl Lane {
    pub(in crate::delivery) fn new(
        provider: &str,
        messages_per_connection: u32,
        shared: bool,
        bucket: Bucket,
    ) -> Self {
        let state = State {
            waiting: VecDeque::new(),
            workers: 0,
            health: Healths::default(),
            connections: HashMap::new(),
            booked: Booking::new(Instant::now()),
            crowded_until: None,
            idle_since: Instant::now(),
            said: Said::default(),
            down_told: false,
        };
        Self {
            provider: provider.to_owned(),
            messages_per_connection,
            shared,
            bucket,
            state: Mutex::new(state),
            wake: Notify::new(),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many wait.
    pub(in crate::delivery) fn waiting(&self) -> usize {
        self.state().waiting.len()
    }

    /// Whether something waits, or a connection may be open.
    pub(super) fn is_at_work(&self) -> bool {
        let state = self.state();
        !state.waiting.is_empty() || state.workers > 0
    }

    /// Whether it has had nothing to do for so long that it can be forgotten. Not while somebody cannot be reached: who
    /// comes back when their rest is over would find that nobody remembers how long it was.
    pub(in crate::delivery) fn is_idle(&self, length: Duration) -> bool {
        let (state, now) = (self.state(), Instant::now());
        state.waiting.is_empty()
            && state.workers == 0
            && state.said.is_nothing()
            && state.idle_since.elapsed() > length
            && !state.health.any_is_remembered(now)
    }

    /// Lets these wait for it; gives back those that it cannot take soon, each with how long it would wait.
    pub(in crate::delivery) fn take_in(&self, jobs: Vec<Job>, now: i64) -> Vec<(Job, Duration)> {
        self.judged(jobs, now, |state, fitting| state.waiting.extend(fitting))
    }

    /// Those of these that it could take in now, and the others, each with how long it would wait.
    pub(super) fn sift(&self, jobs: Vec<Job>, now: i64) -> (Vec<Job>, Vec<(Job, Duration)>) {
        let mut fit = Vec::new();
        let others = self.judged(jobs, now, |_, fitting| fit = fitting);
        (fit, others)
    }

    /// Does this with those that fit; gives back the others, each with how long it would wait.
    fn judged(
        &self,
        jobs: Vec<Job>,
        now: i64,
        keep: impl FnOnce(&mut State, Vec<Job>),
    ) -> Vec<(Job, Duration)> {
        let holds = self.bucket.now(now);
        let moment = Instant::now();
        let room = self.room(&holds);
        let suspended = holds.suspended_until.and_then(|until| u64::try_from(until - now).ok());
        let suspended = suspended.map(|left| moment + Duration::from_millis(left));
        let (mut fitting, mut later) = (Vec::new(), Vec::new());
        let mut state = self.state();
        state.idle_since = moment;
        state.booked.heed(&holds, moment, now);
        for job in jobs {
            if let Some(until) = state.health.down_until(job.route.as_ref(), moment) {
                later.push((job, (until - moment).min(LONGEST_WAIT)));
            } else if suspended.is_some() || state.waiting.len() + fitting.len() >= room {
                let soonest = suspended.unwrap_or(moment + HELD);
                let wait = state.booked.wait(soonest, moment, job.spread);
                later.push((job, wait));
            } else {
                fitting.push(job);
            }
        }
        keep(&mut state, fitting);
        drop(state);
        self.wake.notify_waiters();
        later
    }

    /// What waits and could not begin soon any more, because its limit fell meanwhile; each with how long it would wait.
    pub(in crate::delivery) fn surplus(&self, now: i64) -> Vec<(Job, Duration)> {
        let holds = self.bucket.now(now);
        let room = if holds.suspended_until.is_some() { 0 } else { self.room(&holds) };
        let mut state = self.state();
        let stay = state.waiting.len().min(room);
        let back = state.waiting.split_off(stay);
        drop(state);
        if back.is_empty() { Vec::new() } else { self.take_in(back.into(), now) }
    }

    /// What waits here, would not begin soon at this pace of the whole relay, and may leave by another that has no such
    /// pace; each with how long it would wait. For lanes that have no pace of their own.
    pub(super) fn overflow(&self, holds: &Now, now: i64) -> Vec<(Job, Duration)> {
        if self.shared || holds.interval.is_none() {
            return Vec::new();
        }
        let (room, gap) = (Self::soon(holds), gap(holds));
        let mut state = self.state();
        let (mut stay, mut back) = (VecDeque::new(), Vec::new());
        for (at, job) in (0_u32..).zip(state.waiting.drain(..)) {
            if stay.len() < room || job.choices.last().is_none_or(|next| next.is_slow(now)) {
                stay.push_back(job);
            } else {
                back.push((job, gap.saturating_mul(at).min(LONGEST_WAIT)));
            }
        }
        state.waiting = stay;
        back
    }

    /// How many may wait here.
    fn room(&self, holds: &Now) -> usize {
        if self.shared { Self::soon(holds) } else { usize::MAX }
    }

    /// How many can begin soon.
    fn soon(holds: &Now) -> usize {
        let soon = HELD.as_micros() / gap(holds).as_micros().max(1);
        usize::try_from(soon).unwrap_or(usize::MAX).max(holds.connections as usize * 2)
    }

    /// One that was taken out goes back to the front.
    pub(in crate::delivery) fn return_one(&self, job: Job) {
        self.state().waiting.push_front(job);
        self.wake.notify_waiters();
    }

    /// The next that may begin now, one that this session can carry before others. With `strict` no other.
    pub(super) fn next(
        &self,
        carried: Option<&Carried>,
        strict: bool,
        now: i64,
        relay: &Bucket,
    ) -> super::Next {
        let mut state = self.state();
        let at = match carried {
            Some(carried) => {
                let fits = state.waiting.iter().take(LOOK_AHEAD).position(|job| carried.carries(job));
                if fits.is_none() && strict { None } else { Some(fits.unwrap_or(0)) }
            }
            None => Some(0),
        };
        let Some(at) = at.filter(|at| *at < state.waiting.len()) else { return super::Next::Nothing };
        if state.waiting[at].nowhere.is_none() {
            for bucket in [&self.bucket, relay] {
                match bucket.ready(now) {
                    Start::Now => {}
                    Start::NotBefore(until) => return super::Next::NotBefore(until),
                    Start::Take => return super::Next::Take,
                }
            }
            // Only the relay's may have gone to another lane meanwhile; nobody else asks this one now.
            match relay.begin(now) {
                Start::Now => drop(self.bucket.begin(now)),
                Start::NotBefore(until) => return super::Next::NotBefore(until),
                Start::Take => return super::Next::Take,
            }
        }
        state.idle_since = Instant::now();
        state.waiting.remove(at).map_or(super::Next::Nothing, |job| super::Next::Job(Box::new(job)))
    }

    /// Resolves when something changes after this call: to be called before asking, or a wake-up between is lost.
    pub(in crate::delivery) fn woken(&self) -> Notified<'_> {
        self.wake.notified()
    }

    pub(in crate::delivery) fn wake(&self) {
        self.wake.notify_waiters();
    }

    /// How many workers are wanted beside those that there are; they count from now on.
    pub(in crate::delivery) fn wanted_workers(&self, most: u32, now: i64) -> u32 {
        let limit = self.bucket.now(now).connections.min(most);
        let mut state = self.state();
        if state.crowded_until.is_some_and(|until| until > Instant::now()) && state.workers > 0 {
            return 0;
        }
        let waiting = u32::try_from(state.waiting.len()).unwrap_or(u32::MAX);
        // A provider that has a few mails to get needs no crowd for them.
        let waiting = if self.shared { waiting.div_ceil(MESSAGES_WORTH_A_CONNECTION) } else { waiting };
        let wanted = limit.min(waiting).saturating_sub(state.workers);
        state.workers += wanted;
        wanted
    }

    /// Whether there are more workers than connections may be.
    pub(in crate::delivery) fn is_crowded(&self, now: i64) -> bool {
        self.bucket.now(now).connections < self.state().workers
    }

    /// A worker ends where there are more of them than connections may be: never so many that too few are left.
    pub(in crate::delivery) fn retire_if_crowded(&self, now: i64) -> bool {
        let connections = self.bucket.now(now).connections;
        let mut state = self.state();
        let crowded = connections < state.workers;
        if crowded {
            state.retire();
        }
        crowded
    }

    /// A worker ends, unless something waits that only it would see.
    pub(in crate::delivery) fn retire_if_idle(&self) -> bool {
        let mut state = self.state();
        let idle = state.waiting.is_empty();
        if idle {
            state.retire();
        }
        idle
    }

    /// A worker ends, whatever waits.
    pub(in crate::delivery) fn retire(&self) {
        self.state().retire();
    }

    /// Counts a connection on this way.
    pub(in crate::delivery) fn connects(self: &Arc<Self>, route: Option<Arc<Route>>) -> Connection {
        *self.state().connections.entry(route.clone()).or_default() += 1;
        Connection { lane: self.clone(), route }
    }

    /// Whether there is a connection on this way.
    pub(in crate::delivery) fn is_connected(&self, route: Option<&Arc<Route>>) -> bool {
        self.state().connections.contains_key(&route.cloned())
    }

    /// A worker ends with this in hand, because there is no connection for it; no further one is asked for in so long.
    /// Returns what waits with it where no other worker of this daemon is left to take it.
    pub(in crate::delivery) fn crowded_out(&self, job: Job, length: Duration) -> Vec<Job> {
        let mut state = self.state();
        state.crowded_until = Some(Instant::now() + length);
        state.waiting.push_front(job);
        state.retire();
        let back = if state.workers == 0 { std::mem::take(&mut state.waiting) } else { VecDeque::new() };
        drop(state);
        self.wake.notify_waiters();
        back.into()
    }

    /// Nobody of this route can be reached, or answers: nothing is tried there for a while. Returns what waited for it, how
    /// long, and whether that is new since they answered last.
    pub(in crate::delivery) fn down(&self, route: Option<&Arc<Route>>) -> (Vec<Job>, Duration, bool) {
        let mut state = self.state();
        state.down_told = true;
        state.crowded_until = None;
        let (wait, anew) = state.health.down(route.cloned());
        (state.drain_way(route), wait, anew)
    }

    /// Whether the last try on this way led nowhere.
    pub(in crate::delivery) fn is_doubtful(&self, route: Option<&Arc<Route>>) -> bool {
        self.state().health.is_doubtful(route)
    }

    /// Nothing is tried on this way for so long, whoever is there. Returns what waited for it.
    pub(in crate::delivery) fn rests(&self, route: Option<&Arc<Route>>, length: Duration) -> Vec<Job> {
        let mut state = self.state();
        state.health.rests(route.cloned(), length);
        state.drain_way(route)
    }

    /// What kept further connections from being opened is over: nobody is connected any more.
    pub(super) fn uncrowd(&self) {
        self.state().crowded_until = None;
    }

    /// A session ended without an answer about a message; `true` when that happened too often in a row to be chance.
    pub(in crate::delivery) fn gone(&self, route: Option<&Arc<Route>>) -> bool {
        self.state().health.gone(route.cloned())
    }

    /// Somebody answered about a message; `true` where that has to be told.
    pub(in crate::delivery) fn up(&self, route: Option<&Arc<Route>>) -> bool {
        let mut state = self.state();
        state.health.up(route.cloned());
        std::mem::take(&mut state.down_told)
    }

    /// What waits and may not leave, to go back.
    pub(super) fn recall(&self, may_leave: impl Fn(&Job) -> bool) -> Vec<Job> {
        let mut state = self.state();
        let (stay, back) = state.waiting.drain(..).partition(may_leave);
        state.waiting = stay;
        let back: VecDeque<Job> = back;
        back.into()
    }

    /// Everything that waits.
    pub(in crate::delivery) fn drain(&self) -> Vec<Job> {
        self.state().waiting.drain(..).collect()
    }

    /// Notes what was said, to be told later.
    pub(in crate::delivery) fn note(&self, note: impl FnOnce(&mut Said)) {
        note(&mut self.state().said);
    }

    /// Of a day's cap, what came back to it and was not told yet, up to so many: taken already, and to be had again at once.
    pub(in crate::delivery) fn taken_back(self: &Arc<Self>, day: Date, count: usize) -> Vec<Share> {
        let mut state = self.state();
        let Some(back) = state.said.back.remove(&day) else { return Vec::new() };
        let had = usize::try_from(back).unwrap_or(0).min(count);
        let left = back - i64::try_from(had).unwrap_or(0);
        if left > 0 {
            state.said.back.insert(day, left);
        }
        drop(state);
        (0..had).map(|_| Share::of(self, day)).collect()
    }

    /// What was said since this was asked last.
    pub(in crate::delivery) fn said(&self) -> Said {
        std::mem::take(&mut self.state().said)
    }
}

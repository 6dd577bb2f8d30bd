//! A relay as one daemon sees it: what waits for it, how fast it may go, whether it is down or paused.
//!
//! A failing relay is delayed once, not once per message: what waits for it goes back to the ledger, uncounted, and
//! another relay of the newsletter takes it where there is one.

pub mod store;

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

use super::ledger::Claimed;
use super::protocol::Sending;
use crate::config::{self, Newsletter, Rate};

/// After the first failure to connect; doubled at each further one.
const FIRST_DELAY: Duration = Duration::from_secs(1);
/// A server may close a session for its own reasons (T12); so many without a single answer are no chance.
const GONE_TOO_OFTEN: u32 = 10;
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// One claimed delivery on its way to a connection.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) held: Claimed,
    pub(super) sending: Sending,
    pub(super) newsletter: Newsletter,
}

/// One relay.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) config: config::Relay,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug)]
struct State {
    waiting: VecDeque<Job>,
    closed: bool,
    failures: u32,
    /// Sessions in a row that were gone before they took anything.
    gone: u32,
    down_until: Option<Instant>,
    paused_until: Option<Instant>,
    /// Until when an operator wants nothing given to it.
    stopped_until: Option<Instant>,
    /// When the next message may start, where there is a rate.
    next_start: Instant,
    /// Stretches the rate's interval after signals to slow down: 1 is the configured rate.
    slowness: u32,
}

impl State {
    fn blocked_until(&self, now: Instant) -> Option<Instant> {
        self.down_until.max(self.paused_until).max(self.stopped_until).filter(|until| *until > now)
    }
}

/// What a connection gets when it asks for work.
#[derive(Debug)]
pub(super) enum Next {
    /// This.
    Job(Box<Job>),
    /// Nothing before this moment.
    NotBefore(Instant),
    /// Nothing at the moment.
    Nothing,
    /// Nothing any more.
    Closed,
}

impl Relay {
    pub(super) fn new(config: config::Relay) -> Self {
        let state = State {
            waiting: VecDeque::new(),
            closed: false,
            failures: 0,
            gone: 0,
            down_until: None,
            paused_until: None,
            stopped_until: None,
            next_start: Instant::now(),
            slowness: 1,
        };
        Self { config, state: Mutex::new(state), wake: Notify::new() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it takes mail, as far as we know.
    pub(super) fn is_up(&self) -> bool {
        self.state().blocked_until(Instant::now()).is_none()
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.state().waiting.len()
    }

    /// Lets these wait for it.
    pub(super) fn push(&self, jobs: Vec<Job>) {
        self.state().waiting.extend(jobs);
        self.wake.notify_waiters();
    }

    /// The next one that may start now.
    pub(super) fn try_next(&self) -> Next {
        let now = Instant::now();
        let mut state = self.state();
        if state.closed {
            return Next::Closed;
        }
        if let Some(until) = state.blocked_until(now) {
            return Next::NotBefore(until);
        }
        if state.waiting.is_empty() {
            return Next::Nothing;
        }
        if let Some(interval) = self.interval(state.slowness) {
            if state.next_start > now {
                return Next::NotBefore(state.next_start);
            }
            // What was not used is not saved up: a relay that idled is not run over afterwards.
            state.next_start = state.next_start.max(now.checked_sub(interval).unwrap_or(now)) + interval;
        }
        state.waiting.pop_front().map_or(Next::Nothing, |job| Next::Job(Box::new(job)))
    }

    fn interval(&self, slowness: u32) -> Option<Duration> {
        match self.config.rate {
            Some(Rate { count, per }) => Some(per / count.max(1) * slowness),
            // Without a rate, slowing down starts from a hundred a second.
            None if slowness > 1 => Some(Duration::from_millis(10) * slowness),
            None => None,
        }
    }

    /// Resolves when something is put there after this call: to be called before [`Relay::try_next`], or a wake-up
    /// between the two is lost.
    pub(super) fn woken(&self) -> Notified<'_> {
        self.wake.notified()
    }

    /// It could not be reached: nothing is tried for a while. Returns what waited, to go back.
    pub(super) fn down(&self) -> Vec<Job> {
        let mut state = self.state();
        let delay = FIRST_DELAY.saturating_mul(1 << state.failures.min(6)).min(LONGEST_DELAY);
        state.failures += 1;
        state.down_until = Some(Instant::now() + delay);
        state.waiting.drain(..).collect()
    }

    /// A session was gone before it took anything; `true` when that happened too often to be chance.
    pub(super) fn gone(&self) -> bool {
        let mut state = self.state();
        state.gone += 1;
        state.gone >= GONE_TOO_OFTEN
    }

    /// It answered about a message; `true` when it had been down.
    pub(super) fn up(&self) -> bool {
        let mut state = self.state();
        let was_down = state.failures > 0;
        state.failures = 0;
        state.gone = 0;
        state.down_until = None;
        was_down
    }

    /// Nothing is given to it for so long. Returns what waited, to go back.
    pub(super) fn pause(&self, length: Duration) -> Vec<Job> {
        let mut state = self.state();
        state.paused_until = Some(Instant::now() + length);
        state.waiting.drain(..).collect()
    }

    /// An operator wants nothing given to it until then, or lets it go on. Returns what waited, to go back.
    pub(super) fn stop_until(&self, until: Option<Instant>) -> Vec<Job> {
        let mut state = self.state();
        let resumed = state.stopped_until.is_some() && until.is_none();
        state.stopped_until = until;
        let back = if until.is_some() { state.waiting.drain(..).collect() } else { Vec::new() };
        drop(state);
        if resumed {
            self.wake.notify_waiters();
        }
        back
    }

    /// What waits for it and may not leave as it is any more, to go back: of editions that are not sent just now, or that
    /// were corrected meanwhile. A doubtful delivery repeats what it carried.
    pub(super) fn recall(&self, sent: &[Sending]) -> Vec<Job> {
        let may_leave = |job: &Job| {
            let as_it_is = |now: &Sending| now.revision == job.sending.revision || job.held.doubtful;
            sent.iter().any(|now| now.id == job.sending.id && as_it_is(now))
        };
        let mut state = self.state();
        let (stay, back) = state.waiting.drain(..).partition(may_leave);
        state.waiting = stay;
        back.into()
    }

    /// Half as fast from now on.
    pub(super) fn slow_down(&self) {
        let mut state = self.state();
        state.slowness = (state.slowness * 2).min(256);
    }

    /// A step faster again, after a good while.
    pub(super) fn speed_up(&self) {
        let mut state = self.state();
        state.slowness = (state.slowness / 2).max(1);
    }

    /// Nothing more: connections end. Returns what waited, to go back.
    pub(super) fn close(&self) -> Vec<Job> {
        let mut state = self.state();
        state.closed = true;
        let waiting = state.waiting.drain(..).collect();
        drop(state);
        self.wake.notify_waiters();
        waiting
    }
}

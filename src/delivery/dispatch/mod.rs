//! Hands claimed deliveries to relays and lanes (`place`), keeps the limits (`limits`) and the connections
//! (`connections`) that all daemons share, knows whether a resolver answers (`resolver`) and what waits for its answers
//! (`asking`), asks idle relays whether they are back (`probing`), knows whether messages can be made (`making`), tells the
//! ledger what was said (`telling`), and keeps count of everything that works for one daemon's life (`tasks`).

mod asking;
mod connections;
mod limits;
mod making;
mod place;
mod probing;
mod resolver;
mod tasks;
mod telling;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::commit::Request;
use super::ledger::Me;
use super::mx::Ways;
use super::pace::Providers;
use super::pace::store::Row;
use super::protocol::Later;
use super::relay::{Job, Lane, Relay};
use super::worker::{self, Shared};
use super::{DeliveryState, Mode};
use crate::clock::Random;
use crate::config::Newsletter;
use asking::{Asking, Waiters};
use connections::Connections;
use making::Making;
use resolver::Resolver;
use tasks::Tasks;
pub(super) use telling::Untold;

/// Questions about domains at a time.
const QUESTIONS: usize = 64;

/// The relays of one daemon's life, and everything that works for them.
#[derive(Debug)]
pub(super) struct Dispatch {
    pub(super) shared: Shared,
    pub(super) me: Me,
    pub(super) relays: BTreeMap<String, Arc<Relay>>,
    pub(super) providers: Arc<Providers>,
    /// `None` where no relay asks about domains.
    pub(super) ways: Option<Arc<Ways>>,
    random: Random,
    mode: Mode,
    tasks: Tasks,
    questions: Semaphore,
    asking: Asking,
    waiters: Waiters,
    pub(super) making: Making,
    resolver: Resolver,
    /// Whoever looks which relays are paused.
    looking: tokio::sync::Mutex<()>,
    connections: Connections,
    /// Limits as they were read last, if they were: a lane begins with its own.
    limits: Mutex<Option<Vec<Row>>>,
    /// Cancelled when this life ends.
    closing: CancellationToken,
}

impl Dispatch {
    pub(super) fn new(
        shared: Shared,
        me: Me,
        relays: BTreeMap<String, Arc<Relay>>,
        providers: Arc<Providers>,
        ways: Option<Arc<Ways>>,
        random: Random,
        mode: Mode,
    ) -> Self {
        Self {
            shared,
            me,
            relays,
            providers,
            ways,
            random,
            mode,
            tasks: Tasks::new(),
            questions: Semaphore::new(QUESTIONS),
            asking: Asking::default(),
            waiters: Waiters::default(),
            making: Making::default(),
            resolver: Resolver::default(),
            looking: tokio::sync::Mutex::default(),
            connections: Connections::default(),
            limits: Mutex::default(),
            closing: CancellationToken::new(),
        }
    }

    /// Whether anything is in hand.
    pub(super) fn is_busy(&self) -> bool {
        self.shared.committer.working() > 0
            || self.asking.any()
            || self.relays.values().any(|relay| relay.waiting() > 0)
    }

    /// How many deliveries wait for a newsletter's relays.
    pub(super) fn waiting(&self, newsletter: &Newsletter) -> usize {
        let relays = newsletter.relays.iter().filter_map(|name| self.relays.get(name));
        relays.map(|relay| relay.waiting()).sum()
    }

    /// How many of a newsletter wait for somebody to say where they go.
    pub(super) fn asking(&self, newsletter: &Newsletter) -> usize {
        self.asking.of(&newsletter.id)
    }

    /// The newsletter's relays that take mail.
    pub(super) fn up(&self, newsletter: &Newsletter) -> Vec<Arc<Relay>> {
        let now = self.shared.clock.shared_ms();
        let relays = newsletter.relays.iter().filter_map(|name| self.relays.get(name));
        relays.filter(|relay| relay.is_up(now)).cloned().collect()
    }

    /// So many workers as the lane's work and limits ask for.
    pub(super) fn staff(self: &Arc<Self>, relay: &Arc<Relay>, lane: &Arc<Lane>) {
        for _ in 0..lane.wanted_workers(relay.config.connections, self.shared.clock.shared_ms()) {
            self.tasks.spawn(worker::work(self.clone(), relay.clone(), lane.clone()));
        }
    }

    /// Ends what only waits; returns the deliveries that it waited with.
    pub(super) fn close(&self) -> Vec<i64> {
        self.closing.cancel();
        self.relays.values().flat_map(|relay| relay.close()).map(|job| job.held.id.0).collect()
    }

    /// Everything that works here, to be waited for; nothing begins any more.
    pub(super) fn tasks(&self) -> JoinSet<()> {
        self.tasks.take()
    }

    /// Ends when something that works here panicked.
    pub(super) async fn broken(&self) {
        self.tasks.broken().await;
    }

    fn later(&self, job: &Job, wait: Duration) -> Later {
        let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX / 4);
        // A run that ignores due times, or moves the civil clock, heeds only real time.
        let real = self.mode.now || self.mode.jump || job.held.tries > 0;
        let (state, from) = if real {
            (DeliveryState::Deferred, self.shared.clock.now_ms())
        } else {
            (DeliveryState::Planned, self.shared.clock.civil_ms())
        };
        Later { delivery: job.held.id.0, state, next_at: from.saturating_add(wait) }
    }

    /// Gives jobs that waited for a lane back to the ledger, until it may take them.
    pub(super) async fn put_off(&self, jobs: Vec<Job>, wait: Duration) {
        let later = jobs.iter().map(|job| self.later(job, job.spread_over(wait))).collect();
        self.give(Vec::new(), later).await;
    }

    /// Gives these back to the ledger.
    pub(super) async fn give(&self, back: Vec<i64>, later: Vec<Later>) {
        if !back.is_empty() || !later.is_empty() {
            self.shared.committer.commit(Request { back, later, ..Request::default() }).await;
        }
    }
}

/// Ends everything that works for a life when that life is dropped: tasks hold the dispatch that holds them.
#[derive(Debug)]
pub(super) struct Leash(pub(super) Arc<Dispatch>);

impl Drop for Leash {
    fn drop(&mut self) {
        drop(self.0.tasks());
    }
}

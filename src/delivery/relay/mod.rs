//! A relay as one daemon sees it: its lanes, how fast it may go, whether it is down or paused.
//!
//! A failing relay is delayed once, not once per message: what waits for it goes back to the ledger, uncounted, and
//! another relay of the newsletter takes it where there is one. Where the receivers' own servers are written to, that
//! holds for each way to them, and the relay itself is never down.

mod health;
mod lane;
mod share;
pub mod store;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::classify::Class;
use super::ledger::Claimed;
use super::mx::Route;
use super::pace::{Base, Bucket, Providers, limit};
use super::protocol::Sending;
use super::reply::Reply;
use crate::config::{self, Newsletter, RelayKind};
pub(super) use lane::{Carried, Lane};
pub(super) use share::Share;

use health::Health;

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
    /// Connections of this daemon that may still be opened.
    pub(super) permits: Arc<Semaphore>,
    /// Cancelled when nothing more goes through it: what is only waited for is given up.
    pub(super) closing: CancellationToken,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    lanes: BTreeMap<String, Arc<Lane>>,
    closed: bool,
    health: Health,
    /// It refuses us as a sender, and the ledger was not told yet: until when nothing is given to it.
    paused_until: Option<Instant>,
    /// Until when the ledger says that nothing is given to it: an operator wants it so, or a daemon was refused.
    stopped_until: Option<Instant>,
}

impl State {
    fn blocked_until(&self, now: Instant) -> Option<Instant> {
        self.health
            .down_until(now)
            .max(self.paused_until)
            .max(self.stopped_until)
            .filter(|until| *until > now)
    }

    fn drain(&self) -> Vec<Job> {
        self.lanes.values().flat_map(|lane| lane.drain()).collect()
    }
}

impl Relay {
    pub(super) fn new(config: config::Relay) -> Self {
        let base = Base { connections: config.connections, interval: config.rate.map(limit::interval) };
        let permits = Arc::new(Semaphore::new(config.connections as usize));
        let closing = CancellationToken::new();
        Self { bucket: Bucket::new(base), permits, closing, config, state: Mutex::default() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the receivers' own servers are written to.
    pub(super) fn is_mx(&self) -> bool {
        self.config.kind == RelayKind::Mx
    }

    /// Whether it takes mail, as far as we know; `now` in milliseconds of real time.
    pub(super) fn is_up(&self, now: i64) -> bool {
        self.state().blocked_until(Instant::now()).is_none() && self.bucket.now(now).suspended_until.is_none()
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.lanes().iter().map(|lane| lane.waiting()).sum()
    }

    /// Every lane that there is.
    pub(super) fn lanes(&self) -> Vec<Arc<Lane>> {
        self.state().lanes.values().cloned().collect()
    }

    /// The lane to a provider, begun where there is none; its limits are read from the ledger at the next look.
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

    /// It could not be reached: nothing is tried for a while. Returns what waited, to go back, and whether it could be
    /// reached before.
    pub(super) fn down(&self) -> (Vec<Job>, bool) {
        let mut state = self.state();
        let (_, anew) = state.health.down();
        (state.drain(), anew)
    }

    /// A session ended without an answer; `true` when that happened too often to be chance.
    pub(super) fn gone(&self) -> bool {
        self.state().health.gone()
    }

    /// It answered about a message; `true` when it had been down.
    pub(super) fn up(&self) -> bool {
        self.state().health.up()
    }

    /// Nothing is given to it for so long, until the ledger is told. Returns what waited, to go back.
    pub(super) fn pause(&self, length: Duration) -> Vec<Job> {
        let mut state = self.state();
        state.paused_until = Some(Instant::now() + length);
        state.drain()
    }

    /// The ledger was told: from now on its word counts, so that whoever ends the pause there ends it here.
    pub(super) fn pause_is_told(&self) {
        self.state().paused_until = None;
    }

    /// The ledger says that nothing is given to it until then, or that it goes on. Returns what waited, to go back.
    pub(super) fn stop_until(&self, until: Option<Instant>) -> Vec<Job> {
        let mut state = self.state();
        let resumed = state.stopped_until.is_some() && until.is_none();
        state.stopped_until = until;
        let back = if until.is_some() { state.drain() } else { Vec::new() };
        if resumed {
            state.lanes.values().for_each(|lane| lane.wake());
        }
        back
    }

    /// What waits for it and may not leave as it is any more, to go back: everything while nothing is given to it, and
    /// otherwise what is of editions that are not sent just now, or that were corrected meanwhile. A doubtful delivery
    /// repeats what it carried.
    pub(super) fn recall(&self, sent: &[Sending]) -> Vec<Job> {
        // A worker may have put back what it had in hand after its relay was closed to everything.
        let state = self.state();
        if state.blocked_until(Instant::now()).is_some() {
            return state.drain();
        }
        drop(state);
        let may_leave = |job: &Job| {
            let as_it_is = |now: &Sending| now.revision == job.sending.revision || job.held.doubtful;
            sent.iter().any(|now| now.id == job.sending.id && as_it_is(now))
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
mod tests {
    use super::*;
    use crate::config::Tls;
    use crate::delivery::DeliveryId;
    use crate::delivery::ledger::tests::held;
    use crate::editions::schedule::tests::newsletter;

    fn relay(providers: bool) -> Relay {
        Relay::new(config::Relay {
            name: "main".to_owned(),
            kind: RelayKind::Smtp,
            host: "127.0.0.1".to_owned(),
            port: 25,
            tls: Tls::None,
            connections: 2,
            messages_per_connection: 100,
            rate: None,
            username: None,
            password: None,
            weight: 1,
            helo: None,
            providers,
            warm_up: None,
        })
    }

    fn sending(edition: i64, revision: i64) -> Sending {
        Sending { id: edition, newsletter: "test".to_owned(), revision }
    }

    /// A delivery of that edition, with what was its newest revision when it was claimed.
    fn job(id: i64, edition: i64, revision: i64, doubtful: bool) -> Job {
        Job {
            held: Claimed { id: DeliveryId(id), edition, ..held(doubtful) },
            sending: sending(edition, revision),
            newsletter: Arc::new(newsletter("UTC", "0 0 5 * * *", "")),
            choices: Vec::new(),
            route: None,
            nowhere: None,
            share: None,
            spread: 0,
        }
    }

    fn ids(jobs: &[Job]) -> Vec<i64> {
        jobs.iter().map(|job| job.held.id.0).collect()
    }

    /// A relay with a lane where these wait.
    fn with(jobs: Vec<Job>) -> (Relay, Arc<Lane>) {
        let relay = relay(false);
        let lane = relay.lane("", &Providers::built_in());
        assert!(lane.take_in(jobs, 0).is_empty());
        (relay, lane)
    }

    type Ends = fn(&Relay) -> Vec<Job>;

    #[tokio::test(start_paused = true)]
    async fn p1_what_waits_for_a_relay_that_takes_nothing_comes_back_and_so_does_what_was_in_hand() {
        let ends: [(&str, Duration, Ends); 3] = [
            ("down", Duration::from_secs(1), |relay| relay.down().0),
            ("paused", Duration::from_secs(600), |relay| relay.pause(Duration::from_secs(600))),
            ("stopped", Duration::from_secs(60), |relay| {
                relay.stop_until(Some(Instant::now() + Duration::from_secs(60)))
            }),
        ];
        for (what, length, end) in ends {
            let (relay, lane) = with((1..=3).map(|id| job(id, 1, 1, false)).collect());
            let Next::Job(in_hand) = relay.next(&lane, None, false, 0) else { panic!("{what}: it is up") };
            let sent = [sending(1, 1)];
            assert_eq!(ids(&relay.recall(&sent)), [0; 0], "{what}: nothing comes back of one that is up");
            assert_eq!(ids(&end(&relay)), [2, 3], "{what}");
            let blocked = Instant::now();
            assert!(!relay.is_up(0), "{what}");
            // A worker had it, and could not go on with it: nobody else looks at this relay for as long as it is away.
            lane.return_one(*in_hand);
            let Next::NotBefore(until) = relay.next(&lane, None, false, 0) else {
                panic!("{what}: it is away")
            };
            assert_eq!(until - blocked, length, "{what}");
            assert_eq!(ids(&relay.recall(&sent)), [1], "{what}");
            assert_eq!(relay.waiting(), 0, "{what}");
            tokio::time::advance(length + Duration::from_millis(1)).await;
            assert!(relay.is_up(0), "{what}: it is back");
            lane.return_one(job(4, 1, 1, false));
            assert_eq!(ids(&relay.recall(&sent)), [0; 0], "{what}: it is back");
            assert!(matches!(relay.next(&lane, None, false, 0), Next::Job(_)), "{what}: it is back");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn p4_what_was_held_or_corrected_comes_back_and_the_rest_keeps_its_place() {
        let mut jobs =
            vec![job(1, 1, 1, false), job(2, 2, 1, false), job(3, 3, 1, false), job(4, 2, 1, true)];
        jobs.extend([job(5, 3, 1, false), job(6, 1, 1, true), job(7, 2, 2, false)]);
        let (relay, lane) = with(jobs);
        // The first edition is held, the second was corrected, nothing happened to the third.
        let back = relay.recall(&[sending(2, 2), sending(3, 1)]);
        assert_eq!(ids(&back), [1, 2, 6], "in doubt, the corrected one repeats what it carried");
        let mut left = Vec::new();
        while let Next::Job(job) = relay.next(&lane, None, false, 0) {
            left.push(job.held.id.0);
        }
        assert_eq!(left, [3, 4, 5, 7]);
    }

    #[tokio::test(start_paused = true)]
    async fn p4_every_lane_gives_back_what_waits_there() {
        let relay = relay(true);
        let lanes = ["one", "two"].map(|provider| relay.lane(provider, &Providers::built_in()));
        let ends: [(&str, Ends); 4] = [
            ("held", |relay| relay.recall(&[])),
            ("paused", |relay| relay.pause(Duration::from_secs(1))),
            ("put back while it is paused", |relay| relay.recall(&[sending(1, 1)])),
            ("closed", Relay::close),
        ];
        for (what, end) in ends {
            for (id, lane) in (1..).zip(&lanes) {
                lane.return_one(job(id, 1, 1, false));
            }
            assert_eq!(ids(&end(&relay)), [1, 2], "{what}");
            assert_eq!(relay.waiting(), 0, "{what}");
        }
        assert!(matches!(relay.next(&lanes[0], None, false, 0), Next::Closed));
    }

    #[tokio::test(start_paused = true)]
    async fn p1_what_a_lane_cannot_do_soon_any_more_does_not_wait_for_it() {
        let usual = (1..=100).map(|id| job(id, 1, 1, false));
        let lane = relay(true).lane("one", &Providers::built_in());
        assert!(lane.take_in(usual.collect(), 0).is_empty());
        let surplus = || lane.surplus(0).into_iter().map(|(job, wait)| (job.held.id.0, wait)).unzip();
        let (ids, _): (Vec<i64>, Vec<Duration>) = surplus();
        assert_eq!(ids, [0; 0], "it can do all of it within two seconds");
        let slowed = limit::Limit {
            interval: Some(100_000),
            holds_until: 60_000,
            signalled_at: 1,
            ..limit::Limit::default()
        };
        lane.bucket.renew(slowed);
        let (ids, waits) = surplus();
        assert_eq!(ids, (21..=100).collect::<Vec<_>>(), "ten a second");
        assert!(waits.windows(2).all(|pair| pair[0] < pair[1]), "each has a moment of its own: {waits:?}");
        assert_eq!(waits[0], Duration::from_millis(2_100), "behind those that stay");
        assert_eq!(surplus().0, [0; 0], "the rest can stay");
        let suspended = limit::Limit { suspended_until: Some(60_000), signalled_at: 2, ..slowed };
        lane.bucket.renew(suspended);
        let (ids, waits) = surplus();
        assert_eq!(ids, (1..=20).collect::<Vec<_>>());
        assert!(waits[0] >= Duration::from_secs(60), "nothing before it may go on: {waits:?}");
    }
}

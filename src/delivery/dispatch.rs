//! Hands claimed deliveries to relays and lanes: by weight, over to the next where one takes nothing, and back to the
//! ledger where none does.
//!
//! Where a relay keeps the receiving providers' limits, the domain decides the lane; a domain that nobody has asked
//! about yet is asked about aside, and its mail follows when the answer is here.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::commit::Request;
use super::ledger::{Claimed, Me};
use super::message::wire_address;
use super::mx::Ways;
use super::pace::store::{self as paces, Row};
use super::pace::{Limit, Providers};
use super::protocol::{self, Later, Sending};
use super::relay::{Job, Lane, Relay};
use super::worker::{self, Shared};
use super::{DeliveryState, Mode, Result};
use crate::clock::Random;
use crate::config::Newsletter;

/// Questions about domains at a time.
const QUESTIONS: usize = 64;
/// The lane of what can go nowhere: its words are ours.
const NOWHERE: &str = "nowhere";

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
    tasks: Mutex<Option<JoinSet<()>>>,
    questions: Semaphore,
    /// Deliveries whose domain is being asked about.
    asking: AtomicUsize,
    /// Cancelled when this life ends.
    closing: CancellationToken,
}

/// A delivery, and the shortest wait that a lane which could not take it soon told.
type Waited = (Job, Option<Duration>);

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
            tasks: Mutex::new(Some(JoinSet::new())),
            questions: Semaphore::new(QUESTIONS),
            asking: AtomicUsize::new(0),
            closing: CancellationToken::new(),
        }
    }

    /// Whether anything is in hand.
    pub(super) fn is_busy(&self) -> bool {
        self.shared.committer.working() > 0
            || self.asking.load(Ordering::Acquire) > 0
            || self.relays.values().any(|relay| relay.waiting() > 0)
    }

    /// How many of a newsletter's deliveries wait here.
    pub(super) fn waiting(&self, newsletter: &Newsletter) -> usize {
        let relays = newsletter.relays.iter().filter_map(|name| self.relays.get(name));
        self.asking.load(Ordering::Acquire) + relays.map(|relay| relay.waiting()).sum::<usize>()
    }

    /// The newsletter's relays that take mail.
    pub(super) fn up(&self, newsletter: &Newsletter) -> Vec<Arc<Relay>> {
        let now = self.shared.clock.now_ms();
        let relays = newsletter.relays.iter().filter_map(|name| self.relays.get(name));
        relays.filter(|relay| relay.is_up(now)).cloned().collect()
    }

    /// Shares claims among the relays that are up.
    pub(super) async fn hand_out(
        self: &Arc<Self>,
        claimed: Vec<Claimed>,
        sending: &Sending,
        newsletter: &Arc<Newsletter>,
        up: &[Arc<Relay>],
    ) {
        let jobs = claimed
            .into_iter()
            .map(|held| Job {
                choices: self.choices(&held, up),
                held,
                sending: sending.clone(),
                newsletter: newsletter.clone(),
                route: None,
                nowhere: None,
                spread: u16::try_from(self.random.between(0, 1001)).unwrap_or(0),
            })
            .collect();
        self.place(jobs).await;
    }

    /// Which relays may take a delivery, the first choice last: drawn by weight, then the others, and those without a
    /// share behind them. A doubtful one goes where it went before, while that is up.
    fn choices(&self, held: &Claimed, up: &[Arc<Relay>]) -> Vec<Arc<Relay>> {
        let before = held.before.as_ref().filter(|_| held.doubtful).map(|before| before.relay.as_str());
        if let Some(same) = up.iter().find(|relay| Some(relay.config.name.as_str()) == before) {
            return vec![same.clone()];
        }
        if let [only] = up {
            return vec![only.clone()];
        }
        let mut drawn: Vec<(bool, u64, &Arc<Relay>)> = up
            .iter()
            .map(|relay| {
                // The smallest of draws from 1/weight is shared out by weight.
                let weight = u64::from(relay.config.weight.max(1));
                let draw = exponential(self.random.between(1, 1 << 32)) / weight;
                (relay.config.weight == 0, draw, relay)
            })
            .collect();
        drawn.sort_by_key(|(spare, draw, _)| (*spare, *draw));
        drawn.into_iter().rev().map(|(_, _, relay)| relay.clone()).collect()
    }

    /// Gives each to the first of its choices that takes it, and the rest back to the ledger until somebody could.
    pub(super) async fn place(self: &Arc<Self>, jobs: Vec<Job>) {
        let mut later: Vec<Later> = Vec::new();
        let mut back: Vec<i64> = Vec::new();
        // Each goes down its choices, with the shortest wait that it was told.
        let mut open: Vec<Waited> = jobs.into_iter().map(|job| (job, None)).collect();
        while !open.is_empty() {
            let mut lanes: BTreeMap<(String, String), Vec<Waited>> = BTreeMap::new();
            let mut unknown: BTreeMap<String, Vec<Job>> = BTreeMap::new();
            for (mut job, wait) in std::mem::take(&mut open) {
                let Some(relay) = job.choices.last().cloned() else {
                    match wait {
                        Some(wait) => later.push(self.later(&job, wait)),
                        None => back.push(job.held.id.0),
                    }
                    continue;
                };
                match self.lane_of(&relay, &mut job) {
                    Ok(provider) => {
                        job.choices.pop();
                        lanes.entry((relay.config.name.clone(), provider)).or_default().push((job, wait));
                    }
                    Err(domain) => unknown.entry(domain).or_default().push(job),
                }
            }
            unknown.into_iter().for_each(|(domain, jobs)| self.ask(domain, jobs));
            for ((name, provider), jobs) in lanes {
                let Some(relay) = self.relays.get(&name) else {
                    back.extend(jobs.iter().map(|(job, _)| job.held.id.0));
                    continue;
                };
                open.extend(self.offer(relay, &provider, jobs).await);
            }
        }
        self.give(back, later).await;
    }

    /// Offers these to one lane; gives back those that it does not take.
    async fn offer(self: &Arc<Self>, relay: &Arc<Relay>, provider: &str, jobs: Vec<Waited>) -> Vec<Waited> {
        let now = self.shared.clock.now_ms();
        if relay.is_closed() {
            return jobs;
        }
        let lane = relay.lane(provider, &self.providers);
        let waits: BTreeMap<i64, Duration> =
            jobs.iter().filter_map(|(job, wait)| Some((job.held.id.0, (*wait)?))).collect();
        let jobs = jobs.into_iter().map(|(job, _)| job).collect();
        let (jobs, capped) = self.warm(relay, provider, jobs).await;
        let refused = lane.take_in(jobs, now);
        if relay.config.warm_up.is_some() && !refused.is_empty() {
            lane.note(|said| said.back += i64::try_from(refused.len()).unwrap_or(0));
        }
        self.staff(relay, &lane);
        let shortest = |job: Job, wait: Duration| {
            let known = waits.get(&job.held.id.0).copied().unwrap_or(Duration::MAX);
            (job, Some(wait.min(known)))
        };
        refused.into_iter().chain(capped).map(|(job, wait)| shortest(job, wait)).collect()
    }

    /// What of these fits under today's cap of a relay that warms up; the rest waits for tomorrow's.
    async fn warm(
        &self,
        relay: &Relay,
        provider: &str,
        mut jobs: Vec<Job>,
    ) -> (Vec<Job>, Vec<(Job, Duration)>) {
        let Some(plan) = &relay.config.warm_up else { return (jobs, Vec::new()) };
        let civil = self.shared.clock.civil().to_zoned_datetime(jiff::tz::TimeZone::UTC);
        if civil.date() < plan.from || jobs.iter().all(|job| job.nowhere.is_some()) {
            return (jobs, Vec::new());
        }
        let count = i64::try_from(jobs.len()).unwrap_or(i64::MAX);
        let day = civil.date().to_string();
        let taken = async {
            let mut tx = self.shared.db.write().await?;
            let taken = paces::warm_take(&mut tx, &relay.config.name, provider, &day, count, plan).await?;
            tx.commit().await?;
            Ok::<_, crate::db::Error>(taken)
        };
        let (taken, wait) = match taken.await {
            Ok(taken) => {
                let tomorrow = civil.end_of_day().map_or(civil.timestamp(), |end| end.timestamp());
                let left = tomorrow.as_millisecond() - civil.timestamp().as_millisecond();
                (usize::try_from(taken).unwrap_or(0), Duration::from_millis(u64::try_from(left).unwrap_or(0)))
            }
            Err(error) => {
                tracing::error!(%error, relay.name = %relay.config.name, "the warm-up's cap could not be read");
                (0, Duration::from_secs(10))
            }
        };
        let capped = jobs.split_off(taken.min(jobs.len()));
        (jobs, capped.into_iter().map(|job| (job, wait + Duration::from_secs(1))).collect())
    }

    /// Which lane of a relay a delivery belongs to.
    ///
    /// # Errors
    /// Its domain, where that has to be asked about first.
    fn lane_of(&self, relay: &Relay, job: &mut Job) -> std::result::Result<String, String> {
        job.route = None;
        job.nowhere = None;
        let Some(ways) = self.ways.as_ref().filter(|_| relay.config.providers) else {
            return Ok(String::new());
        };
        let address = wire_address(&job.held.address);
        let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
        let known = ways.known(domain).ok_or_else(|| domain.to_owned())?;
        let is_mx = relay.is_mx();
        Ok(match known {
            Ok(route) => {
                let provider = route.provider.clone();
                job.route = is_mx.then_some(route);
                provider
            }
            Err(nowhere) if is_mx => {
                job.nowhere = Some(nowhere.reply(job.held.tries));
                NOWHERE.to_owned()
            }
            // The relay will say so itself, and in its own words.
            Err(_) => NOWHERE.to_owned(),
        })
    }

    /// Asks about a domain aside, and places its deliveries then.
    fn ask(self: &Arc<Self>, domain: String, jobs: Vec<Job>) {
        let Some(ways) = self.ways.clone() else { return };
        let count = jobs.len();
        self.asking.fetch_add(count, Ordering::AcqRel);
        let this = self.clone();
        self.spawn(async move {
            let found = async {
                let _permit = this.questions.acquire().await;
                drop(ways.find(&domain).await);
            };
            tokio::select! {
                () = found => this.place(jobs).await,
                // Nobody waits for the answer any more.
                () = this.closing.cancelled() => {
                    this.give(jobs.iter().map(|job| job.held.id.0).collect(), Vec::new()).await;
                }
            }
            this.asking.fetch_sub(count, Ordering::AcqRel);
        });
    }

    /// So many workers as the lane's work and limits ask for.
    pub(super) fn staff(self: &Arc<Self>, relay: &Arc<Relay>, lane: &Arc<Lane>) {
        for _ in 0..lane.wanted_workers(relay.config.connections, self.shared.clock.now_ms()) {
            self.spawn(worker::work(self.clone(), relay.clone(), lane.clone()));
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        // Once they were taken, whoever waits for them would not see another.
        if let Some(tasks) = tasks.as_mut() {
            while tasks.try_join_next().is_some() {}
            tasks.spawn(task);
        }
    }

    /// Ends what only waits; returns the deliveries that it waited with.
    pub(super) fn close(&self) -> Vec<i64> {
        self.closing.cancel();
        self.relays.values().flat_map(|relay| relay.close()).map(|job| job.held.id.0).collect()
    }

    /// Everything that works here, to be waited for; nothing begins any more.
    pub(super) fn tasks(&self) -> JoinSet<()> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
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
    pub(super) async fn put_off(&self, relay: &Relay, lane: &Lane, jobs: Vec<Job>, wait: Duration) {
        if relay.config.warm_up.is_some() {
            lane.note(|said| said.back += i64::try_from(jobs.len()).unwrap_or(0));
        }
        let spread = |job: &Job| wait + wait.mul_f64(0.2 * f64::from(job.spread) / 1000.0);
        let later = jobs.iter().map(|job| self.later(job, spread(job))).collect();
        self.give(Vec::new(), later).await;
    }

    /// Gives these back to the ledger.
    pub(super) async fn give(&self, back: Vec<i64>, later: Vec<Later>) {
        if !back.is_empty() || !later.is_empty() {
            self.shared.committer.commit(Request { back, later, ..Request::default() }).await;
        }
    }

    /// Takes the next block of starts, where a relay's or a lane's is used up.
    pub(super) async fn take(&self, relay: &Relay, lane: &Lane) {
        let now = self.shared.clock.now_ms();
        for (bucket, provider) in [(&lane.bucket, lane.provider.as_str()), (&relay.bucket, "")] {
            let Some(block) = bucket.wants(now) else { continue };
            let taken = async {
                let mut tx = self.shared.db.write().await?;
                // Daemons on several hosts go by the database's clock, as with their leases.
                let now = protocol::shared_clock(&mut tx, &self.shared.clock).await? * 1000;
                let length = block.count * block.interval;
                let start = paces::take(&mut tx, &relay.config.name, provider, length, now).await?;
                tx.commit().await?;
                Ok::<_, super::Error>(start - now)
            };
            let taken = taken.await.inspect_err(
                |error| tracing::error!(%error, relay.name = %relay.config.name, "no starts could be taken"),
            );
            let failed = taken.is_err();
            bucket.took(taken.ok().map(|ahead| (block, ahead)));
            lane.wake();
            if failed {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }

    /// Changes the limit of a lane, for every daemon; what waits goes back where nothing is sent for a while.
    pub(super) async fn limit(
        &self,
        relay: &Relay,
        lane: &Lane,
        make: impl Fn(Limit, super::pace::Base, i64) -> Limit,
    ) {
        let (bucket, provider) =
            if lane.shared { (&lane.bucket, lane.provider.as_str()) } else { (&relay.bucket, "") };
        let base = bucket.base();
        let now = self.shared.clock.now_ms();
        let changed = async {
            let mut tx = self.shared.db.write().await?;
            let limit =
                paces::change(&mut tx, &relay.config.name, provider, |limit| make(limit, base, now)).await?;
            tx.commit().await?;
            Ok::<_, crate::db::Error>(limit)
        };
        match changed.await {
            Ok(limit) => bucket.renew(limit),
            Err(error) => {
                tracing::error!(%error, relay.name = %relay.config.name, "the pace could not be changed");
                return;
            }
        }
        let holds = bucket.now(now);
        if let Some(until) = holds.suspended_until {
            let wait = Duration::from_millis(u64::try_from(until - now).unwrap_or(0));
            tracing::warn!(relay.name = %relay.config.name, provider = %lane.provider, seconds = wait.as_secs(), "sending nothing for a while");
            self.put_off(relay, lane, lane.drain(), wait.min(Duration::from_secs(600))).await;
        }
    }

    /// What other daemons and commands made of the limits.
    pub(super) fn heed(&self, rows: &[Row]) {
        for relay in self.relays.values() {
            let of = |provider: &str| {
                let mut rows = rows.iter();
                rows.find(|row| row.relay == relay.config.name && row.provider == provider)
                    .map(Row::limit)
                    .unwrap_or_default()
            };
            relay.bucket.renew(of(""));
            for lane in relay.lanes().iter().filter(|lane| lane.shared) {
                lane.bucket.renew(of(&lane.provider));
            }
            relay.tidy();
        }
    }

    /// Tells the ledger what was said since the last time.
    pub(super) async fn tell(&self) -> Result<()> {
        let mut all = Vec::new();
        for relay in self.relays.values() {
            for lane in relay.lanes() {
                let said = lane.said();
                if !said.is_nothing() {
                    all.push((relay, lane.provider.clone(), said));
                }
            }
        }
        if all.is_empty() {
            return Ok(());
        }
        let mut tx = self.shared.db.write().await?;
        let day = self.shared.clock.civil().to_zoned_datetime(jiff::tz::TimeZone::UTC).date().to_string();
        for (relay, provider, said) in all {
            let name = &relay.config.name;
            paces::tell(&mut tx, name, &provider, &said).await?;
            if relay.config.warm_up.is_some() && said.back + said.deferred > 0 {
                paces::warm_tell(&mut tx, name, &provider, &day, said.back, said.deferred).await?;
            }
        }
        tx.commit().await?;
        Ok(())
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

/// -ln of an even draw from 1..=2^32, in millionths: the first of several such waits is shared out by their rates.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "draws are below 2^53, and the logarithm of what is in (0, 1] is not positive"
)]
fn exponential(draw: u64) -> u64 {
    (-(draw as f64 / (1_u64 << 32) as f64).ln() * 1e9) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_share_the_work() {
        let random = Random::seeded(7);
        let mut firsts = [0_u32; 2];
        for _ in 0..4000 {
            let draws = [3, 1].map(|weight| exponential(random.between(1, 1 << 32)) / weight);
            firsts[usize::from(draws[1] < draws[0])] += 1;
        }
        assert!((2850..3150).contains(&firsts[0]), "three to one: {firsts:?}");
    }
}

//! Which relay and lane a delivery goes to: by weight, over to the next where one takes nothing, and back to the
//! ledger where none does.
//!
//! Where a relay keeps the receiving providers' limits, the domain decides the lane; a domain that nobody has asked
//! about yet is asked about aside, and its mail follows when the answer is here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Dispatch;
use crate::config::Newsletter;
use crate::delivery::ledger::Claimed;
use crate::delivery::message::wire_address;
use crate::delivery::mx::{Nowhere, UNANSWERED_HOLDS};
use crate::delivery::pace::{store as paces, warm_up};
use crate::delivery::protocol::{Later, Sending};
use crate::delivery::relay::{Job, Lane, Relay, Share};

/// The lane of what can go nowhere: its words are ours.
const NOWHERE: &str = "nowhere";

/// Where a delivery goes at a relay.
enum Place {
    /// Into this lane.
    Lane(String),
    /// Its domain has to be asked about first.
    Ask(String),
    /// Nobody answers about any domain.
    Silent,
}

/// A delivery, and the shortest wait that a lane which could not take it soon told.
type Waited = (Job, Option<Duration>);

impl Dispatch {
    /// Shares claims among the relays that are up.
    pub(in crate::delivery) async fn hand_out(
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
                share: None,
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
    pub(in crate::delivery) async fn place(self: &Arc<Self>, jobs: Vec<Job>) {
        self.go_down(jobs.into_iter().map(|job| (job, None)).collect()).await;
    }

    /// What a lane took and can do nothing with for so long goes to the others of its choices, and waits in the ledger
    /// where there is none.
    pub(in crate::delivery) async fn place_elsewhere(self: &Arc<Self>, jobs: Vec<(Job, Duration)>) {
        let waited = |(mut job, wait): (Job, Duration)| {
            // What it may have elsewhere is asked for there.
            job.share = None;
            (job, Some(wait))
        };
        self.go_down(jobs.into_iter().map(waited).collect()).await;
    }

    /// Each goes down its choices, with the shortest wait that it was told.
    async fn go_down(self: &Arc<Self>, mut open: Vec<Waited>) {
        let mut later: Vec<Later> = Vec::new();
        let mut back: Vec<i64> = Vec::new();
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
                    Place::Lane(provider) => {
                        job.choices.pop();
                        lanes.entry((relay.config.name.clone(), provider)).or_default().push((job, wait));
                    }
                    Place::Ask(domain) => unknown.entry(domain).or_default().push(job),
                    Place::Silent => {
                        job.choices.pop();
                        let wait = wait.unwrap_or(UNANSWERED_HOLDS).min(UNANSWERED_HOLDS);
                        open.push((job, Some(wait)));
                    }
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
        let now = self.shared.clock.shared_ms();
        if relay.is_closed() {
            return jobs;
        }
        let lane = relay.lane(provider, &self.providers);
        self.heed_for(relay, &lane);
        let waits: BTreeMap<i64, Duration> =
            jobs.iter().filter_map(|(job, wait)| Some((job.held.id.0, (*wait)?))).collect();
        let jobs = jobs.into_iter().map(|(job, _)| job).collect();
        let (jobs, mut refused) = self.warm(relay, &lane, jobs).await;
        let others = lane.take_in(jobs, now).into_iter().chain(relay.surplus(&lane, now));
        refused.extend(others.map(|(job, wait)| (job, Some(wait))));
        self.staff(relay, &lane);
        let shortest = |mut job: Job, wait: Option<Duration>| {
            // What it may have elsewhere is asked for there.
            job.share = None;
            let known = waits.get(&job.held.id.0).copied();
            (job, wait.into_iter().chain(known).min())
        };
        refused.into_iter().map(|(job, wait)| shortest(job, wait)).collect()
    }

    /// What of these a relay that warms up could take in, under today's cap. The rest waits: for as long as it is told
    /// where it could not leave anyway, for what may come back of the cap, and then for tomorrow's.
    async fn warm(&self, relay: &Relay, lane: &Arc<Lane>, jobs: Vec<Job>) -> (Vec<Job>, Vec<Waited>) {
        let Some(plan) = &relay.config.warm_up else { return (jobs, Vec::new()) };
        let civil = self.shared.clock.civil().to_zoned_datetime(jiff::tz::TimeZone::UTC);
        if civil.date() < plan.from || jobs.iter().all(|job| job.nowhere.is_some()) {
            return (jobs, Vec::new());
        }
        let now = self.shared.clock.shared_ms();
        // What would only come back is not taken: as long as it is on its way, nobody else can have it.
        let (mut jobs, mut others) = relay.sift(lane, jobs, now);
        let mut shares = lane.taken_back(civil.date(), jobs.len());
        let missing = jobs.len() - shares.len();
        if missing == 0 {
            give_shares(&mut jobs, shares);
            return (jobs, others);
        }
        let count = i64::try_from(missing).unwrap_or(i64::MAX);
        let day = civil.date().to_string();
        let taken = async {
            let mut tx = self.shared.db.write().await?;
            let (name, provider) = (&relay.config.name, &lane.provider);
            let taken = paces::warm_take(&mut tx, name, provider, &day, (count, now), plan).await?;
            tx.commit().await?;
            Ok::<_, crate::db::Error>(taken)
        };
        let wait = match relay.limits_told(self.shared.db.answered(taken).await) {
            Some(taken) => {
                let had = usize::try_from(taken.count).unwrap_or(0);
                shares.extend((0..had).map(|_| Share::of(lane, civil.date())));
                warm_up::comes_back(taken.emptied_at, now)
            }
            None => Some(Duration::from_secs(10)),
        };
        let tomorrow = civil.end_of_day().map_or(civil.timestamp(), |end| end.timestamp());
        let left = tomorrow.as_millisecond() - civil.timestamp().as_millisecond();
        let tomorrow = Duration::from_millis(u64::try_from(left).unwrap_or(0)) + Duration::from_secs(1);
        let capped = jobs.split_off(shares.len().min(jobs.len()));
        give_shares(&mut jobs, shares);
        others.extend(capped.into_iter().map(|job| {
            let wait = wait.map_or(tomorrow, |wait| job.spread_over(wait));
            (job, Some(wait))
        }));
        (jobs, others)
    }

    /// Which lane of a relay a delivery belongs to.
    fn lane_of(&self, relay: &Relay, job: &mut Job) -> Place {
        job.route = None;
        job.nowhere = None;
        let Some(ways) = self.ways.as_ref().filter(|_| relay.config.providers) else {
            return Place::Lane(String::new());
        };
        let address = wire_address(&job.held.address);
        let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
        let Some(known) = ways.known(domain) else { return Place::Ask(domain.to_owned()) };
        let is_mx = relay.is_mx();
        if let (true, Err(Nowhere::Silent(_))) = (is_mx, &known) {
            return Place::Silent;
        }
        Place::Lane(match known {
            Ok(route) => {
                let provider = route.provider.clone();
                job.route = is_mx.then_some(route);
                provider
            }
            Err(nowhere) if is_mx => {
                job.nowhere = Some(nowhere.reply());
                NOWHERE.to_owned()
            }
            // The relay will say so itself, and in its own words.
            Err(_) => NOWHERE.to_owned(),
        })
    }

    /// Asks about a domain aside, and places its deliveries then. Who comes while somebody asks waits for the same answer.
    fn ask(self: &Arc<Self>, domain: String, jobs: Vec<Job>) {
        let Some(ways) = self.ways.clone() else { return };
        let asked = self.asking.begin(jobs.iter().map(|job| job.newsletter.id.as_str()));
        if !self.waiters.join(&domain, jobs, asked) {
            return;
        }
        let this = self.clone();
        self.tasks.spawn(async move {
            let found = async {
                let _permit = this.questions.acquire().await;
                // Whoever asked before this may just have found it: what is remembered says nothing of a resolver.
                if ways.known(&domain).is_none() {
                    this.asked(&ways.find(&domain).await);
                }
            };
            let answered = tokio::select! {
                () = found => true,
                // Nobody waits for the answer any more.
                () = this.closing.cancelled() => false,
            };
            let (jobs, asked) = this.waiters.leave(&domain);
            if answered {
                this.place(jobs).await;
            } else {
                this.give(jobs.iter().map(|job| job.held.id.0).collect(), Vec::new()).await;
            }
            drop(asked);
        });
    }
}

/// One of these for each; what is left over comes back.
fn give_shares(jobs: &mut [Job], shares: Vec<Share>) {
    for (job, share) in jobs.iter_mut().zip(shares) {
        job.share = Some(share);
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
    use crate::clock::Random;

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

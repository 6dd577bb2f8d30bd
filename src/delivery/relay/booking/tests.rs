//! A lane and a ledger that keeps what the lane cannot take soon, in paused time.

use std::collections::BTreeMap;

use super::*;
use crate::delivery::DeliveryId;
use crate::delivery::ledger::Claimed;
use crate::delivery::pace::{Base, Bucket, Limit};
use crate::delivery::relay::tests::job;
use crate::delivery::relay::{Job, Lane, Next};

/// So many are claimed at a time.
const BATCH: usize = 500;
/// Ten a second.
const GAP: Duration = Duration::from_millis(100);

struct Model {
    lane: Lane,
    /// The whole relay's: nothing limits it.
    relay: Bucket,
    /// What is owed, by when it may be tried.
    ledger: BTreeMap<(Instant, i64), Job>,
    /// The shared limit's next start, as the table keeps it.
    free_at: Instant,
    started: Vec<Instant>,
}

impl Model {
    fn new() -> Self {
        let base = Base { connections: 2, interval: i64::try_from(GAP.as_micros()).ok() };
        Self {
            lane: Lane::new("one", 100, true, Bucket::new(base)),
            relay: Bucket::new(Base { connections: 2, interval: None }),
            ledger: BTreeMap::new(),
            free_at: Instant::now(),
            started: Vec::new(),
        }
    }

    /// So many more are due now.
    fn owe(&mut self, ids: std::ops::Range<i64>) {
        let any = job(0, 1, 1, false);
        for id in ids {
            let own = Job {
                held: Claimed { id: DeliveryId(id), ..any.held.clone() },
                sending: any.sending.clone(),
                newsletter: any.newsletter.clone(),
                choices: Vec::new(),
                route: None,
                nowhere: None,
                share: None,
                spread: u16::try_from(id * 7919 % 1001).unwrap(),
            };
            self.ledger.insert((Instant::now(), id), own);
        }
    }

    /// Whatever is due is claimed, and goes back for as long as the lane says.
    fn claim(&mut self) {
        let now = Instant::now();
        loop {
            let mut batch = Vec::new();
            while batch.len() < BATCH
                && let Some(first) = self.ledger.first_entry().filter(|first| first.key().0 <= now)
            {
                batch.push(first.remove());
            }
            if batch.is_empty() {
                return;
            }
            for (job, wait) in self.lane.take_in(batch, 0) {
                self.ledger.insert((now + wait, job.held.id.0), job);
            }
        }
    }

    /// Sends what may leave now; when to look again.
    fn send(&mut self) -> Option<Instant> {
        loop {
            match self.lane.next(None, false, 0, &self.relay) {
                Next::Job(_) => self.started.push(Instant::now()),
                Next::Take => {
                    let block = self.lane.bucket.wants(0).unwrap();
                    let now = Instant::now();
                    let start = self.free_at.max(now);
                    let length = u64::try_from(block.count * block.interval).unwrap();
                    self.free_at = start + Duration::from_micros(length);
                    let ahead = i64::try_from((start - now).as_micros()).unwrap();
                    self.lane.bucket.took(Some((block, ahead)));
                }
                Next::NotBefore(until) => return Some(until),
                Next::Nothing | Next::Closed => return None,
            }
        }
    }

    /// Until nothing is owed any more, or that long.
    async fn go(&mut self, length: Duration) {
        let end = Instant::now() + length;
        loop {
            self.claim();
            let next = self.send();
            let due = self.ledger.keys().next().map(|(at, _)| *at);
            let Some(then) = next.into_iter().chain(due).min() else { return };
            if then > end {
                tokio::time::advance(end - Instant::now()).await;
                return;
            }
            tokio::time::advance(then - Instant::now()).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn section_4_a_lane_with_more_than_it_can_do_in_ten_minutes_is_never_idle_and_never_too_fast() {
    let mut model = Model::new();
    let begun = Instant::now();
    model.owe(0..12_000);
    model.go(Duration::from_secs(7200)).await;
    assert_eq!(model.started.len(), 12_000);
    let idle = model.started.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(idle <= Duration::from_secs(1), "it stood idle for {idle:?} beside mail that was owed");
    let last = *model.started.last().unwrap() - begun;
    assert!(last < Duration::from_secs(1210), "twelve hundred seconds' worth took {last:?}");
    // A block of half a second may begin at once where it was taken late.
    let fastest = model.started.windows(101).map(|some| some[100] - some[0]).min().unwrap();
    assert!(fastest >= GAP * 95, "a hundred in {fastest:?}");
}

#[tokio::test(start_paused = true)]
async fn section_4_once_a_provider_bears_more_again_its_time_is_not_given_away_to_who_came_before() {
    let slowed = |interval, signalled_at| Limit {
        interval: Some(interval),
        holds_until: i64::MAX,
        signalled_at,
        ..Limit::default()
    };
    let suspended = Limit { suspended_until: Some(500_000), signalled_at: 1, ..Limit::default() };
    for (what, before) in [("one a minute", slowed(60_000_000, 1)), ("suspended", suspended)] {
        let mut model = Model::new();
        model.lane.bucket.renew(before, 0);
        model.owe(0..1_000);
        model.go(Duration::from_secs(10)).await;
        // An operator lets the relay go on.
        model.lane.bucket.renew(Limit { signalled_at: 2, ..Limit::default() }, 0);
        let resumed = Instant::now();
        model.owe(1_000..1_500);
        model.claim();
        let new = |(at, id): &(Instant, i64)| (*id >= 1_000).then(|| *at - resumed);
        let last = model.ledger.keys().filter_map(new).max().unwrap();
        assert!(last < Duration::from_secs(55), "{what}: fifty seconds' worth would wait for {last:?}");
        model.go(Duration::from_secs(3600)).await;
        assert!(model.started.len() == 1_500, "{what}: {}", model.started.len());
        let last = *model.started.last().unwrap() - resumed;
        assert!(last < Duration::from_secs(720), "{what}: the last left after {last:?}");
    }
}

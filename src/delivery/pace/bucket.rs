//! What one daemon holds of a shared limit: the limit as it was last read, and a block of starts taken beforehand.
//!
//! A start is a message that may begin. Blocks are small (half a second's worth), so that little is lost when a daemon
//! dies with one, and none waits long for another's.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::limit::{AHEAD, Base, Limit, Now};

/// So much of a rate is taken at a time, in microseconds.
const BLOCK: i64 = 500_000;
const LARGEST_BLOCK: i64 = 500;

/// Whether a message may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Now.
    Now,
    /// Not before then.
    NotBefore(Instant),
    /// When a new block was taken.
    Take,
}

/// What to take: so many starts, so far from each other (in microseconds).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// How many.
    pub count: i64,
    /// The wait between them, in microseconds.
    pub interval: i64,
}

/// One daemon's part of a limit.
#[derive(Debug)]
pub struct Bucket {
    base: Base,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    limit: Limit,
    left: i64,
    next: Instant,
    interval: Duration,
    taking: bool,
}

impl Bucket {
    /// Nothing taken, nothing asked for.
    pub fn new(base: Base) -> Self {
        let inner = Inner {
            limit: Limit::default(),
            left: 0,
            next: Instant::now(),
            interval: Duration::ZERO,
            taking: false,
        };
        Self { base, inner: Mutex::new(inner) }
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The limits where nothing has gone wrong.
    pub fn base(&self) -> Base {
        self.base
    }

    /// What holds now; `now` in milliseconds of shared time.
    pub fn now(&self, now: i64) -> Now {
        self.inner().limit.at(self.base, now)
    }

    /// The limit as somebody read or wrote it, unless that is older than what is known; starts of another pace are
    /// given up. `now` in milliseconds of shared time.
    pub fn renew(&self, limit: Limit, now: i64) {
        let mut inner = self.inner();
        // What is known may itself be from before the clock was set back.
        let known = inner.limit.signalled_at;
        if limit.signalled_at < known && known <= now.saturating_add(AHEAD) {
            return;
        }
        if inner.limit != limit {
            inner.left = 0;
        }
        inner.limit = limit;
    }

    /// Whether a message may begin; it does not yet.
    pub fn ready(&self, now: i64) -> Start {
        let inner = self.inner();
        let holds = inner.limit.at(self.base, now);
        if let Some(until) = holds.suspended_until {
            let left = Duration::from_millis(u64::try_from(until - now).unwrap_or(0));
            return Start::NotBefore(Instant::now() + left);
        }
        if holds.interval.is_none() {
            return Start::Now;
        }
        if inner.left == 0 {
            return Start::Take;
        }
        if inner.next > Instant::now() { Start::NotBefore(inner.next) } else { Start::Now }
    }

    /// Begins one, where it may.
    pub fn begin(&self, now: i64) -> Start {
        let ready = self.ready(now);
        if ready == Start::Now {
            let mut inner = self.inner();
            if inner.left > 0 {
                inner.left -= 1;
                let interval = inner.interval;
                inner.next += interval;
            }
        }
        ready
    }

    /// What to take next; `None` while somebody else takes, or nothing limits the rate.
    pub fn wants(&self, now: i64) -> Option<Block> {
        let mut inner = self.inner();
        let interval = inner.limit.at(self.base, now).interval?;
        if inner.taking || inner.left > 0 {
            return None;
        }
        inner.taking = true;
        Some(Block { count: (BLOCK / interval.max(1)).clamp(1, LARGEST_BLOCK), interval })
    }

    /// The block is ours: its first start is so far from now, in microseconds. `None`: it could not be taken.
    pub fn took(&self, block: Option<(Block, i64)>) {
        let mut inner = self.inner();
        inner.taking = false;
        if let Some((block, ahead)) = block {
            inner.left = block.count;
            inner.interval = Duration::from_micros(u64::try_from(block.interval).unwrap_or(0));
            inner.next = Instant::now() + Duration::from_micros(u64::try_from(ahead).unwrap_or(0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn v8_a_block_is_spent_evenly_and_then_another_is_taken() {
        let bucket = Bucket::new(Base { connections: 1, interval: Some(100_000) });
        assert_eq!(bucket.ready(0), Start::Take);
        let block = bucket.wants(0).unwrap();
        assert_eq!(block, Block { count: 5, interval: 100_000 });
        assert_eq!(bucket.wants(0), None, "one at a time takes");
        bucket.took(Some((block, 50_000)));
        let begun = Instant::now();
        for number in 0..5 {
            let at = begun + Duration::from_millis(50 + 100 * number);
            assert_eq!(bucket.ready(0), Start::NotBefore(at));
            tokio::time::sleep_until(at).await;
            assert_eq!(bucket.begin(0), Start::Now);
        }
        assert_eq!(bucket.ready(0), Start::Take);
    }

    #[tokio::test(start_paused = true)]
    async fn a_suspension_holds_and_a_slower_pace_gives_up_what_was_taken() {
        let bucket = Bucket::new(Base { connections: 1, interval: Some(1_000) });
        let block = bucket.wants(0).unwrap();
        bucket.took(Some((block, 0)));
        assert_eq!(bucket.ready(0), Start::Now);
        bucket.renew(
            Limit { interval: Some(60_000_000), holds_until: 1000, signalled_at: 1, ..Limit::default() },
            0,
        );
        assert_eq!(bucket.ready(0), Start::Take);
        assert_eq!(bucket.wants(0), Some(Block { count: 1, interval: 60_000_000 }));
        bucket.renew(Limit { suspended_until: Some(5000), signalled_at: 2, ..Limit::default() }, 0);
        assert_eq!(bucket.ready(1000), Start::NotBefore(Instant::now() + Duration::from_secs(4)));
    }

    #[test]
    fn what_was_known_before_the_clock_was_set_back_gives_way_to_what_is_heard_now() {
        const HOUR: i64 = 3_600_000;
        let bucket = Bucket::new(Base { connections: 1, interval: None });
        let until = |at| Limit { suspended_until: Some(at + 600_000), signalled_at: at, ..Limit::default() };
        bucket.renew(until(2 * HOUR), 2 * HOUR);
        bucket.renew(until(HOUR), 2 * HOUR);
        let known = |now| bucket.now(now).suspended_until;
        assert_eq!(known(2 * HOUR), Some(2 * HOUR + 600_000), "an older word says nothing");
        bucket.renew(until(1), 1);
        assert_eq!(known(1), Some(600_001), "two hours back");
    }

    #[test]
    fn without_a_rate_nothing_is_taken() {
        let bucket = Bucket::new(Base { connections: 1, interval: None });
        assert_eq!(bucket.ready(0), Start::Now);
        assert_eq!(bucket.wants(0), None);
    }
}

//! When a lane could take what it cannot take soon: each message has a moment of its own, and none one so far away that
//! what made it wait may be over long before.
//!
//! Only a moment that somebody was given is given away. Whoever would wait too long comes again before that, without one:
//! what was kept for them would stay empty, and the lane stand idle beside mail that is owed.

use std::time::Duration;

use tokio::time::Instant;

use crate::delivery::pace::limit::Now;

/// Nothing waits longer than this before it is looked at again: what made it wait may be over.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// The wait from one to the next that is counted with where nothing limits the rate.
const USUAL_GAP: Duration = Duration::from_millis(10);

/// From one start to the next.
pub(super) fn gap(holds: &Now) -> Duration {
    holds.interval.map_or(USUAL_GAP, |wait| Duration::from_micros(u64::try_from(wait).unwrap_or(0)))
}

/// A lane's time that is given away to what was put off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Booking {
    until: Instant,
    /// By which pace.
    gap: Duration,
    /// And behind which suspension, in milliseconds of shared time.
    suspended_until: Option<i64>,
}

impl Booking {
    /// Nothing is given away.
    pub(super) fn new(moment: Instant) -> Self {
        Self { until: moment, gap: Duration::ZERO, suspended_until: None }
    }

    /// What holds by now. Where that is more than before, most of the time ahead is free again: few were given a moment at
    /// the slower pace, and whoever finds theirs taken is given the next.
    pub(super) fn heed(&mut self, holds: &Now, moment: Instant, now: i64) {
        let gap = gap(holds);
        let lifted = self.suspended_until.filter(|until| *until > now) > holds.suspended_until;
        if gap < self.gap || lifted {
            self.until = moment;
        }
        self.gap = gap;
        self.suspended_until = holds.suspended_until;
    }

    /// How long one more waits that cannot leave before `soonest`; `spread` (0..=1000) is its own.
    pub(super) fn wait(&mut self, soonest: Instant, moment: Instant, spread: u16) -> Duration {
        let own = self.until.max(soonest) + self.gap;
        let wait = own - moment;
        if wait <= LONGEST_WAIT {
            self.until = own;
            return wait;
        }
        // Far beyond, one moment is as good as another: they are spread so as not to come all at once.
        LONGEST_WAIT.mul_f64(1.0 - 0.2 * f64::from(spread) / 1000.0)
    }
}

#[cfg(test)]
mod tests;

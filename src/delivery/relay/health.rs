//! Whether servers answer: how long those are left alone that cannot be reached, or end every session without an answer.

use std::time::Duration;

use tokio::time::Instant;

/// The first time; doubled at each further one, until they answer.
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// A server may close a session for its own reasons (T12); so many without a single answer are no chance.
const GONE_TOO_OFTEN: u32 = 10;

/// So long after nothing was to be tried, and nothing was, the next failure is a first one again.
const REMEMBERED: Duration = Duration::from_secs(300);

/// How the servers of one way are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Health {
    /// How often they were left alone since they answered last.
    failures: u32,
    /// Sessions in a row that ended without an answer about a message, before it or after its dot.
    gone: u32,
    down_until: Option<Instant>,
}

impl Health {
    /// Whether how long they were away still says something.
    pub(super) fn is_remembered(&self, now: Instant) -> bool {
        self.down_until.is_some_and(|until| until + REMEMBERED > now)
    }

    /// Until when nothing is tried.
    pub(super) fn down_until(&self, now: Instant) -> Option<Instant> {
        self.down_until.filter(|until| *until > now)
    }

    /// They are left alone; for how long, and whether that is new since they answered last. Every connection that is open
    /// finds out by itself: what fails while they are left alone already makes it no longer.
    pub(super) fn down(&mut self) -> (Duration, bool) {
        let now = Instant::now();
        if let Some(until) = self.down_until(now) {
            return (until - now, false);
        }
        let delay = FIRST_DELAY.saturating_mul(1 << self.failures.min(6)).min(LONGEST_DELAY);
        self.failures += 1;
        self.down_until = Some(now + delay);
        (delay, self.failures == 1)
    }

    /// A session ended without an answer about a message; `true` when that happened too often in a row to be chance.
    pub(super) fn gone(&mut self) -> bool {
        self.gone += 1;
        self.gone >= GONE_TOO_OFTEN
    }

    /// They answered about a message; `true` when they had been left alone.
    pub(super) fn up(&mut self) -> bool {
        let was_down = self.failures > 0;
        *self = Self::default();
        was_down
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn p1_what_fails_at_one_moment_is_one_failure_and_only_the_next_after_it_makes_the_wait_longer() {
        let mut health = Health::default();
        for (nth, length) in [1, 2, 4, 8, 16, 32, 60, 60].map(Duration::from_secs).into_iter().enumerate() {
            assert_eq!(health.down(), (length, nth == 0), "{nth}");
            // So many connections were on their way.
            for _ in 0..9 {
                assert_eq!(health.down(), (length, false), "{nth}: known already");
            }
            tokio::time::advance(length / 2).await;
            assert_eq!(health.down(), (length / 2, false), "{nth}: what is left of it");
            tokio::time::advance(length / 2).await;
            assert_eq!(health.down_until(Instant::now()), None, "{nth}: it is tried again");
        }
        assert!(health.up(), "it is back");
        assert!(!health.up(), "once");
        assert_eq!(health.down(), (Duration::from_secs(1), true), "as if for the first time");
    }
}

//! Whether servers can be reached: how long one that could not is left alone.

use std::time::Duration;

use tokio::time::Instant;

/// After the first failure to connect; doubled at each further one.
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// A server may close a session for its own reasons (T12); so many without a single answer are no chance.
const GONE_TOO_OFTEN: u32 = 10;

/// So long after nothing was to be tried, and nothing was, the next failure is a first one again.
const REMEMBERED: Duration = Duration::from_secs(300);

/// How the servers of one way are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Health {
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

    /// They could not be reached; how long nothing is tried, and whether they could before.
    pub(super) fn down(&mut self) -> (Duration, bool) {
        let delay = FIRST_DELAY.saturating_mul(1 << self.failures.min(6)).min(LONGEST_DELAY);
        self.failures += 1;
        self.down_until = Some(Instant::now() + delay);
        (delay, self.failures == 1)
    }

    /// A session ended without an answer; `true` when that happened too often to be chance.
    pub(super) fn gone(&mut self) -> bool {
        self.gone += 1;
        self.gone >= GONE_TOO_OFTEN
    }

    /// They answered about a message; `true` when they had been down.
    pub(super) fn up(&mut self) -> bool {
        let was_down = self.failures > 0;
        *self = Self::default();
        was_down
    }
}

//! Whether servers answer: how long those are left alone that cannot be reached, or end every session without an answer.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::delivery::mx::Route;

/// The first time; doubled at each further one, until they answer.
const FIRST_DELAY: Duration = Duration::from_secs(1);
/// For those that are known to answer otherwise.
pub(super) const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// For those that never did: each try may cost minutes, and keeps a connection from others.
const LONGEST_DELAY_OF_STRANGERS: Duration = Duration::from_secs(600);
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
    /// Nothing is tried for want of room, which says nothing of them.
    rests_until: Option<Instant>,
}

impl Health {
    /// Whether how long they were away still says something.
    pub(super) fn is_remembered(&self, now: Instant) -> bool {
        self.down_until.is_some_and(|until| until + REMEMBERED > now)
    }

    /// Until when nothing is tried.
    pub(super) fn down_until(&self, now: Instant) -> Option<Instant> {
        self.down_until.max(self.rests_until).filter(|until| *until > now)
    }

    /// They are left alone; for how long, and whether that is new since they answered last. Every connection that is open
    /// finds out by itself: what fails while they are left alone already makes it no longer.
    pub(super) fn down(&mut self, longest: Duration) -> (Duration, bool) {
        let now = Instant::now();
        if let Some(until) = self.down_until.filter(|until| *until > now) {
            return (until - now, false);
        }
        let delay = FIRST_DELAY.saturating_mul(1 << self.failures.min(16)).min(longest);
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

/// How the servers of every way of a lane are; the only way of a relay that is written to itself is `None`.
#[derive(Debug, Default)]
pub(super) struct Healths {
    of: HashMap<Option<Arc<Route>>, Health>,
    answered: HashSet<Option<Arc<Route>>>,
}

impl Healths {
    /// Until when nothing is tried on this way.
    pub(super) fn down_until(&self, route: Option<&Arc<Route>>, now: Instant) -> Option<Instant> {
        self.of.get(&route.cloned())?.down_until(now)
    }

    /// Whether the last try on this way led nowhere.
    pub(super) fn is_doubtful(&self, route: Option<&Arc<Route>>) -> bool {
        self.of.get(&route.cloned()).is_some_and(|health| health.failures > 0)
    }

    /// Whether how long somebody was away still says something.
    pub(super) fn any_is_remembered(&self, now: Instant) -> bool {
        self.of.values().any(|health| health.is_remembered(now))
    }

    /// Those of this way are left alone; for how long, and whether that is new since they answered last.
    pub(super) fn down(&mut self, route: Option<Arc<Route>>) -> (Duration, bool) {
        let known = self.answered.contains(&route);
        let longest = if known { LONGEST_DELAY } else { LONGEST_DELAY_OF_STRANGERS };
        self.of.entry(route).or_default().down(longest)
    }

    /// Nothing is tried on this way for so long, which says nothing of those who are there.
    pub(super) fn rests(&mut self, route: Option<Arc<Route>>, length: Duration) {
        let health = self.of.entry(route).or_default();
        health.rests_until = health.rests_until.max(Some(Instant::now() + length));
    }

    /// A session on this way ended without an answer about a message; `true` when that happened too often.
    pub(super) fn gone(&mut self, route: Option<Arc<Route>>) -> bool {
        self.of.entry(route).or_default().gone()
    }

    /// They answered about a message.
    pub(super) fn up(&mut self, route: Option<Arc<Route>>) {
        self.of.remove(&route);
        self.answered.insert(route);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn p1_what_fails_at_one_moment_is_one_failure_and_only_the_next_after_it_makes_the_wait_longer() {
        let mut health = Health::default();
        let mut down = || health.down(LONGEST_DELAY);
        for (nth, length) in [1, 2, 4, 8, 16, 32, 60, 60].map(Duration::from_secs).into_iter().enumerate() {
            assert_eq!(down(), (length, nth == 0), "{nth}");
            // So many connections were on their way.
            for _ in 0..9 {
                assert_eq!(down(), (length, false), "{nth}: known already");
            }
            tokio::time::advance(length / 2).await;
            assert_eq!(down(), (length / 2, false), "{nth}: what is left of it");
            tokio::time::advance(length / 2).await;
        }
        assert_eq!(health.down_until(Instant::now()), None, "it is tried again");
        assert!(health.up(), "it is back");
        assert!(!health.up(), "once");
        assert_eq!(health.down(LONGEST_DELAY), (Duration::from_secs(1), true), "as if for the first time");
    }

    #[tokio::test(start_paused = true)]
    async fn p5_a_rest_neither_hides_a_failure_nor_is_one() {
        const REST: Duration = Duration::from_secs(15);
        let mut healths = Healths::default();
        for length in [1, 2, 4] {
            healths.rests(None, REST);
            assert!(healths.down_until(None, Instant::now()).is_some());
            assert_eq!(
                healths.down(None).0,
                Duration::from_secs(length),
                "while others of that way had a rest"
            );
            tokio::time::advance(REST).await;
            assert_eq!(healths.down_until(None, Instant::now()), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_answered_is_left_alone_for_longer_than_who_did() {
        let mut healths = Healths::default();
        let waits = async |healths: &mut Healths| {
            let mut waits = Vec::new();
            for _ in 0..12 {
                let (wait, _) = healths.down(None);
                waits.push(wait.as_secs());
                tokio::time::advance(wait).await;
            }
            waits
        };
        assert_eq!(waits(&mut healths).await, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
        assert!(healths.is_doubtful(None));
        healths.up(None);
        assert!(!healths.is_doubtful(None));
        assert_eq!(waits(&mut healths).await, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60]);
    }
}

//! Time and randomness, handed in from outside.
//!
//! Nobody else reads the system's clock or makes a random number generator: both are parameters, so a test
//! can stand at half past five on a day when the clocks change. Owns the times of the house: *real* time
//! (attempts, retries) and *civil* time (lock, due, deadline, the mail's Date), which are the
//! same but under `edition send --at`, where the civil one starts elsewhere and may jump; and *shared* time (leases, pace,
//! pauses): the database's, by which daemons on several hosts agree though their own clocks do not.
//!
//! Instants are cut to milliseconds: what is read back from either database equals what was written.

mod zones;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

pub use zones::{Zones, bundled_zones, time_zone, zones};

/// The times of the house; cheap to clone, clones share their time.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Milliseconds since the epoch when time is driven by hand, else `None`.
    manual: Option<AtomicI64>,
    /// What is added to real time to have the civil one, in milliseconds.
    civil_shift: AtomicI64,
    /// What was heard last of the shared time.
    heard: Mutex<Option<Heard>>,
}

/// What the database's clock showed.
#[derive(Clone, Copy, Debug)]
struct Heard {
    shared_ms: i64,
    /// When it was heard: what is counted from there heeds no step of our own clock.
    at: Instant,
    /// The same for a clock that is driven by hand.
    own_ms: i64,
}

impl Inner {
    fn new(manual: Option<AtomicI64>) -> Self {
        Self { manual, civil_shift: AtomicI64::new(0), heard: Mutex::default() }
    }
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(Arc::new(Inner::new(None)))
    }

    /// A clock that stands still at `at` until it is moved.
    pub fn manual(at: Timestamp) -> Self {
        Self(Arc::new(Inner::new(Some(AtomicI64::new(at.as_millisecond())))))
    }

    /// Real time, cut to milliseconds.
    pub fn now(&self) -> Timestamp {
        timestamp(self.now_ms())
    }

    /// Real time in milliseconds since the epoch.
    pub fn now_ms(&self) -> i64 {
        match &self.0.manual {
            Some(at) => at.load(Ordering::SeqCst),
            None => system_ms(),
        }
    }

    /// Shared time, cut to milliseconds.
    pub fn shared(&self) -> Timestamp {
        timestamp(self.shared_ms())
    }

    /// Shared time in milliseconds since the epoch: as it was heard last, and counted on from there. Real time where
    /// nothing was heard: the database has no clock of its own, or nobody in this process asked it (who sends does).
    pub fn shared_ms(&self) -> i64 {
        let Some(heard) = *self.0.heard.lock().unwrap_or_else(PoisonError::into_inner) else {
            return self.now_ms();
        };
        let since = match &self.0.manual {
            Some(_) => self.now_ms() - heard.own_ms,
            None => i64::try_from(heard.at.elapsed().as_millis()).unwrap_or(i64::MAX / 4),
        };
        heard.shared_ms + since
    }

    /// The shared time is this just now.
    pub fn hear_shared(&self, shared_ms: i64) {
        let heard = Heard { shared_ms, at: Instant::now(), own_ms: self.now_ms() };
        *self.0.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(heard);
    }

    /// Civil time: what locks, due times, deadlines and the mail's Date are measured by.
    pub fn civil(&self) -> Timestamp {
        timestamp(self.civil_ms())
    }

    /// Civil time in milliseconds since the epoch.
    pub fn civil_ms(&self) -> i64 {
        self.now_ms() + self.0.civil_shift.load(Ordering::SeqCst)
    }

    /// Moves the civil clock so that it now shows `at`; real time is untouched.
    pub fn set_civil(&self, at: Timestamp) {
        self.0.civil_shift.store(at.as_millisecond() - self.now_ms(), Ordering::SeqCst);
    }

    /// Moves a manual clock; a system clock does not move.
    pub fn advance(&self, by: Duration) {
        if let Some(at) = &self.0.manual {
            at.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
        }
    }

    /// Sets a manual clock, backwards too; a system clock stays as it is.
    pub fn set(&self, to: Timestamp) {
        if let Some(at) = &self.0.manual {
            at.store(to.as_millisecond(), Ordering::SeqCst);
        }
    }
}

/// The instant of so many milliseconds since the epoch; what no calendar can hold is cut to its ends.
pub fn timestamp(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(if ms < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
fn system_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// A source of random numbers that is safe for secrets; cheap to clone, clones draw from one stream.
#[derive(Clone, Debug)]
pub struct Random(Arc<Mutex<StdRng>>);

impl Random {
    /// Seeded by the operating system.
    pub fn system() -> Self {
        Self(Arc::new(Mutex::new(rand::make_rng())))
    }

    /// The same numbers for the same seed: for tests, rehearsals and drills.
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// So many random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut out);
        out
    }

    /// A number in `low..high`, evenly; `low` where the range is empty.
    pub fn between(&self, low: u64, high: u64) -> u64 {
        if high <= low {
            return low;
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).random_range(low..high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_civil_clock_jumps_while_real_time_stays() {
        let start: Timestamp = "2026-11-24T05:00:00Z".parse().unwrap();
        let clock = Clock::manual(start);
        clock.set_civil("2026-12-01T06:30:00Z".parse().unwrap());
        clock.advance(Duration::from_secs(60));
        assert_eq!(clock.now().to_string(), "2026-11-24T05:01:00Z");
        assert_eq!(clock.civil().to_string(), "2026-12-01T06:31:00Z");
    }

    #[test]
    fn the_shared_time_is_counted_from_what_was_heard_whatever_becomes_of_ones_own() {
        let clock = Clock::system();
        let heard = clock.now_ms() - 660_000;
        clock.hear_shared(heard);
        assert!((0..60_000).contains(&(clock.shared_ms() - heard)));
        let clock = Clock::manual("2026-11-24T05:00:00Z".parse().unwrap());
        assert_eq!(clock.shared(), clock.now(), "nobody said anything else");
        clock.hear_shared(1_000);
        clock.advance(Duration::from_secs(60));
        assert_eq!(clock.shared_ms(), 61_000);
    }

    #[test]
    fn the_same_seed_draws_the_same_numbers() {
        let (a, b) = (Random::seeded(7), Random::seeded(7));
        assert_eq!(a.bytes::<16>(), b.bytes::<16>());
        assert_eq!(a.between(0, 1000), b.between(0, 1000));
        assert_eq!(a.between(5, 5), 5);
    }
}

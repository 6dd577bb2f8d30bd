//! Time and randomness, handed in from outside.
//!
//! Nobody else reads the system's clock or makes a random number generator: both are parameters, so a test
//! can stand at half past five on a day when the clocks change. Owns the two times of the house: *real* time
//! (attempts, leases, retries, pace) and *civil* time (lock, due, deadline, the mail's Date), which are the
//! same but under `edition send --at`, where the civil one starts elsewhere and may jump.
//!
//! Instants are cut to milliseconds: what is read back from either database equals what was written.

mod zones;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

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
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(Arc::new(Inner { manual: None, civil_shift: AtomicI64::new(0) }))
    }

    /// A clock that stands still at `at` until it is moved.
    pub fn manual(at: Timestamp) -> Self {
        Self(Arc::new(Inner {
            manual: Some(AtomicI64::new(at.as_millisecond())),
            civil_shift: AtomicI64::new(0),
        }))
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
    fn the_same_seed_draws_the_same_numbers() {
        let (a, b) = (Random::seeded(7), Random::seeded(7));
        assert_eq!(a.bytes::<16>(), b.bytes::<16>());
        assert_eq!(a.between(0, 1000), b.between(0, 1000));
        assert_eq!(a.between(5, 5), 5);
    }
}

//! How a limit falls at a signal and recovers by steps: a pure function of what was asked for, and of the time.
//!
//! Nothing is written while it recovers, so every daemon that reads the row finds the same limit at the same moment.

use super::providers::Asks;
use crate::config::Rate;

/// Where slowing down begins when nothing limits the rate: a hundred a second.
const UNLIMITED_INTERVAL: i64 = 10_000;
/// A limit that has recovered to a thousand a second is none any more, where nothing limits the rate.
const RECOVERED_INTERVAL: i64 = 1_000;
/// The slowest: one a minute.
const LONGEST_INTERVAL: i64 = 60_000_000;
/// How long a slower pace holds before the first step back, and how long each step takes, in milliseconds.
const SLOWER_STEP: i64 = 30_000;
/// Signals within so long of the last one were caused by what was on the wire already, in milliseconds.
const SAME_SIGNAL: i64 = 5_000;

/// A signal that lies further ahead than this was heard before the clock was set back, in milliseconds.
pub const AHEAD: i64 = 5_000;

/// The limits where nothing has gone wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base {
    /// Connections at a time.
    pub connections: u32,
    /// The wait from one start to the next, in microseconds; `None`: none.
    pub interval: Option<i64>,
}

/// What signals asked for, as it is kept. All instants are shared time, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// Nothing is sent until then.
    pub suspended_until: Option<i64>,
    /// No more connections than this, and one more with each step.
    pub connections: Option<i64>,
    /// No shorter wait, in microseconds, and half of it with each step.
    pub interval: Option<i64>,
    /// When the first step is taken.
    pub holds_until: i64,
    /// How long each takes.
    pub step: i64,
    /// When the last signal came; later than every one before it, though the clock was set back meanwhile: what is newer
    /// is told by it.
    pub signalled_at: i64,
}

/// What holds at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Nothing is sent until then.
    pub suspended_until: Option<i64>,
    /// Connections at a time.
    pub connections: u32,
    /// The wait from one start to the next, in microseconds.
    pub interval: Option<i64>,
    /// Whether any of it is less than usual.
    pub limited: bool,
}

/// The wait of a rate, in microseconds.
pub fn interval(rate: Rate) -> i64 {
    let micros = rate.per.as_micros() / u128::from(rate.count.max(1));
    i64::try_from(micros).unwrap_or(LONGEST_INTERVAL).max(1)
}

impl Limit {
    /// What holds now.
    pub fn at(&self, base: Base, now: i64) -> Now {
        let steps = if now < self.holds_until { 0 } else { 1 + (now - self.holds_until) / self.step.max(1) };
        let limited_to = self.connections.map(|few| few.saturating_add(steps));
        let connections = limited_to
            .and_then(|few| u32::try_from(few).ok())
            .map_or(base.connections, |few| few.min(base.connections));
        let slowed = self
            .interval
            .map(|wait| wait >> steps.min(62))
            .filter(|wait| *wait > base.interval.unwrap_or(RECOVERED_INTERVAL));
        let suspended_until = self.suspended_until.filter(|until| *until > now);
        Now {
            suspended_until,
            connections,
            interval: slowed.or(base.interval),
            limited: suspended_until.is_some() || slowed.is_some() || connections < base.connections,
        }
    }

    /// Whether nothing is asked for: no signal came yet, or somebody let it go on since.
    pub fn is_free(&self) -> bool {
        *self == Self { signalled_at: self.signalled_at, ..Self::default() }
    }

    fn next_signal(&self, now: i64) -> i64 {
        now.max(self.signalled_at.saturating_add(1))
    }

    /// What holds after a signal that asks for this; never more than before.
    pub fn heed(&self, asks: &Asks, base: Base, now: i64) -> Self {
        let before = self.at(base, now);
        let millis = |length: std::time::Duration| i64::try_from(length.as_millis()).unwrap_or(i64::MAX / 4);
        let suspend = (!asks.suspend.is_zero()).then(|| now + millis(asks.suspend));
        let suspended_until = before.suspended_until.max(suspend);
        let connections = asks.connections.unwrap_or(before.connections).min(before.connections);
        let interval = before.interval.max(asks.rate.map(interval));
        Self {
            suspended_until,
            connections: (connections < base.connections).then_some(i64::from(connections)),
            interval: interval.filter(|wait| base.interval.is_none_or(|usual| *wait > usual)),
            holds_until: suspended_until.unwrap_or(now).max(now) + millis(asks.lasts),
            step: millis(asks.step).max(1),
            signalled_at: self.next_signal(now),
        }
    }

    /// Half as fast as now; the same where the last signal was a moment ago.
    pub fn slower(&self, base: Base, now: i64) -> Self {
        // By the clock that it was slowed by, should that have been set back since an earlier signal.
        let last = if self.step == SLOWER_STEP { self.holds_until - SLOWER_STEP } else { self.signalled_at };
        if (0..SAME_SIGNAL).contains(&(now - last)) {
            return *self;
        }
        let before = self.at(base, now);
        let wait = before.interval.unwrap_or(UNLIMITED_INTERVAL).saturating_mul(2).min(LONGEST_INTERVAL);
        Self {
            suspended_until: before.suspended_until,
            connections: (before.connections < base.connections).then_some(i64::from(before.connections)),
            interval: Some(wait.max(before.interval.unwrap_or(0))),
            holds_until: now + SLOWER_STEP,
            step: SLOWER_STEP,
            signalled_at: self.next_signal(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::values::rate;

    const MINUTE: i64 = 60_000;
    const BASE: Base = Base { connections: 5, interval: Some(10_000) };

    fn asks(suspend: u64, connections: Option<u32>, pace: Option<&str>, lasts: u64, step: u64) -> Asks {
        Asks {
            suspend: Duration::from_secs(suspend * 60),
            connections,
            rate: pace.map(|text| rate(text).unwrap()),
            lasts: Duration::from_secs(lasts * 60),
            step: Duration::from_secs(step * 60),
        }
    }

    #[test]
    fn section_4_google_nothing_for_ten_minutes_then_one_connection_and_one_more_at_a_time() {
        let limit = Limit::default().heed(&asks(10, Some(1), None, 5, 5), BASE, 0);
        assert_eq!(limit.at(BASE, MINUTE).suspended_until, Some(10 * MINUTE));
        let table = [(10, 1), (14, 1), (15, 2), (20, 3), (25, 4), (30, 5), (300, 5)];
        for (minute, connections) in table {
            let now = limit.at(BASE, minute * MINUTE);
            assert_eq!((now.suspended_until, now.connections), (None, connections), "minute {minute}");
        }
        assert!(!limit.at(BASE, 30 * MINUTE).limited);
    }

    #[test]
    fn section_4_one_a_minute_doubles_back_to_the_usual_rate() {
        let limit = Limit::default().heed(&asks(0, Some(1), Some("1/m"), 90, 5), BASE, 0);
        assert_eq!(limit.at(BASE, 89 * MINUTE).interval, Some(60_000_000));
        assert_eq!(limit.at(BASE, 90 * MINUTE).interval, Some(30_000_000));
        assert_eq!(limit.at(BASE, 95 * MINUTE).interval, Some(15_000_000));
        assert_eq!(limit.at(BASE, 200 * MINUTE).interval, Some(10_000), "the usual one");
    }

    #[test]
    fn a_second_signal_never_makes_it_faster() {
        let slow = Limit::default().heed(&asks(0, Some(1), Some("1/m"), 90, 5), BASE, 0);
        let both = slow.heed(&asks(2, Some(3), Some("10/m"), 30, 5), BASE, MINUTE);
        let now = both.at(BASE, MINUTE);
        assert_eq!((now.connections, now.interval), (1, Some(60_000_000)));
        assert_eq!(now.suspended_until, Some(3 * MINUTE));
    }

    #[test]
    fn slowing_down_halves_once_for_a_burst_of_signals_and_recovers() {
        let free = Base { connections: 10, interval: None };
        let limit = Limit::default().slower(free, 1_000_000);
        assert_eq!(limit.at(free, 1_000_000).interval, Some(20_000));
        assert_eq!(limit.slower(free, 1_000_500), limit, "the same signal again");
        let slower = limit.slower(free, 1_010_000);
        assert_eq!(slower.at(free, 1_010_000).interval, Some(40_000));
        assert_eq!(slower.at(free, 1_010_000 + 30_000).interval, Some(20_000));
        assert_eq!(slower.at(free, 1_010_000 + 300_000).interval, None);
    }

    #[test]
    fn a_signal_after_the_clock_was_set_back_is_heeded_and_newer_than_those_before() {
        let before = Limit::default().heed(&asks(0, Some(3), None, 5, 5), BASE, 60 * MINUTE);
        let heeded = before.heed(&asks(10, Some(1), None, 5, 5), BASE, MINUTE);
        assert!(heeded.signalled_at > before.signalled_at, "{heeded:?}");
        assert_eq!(heeded.at(BASE, MINUTE).suspended_until, Some(11 * MINUTE));
        let slower = before.slower(BASE, MINUTE);
        assert!(slower.signalled_at > before.signalled_at, "{slower:?}");
        assert_eq!(slower.at(BASE, MINUTE).interval, Some(20_000));
        assert_eq!(slower.slower(BASE, MINUTE + 1_000), slower, "the same signal, said once more");
    }
}

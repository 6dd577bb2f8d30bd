//! A new identity's caps: each day's from the last day on which something was sent, and what an edition needs of them.

use std::time::Duration;

use crate::config::WarmUp;

/// Under this share of deferrals the next day's cap grows; above the second it shrinks. In percent.
const GROWS_UNDER: i64 = 10;
const SHRINKS_OVER: i64 = 30;
/// A day that used less of its cap than this proves nothing. In percent.
const PROVES: i64 = 50;
/// Lanes hold what leaves soon: what was taken of a cap and does not leave is back by then, with a fifth for what spreads
/// who waits for it within ten minutes.
const BACK_BY: Duration = Duration::from_secs(500);

/// A day of a plan, for one provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day {
    /// How much it might have.
    pub cap: i64,
    /// How much it had.
    pub taken: i64,
    /// How much of that was deferred there.
    pub deferred: i64,
}

/// The cap of a day, after the last one on which something was sent.
pub fn cap(plan: &WarmUp, last: Option<Day>) -> i64 {
    let start = i64::from(plan.start);
    let Some(last) = last else { return start };
    // Growth is under 2 and caps are far below 2^52.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "caps are far below 2^52"
    )]
    let times = |factor: f64| (last.cap as f64 * factor).round() as i64;
    if last.deferred * 100 > last.taken * SHRINKS_OVER {
        return times(1.0 / plan.growth).max(start.min(last.cap));
    }
    if last.deferred * 100 >= last.taken * GROWS_UNDER || last.taken * 100 < last.cap * PROVES {
        return last.cap;
    }
    times(plan.growth).max(last.cap)
}

/// How long some of a cap may still come back, of which the last was taken then; `None` when it is spent. In milliseconds
/// of real time.
pub fn comes_back(emptied_at: Option<i64>, now: i64) -> Option<Duration> {
    // Another host's clock may be ahead of ours.
    let passed = Duration::from_millis(u64::try_from(now - emptied_at?).unwrap_or(0));
    BACK_BY.checked_sub(passed).filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v7_a_cap_grows_by_less_than_two_and_holds_or_shrinks_on_deferrals() {
        let plan = WarmUp { start: 500, growth: 1.5, from: "2026-12-01".parse().unwrap() };
        let day = |cap, taken, deferred| Some(Day { cap, taken, deferred });
        let table = [
            (None, 500, "the first day"),
            (day(500, 500, 0), 750, "a good day"),
            (day(750, 750, 74), 1125, "few deferrals"),
            (day(750, 750, 75), 750, "a tenth deferred: it holds"),
            (day(750, 750, 300), 500, "many: it shrinks"),
            (day(500, 500, 500), 500, "never below the start"),
            (day(750, 100, 0), 750, "little sent proves nothing"),
        ];
        for (last, expected, why) in table {
            assert_eq!(cap(&plan, last), expected, "{why}");
        }
    }

    #[test]
    fn v7_a_cap_is_spent_once_what_comes_back_had_time_for_it() {
        let table = [
            (None, None, "nobody knows when: long ago"),
            (Some(1_000_000), Some(500), "just now"),
            (Some(900_000), Some(400), "a while ago"),
            (Some(500_001), Some(0), "it is nearly over"),
            (Some(500_000), None, "it is over"),
            (Some(0), None, "long ago"),
            (Some(1_060_000), Some(500), "by a clock that is ahead"),
        ];
        for (emptied_at, seconds, why) in table {
            let left = comes_back(emptied_at, 1_000_000);
            assert_eq!(left.map(|left| left.as_secs()), seconds, "{why}");
            assert!(left.is_none_or(|left| left + left / 5 <= Duration::from_secs(600)), "{why}");
        }
    }
}

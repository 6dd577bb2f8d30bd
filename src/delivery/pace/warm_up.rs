//! A new identity's caps: each day's from the last day on which something was sent, and what an edition needs of them.

use crate::config::WarmUp;

/// Under this share of deferrals the next day's cap grows; above the second it shrinks. In percent.
const GROWS_UNDER: i64 = 10;
const SHRINKS_OVER: i64 = 30;
/// A day that used less of its cap than this proves nothing. In percent.
const PROVES: i64 = 50;

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
}

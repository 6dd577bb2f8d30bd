//! When the last reader has the mail, computed: what is due, in its order, as fast as the relays take it by then.

use sqlx::FromRow;

/// Deliveries that are due together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub(super) struct Slot {
    /// Milliseconds of civil time.
    pub(super) due_at: i64,
    /// And not after this.
    pub(super) deadline: i64,
    pub(super) count: i64,
}

/// How much leaves from a moment on, until the next such moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pace {
    /// Milliseconds of civil time.
    pub(super) from: i64,
    pub(super) per_second: f64,
}

/// What is to be expected.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Forecast {
    /// When the first leaves.
    pub(super) first: Option<i64>,
    /// When the last one has left that leaves.
    pub(super) last: Option<i64>,
    /// How many find their deadline passed.
    pub(super) late: i64,
    /// How much leaves when the last one does; at first, where none does.
    pub(super) per_second: f64,
}

impl Forecast {
    /// Of slots in the order in which they are due, by these paces in theirs; nothing leaves before the first of them, and
    /// nothing where there is none.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "counts and instants of mornings"
    )]
    pub(super) fn of(slots: &[Slot], paces: &[Pace]) -> Self {
        let mut out =
            Self { per_second: paces.first().map_or(0.0, |pace| pace.per_second), ..Self::default() };
        let mut free = f64::MIN;
        for slot in slots {
            let (mut left, mut leave) = (slot.count, None);
            for (at, pace) in paces.iter().enumerate() {
                let end = paces.get(at + 1).map_or(slot.deadline, |next| next.from.min(slot.deadline)) as f64;
                let start = free.max(slot.due_at.max(pace.from) as f64);
                let per_ms = pace.per_second / 1000.0;
                if left == 0 || per_ms <= 0.0 || !per_ms.is_finite() || start >= end {
                    continue;
                }
                let in_time = ((end - start) * per_ms).floor().clamp(0.0, left as f64);
                if in_time > 0.0 {
                    left -= in_time as i64;
                    free = start + in_time / per_ms;
                    out.first.get_or_insert(start as i64);
                    leave = Some((free as i64, pace.per_second));
                }
            }
            out.late += left;
            if let Some((last, per_second)) = leave {
                (out.last, out.per_second) = (Some(last), per_second);
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn slot(due_hour: i64, count: i64) -> Slot {
        Slot { due_at: due_hour * HOUR, deadline: (due_hour + 3) * HOUR, count }
    }

    /// One a second, or as many, from the beginning of the day.
    fn steady(per_second: f64) -> [Pace; 1] {
        [Pace { from: 0, per_second }]
    }

    fn of(slots: &[Slot], paces: &[Pace]) -> (Option<i64>, Option<i64>, i64) {
        let Forecast { first, last, late, .. } = Forecast::of(slots, paces);
        (first, last, late)
    }

    #[test]
    fn p5_zones_follow_one_another_where_there_is_time_between_them() {
        let forecast = of(&[slot(5, 3600), slot(7, 1800)], &steady(1.0));
        assert_eq!(forecast, (Some(5 * HOUR), Some(7 * HOUR + HOUR / 2), 0));
    }

    #[test]
    fn p5_a_zone_waits_for_the_one_before_it_where_there_is_none() {
        let forecast = of(&[slot(5, 7200), slot(6, 3600)], &steady(1.0));
        assert_eq!(forecast, (Some(5 * HOUR), Some(8 * HOUR), 0));
    }

    #[test]
    fn p5_what_does_not_fit_before_its_deadline_is_counted() {
        let forecast = of(&[slot(5, 4 * 3600), slot(6, 3600)], &steady(1.0));
        // Three hours' worth of the first leave until eight; the second has until nine.
        assert_eq!(forecast, (Some(5 * HOUR), Some(9 * HOUR), 3600));
        assert_eq!(of(&[slot(5, 10)], &steady(0.0)), (None, None, 10));
        assert_eq!(of(&[slot(5, 10)], &[]), (None, None, 10), "no relay at all");
    }

    #[test]
    fn p5_nothing_leaves_before_now_nor_by_a_relay_that_is_paused_until_later() {
        let now = [Pace { from: 7 * HOUR, per_second: 1.0 }];
        assert_eq!(of(&[slot(5, 1800)], &now), (Some(7 * HOUR), Some(7 * HOUR + HOUR / 2), 0));
        let paused =
            |until| [Pace { from: 0, per_second: 0.0 }, Pace { from: until * HOUR, per_second: 1.0 }];
        assert_eq!(of(&[slot(5, 3600)], &paused(6)), (Some(6 * HOUR), Some(7 * HOUR), 0));
        assert_eq!(of(&[slot(5, 7200)], &paused(7)), (Some(7 * HOUR), Some(8 * HOUR), 3600));
        assert_eq!(of(&[slot(5, 3600)], &paused(8)), (None, None, 3600), "until after the deadline");
        // One of two goes on meanwhile, at half of what both take.
        let half = [Pace { from: 0, per_second: 0.5 }, Pace { from: 6 * HOUR, per_second: 1.0 }];
        let forecast = Forecast::of(&[slot(5, 3600)], &half);
        assert_eq!(
            (forecast.last, forecast.per_second.to_string()),
            (Some(6 * HOUR + HOUR / 2), "1".to_owned())
        );
    }
}

//! When the last reader has the mail, computed: what is due, in its order, at a steady rate.

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

/// What is to be expected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Forecast {
    /// When the first leaves.
    pub(super) first: Option<i64>,
    /// When the last one has left that leaves.
    pub(super) last: Option<i64>,
    /// How many find their deadline passed.
    pub(super) late: i64,
}

impl Forecast {
    /// Of slots in the order in which they are due; nothing leaves where the rate is none.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "counts and instants of mornings"
    )]
    pub(super) fn of(slots: &[Slot], per_second: f64) -> Self {
        let total: i64 = slots.iter().map(|slot| slot.count).sum();
        if per_second <= 0.0 || !per_second.is_finite() {
            return Self { late: total, ..Self::default() };
        }
        let per_ms = per_second / 1000.0;
        let mut out = Self::default();
        let mut free = f64::MIN;
        for slot in slots {
            let start = free.max(slot.due_at as f64);
            let in_time = ((slot.deadline as f64 - start) * per_ms).floor().clamp(0.0, slot.count as f64);
            out.late += slot.count - in_time as i64;
            if in_time > 0.0 {
                free = start + in_time / per_ms;
                out.first.get_or_insert(start as i64);
                out.last = Some(free as i64);
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

    #[test]
    fn p5_zones_follow_one_another_where_there_is_time_between_them() {
        let forecast = Forecast::of(&[slot(5, 3600), slot(7, 1800)], 1.0);
        assert_eq!(forecast, Forecast { first: Some(5 * HOUR), last: Some(7 * HOUR + HOUR / 2), late: 0 });
    }

    #[test]
    fn p5_a_zone_waits_for_the_one_before_it_where_there_is_none() {
        let forecast = Forecast::of(&[slot(5, 7200), slot(6, 3600)], 1.0);
        assert_eq!(forecast.last, Some(8 * HOUR));
        assert_eq!(forecast.late, 0);
    }

    #[test]
    fn p5_what_does_not_fit_before_its_deadline_is_counted() {
        let forecast = Forecast::of(&[slot(5, 4 * 3600), slot(6, 3600)], 1.0);
        // Three hours' worth of the first leave until eight; the second has until nine.
        assert_eq!(forecast, Forecast { first: Some(5 * HOUR), last: Some(9 * HOUR), late: 3600 });
        assert_eq!(Forecast::of(&[slot(5, 10)], 0.0), Forecast { first: None, last: None, late: 10 });
    }
}

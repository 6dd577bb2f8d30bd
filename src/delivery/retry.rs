//! When the next try starts: a pure function of how many there were, with jitter from outside.

use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

/// The wait after try number `tries` (1 for the first), before jitter: the schedule, and then an hour each time.
pub fn wait(schedule: &[Duration], tries: i64) -> Duration {
    let index = usize::try_from(tries.max(1) - 1).unwrap_or(usize::MAX);
    schedule.get(index).copied().unwrap_or(HOUR)
}

/// The wait with jitter: `draw` in 0..=1000 spreads it evenly over 80 % to 120 %, so that a relay that
/// came back is not run over by everybody at once.
pub fn jittered(wait: Duration, draw: u64) -> Duration {
    let permille = 800 + draw.min(1000) * 400 / 1000;
    Duration::from_millis(
        u64::try_from(wait.as_millis()).unwrap_or(u64::MAX / 2000).saturating_mul(permille) / 1000,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waits_are_a_table_and_then_an_hour() {
        let minutes = |m: u64| Duration::from_secs(m * 60);
        let schedule = [minutes(1), minutes(3), minutes(10), minutes(20), minutes(40)];
        let table = [(1, 1), (2, 3), (3, 10), (4, 20), (5, 40), (6, 60), (7, 60), (1000, 60)];
        for (tries, expected) in table {
            assert_eq!(wait(&schedule, tries), minutes(expected), "after try {tries}");
        }
    }

    #[test]
    fn jitter_stays_within_a_fifth() {
        let minute = Duration::from_secs(60);
        assert_eq!(jittered(minute, 0), Duration::from_secs(48));
        assert_eq!(jittered(minute, 500), Duration::from_secs(60));
        assert_eq!(jittered(minute, 1000), Duration::from_secs(72));
    }
}

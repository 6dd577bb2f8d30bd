//! What the rehearsal's sink notes of each mail: how many there were, how large, and when.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::morning::stage::sink::{Observer, Taken};

/// How many there were, and how large.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weighed {
    pub(super) count: u64,
    pub(super) least: u64,
    pub(super) most: u64,
    total: u64,
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Weighed {
    pub(super) fn mean(&self) -> u64 {
        self.total.checked_div(self.count).unwrap_or(0)
    }
}

/// Weighs every mail and keeps none.
#[derive(Debug, Default)]
pub(super) struct Scales(Mutex<Weighed>);

impl Scales {
    pub(super) fn weighed(&self) -> Weighed {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Mails a second, from the first to the last.
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    pub(super) fn rate(&self) -> f64 {
        let weighed = self.weighed();
        let (Some(first), Some(last)) = (weighed.first, weighed.last) else { return 0.0 };
        let seconds = last.duration_since(first).as_secs_f64();
        if weighed.count < 2 || seconds <= 0.0 { 0.0 } else { (weighed.count - 1) as f64 / seconds }
    }
}

impl Observer for Scales {
    fn taken(&self, taken: Taken<'_>) -> Duration {
        let bytes = taken.bytes.len() as u64;
        let mut weighed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        weighed.least = if weighed.count == 0 { bytes } else { weighed.least.min(bytes) };
        weighed.most = weighed.most.max(bytes);
        weighed.total += bytes;
        weighed.count += 1;
        let now = Instant::now();
        weighed.first.get_or_insert(now);
        weighed.last = Some(now);
        Duration::ZERO
    }
}

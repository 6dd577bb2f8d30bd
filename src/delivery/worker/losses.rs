//! Deliveries whose envelope a server ended the session with, each once so far: one that it ends with again is what it
//! does not bear, and not its own trouble.
//!
//! In the memory of one daemon's life, and bounded: whoever forgets one sends it once more at once.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// So many are remembered; then all of them are forgotten.
const MOST: usize = 10_000;

/// Those that were met with.
#[derive(Debug, Default)]
pub(in crate::delivery) struct Losses(Mutex<HashSet<i64>>);

impl Losses {
    fn once(&self) -> MutexGuard<'_, HashSet<i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session ended with this one; `true` where that is not the first time since it was answered.
    pub(super) fn again(&self, delivery: i64) -> bool {
        let mut once = self.once();
        if once.len() >= MOST && !once.contains(&delivery) {
            once.clear();
        }
        !once.insert(delivery)
    }

    /// It was answered.
    pub(super) fn over(&self, delivery: i64) {
        let mut once = self.once();
        // Nearly always there are none.
        if !once.is_empty() {
            once.remove(&delivery);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t12_a_delivery_is_lost_again_until_it_is_answered_and_no_more_are_remembered_than_have_room() {
        let losses = Losses::default();
        assert!(!losses.again(1), "the first time");
        assert!(losses.again(1) && losses.again(1));
        assert!(!losses.again(2), "another one");
        losses.over(1);
        assert!(!losses.again(1), "it was answered since");
        for delivery in 0..i64::try_from(MOST).unwrap() * 2 {
            losses.again(delivery);
        }
        assert!(losses.once().len() <= MOST);
    }
}

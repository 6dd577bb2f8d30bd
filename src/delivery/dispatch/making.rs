//! Whether messages of an edition can be made: where none can, the ledger is told, for whoever watches over the morning.
//!
//! The ledger is told by `tell` alone, and always the newest, so that no older word comes after it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

/// So many messages of an edition that cannot be made, and none that can since, are no chance.
const NO_CHANCE: u32 = 3;

/// What is known of an edition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Can {
    /// One was made.
    BeMade,
    /// None of the last could be.
    NotBeMade { since: Timestamp, why: String },
}

/// What one daemon's life knows, edition by edition.
#[derive(Debug, Default)]
pub(in crate::delivery) struct Making(Mutex<HashMap<i64, State>>);

#[derive(Debug, Default)]
struct State {
    /// How many could not be made since one could.
    failures: u32,
    newest: Option<Can>,
    /// What of it is in the ledger for sure: a row may be left from an earlier life.
    told: Option<Can>,
}

impl Making {
    fn states(&self) -> std::sync::MutexGuard<'_, HashMap<i64, State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message of this edition was made.
    pub(in crate::delivery) fn made(&self, edition: i64) {
        let mut states = self.states();
        let state = states.entry(edition).or_default();
        state.failures = 0;
        if state.newest != Some(Can::BeMade) {
            state.newest = Some(Can::BeMade);
        }
    }

    /// One could not be; `true` where none can, and that is new.
    pub(in crate::delivery) fn not_made(&self, edition: i64, why: &str, now: Timestamp) -> bool {
        let mut states = self.states();
        let state = states.entry(edition).or_default();
        state.failures = state.failures.saturating_add(1);
        let anew = state.failures >= NO_CHANCE && !matches!(state.newest, Some(Can::NotBeMade { .. }));
        if anew {
            state.newest = Some(Can::NotBeMade { since: now, why: why.to_owned() });
        }
        anew
    }

    /// What the ledger does not know yet.
    pub(super) fn untold(&self) -> Vec<(i64, Can)> {
        let states = self.states();
        let untold = states.iter().filter(|(_, state)| state.newest != state.told);
        untold.filter_map(|(edition, state)| Some((*edition, state.newest.clone()?))).collect()
    }

    /// The ledger knows this.
    pub(super) fn told(&self, told: Vec<(i64, Can)>) {
        let mut states = self.states();
        for (edition, can) in told {
            states.entry(edition).or_default().told = Some(can);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::timestamp;

    #[test]
    fn p1_that_no_message_of_an_edition_can_be_made_is_known_after_three_and_until_one_is() {
        let making = Making::default();
        making.made(1);
        making.told(making.untold());
        assert!(!making.not_made(1, "odd", timestamp(1)) && !making.not_made(1, "odd", timestamp(2)));
        making.made(1);
        assert!(!making.not_made(1, "odd", timestamp(3)) && !making.not_made(1, "odd", timestamp(4)));
        assert!(making.untold().is_empty(), "others can be");
        assert!(making.not_made(1, "odd", timestamp(5)));
        assert!(!making.not_made(1, "odd", timestamp(6)), "that is known");
        let none = Can::NotBeMade { since: timestamp(5), why: "odd".to_owned() };
        assert_eq!(making.untold(), [(1, none.clone())]);
        assert_eq!(making.untold(), [(1, none.clone())], "until it is in the ledger for sure");
        // Meanwhile one was made: what was told is old already.
        making.made(1);
        making.told(vec![(1, none)]);
        assert_eq!(making.untold(), [(1, Can::BeMade)]);
        making.told(making.untold());
        assert!(making.untold().is_empty());
    }
}

//! Whether messages of an edition can be made: where none can, the ledger is told, for whoever watches over the morning.
//!
//! The ledger is told by `tell` alone, and always the newest, so that no older word comes after it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// So many deliveries of an edition whose message cannot be made, and none since whose can, are no chance.
const NO_CHANCE: usize = 3;
/// Where messages are made, that is told again so often: another daemon, which can make none, may have told it otherwise.
const ANEW: Duration = Duration::from_secs(60);

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
    /// Those that could not be made since one could; as many as count.
    failures: BTreeSet<i64>,
    newest: Option<Can>,
    /// What of it is in the ledger for sure: a row may be left from an earlier life.
    told: Option<Can>,
    told_at: Option<Instant>,
}

impl Making {
    fn states(&self) -> std::sync::MutexGuard<'_, HashMap<i64, State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message of this edition was made.
    pub(in crate::delivery) fn made(&self, edition: i64) {
        let mut states = self.states();
        let state = states.entry(edition).or_default();
        state.failures.clear();
        if state.newest != Some(Can::BeMade) {
            state.newest = Some(Can::BeMade);
        }
        if state.told_at.is_some_and(|told_at| told_at.elapsed() >= ANEW) {
            state.told = None;
        }
    }

    /// One could not be; `true` where none can, and that is new.
    pub(in crate::delivery) fn not_made(
        &self,
        (edition, delivery): (i64, i64),
        why: &str,
        now: Timestamp,
    ) -> bool {
        let mut states = self.states();
        let state = states.entry(edition).or_default();
        if state.failures.len() < NO_CHANCE {
            state.failures.insert(delivery);
        }
        let anew = state.failures.len() >= NO_CHANCE && !matches!(state.newest, Some(Can::NotBeMade { .. }));
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
            let state = states.entry(edition).or_default();
            state.told = Some(can);
            state.told_at = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::timestamp;

    #[tokio::test(start_paused = true)]
    async fn p1_that_no_message_of_an_edition_can_be_made_is_known_after_three_and_until_one_is() {
        let making = Making::default();
        let not_made = |delivery, second| making.not_made((1, delivery), "odd", timestamp(second));
        making.made(1);
        making.told(making.untold());
        assert!(!not_made(1, 1) && !not_made(2, 2));
        making.made(1);
        assert!(!not_made(1, 3) && !not_made(2, 4));
        assert!(!not_made(2, 4) && !not_made(1, 4), "the same again");
        assert!(making.untold().is_empty(), "others can be");
        assert!(not_made(3, 5));
        assert!(!not_made(4, 6), "that is known");
        let none = Can::NotBeMade { since: timestamp(5), why: "odd".to_owned() };
        assert_eq!(making.untold(), [(1, none.clone())]);
        assert_eq!(making.untold(), [(1, none.clone())], "until it is in the ledger for sure");
        // Meanwhile one was made: what was told is old already.
        making.made(1);
        making.told(vec![(1, none)]);
        assert_eq!(making.untold(), [(1, Can::BeMade)]);
        making.told(making.untold());
        making.made(1);
        assert!(making.untold().is_empty());
        // By then another daemon, which can make none, may have told it otherwise.
        tokio::time::advance(ANEW).await;
        assert!(making.untold().is_empty(), "nothing was made since");
        making.made(1);
        assert_eq!(making.untold(), [(1, Can::BeMade)]);
    }
}

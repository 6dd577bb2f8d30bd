//! Whether anybody answers about domains, and what the ledger knows of that.
//!
//! Only a question that was asked says something of it: what is remembered of domains outlives the resolver. The ledger is
//! told by `tell` alone, and always the newest, so that no older word comes after it.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use super::Dispatch;
use crate::db::{self, Tx};
use crate::delivery::mx::{Destination, Nowhere};
use crate::delivery::relay::store as relays;

/// What the last question found: somebody answers, or nobody does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Answers,
    Silent { since: Timestamp, why: String },
}

/// What is known of the resolvers of one daemon's life.
#[derive(Debug, Default)]
pub(super) struct Resolver(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    newest: Option<Found>,
    /// What of it is in the ledger for sure.
    told: Option<Found>,
}

impl Resolver {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A question found this; `true` where nobody answers any more, or somebody does again.
    fn found(&self, silent: Option<&str>, now: Timestamp) -> bool {
        let mut state = self.state();
        let was_silent = matches!(state.newest, Some(Found::Silent { .. }));
        if state.newest.is_none() || was_silent != silent.is_some() {
            let silence = |why: &str| Found::Silent { since: now, why: why.to_owned() };
            state.newest = Some(silent.map_or(Found::Answers, silence));
        }
        was_silent != silent.is_some()
    }

    /// What the ledger does not know yet.
    pub(super) fn untold(&self) -> Option<Found> {
        let state = self.state();
        state.newest.clone().filter(|newest| state.told.as_ref() != Some(newest))
    }

    /// What the ledger was told does not stand there: somebody else told it otherwise.
    fn untell(&self) {
        self.state().told = None;
    }

    /// The ledger knows this.
    pub(super) fn told(&self, found: Found) {
        self.state().told = Some(found);
    }
}

impl Dispatch {
    /// A question about a domain was asked, and found this.
    pub(super) fn asked(&self, found: &Destination) {
        self.found(match found {
            Err(Nowhere::Silent(why)) => Some(why.as_str()),
            Ok(_) | Err(_) => None,
        });
    }

    /// Resolvers were asked whether they are there, though the ledger says that they are not.
    pub(super) fn found_resolver(&self, silent: bool) {
        self.found(silent.then_some("no resolver answers, or finds anything out"));
        self.resolver.untell();
    }

    fn found(&self, silent: Option<&str>) {
        // Another relay asks for the limits of receivers alone: its mail goes where it always goes.
        let needed = self.relays.values().any(|relay| relay.is_mx());
        if self.resolver.found(silent, self.shared.clock.shared()) && needed {
            if let Some(why) = silent {
                tracing::warn!(reason = %why, "nobody says where mail goes: it waits, and nothing of it was tried");
            } else {
                tracing::info!("it is said again where mail goes");
            }
        }
    }

    /// Notes this of every relay that cannot send without a resolver.
    pub(super) async fn note_resolver(&self, tx: &mut Tx, found: &Found) -> db::Result<()> {
        for (name, _) in self.relays.iter().filter(|(_, relay)| relay.is_mx()) {
            match found {
                Found::Answers => relays::mark_up(tx, name).await?,
                Found::Silent { since, why } => relays::mark_down(tx, name, *since, why).await?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::timestamp;

    #[test]
    fn of_a_resolver_the_ledger_is_told_the_newest_and_nothing_twice() {
        let resolver = Resolver::default();
        assert_eq!(resolver.untold(), None, "nothing was asked");
        assert!(!resolver.found(None, timestamp(1)), "that is as it should be");
        assert_eq!(resolver.untold(), Some(Found::Answers), "an earlier daemon may have found it silent");
        resolver.told(Found::Answers);
        assert!(resolver.found(Some("refused"), timestamp(2)));
        assert!(!resolver.found(Some("no answer in time"), timestamp(3)), "as before");
        let silent = Found::Silent { since: timestamp(2), why: "refused".to_owned() };
        assert_eq!(resolver.untold(), Some(silent.clone()));
        assert_eq!(resolver.untold(), Some(silent.clone()), "until it is in the ledger for sure");
        // Meanwhile it answered: what was told is old already.
        assert!(resolver.found(None, timestamp(4)));
        resolver.told(silent);
        assert_eq!(resolver.untold(), Some(Found::Answers));
        resolver.told(Found::Answers);
        assert_eq!(resolver.untold(), None);
        // Another daemon told it otherwise since.
        resolver.untell();
        assert_eq!(resolver.untold(), Some(Found::Answers));
    }
}

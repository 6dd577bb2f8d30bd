//! Claiming and giving back take turns within one life.
//!
//! A giving back whose answer was lost is repeated. What was claimed anew in between would be given back once more
//! while it is in hand, and claimed by two connections. A giving back waits for a claim under way, and so do the dots
//! behind it: as long as the database may take to answer. SQLite's claims of what was never tried need no turn: they ride in
//! a round of their own, behind any that is repeated.

use std::sync::Arc;

use tokio::sync::{Mutex, MutexGuard, OwnedMutexGuard};

/// Whose turn it is; one for each life.
#[derive(Clone, Debug, Default)]
pub(in crate::delivery) struct Turns(Arc<Mutex<()>>);

/// The turn of one that claims, while it lives.
#[derive(Debug)]
pub(in crate::delivery) struct Turn<'a>(
    #[expect(dead_code, reason = "what counts is how long it lives")] MutexGuard<'a, ()>,
);

impl Turns {
    /// To claim: what gives claims back waits for the end of it.
    pub(in crate::delivery) async fn to_claim(&self) -> Turn<'_> {
        Turn(self.0.lock().await)
    }
}

/// A group on its way into the ledger, however often it has to be tried.
#[derive(Debug)]
pub(in crate::delivery) struct Round {
    turns: Turns,
    giving_back: Option<OwnedMutexGuard<()>>,
    again: bool,
}

impl Round {
    /// Before the first try.
    pub(in crate::delivery) fn new(turns: &Turns) -> Self {
        Self { turns: turns.clone(), giving_back: None, again: false }
    }

    /// Whether an earlier try may have been kept.
    pub(super) fn is_again(&self) -> bool {
        self.again
    }

    /// What was tried may have been kept, or was not enough: the next try reckons with that.
    pub(in crate::delivery) fn repeat(&mut self) {
        self.again = true;
    }

    /// To give back: nobody claims until this round is over.
    pub(super) async fn begin_giving_back(&mut self) {
        if self.giving_back.is_none() {
            self.giving_back = Some(self.turns.0.clone().lock_owned().await);
        }
    }
}

//! What may keep an engine from sending: the same for all of its lives, so that each is told once.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use crate::delivery::protocol::Sending;
use crate::telemetry::Trouble;

/// What lasts of it.
#[derive(Debug)]
pub(in crate::delivery) struct Troubles {
    /// A life ended with an error.
    pub(super) stopped: Trouble,
    /// The ledger takes no commit.
    pub(in crate::delivery) unwritten: Trouble,
    /// The lease runs out.
    pub(super) stale: Trouble,
    /// Nobody's work is taken over.
    pub(super) blind: Trouble,
    /// The editions whose newsletter the configuration does not have.
    foreign: Mutex<BTreeSet<i64>>,
}

impl Troubles {
    /// Whether any of it lasts that keeps this daemon itself from sending.
    pub(super) fn last(&self) -> bool {
        [&self.stopped, &self.unwritten, &self.stale].into_iter().any(Trouble::lasts)
    }

    /// Nothing of this edition can be sent, for want of its newsletter. It may be another daemon's, so this one is well.
    pub(super) fn pass_over(&self, sending: &Sending) {
        let mut foreign = self.foreign.lock().unwrap_or_else(PoisonError::into_inner);
        if foreign.insert(sending.id) {
            tracing::warn!(
                newsletter.id = %sending.newsletter,
                edition.date = %sending.date,
                "an edition is passed over: the configuration has no such newsletter"
            );
        }
    }
}

impl Default for Troubles {
    fn default() -> Self {
        Self {
            stopped: Trouble::new("sending stopped; trying again", "sending goes on"),
            unwritten: Trouble::new(
                "the ledger cannot be written: nothing more leaves until it can",
                "the ledger can be written again",
            ),
            stale: Trouble::new("the lease could not be renewed", "the lease is renewed again"),
            blind: Trouble::new("dead daemons could not be looked for", "dead daemons are looked for again"),
            foreign: Mutex::default(),
        }
    }
}

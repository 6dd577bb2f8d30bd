//! What may keep an engine from sending: the same for all of its lives, so that each is told once.

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
}

impl Troubles {
    /// Whether any of it lasts that keeps this daemon itself from sending.
    pub(super) fn last(&self) -> bool {
        [&self.stopped, &self.unwritten, &self.stale].into_iter().any(Trouble::lasts)
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
        }
    }
}

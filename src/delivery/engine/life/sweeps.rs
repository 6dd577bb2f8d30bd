//! What came too late, or was cancelled, is ended.
//!
//! An edition's deliveries are looked through only once the first of them may be late: until then a look is at one row. Of
//! a million that wait for their hour, or for a relay, each look through all of them would keep the writer from whoever
//! can send.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::Life;
use crate::delivery::Result;
use crate::delivery::protocol::{self, Sending};
use crate::delivery::store::{self, Place};
use crate::editions::EditionId;
use crate::lifecycle::Shutdown;

/// How often it is asked whether deadlines came nearer, and what is cancelled.
const SWEEP: Duration = Duration::from_secs(5);

/// What is known of the deadlines of an edition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    /// None of what is not final is before this one.
    first: i64,
    /// How often any of them had come nearer by then.
    changes: i64,
    /// Whether it has passed all the same: somebody has it in hand.
    in_hand: bool,
}

/// What is known of deadlines, by edition.
#[derive(Clone, Debug, Default)]
pub(super) struct Deadlines(HashMap<i64, Known>);

impl Deadlines {
    /// What the ledger says: how often deadlines of an edition came nearer, and what none is before.
    fn hear(&mut self, edition: i64, changes: i64, nearest: i64) {
        let known = self.0.entry(edition).or_insert(Known { first: nearest, changes, in_hand: false });
        if known.changes != changes {
            *known = Known { first: known.first.min(nearest), changes, in_hand: false };
        }
    }

    /// Whether something of an edition may be late at this moment. In good time (`again`) what was in hand is looked at
    /// once more, and what nothing is known of.
    fn may_be_late(&self, edition: i64, civil: i64, again: bool) -> bool {
        self.0.get(&edition).map_or(again, |known| known.first <= civil && (again || !known.in_hand))
    }

    /// What was late has ended: this is the first deadline of the rest.
    fn ended(&mut self, edition: i64, first: Option<i64>, civil: i64) {
        if let Some(known) = self.0.get_mut(&edition) {
            let first = first.unwrap_or(i64::MAX);
            *known = Known { first, in_hand: first <= civil, ..*known };
        }
    }
}

impl Life<'_> {
    /// Ends what is late, whether there is work meanwhile or not: that may last for hours where a relay is slow.
    pub(super) async fn sweep(&mut self, editions: &[Sending], shutdown: &Shutdown) -> Result<()> {
        let again = Instant::now() >= self.next_sweep;
        if again {
            self.next_sweep = Instant::now() + SWEEP;
            self.hear(editions).await?;
        }
        let civil = self.engine.clock.civil_ms();
        for sending in editions {
            if self.deadlines.may_be_late(sending.id, civil, again) {
                self.expire(sending.id, civil, shutdown).await?;
                let first = self.ask_at_length(self.first_deadline(sending)).await?;
                self.deadlines.ended(sending.id, first, civil);
            }
        }
        if again { self.withdraw_the_cancelled().await } else { Ok(()) }
    }

    async fn hear(&mut self, editions: &[Sending]) -> Result<()> {
        self.deadlines.0.retain(|edition, _| editions.iter().any(|sending| sending.id == *edition));
        for sending in editions {
            let asked = async { Ok(store::nearest(&mut self.engine.db.read().await?, sending.id).await?) };
            if let Some((changes, nearest)) = self.ask(asked).await? {
                self.deadlines.hear(sending.id, changes, nearest);
            }
        }
        Ok(())
    }

    /// Piece by piece; whoever is told to leave waits for one of them at most.
    async fn expire(&self, edition: i64, civil: i64, shutdown: &Shutdown) -> Result<()> {
        for fresh in [true, false] {
            let mut behind = Some(Place::FIRST);
            while let Some(place) = behind.filter(|_| !shutdown.is_draining()) {
                let ended = protocol::expire(&self.engine.db, edition, fresh, civil, place);
                behind = self.ask_at_length(ended).await?;
            }
        }
        Ok(())
    }

    async fn first_deadline(&self, sending: &Sending) -> Result<Option<i64>> {
        Ok(protocol::first_deadline(&mut self.engine.db.read().await?, sending.id).await?)
    }

    async fn cancelled(&self) -> Result<Vec<EditionId>> {
        store::cancelled_not_over(&mut self.engine.db.read().await?).await
    }

    /// What was on its way when its edition was cancelled, and came back since, leaves no more.
    pub(super) async fn withdraw_the_cancelled(&self) -> Result<()> {
        for edition in self.ask(self.cancelled()).await? {
            self.ask_at_length(store::withdraw_all(&self.engine.db, edition)).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p5_an_edition_is_looked_through_when_its_first_deadline_passes_and_not_before() {
        let mut deadlines = Deadlines::default();
        assert!(!deadlines.may_be_late(1, 50, false));
        assert!(deadlines.may_be_late(1, 50, true), "nothing is known of it");
        deadlines.hear(1, 0, 100);
        assert!(!deadlines.may_be_late(1, 99, true));
        assert!(deadlines.may_be_late(1, 100, false));
        deadlines.ended(1, Some(200), 100);
        assert!(!deadlines.may_be_late(1, 199, true));
        // The ledger's own bound rises with nothing.
        deadlines.hear(1, 0, 100);
        assert!(!deadlines.may_be_late(1, 199, true));
        deadlines.ended(1, None, 199);
        assert!(!deadlines.may_be_late(1, i64::MAX - 1, true), "all of it is final");
    }

    #[test]
    fn p5_a_deadline_that_came_nearer_is_heard_of() {
        let mut deadlines = Deadlines::default();
        deadlines.hear(1, 0, 100);
        deadlines.ended(1, Some(200), 100);
        deadlines.hear(1, 1, 100);
        assert!(deadlines.may_be_late(1, 150, false));
    }

    #[test]
    fn p5_what_is_late_in_somebodys_hands_is_not_looked_for_at_each_turn() {
        let mut deadlines = Deadlines::default();
        deadlines.hear(1, 0, 100);
        deadlines.ended(1, Some(100), 150);
        assert!(!deadlines.may_be_late(1, 151, false));
        assert!(deadlines.may_be_late(1, 151, true));
    }
}

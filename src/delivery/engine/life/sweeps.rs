//! What came too late, or was cancelled, is ended.
//!
//! An edition's deliveries are looked through only once the first of them may be late: until then a look is at one row. Of
//! a million that wait for their hour, or for a relay, each look through all of them would keep the writer from whoever
//! can send. What is found is ended by one piece at each turn of a life, for the same reason.

use std::collections::{HashMap, VecDeque};
use std::mem::discriminant;
use std::time::Duration;

use tokio::time::Instant;

use super::Life;
use crate::db::Db;
use crate::delivery::Result;
use crate::delivery::protocol::{self, Sending};
use crate::delivery::store::{self, Walk};
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

/// Why deliveries of an edition end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// They are too late at this moment.
    Late(i64),
    /// Their edition is cancelled.
    Cancelled,
}

/// An edition that is gone through, and how far.
#[derive(Clone, Copy, Debug)]
struct Pass {
    edition: i64,
    why: Why,
    walk: Walk,
}

impl Pass {
    /// Ends a piece of it; returns where it goes on.
    async fn piece(self, db: &Db) -> Result<Option<Walk>> {
        match self.why {
            Why::Late(civil) => protocol::expire(db, self.edition, civil, self.walk).await,
            Why::Cancelled => store::withdraw(db, EditionId(self.edition), self.walk).await,
        }
    }
}

/// Editions that are gone through, by turns: none waits for the last piece of another.
#[derive(Clone, Debug, Default)]
pub(super) struct Passes(VecDeque<Pass>);

impl Passes {
    /// An edition is gone through from its start, if it is not yet.
    fn begin(&mut self, edition: i64, why: Why) {
        let same = |pass: &Pass| pass.edition == edition && discriminant(&pass.why) == discriminant(&why);
        if !self.0.iter().any(same) {
            self.0.push_back(Pass { edition, why, walk: Walk::START });
        }
    }

    /// What is late of editions that are not being sent any more waits until they are.
    fn keep(&mut self, editions: &[Sending]) {
        let is_sent = |edition| editions.iter().any(|sending| sending.id == edition);
        self.0.retain(|pass| pass.why == Why::Cancelled || is_sent(pass.edition));
    }
}

impl Life<'_> {
    /// Ends a piece of what is late or cancelled, whether there is work meanwhile or not: that may last for hours where
    /// a relay is slow. `true` while there is more.
    pub(super) async fn sweep(&mut self, editions: &[Sending]) -> Result<bool> {
        let again = Instant::now() >= self.next_sweep;
        if again {
            self.next_sweep = Instant::now() + SWEEP;
            self.hear(editions).await?;
            for edition in self.ask(self.cancelled()).await? {
                self.passes.begin(edition.0, Why::Cancelled);
            }
        }
        self.passes.keep(editions);
        let civil = self.engine.clock.civil_ms();
        for sending in editions {
            if self.deadlines.may_be_late(sending.id, civil, again) {
                self.passes.begin(sending.id, Why::Late(civil));
            }
        }
        let Some(pass) = self.passes.0.pop_front() else { return Ok(false) };
        match (self.ask_at_length(pass.piece(&self.engine.db)).await?, pass.why) {
            (Some(walk), _) => self.passes.0.push_back(Pass { walk, ..pass }),
            (None, Why::Late(civil)) => {
                let first = self.ask_at_length(self.first_deadline(pass.edition)).await?;
                self.deadlines.ended(pass.edition, first, civil);
            }
            (None, Why::Cancelled) => {}
        }
        Ok(!self.passes.0.is_empty())
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

    async fn first_deadline(&self, edition: i64) -> Result<Option<i64>> {
        Ok(protocol::first_deadline(&mut self.engine.db.read().await?, edition).await?)
    }

    async fn cancelled(&self) -> Result<Vec<EditionId>> {
        store::cancelled_not_over(&mut self.engine.db.read().await?).await
    }

    /// What was on its way when its edition was cancelled, and came back since, leaves no more. To the end, for a life
    /// that has nothing else to do; whoever is told to leave waits for one piece at most.
    pub(super) async fn withdraw_the_cancelled(&self, shutdown: &Shutdown) -> Result<()> {
        for edition in self.ask(self.cancelled()).await? {
            let mut walk = Some(Walk::START);
            while let Some(so_far) = walk.filter(|_| !shutdown.is_draining()) {
                walk = self.ask_at_length(store::withdraw(&self.engine.db, edition, so_far)).await?;
            }
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

//! What came too late, or was cancelled, is ended.

use std::time::Duration;

use tokio::time::Instant;

use super::Life;
use crate::delivery::protocol::{self, Sending};
use crate::delivery::{Result, store};
use crate::editions::EditionId;

/// How often late deliveries are ended.
const SWEEP: Duration = Duration::from_secs(5);

impl Life<'_> {
    /// Nothing is in hand: what is late is ended, whatever was known of deadlines.
    pub(super) async fn sweep(&mut self, editions: &[Sending]) -> Result<()> {
        self.deadlines.clear();
        if Instant::now() < self.next_sweep && self.mode.edition.is_none() {
            return Ok(());
        }
        self.next_sweep = Instant::now() + SWEEP;
        for sending in editions {
            let civil = self.engine.clock.civil_ms();
            self.ask_at_length(protocol::expire(&self.engine.db, sending.id, civil)).await?;
        }
        self.withdraw_the_cancelled().await
    }

    /// The same while there is work, which may last for hours where a relay is slow. An edition's deliveries are looked
    /// through only once the first of them may be late.
    pub(super) async fn sweep_in_passing(&mut self, editions: &[Sending]) -> Result<()> {
        if Instant::now() < self.next_sweep {
            return Ok(());
        }
        self.next_sweep = Instant::now() + SWEEP;
        let civil = self.engine.clock.civil_ms();
        for sending in editions {
            let first = match self.deadlines.get(&sending.id) {
                Some(known) => Some(*known),
                None => self.ask_at_length(self.first_deadline(sending)).await?,
            };
            let Some(first) = first else { continue };
            self.deadlines.insert(sending.id, first);
            if first <= civil {
                self.ask_at_length(protocol::expire(&self.engine.db, sending.id, civil)).await?;
                self.deadlines.remove(&sending.id);
            }
        }
        self.withdraw_the_cancelled().await
    }

    async fn first_deadline(&self, sending: &Sending) -> Result<Option<i64>> {
        Ok(protocol::first_deadline(&mut self.engine.db.read().await?, sending.id).await?)
    }

    async fn cancelled(&self) -> Result<Vec<EditionId>> {
        store::cancelled_not_over(&mut self.engine.db.read().await?).await
    }

    /// What was on its way when its edition was cancelled, and came back since, leaves no more.
    async fn withdraw_the_cancelled(&self) -> Result<()> {
        for edition in self.ask(self.cancelled()).await? {
            let withdrawn = async {
                let mut tx = self.engine.db.write().await?;
                store::withdraw_all(&mut tx, edition).await?;
                Ok(tx.commit().await?)
            };
            self.ask_at_length(withdrawn).await?;
        }
        Ok(())
    }
}

//! What is due is claimed and handed out.
//!
//! Fresh mail goes before retries, so that trouble never delays the untroubled.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::sleep;

use super::Life;
use crate::db;
use crate::delivery::Result;
use crate::delivery::ledger::Claimed;
use crate::delivery::protocol::{self, Due, Sending};
use crate::lifecycle::Shutdown;

/// How often it is looked whether claims may go on.
const SETTLING_TURN: Duration = Duration::from_millis(20);

impl Life<'_> {
    /// Claims what is due of an edition and hands it out; `true` when there was something.
    pub(super) async fn claim(&mut self, sending: &Sending, shutdown: &Shutdown) -> Result<bool> {
        let Some(newsletter) = self.engine.newsletters.get(&sending.newsletter) else {
            self.engine.troubles.pass_over(sending);
            return Ok(false);
        };
        let relays = self.dispatch.up(newsletter);
        if relays.is_empty() {
            return Ok(false);
        }
        let batch = usize::try_from(self.engine.config.delivery.batch).unwrap_or(500);
        let (waiting, asking) = (self.dispatch.waiting(newsletter), self.dispatch.asking(newsletter));
        // Lanes hold no more than they can do soon, so that one of them does not keep the others waiting.
        let most = if relays.iter().any(|relay| relay.config.providers) { batch * 4 } else { batch };
        // What nobody has said yet where it goes has a bound of its own: it is not what connections have to do.
        if waiting.max(asking) * 2 > most {
            // Enough in hand: a claim that waits long here could not be done by another daemon.
            sleep(Duration::from_millis(2)).await;
            return Ok(true);
        }
        let mut seen_any = false;
        let mut room = (most - waiting.max(asking)).min(batch);
        if self.mode.unrecorded {
            let mut conn = self.engine.db.read().await?;
            let limit = i64::try_from(room).unwrap_or(500);
            let (read, last) = protocol::read_planned(&mut conn, sending.id, self.last_seen, limit).await?;
            self.last_seen = last;
            let any = !read.is_empty();
            self.dispatch.hand_out(read, sending, newsletter, &relays).await;
            return Ok(any);
        }
        if self.engine.recent.is_settling() {
            // What other daemons have sent may look as if it were still to be sent.
            sleep(SETTLING_TURN).await;
            return Ok(true);
        }
        for fresh in [true, false] {
            if room == 0 {
                break;
            }
            let civil = self.engine.clock.civil_ms();
            let until = match (fresh, self.mode.now) {
                (true, true) => i64::MAX,
                (true, false) => civil,
                (false, _) => self.engine.clock.now_ms(),
            };
            let due =
                Due { edition: sending.id, fresh, until, civil, limit: i64::try_from(room).unwrap_or(500) };
            let (claimed, seen) = self.claim_due(due, shutdown).await?;
            seen_any |= seen > 0;
            room = room.saturating_sub(claimed.len());
            self.dispatch.hand_out(claimed, sending, newsletter, &relays).await;
        }
        Ok(seen_any)
    }

    /// Claims what is due; returns it, and how many rows were seen in all. Who is told to leave waits for no ledger that
    /// cannot be written: what it claims late goes back when this life ends.
    async fn claim_due(&mut self, due: Due, shutdown: &Shutdown) -> Result<(Vec<Claimed>, usize)> {
        let (db, committer) = (&self.engine.db, &self.dispatch.shared.committer);
        // A retry goes on from what was sent before: it is read and claimed in one transaction. On PostgreSQL that holds
        // up nobody's dot.
        if due.fresh && db.engine() == db::Engine::Sqlite {
            let mut found = self.ask(protocol::look(db, due)).await?;
            if found.unwanted.is_empty() {
                let seen = found.seen();
                let looked = found.looked(due);
                if !looked.is_empty() {
                    let taken = tokio::select! {
                        taken = committer.claim(looked) => taken?,
                        () = shutdown.draining() => Vec::new(),
                    };
                    let taken: HashSet<i64> = taken.into_iter().collect();
                    found.wanted.retain(|held| taken.contains(&held.id.0));
                }
                return Ok((found.wanted, seen));
            }
        }
        // Where there was as much as was asked for, there is more. Who waits for the hour writes nothing meanwhile.
        let of = (due.edition, due.fresh);
        let looks = db.engine() == db::Engine::Postgres && !self.more.remove(&of);
        if looks && !self.ask(protocol::any_due(db, self.me, due, &self.engine.recent)).await? {
            return Ok((Vec::new(), 0));
        }
        // Before the database is asked: a turn that is long in coming says nothing about it.
        let turn = tokio::select! {
            turn = committer.turns().to_claim() => turn,
            () = shutdown.draining() => return Ok((Vec::new(), 0)),
        };
        // It may have been long in coming because the server was away.
        self.engine.recent.expect_same(db, self.server)?;
        let found = self.ask(protocol::claim(db, self.me, due, turn, &self.engine.recent)).await?;
        if db.engine() == db::Engine::Postgres && i64::try_from(found.1).is_ok_and(|seen| seen >= due.limit) {
            self.more.insert(of);
        }
        Ok(found)
    }
}

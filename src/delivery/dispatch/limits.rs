//! Limits that all daemons keep together: blocks of starts, pauses, and what signals asked for.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Dispatch;
use crate::delivery::pace::store::{self as paces, Row};
use crate::delivery::pace::{Base, Limit};
use crate::delivery::relay::{Lane, Relay, store as relays};
use crate::delivery::{Error, Result, protocol};

impl Dispatch {
    /// Takes the next block of starts, where a relay's or a lane's is used up.
    pub(in crate::delivery) async fn take(&self, relay: &Relay, lane: &Lane) {
        let now = self.shared.clock.shared_ms();
        for (bucket, provider) in [(&lane.bucket, lane.provider.as_str()), (&relay.bucket, "")] {
            let Some(block) = bucket.wants(now) else { continue };
            let taken = async {
                let mut tx = self.shared.db.write().await?;
                // Daemons on several hosts go by the database's clock, as with their leases.
                let now = protocol::shared_clock(&mut tx, &self.shared.clock).await? * 1000;
                let length = block.count * block.interval;
                let start = paces::take(&mut tx, &relay.config.name, provider, length, now).await?;
                tx.commit().await?;
                Ok::<_, Error>(start - now)
            };
            let taken = self.shared.db.answered(taken).await;
            let ahead = relay.limits_told(taken);
            let failed = ahead.is_none();
            bucket.took(ahead.map(|ahead| (block, ahead)));
            lane.wake();
            if failed {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }

    /// Changes the limit of a lane, for every daemon; what cannot leave soon any more does not wait for it.
    pub(in crate::delivery) async fn limit(
        self: &Arc<Self>,
        relay: &Relay,
        lane: &Lane,
        make: impl Fn(Limit, Base, i64) -> Limit,
    ) {
        let (bucket, provider) =
            if lane.shared { (&lane.bucket, lane.provider.as_str()) } else { (&relay.bucket, "") };
        let base = bucket.base();
        let changed = async {
            let mut tx = self.shared.db.write().await?;
            let now = protocol::shared_clock(&mut tx, &self.shared.clock).await?;
            let limit =
                paces::change(&mut tx, &relay.config.name, provider, |limit| make(limit, base, now)).await?;
            tx.commit().await?;
            Ok::<_, crate::db::Error>(limit)
        };
        match self.shared.db.answered(changed).await {
            Ok(limit) => bucket.renew(limit, self.shared.clock.shared_ms()),
            Err(error) => {
                tracing::error!(%error, relay.name = %relay.config.name, "the pace could not be changed");
                return;
            }
        }
        let now = self.shared.clock.shared_ms();
        let holds = bucket.now(now);
        if let Some(until) = holds.suspended_until {
            let wait = Duration::from_millis(u64::try_from(until - now).unwrap_or(0));
            tracing::warn!(relay.name = %relay.config.name, provider = %lane.provider, seconds = wait.as_secs(), "sending nothing for a while");
        }
        self.place_elsewhere(relay.surplus(lane, now)).await;
    }

    /// Looks after every lane: what waits for one whose limit another daemon or a command lowered, or that got back what
    /// it had given out, and cannot leave soon any more, goes elsewhere; and where more connections may be than there
    /// are, because a limit rose or another daemon's ended, there are more.
    pub(in crate::delivery) async fn relieve(self: &Arc<Self>) {
        let now = self.shared.clock.shared_ms();
        for relay in self.relays.values() {
            for lane in relay.lanes() {
                let jobs = relay.surplus(&lane, now);
                if !jobs.is_empty() {
                    self.place_elsewhere(jobs).await;
                }
                self.staff(relay, &lane);
            }
        }
    }

    /// Relays that are given nothing for a while, or go on, by the ledger's word; those that it calls down are looked after.
    pub(in crate::delivery) async fn heed_pauses(self: &Arc<Self>) -> Result<()> {
        // One look at a time: heeded late, an older one would let go on what was paused since.
        let turn = self.looking.lock().await;
        let listed = async {
            let mut conn = self.shared.db.read().await?;
            let known = relays::list(&mut conn).await?;
            self.shared.db.keep_reader(conn);
            Ok::<_, Error>(known)
        };
        let known = self.shared.db.answered(listed).await?;
        let now = self.shared.clock.shared_ms();
        let mut back = Vec::new();
        for (name, relay) in &self.relays {
            let known = known.iter().find(|known| known.name == *name);
            let until = known.and_then(|known| known.paused_until);
            self.shared.refusals.heed_pause(name, until);
            let left = until.and_then(|until| u64::try_from(until - now).ok()).filter(|left| *left > 0);
            let jobs = relay.pause_until(left.map(|left| Instant::now() + Duration::from_millis(left)));
            back.extend(jobs.iter().map(|job| job.held.id.0));
            if let Some(known) = known {
                self.look_after(relay, known);
            }
        }
        drop(turn);
        self.give(back, Vec::new()).await;
        Ok(())
    }

    /// What other daemons and commands made of the limits.
    pub(in crate::delivery) fn heed(&self, rows: Vec<Row>) {
        let now = self.shared.clock.shared_ms();
        let let_go_on = self.let_go_on(&rows);
        for relay in self.relays.values() {
            // Before anything of it can be refused once more.
            if let_go_on.contains(&relay.config.name) {
                self.shared.refusals.begin_anew(&relay.config.name);
            }
            relay.bucket.renew(limit_of(&rows, relay, ""), now);
            for lane in relay.lanes().iter().filter(|lane| lane.shared) {
                lane.bucket.renew(limit_of(&rows, relay, &lane.provider), now);
            }
            relay.tidy();
        }
        *self.limits() = Some(rows);
    }

    /// Of which relays somebody forgot what signals asked for since the limits were heeded last; at first of none, for a life
    /// that begins has counted nothing.
    fn let_go_on(&self, rows: &[Row]) -> BTreeSet<String> {
        let known = self.limits();
        let Some(known) = known.as_ref() else { return BTreeSet::new() };
        let known: HashMap<_, _> =
            known.iter().map(|row| ((&row.relay, &row.provider), row.signalled_at)).collect();
        let is_new =
            |row: &&Row| known.get(&(&row.relay, &row.provider)).is_none_or(|at| *at < row.signalled_at);
        let freed = rows.iter().filter(|row| row.limit().is_free()).filter(is_new);
        freed.map(|row| row.relay.clone()).collect()
    }

    /// What is known already of a lane's limit, however new the lane is.
    pub(super) fn heed_for(&self, relay: &Relay, lane: &Lane) {
        if lane.shared {
            let limits = self.limits();
            let limit = limit_of(limits.as_deref().unwrap_or_default(), relay, &lane.provider);
            lane.bucket.renew(limit, self.shared.clock.shared_ms());
        }
    }

    fn limits(&self) -> MutexGuard<'_, Option<Vec<Row>>> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn limit_of(rows: &[Row], relay: &Relay, provider: &str) -> Limit {
    let row = rows.iter().find(|row| row.relay == relay.config.name && row.provider == provider);
    row.map(Row::limit).unwrap_or_default()
}

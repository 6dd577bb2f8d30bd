//! What was kept lately, for a server that may not know it.
//!
//! A standby that follows PostgreSQL and takes its place lacks the newest commits, where nothing waits for it: always the
//! newest. So what was kept is looked for backwards until nothing is lacking, and told again from there on. Until then
//! this daemon claims nothing, and for a moment longer: others have to tell, too. What was claimed is not told again: it
//! is found to be due once more.
//!
//! Nothing is remembered while no standby follows: a server that began anew knows what it kept.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Group, store};
use crate::clock::Clock;
use crate::db::{self, Db};
use crate::delivery::ledger::{Me, Move, Release, Verdict};
use crate::delivery::protocol::Doubt;
use crate::delivery::protocol::life::{self, Followed};
use crate::delivery::{DeliveryState, Result};

/// So long is it remembered what was kept (P2).
const LONGEST: Duration = Duration::from_secs(120);
/// And so much of it: half a kilobyte each, in a process that promises to stay small.
const MOST: usize = 100_000;
/// So many are told in one transaction.
const AT_ONCE: usize = 500;
/// Daemons find another server within so long: the longest that a commit waits between two tries.
const SETTLING: Duration = Duration::from_secs(5);

/// An attempt, and what it came to.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) life: Me,
    pub(super) release: Release,
    pub(super) verdict: Verdict,
    pub(super) to: Move,
}

/// What this process has had kept lately; the same for all of its lives.
#[derive(Debug, Default)]
pub(in crate::delivery) struct Recent {
    memory: Mutex<Memory>,
    /// The last server that knows all of it.
    told_to: AtomicU64,
    /// Whoever tells.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Memory {
    followed: Followed,
    warned: bool,
    /// Released, and not yet answered: by delivery and number.
    open: HashMap<(i64, i64), (Me, Release, Instant)>,
    told: VecDeque<(Told, Instant)>,
    /// How many were forgotten of `told`.
    forgotten: usize,
    settled_at: Option<Instant>,
}

impl Recent {
    /// Asks whether a standby follows; says so, once, where it may lack something of what was kept.
    pub(in crate::delivery) async fn look(&self, db: &Db, me: Me) -> Result<()> {
        let followed = life::followed(db).await?;
        let mut memory = self.memory();
        if followed == Followed::Behind && !std::mem::replace(&mut memory.warned, true) {
            tracing::warn!(
                "a standby follows PostgreSQL and may lack its newest commits when it takes its place: what was sent \
                 in the last two minutes would be told again then; synchronous_standby_names has commits wait for it"
            );
        }
        memory.followed = followed;
        let old = Instant::now().checked_sub(LONGEST);
        memory.open.retain(|_, (life, _, since)| *life == me || old.is_none_or(|old| *since > old));
        memory.forget_old();
        Ok(())
    }

    /// This was kept.
    pub(in crate::delivery) fn keep(&self, me: Me, group: &Group, released: &[i64]) {
        let mut memory = self.memory();
        if memory.followed == Followed::ByNobody && memory.open.is_empty() {
            return;
        }
        let now = Instant::now();
        for (verdict, to) in &group.finished {
            if let Some((life, release, _)) = memory.open.remove(&(to.delivery.0, to.number)) {
                memory.told.push_back((Told { life, release, verdict: verdict.clone(), to: *to }, now));
            }
        }
        if memory.followed == Followed::ByNobody {
            return;
        }
        for (release, verdict, to) in &group.refused {
            let told = Told { life: me, release: release.clone(), verdict: verdict.clone(), to: *to };
            memory.told.push_back((told, now));
        }
        for release in &group.asked {
            if released.contains(&release.delivery.0) {
                memory.open.insert((release.delivery.0, release.number), (me, release.clone(), now));
            }
        }
        memory.forget_old();
    }

    /// Whether the server that answers now is one that was not told yet.
    fn is_behind(&self, db: &Db) -> bool {
        self.told_to.load(Ordering::Acquire) != db.server()
    }

    /// Holds a connection that was just given to the server that was told last.
    ///
    /// # Errors
    /// [`db::Error::Restarted`]: it leads to another, which is to be told first.
    pub(in crate::delivery::protocol) fn expect_told(&self, db: &Db) -> Result<()> {
        if self.is_behind(db) { Err(db::Error::Restarted.into()) } else { Ok(()) }
    }

    /// Whether others may still have something to tell to a server that is new.
    pub(in crate::delivery) fn is_settling(&self) -> bool {
        self.memory().settled_at.is_some_and(|settled_at| Instant::now() < settled_at)
    }

    /// Tells a server that took another's place, or began anew, what it lacks. Safe to be called again after an error.
    pub(in crate::delivery) async fn catch_up(
        &self,
        db: &Db,
        clock: &Clock,
        me: Me,
        doubt: Doubt,
    ) -> Result<()> {
        if !self.is_behind(db) {
            return Ok(());
        }
        let _turn = self.turn.lock().await;
        let server = db.server();
        if self.told_to.load(Ordering::Acquire) == server {
            return Ok(());
        }
        let (from, until) = self.lacking(db).await?;
        let mut told = 0;
        for batch in batches(self.told(from, until)) {
            let mut tx = db.write().await?;
            told += store::tell_again(&mut tx, &batch).await?;
            tx.commit().await?;
        }
        let opened = self.open_again(db, clock, me, doubt).await?;
        let mut memory = self.memory();
        if memory.followed != Followed::ByNobody || told + opened > 0 {
            memory.settled_at = Some(Instant::now() + SETTLING);
        }
        drop(memory);
        if told + opened > 0 {
            tracing::warn!(
                told,
                opened,
                "another server took PostgreSQL's place and lacked its newest commits: what was sent was told again"
            );
        }
        self.told_to.store(server, Ordering::Release);
        Ok(())
    }

    /// Where the first stands that the server lacks, and where they end.
    async fn lacking(&self, db: &Db) -> Result<(usize, usize)> {
        let until = {
            let memory = self.memory();
            memory.forgotten + memory.told.len()
        };
        let mut from = until;
        let mut conn = db.read().await?;
        loop {
            let batch = self.told(from.saturating_sub(AT_ONCE), from);
            if batch.is_empty() || store::lacking(&mut conn, &batch).await? == 0 {
                return Ok((from, until));
            }
            from = from.saturating_sub(AT_ONCE);
        }
    }

    /// What was told, from this one to before that one, counted from the first ever.
    fn told(&self, from: usize, until: usize) -> Vec<Told> {
        let memory = self.memory();
        let place = |at: usize| at.saturating_sub(memory.forgotten).min(memory.told.len());
        memory.told.range(place(from)..place(until)).map(|(told, _)| told.clone()).collect()
    }

    /// Opens again what this life released and waits for; what an earlier life released, and may have been answered to
    /// nobody, is in doubt.
    async fn open_again(&self, db: &Db, clock: &Clock, me: Me, doubt: Doubt) -> Result<u64> {
        let open: Vec<(Me, Release)> = {
            let memory = self.memory();
            memory.open.values().map(|(life, release, _)| (*life, release.clone())).collect()
        };
        if open.is_empty() {
            return Ok(0);
        }
        let mut tx = db.write().await?;
        let alive = life::fence(&mut tx, me).await?;
        let (ours, dead): (Vec<_>, Vec<_>) = open.into_iter().partition(|(life, _)| alive && *life == me);
        let ours: Vec<Release> = ours.into_iter().map(|(_, release)| release).collect();
        let next_at = clock.now_ms() + i64::try_from(doubt.first_wait.as_millis()).unwrap_or(i64::MAX / 4);
        let state = if doubt.hold { DeliveryState::Uncertain } else { DeliveryState::Deferred };
        let dead: Vec<Told> = dead
            .into_iter()
            .map(|(life, release)| Told {
                life,
                verdict: Verdict::unknown(),
                to: Move {
                    delivery: release.delivery,
                    number: release.number,
                    state,
                    next_at,
                    doubtful: true,
                    accepted_at: None,
                },
                release,
            })
            .collect();
        let mut opened = store::open_again(&mut tx, me, &ours).await?;
        for batch in batches(dead) {
            opened += store::tell_again(&mut tx, &batch).await?;
        }
        tx.commit().await?;
        Ok(opened)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn forget_old(&mut self) {
        let old = Instant::now().checked_sub(LONGEST);
        while self.told.len() > MOST
            || self.told.front().is_some_and(|(_, since)| old.is_some_and(|old| *since <= old))
        {
            self.told.pop_front();
            self.forgotten += 1;
        }
    }
}

/// So many at once, in order, and no delivery twice among them: one statement moves it once.
fn batches(all: Vec<Told>) -> Vec<Vec<Told>> {
    let mut batches: Vec<Vec<Told>> = Vec::new();
    let mut seen = HashSet::new();
    for told in all {
        let delivery = told.to.delivery;
        match batches.last_mut() {
            Some(batch) if batch.len() < AT_ONCE && !seen.contains(&delivery) => batch.push(told),
            _ => {
                seen.clear();
                batches.push(vec![told]);
            }
        }
        seen.insert(delivery);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::on;
    use crate::delivery::protocol::tests::{DUE, ledger};
    use crate::delivery::protocol::{Round, Turns, claim, release};
    use crate::delivery::{DeliveryId, Error, Outcome};

    fn releases(delivery: i64) -> Release {
        Release {
            delivery: DeliveryId(delivery),
            number: 1,
            at: 0,
            relay: "main".to_owned(),
            address: format!("r{delivery}@example.org"),
            revision: 0,
            language: "fr".to_owned(),
            date_at: 0,
            date_offset: 0,
            consent: None,
        }
    }

    fn accepted(delivery: i64) -> (Verdict, Move) {
        let (code, text) = (Some(250), Some("2.0.0 queued".to_owned()));
        let verdict = Verdict { outcome: Outcome::Accepted, code, enhanced: None, text, class: None };
        let state = DeliveryState::Accepted;
        let delivery = DeliveryId(delivery);
        (verdict, Move { delivery, number: 1, state, next_at: 0, doubtful: false, accepted_at: Some(7) })
    }

    fn told(life: Me, delivery: i64) -> Told {
        let (verdict, to) = accepted(delivery);
        Told { life, release: releases(delivery), verdict, to }
    }

    #[test]
    fn p2_no_delivery_is_told_of_twice_in_one_statement_and_the_order_stays() {
        let me = Me { daemon: 1, epoch: 1 };
        let all = [1, 2, 1, 3, 3].map(|delivery| told(me, delivery));
        let ids: Vec<Vec<i64>> = batches(all.to_vec())
            .iter()
            .map(|batch| batch.iter().map(|told| told.to.delivery.0).collect())
            .collect();
        assert_eq!(ids, [vec![1, 2], vec![1, 3], vec![3]]);
        let many = batches((0..1001).map(|delivery| told(me, delivery)).collect());
        assert_eq!(many.iter().map(Vec::len).collect::<Vec<_>>(), [AT_ONCE, AT_ONCE, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn p2_outcomes_are_remembered_for_two_minutes_while_a_standby_follows_and_not_at_all_otherwise() {
        let me = Me { daemon: 1, epoch: 1 };
        let asked = Group { asked: vec![releases(1)], ..Group::default() };
        let finished = Group { finished: vec![accepted(1)], ..Group::default() };
        for (followed, remembered) in [(Followed::ByNobody, 0), (Followed::Closely, 1), (Followed::Behind, 1)]
        {
            let recent = Recent::default();
            recent.memory().followed = followed;
            recent.keep(me, &asked, &[1]);
            assert_eq!(recent.memory().open.len(), remembered, "{followed:?}");
            recent.keep(me, &finished, &[]);
            assert_eq!(recent.memory().open.len(), 0, "{followed:?}");
            assert_eq!(recent.told(0, 9).len(), remembered, "{followed:?}");
            tokio::time::advance(LONGEST).await;
            recent.keep(me, &asked, &[]);
            assert_eq!(recent.told(0, 9).len(), 0, "{followed:?}: it was not released");
        }
    }

    #[tokio::test]
    async fn p2_nothing_is_kept_or_claimed_at_a_server_that_was_not_told_yet() {
        let folder = tempfile::tempdir().unwrap();
        let (db, me, _) = ledger(folder.path()).await;
        let (recent, turns) = (Recent::default(), Turns::default());
        recent.told_to.store(7, Ordering::Release);
        let claimed = claim::claim(&db, me, DUE, turns.to_claim().await, &recent).await;
        assert!(matches!(claimed, Err(Error::Db(db::Error::Restarted))), "{claimed:?}");
        let group = Group { finished: vec![accepted(1)], ..Group::default() };
        for again in [false, true] {
            let mut round = Round::new(&turns);
            if again {
                round.repeat();
            }
            let kept = release(&db, me, &group, 0, &mut round, &recent).await;
            assert!(matches!(kept, Err(Error::Db(db::Error::Restarted))), "{kept:?}");
        }
        let doubt = Doubt { first_wait: Duration::ZERO, hold: false };
        recent.catch_up(&db, &Clock::system(), me, doubt).await.unwrap();
        let (claimed, _) = claim::claim(&db, me, DUE, turns.to_claim().await, &recent).await.unwrap();
        assert_eq!(claimed.len(), 3);
    }

    #[tokio::test]
    async fn p1_p3_what_another_life_holds_is_left_to_it_and_does_not_leave_again() {
        let folder = tempfile::tempdir().unwrap();
        let (db, first, second) = ledger(folder.path()).await;
        let (recent, turns) = (Recent::default(), Turns::default());
        let (held, _) = claim::claim(&db, second, DUE, turns.to_claim().await, &recent).await.unwrap();
        assert_eq!(held.len(), 3);
        let mut tx = db.write().await.unwrap();
        let batch = [told(first, 1)];
        assert_eq!(store::lacking(&mut tx, &batch).await.unwrap(), 1);
        assert_eq!(store::tell_again(&mut tx, &batch).await.unwrap(), 1);
        tx.commit().await.unwrap();

        let asked: Vec<Release> = held
            .iter()
            .map(|held| Release { address: held.address.clone(), ..releases(held.id.0) })
            .collect();
        let group = Group { asked, ..Group::default() };
        let kept = release(&db, second, &group, 0, &mut Round::new(&turns), &recent).await.unwrap();
        assert_eq!(kept.released, [2, 3]);
        let mut conn = db.read().await.unwrap();
        let sql = "SELECT delivery.state, attempt.outcome, attempt.text, attempt.daemon
                   FROM delivery JOIN attempt ON attempt.delivery = delivery.id
                   WHERE delivery.id = 1 AND delivery.accepted_at = 7 AND delivery.daemon IS NULL";
        let ended: (String, String, String, i64) =
            on!(&mut conn, |c| sqlx::query_as(sql).fetch_one(c).await.unwrap());
        let expected =
            ("accepted".to_owned(), "accepted".to_owned(), "2.0.0 queued".to_owned(), first.daemon);
        assert_eq!(ended, expected);
    }
}

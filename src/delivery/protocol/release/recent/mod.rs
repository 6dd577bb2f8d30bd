//! What was kept lately, for a server that may not know it.
//!
//! A standby that follows PostgreSQL and takes its place lacks the newest commits, where nothing waits for it: always the
//! newest. So what was kept is looked for backwards until nothing is lacking, and told again from there on. What was
//! claimed or given back is not told: a life that began with another server ends, and gives back whatever it holds.
//! Where there are other daemons nobody claims for a while: they have to tell, too.
//!
//! Nothing is remembered unless a standby was seen: a server that began anew knows what it kept.

mod memory;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Group, Kept, store};
use crate::clock::Clock;
use crate::db::{self, Db};
use crate::delivery::ledger::{Me, Move, Release, Remembered, Verdict};
use crate::delivery::protocol::{Doubt, life};
use crate::delivery::{DeliveryState, Result};
use memory::{AT_ONCE, Memory, apart};

/// So much longer than an answer is waited for may another daemon take to find the new server: its pauses between two
/// tries, its connection's, and those between two lives.
const LATER: Duration = Duration::from_secs(15);

/// What this process has had kept lately; the same for all of its lives.
#[derive(Debug, Default)]
pub(in crate::delivery) struct Recent {
    memory: Mutex<Memory>,
    /// The last server that knows all of it.
    told_to: AtomicU64,
    /// Whoever tells.
    turn: tokio::sync::Mutex<()>,
    settles_until: Mutex<Option<Instant>>,
}

impl Recent {
    /// Looks whether a standby follows; says so, once, where it may lack something of what was kept.
    pub(in crate::delivery) async fn look(&self, db: &Db, me: Me) -> Result<()> {
        self.memory().lives.insert(me.daemon);
        let followed = life::followed(db).await?;
        let others = self.has_others(db).await?;
        // After a long outage all of it is old, and none of it told.
        if self.is_behind(db) {
            return Ok(());
        }
        let mut memory = self.memory();
        if followed.is_some() && !std::mem::replace(&mut memory.wanted, true) && followed == Some(false) {
            tracing::warn!(
                "a standby follows PostgreSQL and no commit waits for it: should it take the server's place, what was \
                 sent last is told to it again (docs/delivery.md says what that leaves); synchronous_standby_names has \
                 commits wait"
            );
        }
        memory.had_others = others;
        memory.forget_old(me);
        Ok(())
    }

    /// Whether there are other daemons, or were a moment ago.
    async fn has_others(&self, db: &Db) -> Result<bool> {
        let all = life::daemons(db).await?;
        let memory = self.memory();
        Ok(all.iter().any(|daemon| !memory.lives.contains(daemon)))
    }

    /// What a commit came to is remembered; `None` where the life was over and only answers were kept.
    pub(in crate::delivery) fn keep(&self, me: Me, group: &Group, kept: Option<&Kept>) {
        self.memory().keep(me, group, kept);
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

    /// The same for who claims, where others have nothing left to tell.
    ///
    /// # Errors
    /// [`db::Error::Restarted`]: the server is new, and they may have.
    pub(in crate::delivery::protocol) fn expect_settled(&self, db: &Db) -> Result<()> {
        self.expect_told(db)?;
        if self.is_settling() { Err(db::Error::Restarted.into()) } else { Ok(()) }
    }

    /// Holds a life to the server that it began with: of what another one may lack, its claims are not told again.
    ///
    /// # Errors
    /// [`db::Error::Restarted`]: another one answers, and a standby was seen before.
    pub(in crate::delivery) fn expect_same(&self, db: &Db, server: u64) -> Result<()> {
        if server != db.server() && self.memory().wanted { Err(db::Error::Restarted.into()) } else { Ok(()) }
    }

    /// Whether others may still have something to tell to a server that is new.
    pub(in crate::delivery) fn is_settling(&self) -> bool {
        self.settles_until().is_some_and(|until| Instant::now() < until)
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
        if self.memory().wanted {
            self.memory().lives.insert(me.daemon);
            // One that joined lately may be unknown to it.
            let others = self.has_others(db).await? || self.memory().had_others;
            if others {
                *self.settles_until() = Some(Instant::now() + db.timeout() + LATER);
            }
            let told = self.tell_ended(db).await?;
            let opened = self.open_again(db, clock, doubt).await?;
            if told + opened > 0 {
                tracing::warn!(
                    told,
                    opened,
                    "another server took PostgreSQL's place and lacked its newest commits: it was told again what was sent"
                );
            }
        }
        self.told_to.store(server, Ordering::Release);
        Ok(())
    }

    /// Tells what ended: from the first that the server lacks, each portion for itself, so that what is lacking stays the
    /// newest.
    async fn tell_ended(&self, db: &Db) -> Result<u64> {
        let end = self.memory().end();
        let mut from = end;
        {
            let mut conn = db.read().await?;
            loop {
                let portion = self.memory().ended(from.saturating_sub(AT_ONCE), from);
                if portion.is_empty() || store::lacking(&mut conn, &portion).await? == 0 {
                    break;
                }
                from = from.saturating_sub(AT_ONCE);
            }
        }
        let mut told = 0;
        while from < end {
            let until = (from + AT_ONCE).min(end);
            let all = self.memory().ended(from, until);
            for portion in apart(all) {
                let mut tx = db.write().await?;
                told += store::tell_again(&mut tx, &portion).await?;
                tx.commit().await?;
            }
            from = until;
        }
        Ok(told)
    }

    /// Opens again what living lives released and wait for; what a life released that the server does not know, or that is
    /// over, is in doubt.
    async fn open_again(&self, db: &Db, clock: &Clock, doubt: Doubt) -> Result<u64> {
        let open = self.memory().open();
        let lives: BTreeSet<(i64, i64)> = open.iter().map(|(life, _)| (life.daemon, life.epoch)).collect();
        let mut told = 0;
        let mut tx = db.write().await?;
        let mut living = Vec::new();
        for (daemon, epoch) in lives {
            let life = Me { daemon, epoch };
            let mine = open.iter().filter(|(of, _)| *of == life).map(|(_, release)| release.clone());
            if life::fence(&mut tx, life).await? {
                living.push((life, mine.collect::<Vec<_>>()));
            } else {
                // First: of one delivery a later attempt may be open in a life that goes on.
                let doubtful = mine.map(|release| in_doubt(life, release, clock, doubt)).collect();
                for portion in apart(doubtful) {
                    told += store::tell_again(&mut tx, &portion).await?;
                }
            }
        }
        for (life, releases) in living {
            told += store::open_again(&mut tx, life, &releases).await?;
        }
        tx.commit().await?;
        Ok(told)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settles_until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.settles_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a takeover makes of an open attempt.
fn in_doubt(life: Me, release: Release, clock: &Clock, doubt: Doubt) -> Remembered {
    let wait = i64::try_from(doubt.first_wait.as_millis()).unwrap_or(i64::MAX / 4);
    let to = Move {
        delivery: release.delivery,
        number: release.number,
        state: if doubt.hold { DeliveryState::Uncertain } else { DeliveryState::Deferred },
        next_at: clock.now_ms() + wait,
        doubtful: true,
        accepted_at: None,
    };
    Remembered { life, release, verdict: Verdict::unknown(), to }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::db::{Conn, on};
    use crate::delivery::protocol::tests::{DUE, ledger, ledger_of};
    use crate::delivery::protocol::{Round, Turns, claim, release};
    use crate::delivery::{DeliveryId, Error, Outcome};

    const DOUBT: Doubt = Doubt { first_wait: Duration::ZERO, hold: false };

    pub(in crate::delivery::protocol::release) fn releases(delivery: i64) -> Release {
        Release {
            delivery: DeliveryId(delivery),
            number: 1,
            at: 0,
            relay: "main".to_owned(),
            address: format!("reader.{delivery}@d{}.example", delivery % 499),
            revision: 0,
            language: "fr".to_owned(),
            date_at: 0,
            date_offset: 0,
            consent: None,
        }
    }

    pub(in crate::delivery::protocol::release) fn accepted(delivery: i64) -> (Verdict, Move) {
        let (code, text) = (Some(250), Some("2.0.0 queued".to_owned()));
        let verdict = Verdict { outcome: Outcome::Accepted, code, enhanced: None, text, class: None };
        let state = DeliveryState::Accepted;
        let delivery = DeliveryId(delivery);
        (verdict, Move { delivery, number: 1, state, next_at: 0, doubtful: false, accepted_at: Some(7) })
    }

    pub(in crate::delivery::protocol::release) fn remembered(life: Me, delivery: i64) -> Remembered {
        let (verdict, to) = accepted(delivery);
        Remembered { life, release: releases(delivery), verdict, to }
    }

    /// One that remembers that these were accepted in this life, and finds another server.
    fn behind(me: Me, ended: impl Iterator<Item = i64>) -> Recent {
        let recent = Recent::default();
        recent.memory().wanted = true;
        for delivery in ended {
            let asked = Group { asked: vec![releases(delivery)], ..Group::default() };
            recent.keep(me, &asked, Some(&Kept { released: vec![delivery], ..Kept::default() }));
            let finished = Group { finished: vec![accepted(delivery)], ..Group::default() };
            recent.keep(me, &finished, Some(&Kept::default()));
        }
        recent.told_to.store(7, Ordering::Release);
        recent
    }

    async fn change(db: &Db, sql: &'static str) -> u64 {
        let mut tx = db.write().await.unwrap();
        let rows = on!(&mut tx, |c| sqlx::query(sql).execute(c).await.unwrap().rows_affected());
        tx.commit().await.unwrap();
        rows
    }

    /// The state of each delivery, and what its attempt came to.
    async fn states(conn: &mut Conn) -> Vec<(i64, String, Option<String>, Option<String>)> {
        let sql = "SELECT delivery.id, state, outcome, text FROM delivery
                   LEFT JOIN attempt ON attempt.delivery = delivery.id ORDER BY delivery.id";
        on!(conn, |c| sqlx::query_as(sql).fetch_all(c).await.unwrap())
    }

    #[tokio::test]
    async fn p2_nothing_is_kept_or_claimed_at_a_server_that_was_not_told_yet() {
        let folder = tempfile::tempdir().unwrap();
        let (db, me, _) = ledger(folder.path()).await;
        let (recent, turns) = (behind(me, 1..2), Turns::default());
        let claimed = claim::claim(&db, me, DUE, turns.to_claim().await, &recent).await;
        assert!(matches!(claimed, Err(Error::Db(db::Error::Restarted))), "{claimed:?}");
        let looked = claim::any_due(&db, me, DUE, &recent).await;
        assert!(matches!(looked, Err(Error::Db(db::Error::Restarted))), "{looked:?}");
        let group = Group { finished: vec![accepted(1)], ..Group::default() };
        for again in [false, true] {
            let mut round = Round::new(&turns);
            if again {
                round.repeat();
            }
            let kept = release(&db, me, &group, 0, &mut round, &recent).await;
            assert!(matches!(kept, Err(Error::Db(db::Error::Restarted))), "{kept:?}");
        }
        recent.catch_up(&db, &Clock::system(), me, DOUBT).await.unwrap();
        let claimed = claim::claim(&db, me, DUE, turns.to_claim().await, &recent).await;
        assert!(
            matches!(claimed, Err(Error::Db(db::Error::Restarted))),
            "another may have something to tell"
        );
        tokio::time::pause();
        tokio::time::advance(LATER).await;
        tokio::time::resume();
        let (claimed, _) = claim::claim(&db, me, DUE, turns.to_claim().await, &recent).await.unwrap();
        assert_eq!(claimed.len(), 2, "the first has arrived");
    }

    #[tokio::test]
    async fn p3_others_are_waited_for_that_the_server_does_not_know_and_earlier_lives_of_ours_are_none() {
        let folder = tempfile::tempdir().unwrap();
        let (db, first, second) = ledger(folder.path()).await;
        let gone = "UPDATE daemon SET gone = 1 WHERE id = (SELECT MAX(id) FROM daemon)";
        for (before, settles) in [("UPDATE daemon SET gone = 0", true), (gone, false)] {
            assert!(change(&db, before).await > 0);
            let recent = behind(first, 1..2);
            recent.told_to.store(0, Ordering::Release);
            recent.look(&db, first).await.unwrap();
            recent.told_to.store(7, Ordering::Release);
            // What the other joined by is among the newest commits.
            assert_eq!(change(&db, gone).await, 1);
            recent.catch_up(&db, &Clock::system(), first, DOUBT).await.unwrap();
            assert_eq!(recent.is_settling(), settles, "{before}");
        }
        assert_eq!(change(&db, "UPDATE daemon SET gone = 0").await, 2);
        let ours = behind(first, 1..2);
        ours.memory().lives.insert(second.daemon);
        ours.catch_up(&db, &Clock::system(), first, DOUBT).await.unwrap();
        assert!(!ours.is_settling());
    }

    #[tokio::test]
    async fn p1_whoever_has_a_number_of_a_plan_that_was_lost_is_not_taken_for_who_had_it() {
        let folder = tempfile::tempdir().unwrap();
        let (db, me, _) = ledger(folder.path()).await;
        let other = |delivery| Release { address: "somebody@example.org".to_owned(), ..releases(delivery) };
        let ended = Remembered { release: other(1), ..remembered(me, 1) };
        let mut tx = db.write().await.unwrap();
        assert_eq!(store::tell_again(&mut tx, &[ended]).await.unwrap(), 0);
        assert_eq!(store::open_again(&mut tx, me, &[other(2)]).await.unwrap(), 0);
        tx.commit().await.unwrap();
        let states = states(&mut db.read().await.unwrap()).await;
        assert!(states.iter().all(|(_, state, told, _)| state == "planned" && told.is_none()), "{states:?}");
    }

    #[tokio::test]
    async fn p2_a_server_is_told_what_it_lacks_and_no_more_however_much_that_is() {
        let folder = tempfile::tempdir().unwrap();
        let (db, me, _) = ledger_of(folder.path(), 1300).await;
        // It has come to know the first six hundred.
        let mut tx = db.write().await.unwrap();
        for portion in apart((1..=600).map(|delivery| remembered(me, delivery)).collect()) {
            let told = store::tell_again(&mut tx, &portion).await.unwrap();
            assert_eq!(told, portion.len() as u64);
        }
        tx.commit().await.unwrap();
        let recent = behind(me, 1..=1300);
        assert_eq!(recent.tell_ended(&db).await.unwrap(), 700);
        assert_eq!(recent.tell_ended(&db).await.unwrap(), 0);
        let states = states(&mut db.read().await.unwrap()).await;
        assert_eq!(states.len(), 1300);
        let right = |(_, state, outcome, _): &(_, String, Option<String>, _)| {
            state == "accepted" && outcome.as_deref() == Some("accepted")
        };
        assert_eq!(states.iter().find(|row| !right(row)), None);
    }

    #[tokio::test]
    async fn p2_what_is_newer_than_all_that_the_server_knows_hides_nothing_that_it_lacks_besides() {
        let folder = tempfile::tempdir().unwrap();
        let (db, me, _) = ledger(folder.path()).await;
        let later = 1000..1000 + i64::try_from(AT_ONCE).unwrap();
        let recent = behind(me, (1..=3).chain(later));
        assert_eq!(recent.tell_ended(&db).await.unwrap(), 3);
    }

    #[tokio::test]
    async fn p2_what_is_old_after_a_long_outage_is_told_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let (db, me, _) = ledger(folder.path()).await;
        let recent = behind(me, 1..=3);
        // Not while the database is asked: its pool has deadlines.
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(600)).await;
        tokio::time::resume();
        recent.look(&db, me).await.unwrap();
        recent.catch_up(&db, &Clock::system(), me, DOUBT).await.unwrap();
        let states = states(&mut db.read().await.unwrap()).await;
        assert!(states.iter().all(|(_, state, ..)| state == "accepted"), "{states:?}");
        recent.look(&db, me).await.unwrap();
        assert_eq!(recent.memory().ended(0, 9).len(), 0, "and forgotten then");
    }

    #[tokio::test]
    async fn p2_what_living_lives_wait_for_is_open_again_and_what_is_left_of_others_is_in_doubt() {
        let folder = tempfile::tempdir().unwrap();
        let (db, first, second) = ledger(folder.path()).await;
        let dead = Me { daemon: 4711, ..first };
        let recent = behind(first, std::iter::empty());
        for (life, delivery) in [(first, 1), (second, 2), (dead, 3)] {
            let asked = Group { asked: vec![releases(delivery)], ..Group::default() };
            recent.keep(life, &asked, Some(&Kept { released: vec![delivery], ..Kept::default() }));
        }
        // Its dot may be on the wire, whoever wants it no more.
        assert_eq!(change(&db, "UPDATE delivery SET state = 'withdrawn' WHERE id = 2").await, 1);
        recent.catch_up(&db, &Clock::system(), first, DOUBT).await.unwrap();
        let mut conn = db.read().await.unwrap();
        let told: Vec<_> =
            states(&mut conn).await.into_iter().map(|(_, state, told, _)| (state, told)).collect();
        let open = ("claimed".to_owned(), None);
        assert_eq!(told, [open.clone(), open, ("deferred".to_owned(), Some("uncertain".to_owned()))]);
        let sql = "SELECT COUNT(*) FROM attempt JOIN delivery ON delivery.id = attempt.delivery
                   WHERE delivery.daemon = attempt.daemon AND delivery.epoch = attempt.epoch";
        let held: i64 = on!(&mut conn, |c| sqlx::query_scalar(sql).fetch_one(c).await.unwrap());
        assert_eq!(held, 2, "by those who opened them");
    }

    #[tokio::test]
    async fn p1_p6_what_the_server_ended_or_erased_meanwhile_has_its_attempts_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let (db, me, _) = ledger_of(folder.path(), 4).await;
        change(&db, "UPDATE delivery SET state = 'expired' WHERE id IN (1, 2)").await;
        change(&db, "UPDATE delivery SET state = 'withdrawn' WHERE id IN (3, 4)").await;
        let gone = "DELETE FROM subscriber WHERE id = (SELECT subscriber FROM delivery WHERE id = 4)";
        assert_eq!(change(&db, gone).await, 1);
        let deferred = |delivery, outcome, doubtful| {
            let one = remembered(me, delivery);
            let verdict = Verdict { outcome, ..one.verdict };
            let state = DeliveryState::Deferred;
            Remembered { verdict, to: Move { state, doubtful, accepted_at: None, ..one.to }, ..one }
        };
        let all = [
            remembered(me, 1),
            deferred(2, Outcome::Uncertain, true),
            deferred(3, Outcome::Deferred, false),
            remembered(me, 4),
        ];
        let mut tx = db.write().await.unwrap();
        store::tell_again(&mut tx, &all).await.unwrap();
        tx.commit().await.unwrap();
        let told = states(&mut db.read().await.unwrap()).await;
        let told: Vec<_> = told
            .iter()
            .map(|(_, state, outcome, text)| (state.as_str(), outcome.as_deref().unwrap(), text.is_some()))
            .collect();
        let expected = [
            ("accepted", "accepted", true),
            ("uncertain", "uncertain", true),
            ("withdrawn", "deferred", true),
            // Of somebody who was erased no words are kept.
            ("accepted", "accepted", false),
        ];
        assert_eq!(told, expected);
    }

    #[tokio::test]
    async fn p1_p3_what_another_life_holds_is_left_to_it_and_does_not_leave_again() {
        let folder = tempfile::tempdir().unwrap();
        let (db, first, second) = ledger(folder.path()).await;
        let (recent, turns) = (Recent::default(), Turns::default());
        let (held, _) = claim::claim(&db, second, DUE, turns.to_claim().await, &recent).await.unwrap();
        assert_eq!(held.len(), 3);
        let mut tx = db.write().await.unwrap();
        assert_eq!(store::tell_again(&mut tx, &[remembered(first, 1)]).await.unwrap(), 1);
        tx.commit().await.unwrap();

        let asked = held.iter().map(|held| releases(held.id.0));
        let group = Group { asked: asked.collect(), ..Group::default() };
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

    #[tokio::test]
    async fn p2_an_own_claim_that_a_late_answer_had_ended_is_moved_with_its_attempt() {
        let folder = tempfile::tempdir().unwrap();
        let (db, me, _) = ledger(folder.path()).await;
        let turns = Turns::default();
        claim::claim(&db, me, DUE, turns.to_claim().await, &Recent::default()).await.unwrap();
        change(&db, "UPDATE delivery SET accepted_at = 3 WHERE id = 1").await;
        let one = remembered(me, 1);
        let verdict = Verdict { outcome: Outcome::Deferred, ..one.verdict };
        let to = Move { state: DeliveryState::Deferred, accepted_at: None, ..one.to };
        let mut tx = db.write().await.unwrap();
        store::tell_again(&mut tx, &[Remembered { verdict, to, ..one }]).await.unwrap();
        tx.commit().await.unwrap();
        // It would find an attempt of this life that nobody has open.
        life::leave(&db, &Clock::system(), me, DOUBT, false).await.unwrap();
        let states = states(&mut db.read().await.unwrap()).await;
        assert_eq!((states[0].1.as_str(), states[0].2.as_deref()), ("accepted", Some("deferred")));
    }
}

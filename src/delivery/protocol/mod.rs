//! The delivery protocol: join, claim, release, take over, each a short transaction.
//!
//! Why it is enough: a connection has at most one open attempt; a dot exists only behind a committed open attempt;
//! a takeover turns exactly the open ones into `uncertain`. The fence makes clock skew, a stopped process and a slow
//! server harmless: leases decide *when*, epochs decide *whether*. `docs/delivery.md` tells the whole story.

mod claim;
mod life;
mod release;
mod turns;

pub(super) use claim::{
    Due, Looked, Sending, any_due, claim, claimed, expire, first_deadline, look, next_instants, read_planned,
    sending,
};
pub(super) use life::{Doubt, heartbeat, join, leave, take_over};
pub use life::{others_alive, shared_clock};
pub(super) use release::{Group, Kept, Later, Recent, release};
pub(super) use turns::{Round, Turn, Turns};

#[cfg(test)]
pub(super) mod tests {
    use sqlx::{AssertSqlSafe, Row as _};

    use super::{Due, Group, Kept, Recent, Round, Turns, claim, life, release};
    use crate::clock::Clock;
    use crate::db::{Db, Options, Side, on};
    use crate::delivery::ledger::{Claimed, Me};
    use crate::delivery::store::plans;
    use crate::delivery::{Error, Result};

    /// One edition that is being sent to three readers, and two lives that send it.
    pub(in crate::delivery::protocol) async fn ledger(folder: &std::path::Path) -> (Db, Me, Me) {
        ledger_of(folder, 3).await
    }

    /// The same with so many readers.
    pub(in crate::delivery::protocol) async fn ledger_of(
        folder: &std::path::Path,
        readers: i64,
    ) -> (Db, Me, Me) {
        let url = format!("sqlite:{}", folder.join("ledger.db").display());
        let db = Db::open(&Options::new(&url)).await.unwrap();
        db.migrate().await.unwrap();
        let mut tx = db.write().await.unwrap();
        crate::readers::sample::store::make(&mut tx, "ledger", 1, readers, 0).await.unwrap();
        for sql in [
            "INSERT INTO edition (id, newsletter, date, state, lock_at, created_at)
             VALUES (1, 'ledger', '2026-01-05', 'sending', 0, 0)",
            "INSERT INTO delivery (edition, subscriber, subscription, state, due_at, deadline, next_at)
             SELECT 1, subscriber, id, 'planned', 0, 1000, 0 FROM subscription",
        ] {
            on!(&mut tx, |c| sqlx::query(sql).execute(c).await.map(drop).unwrap());
        }
        tx.commit().await.unwrap();
        let lease = std::time::Duration::from_secs(60);
        let clock = Clock::system();
        let first = life::join(&db, &clock, lease, None).await.unwrap();
        let second = life::join(&db, &clock, lease, None).await.unwrap();
        (db, first, second)
    }

    pub(in crate::delivery::protocol) const DUE: Due =
        Due { edition: 1, fresh: true, until: 0, civil: 0, limit: 10 };

    async fn claim_of(db: &Db, me: Me, due: Due, turns: &Turns) -> Result<(Vec<Claimed>, usize)> {
        claim::claim(db, me, due, turns.to_claim().await, &Recent::default()).await
    }

    async fn found(db: &Db) -> Group {
        let found = claim::look(db, DUE).await.unwrap();
        Group { due: found.looked(DUE), ..Group::default() }
    }

    #[tokio::test]
    async fn p1_what_another_life_tried_meanwhile_is_not_claimed_as_what_it_was() {
        for again in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let (db, first, second) = ledger(folder.path()).await;
            let group = found(&db).await;
            assert_eq!(group.due.iter().map(|looked| looked.0).collect::<Vec<_>>(), [1, 2, 3]);
            let (held, _) = claim_of(&db, second, Due { limit: 1, ..DUE }, &Turns::default()).await.unwrap();
            assert_eq!(held[0].id.0, 1);
            let mut tx = db.write().await.unwrap();
            let tried = "UPDATE delivery SET state = 'deferred', tries = 1 WHERE id = 1";
            on!(&mut tx, |c| sqlx::query(tried).execute(c).await.map(drop).unwrap());
            tx.commit().await.unwrap();
            let mut round = Round::new(&Turns::default());
            if again {
                round.repeat();
            }
            let Kept { claimed, .. } =
                release(&db, first, &group, 0, &mut round, &Recent::default()).await.unwrap();
            assert_eq!(claimed, [2, 3]);
        }
    }

    #[tokio::test]
    async fn p5_what_was_moved_or_put_off_meanwhile_is_not_claimed_as_what_it_was() {
        let moves = [
            "UPDATE delivery SET due_at = 500, next_at = 500 WHERE id = 2",
            "UPDATE delivery SET deadline = 900 WHERE id = 2",
            "UPDATE delivery SET deadline = 1100 WHERE id = 2",
            "UPDATE delivery SET due_at = 500, next_at = 500, deadline = 1500 WHERE id = 2",
        ];
        for (again, moved) in moves.iter().flat_map(|moved| [(false, *moved), (true, *moved)]) {
            let folder = tempfile::tempdir().unwrap();
            let (db, me, _) = ledger(folder.path()).await;
            let group = found(&db).await;
            let mut tx = db.write().await.unwrap();
            on!(&mut tx, |c| sqlx::query(moved).execute(c).await.map(drop).unwrap());
            tx.commit().await.unwrap();
            let mut round = Round::new(&Turns::default());
            if again {
                round.repeat();
            }
            let Kept { claimed, .. } =
                release(&db, me, &group, 0, &mut round, &Recent::default()).await.unwrap();
            assert_eq!(claimed, [1, 3], "{moved}");
            let held = claim::claimed(&mut db.read().await.unwrap(), 1).await.unwrap();
            assert_eq!(held, 2, "{moved}");
        }
    }

    #[tokio::test]
    async fn p6_what_is_said_of_a_reader_is_claimed_as_it_stands() {
        let folder = tempfile::tempdir().unwrap();
        let (db, ..) = ledger(folder.path()).await;
        let odd = "\u{1}\u{1f}\u{7f}\u{2028}\"\\/ [1,2] é 漢 \u{1f4f0}\r\n";
        let mut tx = db.write().await.unwrap();
        let sql =
            "UPDATE subscription SET consent_source = $1, consented_at = '2026-01-05', confirmed_at = $2";
        on!(&mut tx, |c| sqlx::query(sql).bind(odd).bind(i64::MAX).execute(c).await.map(drop).unwrap());
        tx.commit().await.unwrap();
        let looked = claim::look(&db, DUE).await.unwrap().wanted;
        let mut conn = db.read().await.unwrap();
        let (read, last) = claim::read_planned(&mut conn, 1, 0, 2).await.unwrap();
        let (rest, _) = claim::read_planned(&mut conn, 1, last, 2).await.unwrap();
        let read = [read, rest].concat();
        assert_eq!(format!("{looked:?}"), format!("{read:?}"));
        assert_eq!(looked.len(), 3);
    }

    #[tokio::test]
    async fn p1_a_life_that_is_over_claims_nothing_of_what_it_saw() {
        let folder = tempfile::tempdir().unwrap();
        let (db, first, second) = ledger(folder.path()).await;
        let group = found(&db).await;
        let mut tx = db.write().await.unwrap();
        let over = "UPDATE daemon SET epoch = epoch + 1, gone = 1 WHERE id = $1";
        on!(&mut tx, |c| sqlx::query(over).bind(first.daemon).execute(c).await.map(drop).unwrap());
        tx.commit().await.unwrap();
        let fenced =
            release(&db, first, &group, 0, &mut Round::new(&Turns::default()), &Recent::default()).await;
        assert!(matches!(fenced, Err(Error::Fenced)), "{fenced:?}");
        let (held, _) = claim_of(&db, second, DUE, &Turns::default()).await.unwrap();
        assert_eq!(held.len(), 3);
    }

    #[tokio::test]
    async fn p1_what_is_given_back_is_not_claimed_before_that_is_sure() {
        let folder = tempfile::tempdir().unwrap();
        let (db, me, _) = ledger(folder.path()).await;
        let turns = Turns::default();
        claim_of(&db, me, DUE, &turns).await.unwrap();
        let group = Group { back: vec![1, 2, 3], ..Group::default() };
        let mut round = Round::new(&turns);
        release(&db, me, &group, 0, &mut round, &Recent::default()).await.unwrap();
        // Its answer was lost.
        round.repeat();
        let settled = async {
            release(&db, me, &group, 0, &mut round, &Recent::default()).await.unwrap();
            drop(round);
        };
        let claim = claim_of(&db, me, DUE, &turns);
        tokio::pin!(claim);
        tokio::select! {
            biased;
            early = &mut claim => panic!("{early:?} would be given back while it is in hand"),
            () = settled => {}
        }
        assert_eq!(claim.await.unwrap().0.len(), 3);
        let held = claim::claimed(&mut db.read().await.unwrap(), 1).await.unwrap();
        assert_eq!(held, 3);
    }

    #[tokio::test]
    async fn p1_no_statement_of_a_morning_reads_a_whole_edition() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("plan.db").display());
        let db = Db::open(&Options::new(&url)).await.unwrap();
        db.migrate().await.unwrap();
        let mut tx = db.write().await.unwrap();
        crate::readers::sample::store::make(&mut tx, "plan", 1, 2000, 0).await.unwrap();
        // The tables are looked at while the ledger is empty: that is when planners guess worst.
        on!(&mut tx, |c| sqlx::query("ANALYZE").execute(c).await.map(drop).unwrap());
        let Side::Sqlite(c) = tx.side() else { unreachable!("it was opened as SQLite") };
        let by_hand: Vec<_> = plans().into_iter().map(|(sql, by)| (sql.to_owned(), by)).collect();
        for (sql, by) in [claim::plans(), release::plans(), life::plans(), by_hand].concat() {
            // SQLite's word for a list.
            let sql = sql.replace("= LISTED", "IN (SELECT value FROM json_each($1))");
            let explain = format!("EXPLAIN QUERY PLAN {sql}");
            let rows = sqlx::query(AssertSqlSafe(explain)).fetch_all(&mut *c).await.unwrap();
            let steps = rows.iter().map(|row| row.get("detail")).collect::<Vec<String>>().join("\n");
            assert!(steps.contains(by), "{sql}\n{steps}");
            // The index of claims may be read whole: claims are few.
            let read_whole = rows.iter().map(|row| row.get::<String, _>("detail")).any(|step| {
                let table = ["delivery", "attempt", "subscriber", "subscription", "suppression"];
                table.iter().any(|table| step.starts_with(&format!("SCAN {table}")))
                    && !step.contains("delivery_claimed")
            });
            assert!(!read_whole && !steps.contains("USE TEMP B-TREE FOR ORDER BY"), "{sql}\n{steps}");
        }
    }
}

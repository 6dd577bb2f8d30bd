//! What touches a whole edition does so in short transactions, beside whoever sends; and an edition that waits is not
//! looked through.

use std::time::Duration;

use matinale::clock::{Clock, Random};
use matinale::db::{Db, Side, on};
use matinale::delivery::store::{self, Settle};
use matinale::delivery::{Counts, Engine, Mode};
use matinale::editions::{self, EditionId, EditionState, Who};
use matinale::lifecycle::Shutdown;
use matinale::morning::settle::settle;
use matinale::morning::{House, lock};
use matinale::readers::sample;
use sqlx::AssertSqlSafe;

use super::ground::{self, Bench, LONGEST, at_noon, prepare_with};
use crate::support::databases::{self, TestDb, both, free_port};

/// More than one piece has room for.
const READERS: i64 = 5_003;
const PIECE: i64 = 5_000;

async fn run(db: &Db, sql: String) {
    let mut tx = db.write().await.unwrap();
    on!(&mut tx, |c| sqlx::query(AssertSqlSafe(sql)).execute(c).await.map(drop).unwrap());
    tx.commit().await.unwrap();
}

/// An edition to so many that is being sent by nobody, beside one of another newsletter to these.
async fn prepare(test: &TestDb, clock: Clock, to: &[String]) -> (Bench, House) {
    let relay = format!("url = \"smtp://127.0.0.1:{}?tls=none\"", free_port());
    let mut bench = prepare_with(test.db.clone(), "", &relay, clock.clone(), to).await;
    let mut tx = bench.db.write().await.unwrap();
    sample::store::make(&mut tx, "many", 1, READERS, 0).await.unwrap();
    bench.edition =
        ground::sending(&mut tx, "many", &clock, usize::try_from(READERS).unwrap() + to.len()).await;
    tx.commit().await.unwrap();
    let house = House {
        config: bench.config.clone(),
        db: bench.db.clone(),
        clock,
        random: Random::seeded(1),
        links: bench.links.clone(),
    };
    (bench, house)
}

/// The first or the last of an edition's deliveries, in the order in which those are found that nobody holds.
async fn end_of(db: &Db, edition: i64, order: &str) -> i64 {
    let sql =
        format!("SELECT id FROM delivery WHERE edition = $1 ORDER BY next_at {order}, id {order} LIMIT 1");
    let (sql, mut conn) = (AssertSqlSafe(sql), db.read().await.unwrap());
    on!(&mut conn, |c| sqlx::query_scalar(sql).bind(edition).fetch_one(c).await.unwrap())
}

/// The last of an edition's deliveries, of whichever order it is found by, cannot come to this state, until [`let_go`].
async fn stop_at(db: &Db, edition: EditionId, by_reader: bool, state: &str) {
    let mut conn = db.read().await.unwrap();
    let last = if by_reader {
        "SELECT id FROM delivery WHERE edition = $1 ORDER BY subscriber DESC LIMIT 1"
    } else {
        "SELECT id FROM delivery WHERE edition = $1 ORDER BY next_at DESC, id DESC LIMIT 1"
    };
    let last: i64 = on!(&mut conn, |c| sqlx::query_scalar(last).bind(edition.0).fetch_one(c).await.unwrap());
    let postgres = matches!(conn.side(), Side::Postgres(_));
    drop(conn);
    let sql = if postgres {
        format!("ALTER TABLE delivery ADD CONSTRAINT stop CHECK (NOT (id = {last} AND state = '{state}'))")
    } else {
        format!(
            "CREATE TRIGGER stop BEFORE UPDATE ON delivery WHEN NEW.id = {last} AND NEW.state = '{state}'
             BEGIN SELECT RAISE(ABORT, 'stop'); END"
        )
    };
    run(db, sql).await;
}

async fn let_go(test: &TestDb) {
    let sql =
        if test.url.is_some() { "ALTER TABLE delivery DROP CONSTRAINT stop" } else { "DROP TRIGGER stop" };
    run(&test.db, sql.to_owned()).await;
}

async fn counts(bench: &Bench) -> Counts {
    store::counts(&mut bench.db.read().await.unwrap(), bench.edition).await.unwrap()
}

#[tokio::test]
async fn p4_a_cancelled_edition_is_withdrawn_piece_by_piece_and_by_whoever_comes_next() {
    for test in both().await {
        let (bench, house) = prepare(&test, at_noon(), &[]).await;
        stop_at(&test.db, bench.edition, false, "withdrawn").await;
        let edition =
            editions::store::load(&mut bench.db.read().await.unwrap(), bench.edition).await.unwrap();
        let who = Who::command_line();
        let interrupted = lock::set_state(&house, &edition, EditionState::Cancelled, None, &who).await;
        assert!(interrupted.is_err(), "{}", test.name);
        let edition =
            editions::store::load(&mut bench.db.read().await.unwrap(), bench.edition).await.unwrap();
        assert_eq!(edition.state, EditionState::Cancelled, "{}: nothing of it leaves", test.name);
        let now = counts(&bench).await;
        assert_eq!((now.withdrawn, now.planned), (PIECE, READERS - PIECE), "{}", test.name);
        let_go(&test).await;
        // A daemon that has nothing else to do.
        let (engine, shutdown) = (bench.engine(), Shutdown::new());
        engine.run_edition(bench.mode(), &shutdown).await.unwrap();
        assert_eq!(counts(&bench).await.withdrawn, READERS, "{}", test.name);
    }
}

#[tokio::test]
async fn p5_what_is_late_expires_piece_by_piece() {
    for test in both().await {
        let clock = Clock::manual("2026-11-24T12:00:00Z".parse().unwrap());
        let (bench, _) = prepare(&test, clock, &[]).await;
        stop_at(&test.db, bench.edition, false, "expired").await;
        // Beyond every deadline.
        bench.clock.advance(Duration::from_secs(48 * 3600));
        let interrupted = bench.engine().run_edition(bench.mode(), &Shutdown::new()).await;
        assert!(interrupted.is_err(), "{}", test.name);
        let now = counts(&bench).await;
        assert_eq!((now.expired, now.planned), (PIECE, READERS - PIECE), "{}", test.name);
        let_go(&test).await;
        assert_eq!(bench.send().await.expired, READERS, "{}", test.name);
        // One pass comes to the last piece, too.
        run(&test.db, format!("UPDATE delivery SET state = 'planned' WHERE edition = {}", bench.edition.0))
            .await;
        let once = Mode { once: true, ..bench.mode() };
        bench.engine().run_edition(once, &Shutdown::new()).await.unwrap();
        assert_eq!(counts(&bench).await.expired, READERS, "{}", test.name);
    }
}

/// Has the ledger do this, too, whenever a delivery of which that is true is changed.
async fn whenever(test: &TestDb, also: &[(String, String)]) {
    let mut all = Vec::new();
    if test.url.is_some() {
        let bodies = also.iter().map(|(when, then)| format!("IF {when} THEN {then}; END IF; "));
        let body: String = bodies.collect();
        all.push(format!(
            "CREATE FUNCTION also() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NULL; END $$"
        ));
        all.push(
            "CREATE TRIGGER also AFTER UPDATE ON delivery FOR EACH ROW EXECUTE FUNCTION also()".to_owned(),
        );
    } else {
        for (nth, (when, then)) in also.iter().enumerate() {
            all.push(format!(
                "CREATE TRIGGER also{nth} AFTER UPDATE ON delivery WHEN {when} BEGIN {then}; END"
            ));
        }
    }
    for sql in all {
        run(&test.db, sql).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_what_is_due_of_a_newsletter_is_claimed_before_the_last_of_another_has_ended() {
    for (state, end) in [
        ("withdrawn", "UPDATE edition SET state = 'cancelled' WHERE id = "),
        ("expired", "UPDATE delivery SET deadline = 0 WHERE edition = "),
    ] {
        for test in both().await {
            let (bench, _) = prepare(&test, at_noon(), &["n0@example.org".to_owned()]).await;
            let many = bench.edition.0;
            let (first, last) = (end_of(&test.db, many, "ASC").await, end_of(&test.db, many, "DESC").await);
            let identity = if test.url.is_some() { "BIGSERIAL" } else { "INTEGER PRIMARY KEY" };
            for sql in [
                format!("{end}{many}"),
                "UPDATE plan SET nearest = 0".to_owned(),
                // Nobody's hour has come.
                format!("UPDATE delivery SET next_at = 9000000000000 WHERE edition <> {many}"),
                format!("CREATE TABLE seen (nth {identity}, state TEXT)"),
            ] {
                run(&test.db, sql).await;
            }
            let is_ended = |id: i64| format!("NEW.id = {id} AND NEW.state = '{state}'");
            let comes = format!("UPDATE delivery SET next_at = 0 WHERE edition <> {many}");
            let seen = format!("NEW.edition <> {many} AND NEW.state = 'claimed' OR {}", is_ended(last));
            let note = "INSERT INTO seen (state) VALUES (NEW.state)".to_owned();
            whenever(&test, &[(is_ended(first), comes), (seen, note)]).await;
            let (engine, shutdown) = (bench.engine(), Shutdown::new());
            let ends = shutdown.clone();
            let daemon = tokio::spawn(async move { engine.run(&ends).await });
            let both_seen = async {
                loop {
                    let mut conn = bench.db.read().await.unwrap();
                    let sql = "SELECT state FROM seen ORDER BY nth LIMIT 2";
                    let seen: Vec<String> =
                        on!(&mut conn, |c| sqlx::query_scalar(sql).fetch_all(c).await.unwrap());
                    drop(conn);
                    if seen.len() == 2 {
                        break seen;
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            let seen = tokio::time::timeout(LONGEST, both_seen).await.expect(test.name);
            assert_eq!(seen, ["claimed", state], "{}", test.name);
            shutdown.drain();
            daemon.await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p4_who_is_told_to_leave_withdraws_the_piece_in_hand_and_leaves() {
    if !databases::postgres_wanted() {
        return;
    }
    let test = databases::postgres().await;
    let (bench, _) = prepare(&test, at_noon(), &[]).await;
    let first = end_of(&test.db, bench.edition.0, "ASC").await;
    run(&test.db, format!("UPDATE edition SET state = 'cancelled' WHERE id = {}", bench.edition.0)).await;
    let waits = "PERFORM pg_advisory_xact_lock(5)".to_owned();
    whenever(&test, &[(format!("NEW.id = {first} AND NEW.state = 'withdrawn'"), waits)]).await;
    let mut held = test.db.write().await.unwrap();
    let hold = "SELECT pg_advisory_xact_lock(5)";
    on!(&mut held, |c| sqlx::query(hold).execute(c).await.map(drop).unwrap());
    let (engine, mode, shutdown) = (bench.engine(), bench.mode(), Shutdown::new());
    let ends = shutdown.clone();
    let run_of_it = tokio::spawn(async move { engine.run_edition(mode, &ends).await });
    let in_hand = async {
        let sql = "SELECT COUNT(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
                   WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted";
        loop {
            let waiting: i64 = on!(&mut held, |c| sqlx::query_scalar(sql).fetch_one(c).await.unwrap());
            if waiting == 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONGEST, in_hand).await.expect("it comes to the first of them");
    shutdown.drain();
    held.commit().await.unwrap();
    run_of_it.await.unwrap().unwrap();
    let now = counts(&bench).await;
    assert_eq!((now.withdrawn, now.planned), (PIECE, READERS - PIECE));
}

#[tokio::test]
async fn p1_doubt_is_settled_piece_by_piece_and_the_rest_when_it_is_asked_again() {
    for test in both().await {
        let (bench, house) = prepare(&test, at_noon(), &[]).await;
        let uncertain = format!(
            "UPDATE delivery SET state = 'uncertain', tries = 1, doubtful = 1 WHERE edition = {}",
            bench.edition.0
        );
        for (how, state) in [(Settle::Resend, "deferred"), (Settle::Accepted, "accepted")] {
            run(&test.db, uncertain.clone()).await;
            run(&test.db, format!("UPDATE edition SET state = 'sent' WHERE id = {}", bench.edition.0)).await;
            stop_at(&test.db, bench.edition, true, state).await;
            let who = Who::command_line();
            assert!(settle(&house, bench.edition, None, how, &who).await.is_err(), "{}", test.name);
            let now = counts(&bench).await;
            let done = now.deferred + now.accepted;
            assert_eq!((done, now.uncertain), (PIECE, READERS - PIECE), "{}", test.name);
            let_go(&test).await;
            let rest = settle(&house, bench.edition, None, how, &who).await.unwrap().unwrap();
            assert_eq!((rest.settled, rest.too_late), ((READERS - PIECE).unsigned_abs(), 0), "{}", test.name);
            let now = counts(&bench).await;
            assert_eq!(now.deferred + now.accepted, READERS, "{}", test.name);
            let edition =
                editions::store::load(&mut bench.db.read().await.unwrap(), bench.edition).await.unwrap();
            let expected = if how == Settle::Resend { EditionState::Sending } else { EditionState::Sent };
            assert_eq!(edition.state, expected, "{}", test.name);
        }
    }
}

#[tokio::test]
async fn p1_all_that_is_deferred_is_due_now_however_many_pieces_that_is() {
    for test in both().await {
        let (bench, house) = prepare(&test, at_noon(), &[]).await;
        let later = format!(
            "UPDATE delivery SET state = 'deferred', next_at = 9000000000000 WHERE edition = {}",
            bench.edition.0
        );
        run(&test.db, later).await;
        let one = matinale::readers::SubscriberId(7);
        assert_eq!(
            store::retry(&house.db, bench.edition, Some(one), 5, 0).await.unwrap(),
            1,
            "{}",
            test.name
        );
        let all = store::retry(&house.db, bench.edition, None, 6, 0).await.unwrap();
        assert_eq!(all, READERS.unsigned_abs(), "{}", test.name);
        let mut conn = house.db.read().await.unwrap();
        let sql = "SELECT COUNT(*) FROM delivery WHERE next_at = 6";
        let due: i64 = on!(&mut conn, |c| sqlx::query_scalar(sql).fetch_one(c).await.unwrap());
        assert_eq!(due, READERS, "{}", test.name);
    }
}

/// How often this daemon's lease was renewed, as a number that rises.
async fn lease(db: &Db) -> i64 {
    let mut conn = db.read().await.unwrap();
    let sql = "SELECT COALESCE(MAX(lease_until), 0) FROM daemon";
    on!(&mut conn, |c| sqlx::query_scalar(sql).fetch_one(c).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_a_daemon_that_waits_for_the_hour_writes_nothing_to_the_ledger() {
    if !databases::postgres_wanted() {
        return;
    }
    let test = databases::postgres().await;
    let relay = format!("url = \"smtp://127.0.0.1:{}?tls=none\"", free_port());
    let to = ["n0@example.org".to_owned()];
    let bench = prepare_with(test.db, "lease = \"1s\"", &relay, at_noon(), &to).await;
    let hour = bench.clock.civil_ms() + 600_000;
    for sql in [
        format!("UPDATE delivery SET next_at = {hour}, due_at = {hour}"),
        "CREATE TABLE written (n BIGINT)".to_owned(),
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN INSERT INTO written VALUES (1); RETURN NULL; END $$"
            .to_owned(),
        // Of a statement that finds nothing too.
        "CREATE TRIGGER note AFTER UPDATE ON delivery FOR EACH STATEMENT EXECUTE FUNCTION note()".to_owned(),
    ] {
        run(&bench.db, sql).await;
    }
    let (engine, mode, shutdown): (Engine, _, _) = (bench.engine(), bench.mode(), Shutdown::new());
    let ends = shutdown.clone();
    let waiting = tokio::spawn(async move { engine.run_edition(mode, &ends).await });
    let renewed = async {
        let mut seen = std::collections::BTreeSet::new();
        while seen.len() < 4 {
            seen.insert(lease(&bench.db).await);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONGEST, renewed).await.expect("the lease is renewed");
    let mut conn = bench.db.read().await.unwrap();
    let sql = "SELECT COUNT(*) FROM written";
    let written: i64 = on!(&mut conn, |c| sqlx::query_scalar(sql).fetch_one(c).await.unwrap());
    assert_eq!(written, 0);
    drop(conn);
    shutdown.drain();
    waiting.await.unwrap().unwrap();
}

//! What is pruned is counted first, and a summary says the same before and after.

use std::time::Duration;

use jiff::civil::Date;
use matinale::config::Retention;
use matinale::db::on;
use matinale::delivery::prune::{self, prune};
use matinale::delivery::{Counts, store};
use matinale::editions::{self, EditionState, Who};
use matinale::lifecycle::Shutdown;

use super::ground::{Bench, prepare};
use crate::support::databases::both;
use crate::support::smtp::Scripted;

const RETENTION: Retention = Retention { words: Some(30), deliveries: Some(90) };

async fn move_to(bench: &Bench, state: EditionState) {
    let mut tx = bench.db.write().await.unwrap();
    let edition = editions::store::load(&mut tx, bench.edition).await.unwrap();
    let who = Who("test".to_owned());
    let moved = editions::store::set_state(&mut tx, &edition, state, None, &who, bench.clock.now()).await;
    assert!(moved.unwrap());
    tx.commit().await.unwrap();
}

async fn told(bench: &Bench) -> (Counts, Vec<String>) {
    let mut conn = bench.db.read().await.unwrap();
    let said = store::said(&mut conn, bench.edition).await.unwrap();
    drop(conn);
    (bench.counts().await, said.iter().map(|said| format!("{said:?}")).collect())
}

async fn number(bench: &Bench, sql: &'static str) -> i64 {
    let mut conn = bench.db.read().await.unwrap();
    on!(&mut conn, |c| sqlx::query_scalar(sql).fetch_one(c).await.unwrap())
}

async fn sweep(bench: &Bench, today: &str, shutdown: &Shutdown) -> prune::Taken {
    let today: Date = today.parse().unwrap();
    let due = prune::list(&bench.db, RETENTION, today).await.unwrap();
    prune(&bench.db, &bench.clock, &due, shutdown, &|_| ()).await.unwrap()
}

#[tokio::test]
async fn p1_p6_a_pruned_edition_still_adds_up() {
    for test in both().await {
        let server = Scripted::start(true).await;
        let addresses: Vec<String> = (0..1200)
            .map(|n| format!("{}-n{n}@example.org", ["ok", "reject-x", "dotdefer-1", "taken-1"][n % 4]))
            .collect();
        let bench = prepare(test.db, &server, &addresses).await;
        let (go_on, stop) = (Shutdown::new(), Shutdown::new());
        stop.drain();

        // It bears 2026-11-24, and is still being sent.
        let taken = sweep(&bench, "2027-12-01", &go_on).await;
        // How long it took to find nothing is the machine's.
        let nothing = prune::Taken { longest_step_ms: taken.longest_step_ms, ..prune::Taken::default() };
        assert_eq!(taken, nothing, "{}", test.name);
        bench.send().await;
        assert_eq!(sweep(&bench, "2027-12-01", &go_on).await.deliveries, 0, "p1: its life is not over");
        move_to(&bench, EditionState::Sent).await;
        let before = told(&bench).await;
        assert_eq!((before.0.accepted, before.0.rejected), (900, 300), "{}", test.name);

        assert_eq!(sweep(&bench, "2026-12-24", &go_on).await.words, 0, "the thirtieth day is kept");
        let words = sweep(&bench, "2026-12-25", &go_on).await;
        assert_eq!((words.deliveries, words.words), (0, 1800), "{}", test.name);
        assert_eq!(told(&bench).await, before, "p6: {}", test.name);
        let silent = "SELECT COUNT(*) FROM attempt WHERE text IS NULL AND address = '' AND code IS NOT NULL";
        assert_eq!(number(&bench, silent).await, 1500, "codes stay");
        assert_eq!(sweep(&bench, "2026-12-26", &go_on).await.editions, 0, "once is enough");

        let newest = number(&bench, "SELECT MAX(id) FROM delivery").await;
        // Interrupted before it began: nothing is taken.
        assert_eq!(sweep(&bench, "2027-12-01", &stop).await.deliveries, 0);
        let taken = sweep(&bench, "2027-12-01", &go_on).await;
        assert_eq!((taken.editions, taken.deliveries, taken.attempts), (1, 1200, 1800), "{}", test.name);
        assert!(Duration::from_millis(taken.longest_step_ms) < Duration::from_secs(2), "{taken:?}");
        assert_eq!(told(&bench).await, before, "p1: {}", test.name);
        for sql in
            ["SELECT COUNT(*) FROM delivery", "SELECT COUNT(*) FROM attempt", "SELECT COUNT(*) FROM daemon"]
        {
            assert_eq!(number(&bench, sql).await, 0, "{}: {sql}", test.name);
        }
        let at = prune::pruned_at(&mut bench.db.read().await.unwrap(), bench.edition).await.unwrap();
        assert!(at.is_some());
        assert_eq!(sweep(&bench, "2027-12-02", &go_on).await.editions, 0);

        let mut tx = bench.db.write().await.unwrap();
        let next =
            "INSERT INTO delivery (edition, subscriber, subscription, state, due_at, deadline, next_at)
                    VALUES ($1, 1, 1, 'planned', 0, 0, 0)
                    RETURNING id";
        let next: i64 =
            on!(&mut tx, |c| sqlx::query_scalar(next).bind(bench.edition.0).fetch_one(c).await.unwrap());
        assert!(
            next > newest,
            "h2: a Message-ID that was sent is made again: {next}, {newest} ({})",
            test.name
        );
    }
}

#[tokio::test]
async fn p1_an_edition_with_one_delivery_that_is_not_final_is_left_alone() {
    for test in both().await {
        let server = Scripted::start(true).await;
        let addresses: Vec<String> = (0..20).map(|n| format!("ok-n{n}@example.org")).collect();
        let bench = prepare(test.db, &server, &addresses).await;
        bench.send().await;
        move_to(&bench, EditionState::Sent).await;
        for state in ["planned", "deferred", "claimed"] {
            let mut tx = bench.db.write().await.unwrap();
            let sql = "UPDATE delivery SET state = $1 WHERE id = (SELECT MIN(id) FROM delivery)";
            on!(&mut tx, |c| sqlx::query(sql).bind(state).execute(c).await.map(drop).unwrap());
            tx.commit().await.unwrap();
            let taken = sweep(&bench, "2030-01-01", &Shutdown::new()).await;
            assert_eq!((taken.editions, taken.deliveries), (0, 0), "{}: {state}", test.name);
        }
    }
}

#[tokio::test]
async fn p1_an_old_edition_that_is_not_over_is_told_and_one_that_goes_on_meanwhile_is_left_alone() {
    for test in both().await {
        let server = Scripted::start(true).await;
        let addresses: Vec<String> = (0..20).map(|n| format!("ok-n{n}@example.org")).collect();
        let bench = prepare(test.db, &server, &addresses).await;
        bench.send().await;
        let today: Date = "2030-01-01".parse().unwrap();
        let due = prune::list(&bench.db, RETENTION, today).await.unwrap();
        let told: Vec<&str> = due.unfinished.iter().map(|old| old.date.as_str()).collect();
        assert_eq!((due.editions.len(), told), (0, vec!["2026-11-24"]), "{}: it is being sent", test.name);
        move_to(&bench, EditionState::Sent).await;
        let due = prune::list(&bench.db, RETENTION, today).await.unwrap();
        assert_eq!((due.editions.len(), due.unfinished.len()), (1, 0), "{}", test.name);
        // Between the question and the answer somebody has one sent again.
        let mut tx = bench.db.write().await.unwrap();
        let sql = "UPDATE delivery SET state = 'deferred' WHERE id = (SELECT MIN(id) FROM delivery)";
        on!(&mut tx, |c| sqlx::query(sql).execute(c).await.map(drop).unwrap());
        tx.commit().await.unwrap();
        let taken = prune(&bench.db, &bench.clock, &due, &Shutdown::new(), &|_| ()).await.unwrap();
        assert_eq!((taken.deliveries, taken.attempts, taken.words), (0, 0, 0), "{}", test.name);
    }
}

#[tokio::test]
async fn paces_and_warm_up_days_that_are_long_over_are_pruned_and_the_last_day_stays() {
    for test in both().await {
        let server = Scripted::start(true).await;
        let bench = prepare(test.db, &server, &["ok-n0@example.org".to_owned()]).await;
        let mut tx = bench.db.write().await.unwrap();
        let now = bench.clock.now_ms();
        for (provider, free_at) in [("quiet.example", 1), ("lively.example", now * 1000)] {
            let sql = "INSERT INTO pace (relay, provider, free_at) VALUES ('main', $1, $2)";
            on!(&mut tx, |c| sqlx::query(sql)
                .bind(provider)
                .bind(free_at)
                .execute(c)
                .await
                .map(drop)
                .unwrap());
        }
        let gone = "INSERT INTO daemon (lease_until, started_at, host, pid, birth, gone) VALUES (0, 1, 'x', 1, '1', 1)";
        on!(&mut tx, |c| sqlx::query(gone).execute(c).await.map(drop).unwrap());
        for day in ["2020-01-01", "2020-01-02", "2020-01-03"] {
            let sql = "INSERT INTO warm_up (relay, provider, day, cap, taken) VALUES ('main', 'google', $1, 500, 500)";
            on!(&mut tx, |c| sqlx::query(sql).bind(day).execute(c).await.map(drop).unwrap());
        }
        tx.commit().await.unwrap();
        let today = bench.clock.civil().to_zoned_datetime(jiff::tz::TimeZone::UTC).date().to_string();
        let due = prune::list(&bench.db, RETENTION, today.parse().unwrap()).await.unwrap();
        assert_eq!((due.daemons, due.paces, due.is_empty()), (1, 3, false), "{}: told before", test.name);
        let taken = sweep(&bench, &today, &Shutdown::new()).await;
        assert_eq!((taken.daemons, taken.paces), (1, 3), "{}", test.name);
        assert!(prune::list(&bench.db, RETENTION, today.parse().unwrap()).await.unwrap().is_empty());
        for (sql, left) in [
            ("SELECT COUNT(*) FROM pace WHERE provider = 'quiet.example'", 0),
            ("SELECT COUNT(*) FROM pace WHERE provider = 'lively.example'", 1),
            ("SELECT COUNT(*) FROM warm_up WHERE day = '2020-01-03'", 1),
            ("SELECT COUNT(*) FROM warm_up", 1),
        ] {
            assert_eq!(number(&bench, sql).await, left, "{}: {sql}", test.name);
        }
    }
}

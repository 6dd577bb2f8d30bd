//! Statements whose answer was given up, and which the server finished all the same: what they leave behind keeps
//! nobody. And an answer that never comes, which nobody has to wait for.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use matinale::db::{Conn, on};
use matinale::lifecycle::Shutdown;

use super::ground::{at_noon, prepare_with};
use crate::support::databases::{self, both};
use crate::support::faulty::{Faulty, Offer};

const READER: &str = "r0@example.org";

async fn number(conn: &mut Conn, sql: &'static str) -> i64 {
    on!(conn, |c| sqlx::query_scalar(sql).fetch_one(c).await.unwrap())
}

async fn change(conn: &mut Conn, sql: &'static str) -> u64 {
    on!(conn, |c| sqlx::query(sql).execute(c).await.unwrap().rows_affected())
}

#[tokio::test]
async fn p1_an_attempt_that_a_release_opened_too_late_keeps_nobody_from_sending() {
    for test in both().await {
        let server = Faulty::start(Offer::default(), HashMap::new(), VecDeque::new(), Vec::new()).await;
        let relay = format!("url = \"smtp://{}?tls=none\"", server.address);
        let bench = prepare_with(test.db, "", &relay, at_noon(), &[READER.to_owned()]).await;
        // Another daemon had given the delivery back by then, so its dot was never written.
        let mut tx = bench.db.write().await.unwrap();
        let late = "INSERT INTO attempt (delivery, number, daemon, epoch, at, relay, address, revision, language, date_at,
                                         date_offset)
                    SELECT id, 1, 4711, 1, 0, 'relay', 'r0@example.org', 1, 'fr', 0, 0 FROM delivery";
        assert_eq!(change(&mut tx, late).await, 1);
        tx.commit().await.unwrap();
        let counts = bench.send().await;
        let copies = server.record_as_it_is().taken[READER].len();
        assert_eq!((counts.accepted, copies), (1, 1), "{}", test.name);
    }
}

#[tokio::test]
async fn p1_a_daemon_that_leaves_gives_back_what_it_was_still_claiming() {
    if !databases::postgres_wanted() {
        return;
    }
    let test = databases::postgres().await;
    let server = Faulty::start(Offer::default(), HashMap::new(), VecDeque::new(), Vec::new()).await;
    let relay = format!("url = \"smtp://{}?tls=none\"", server.address);
    let bench = prepare_with(test.db, "", &relay, at_noon(), &[READER.to_owned()]).await;
    let tomorrow = "UPDATE delivery SET next_at = next_at + 86400000, deadline = deadline + 864000000";
    let mut tx = bench.db.write().await.unwrap();
    assert_eq!(change(&mut tx, tomorrow).await, 1);
    tx.commit().await.unwrap();
    let (engine, mode, shutdown) = (bench.engine(), bench.mode(), Shutdown::new());
    let stop = shutdown.clone();
    let daemon = tokio::spawn(async move { engine.run_edition(mode, &shutdown).await.unwrap() });
    let patience = async |sql: &'static str| {
        let there = async {
            while number(&mut bench.db.read().await.unwrap(), sql).await == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), there).await.expect(sql);
    };
    patience("SELECT COUNT(*) FROM daemon WHERE gone = 0").await;
    // A claim as the daemon makes it, on a server that takes its time for the COMMIT.
    let mut claim = bench.db.write().await.unwrap();
    assert_eq!(number(&mut claim, "SELECT id FROM daemon FOR SHARE").await, 1);
    let claimed =
        "UPDATE delivery SET state = 'claimed', daemon = daemon.id, epoch = daemon.epoch FROM daemon";
    assert_eq!(change(&mut claim, claimed).await, 1);
    stop.drain();
    patience(
        "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%gone = 1%'",
    )
    .await;
    claim.commit().await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), daemon).await.expect("it leaves").unwrap();
    let counts = bench.counts().await;
    assert_eq!(
        (counts.planned, counts.claimed),
        (1, 0),
        "nobody would take it over from a daemon that is gone"
    );
}

#[tokio::test]
async fn p1_who_is_told_to_leave_waits_for_no_claim_that_cannot_be_written() {
    let test = databases::sqlite().await;
    let server = Faulty::start(Offer::default(), HashMap::new(), VecDeque::new(), Vec::new()).await;
    let relay = format!("url = \"smtp://{}?tls=none\"", server.address);
    let bench = prepare_with(test.db, "", &relay, at_noon(), &[READER.to_owned()]).await;
    let mut tx = bench.db.write().await.unwrap();
    let full = "CREATE TRIGGER full BEFORE UPDATE ON delivery WHEN NEW.state = 'claimed'
                BEGIN SELECT RAISE(ABORT, 'no room'); END";
    change(&mut tx, full).await;
    tx.commit().await.unwrap();
    let (engine, shutdown) = (bench.engine(), Shutdown::new());
    let told = async {
        while !engine.is_in_trouble() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        shutdown.drain();
    };
    let both = async { tokio::join!(engine.run_edition(bench.mode(), &shutdown), told) };
    let (ended, ()) = tokio::time::timeout(Duration::from_secs(60), both).await.expect("it leaves");
    ended.unwrap();
    assert_eq!(bench.counts().await.planned, 1);
}

//! Claims on PostgreSQL that somebody else holds up after they began: what was done meanwhile counts.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use matinale::db::{Conn, on};
use matinale::lifecycle::Shutdown;

use super::ground::{LONGEST, at_noon, prepare_with};
use crate::support::databases;
use crate::support::faulty::{Faulty, Offer};

const READERS: [&str; 2] = ["r0@example.org", "r1@example.org"];

/// Tomorrow, so that a daemon is there before anything is due.
const LATER: &str = "UPDATE delivery SET next_at = next_at + 86400000, deadline = deadline + 864000000";
const DUE: &str = "UPDATE delivery SET next_at = 0";
const HELD_UP: &str = "SELECT COUNT(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%SKIP LOCKED%'";

async fn change(conn: &mut Conn, sql: &'static str) {
    on!(conn, |c| sqlx::query(sql).execute(c).await.map(drop).unwrap());
}

async fn number(conn: &mut Conn, sql: &'static str) -> i64 {
    on!(conn, |c| sqlx::query_scalar(sql).fetch_one(c).await.unwrap())
}

/// A daemon's first claim is held up while `meanwhile` is done, in one transaction, to what `before` left; each of these
/// then counts what it finds.
async fn count_after<const N: usize>(
    before: &[&'static str],
    meanwhile: &[&'static str],
    counted: [&'static str; N],
) -> [i64; N] {
    let test = databases::postgres().await;
    let server = Faulty::start(Offer::default(), HashMap::new(), VecDeque::new(), Vec::new()).await;
    let relay = format!("url = \"smtp://{}?tls=none\"", server.address);
    let bench = prepare_with(test.db, "", &relay, at_noon(), &READERS.map(str::to_owned)).await;
    let mut tx = bench.db.write().await.unwrap();
    for sql in [LATER].iter().chain(before) {
        change(&mut tx, sql).await;
    }
    tx.commit().await.unwrap();
    let (engine, mode, shutdown) = (bench.engine(), bench.mode(), Shutdown::new());
    let daemon = tokio::spawn(async move { engine.run_edition(mode, &shutdown).await.unwrap() });
    let until = async |sql: &'static str| {
        let there = async {
            while number(&mut bench.db.read().await.unwrap(), sql).await == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), there).await.expect(sql);
    };
    until("SELECT COUNT(*) FROM daemon WHERE gone = 0").await;
    let mut other = bench.db.write().await.unwrap();
    number(&mut other, "SELECT id FROM daemon WHERE gone = 0 FOR UPDATE").await;
    let mut tx = bench.db.write().await.unwrap();
    change(&mut tx, DUE).await;
    tx.commit().await.unwrap();
    until(HELD_UP).await;
    for sql in meanwhile {
        change(&mut other, sql).await;
    }
    other.commit().await.unwrap();
    // By then the claim came to its end. What it had taken for a life that is over nobody would ever give back.
    until("SELECT COUNT(*) FROM daemon WHERE gone = 0").await;
    let lost =
        "SELECT COUNT(*) FROM delivery JOIN daemon ON daemon.id = delivery.daemon WHERE daemon.gone = 1";
    assert_eq!(number(&mut bench.db.read().await.unwrap(), lost).await, 0, "claims of a life that is over");
    let ended = tokio::time::timeout(LONGEST, daemon).await;
    let counts = bench.counts().await;
    ended.unwrap_or_else(|_| panic!("it did not end: {counts:?}")).unwrap();
    assert_eq!(counts.accepted, 2, "{counts:?}");
    let mut found = [0; N];
    for (found, sql) in found.iter_mut().zip(counted) {
        *found = number(&mut bench.db.read().await.unwrap(), sql).await;
    }
    found
}

#[tokio::test]
async fn p1_a_life_that_ends_while_it_claims_has_claimed_nothing() {
    if !databases::postgres_wanted() {
        return;
    }
    let over = "UPDATE daemon SET epoch = epoch + 1, gone = 1 WHERE gone = 0";
    assert_eq!(count_after(&[], &[over], ["SELECT COUNT(*) FROM attempt"]).await, [2]);
}

#[tokio::test]
async fn p1_what_another_tried_while_it_is_claimed_goes_on_from_that_attempt() {
    if !databases::postgres_wanted() {
        return;
    }
    let tried = "INSERT INTO attempt (delivery, number, daemon, epoch, at, relay, address, revision, language, date_at,
                                      date_offset, outcome)
                 SELECT delivery.id, tries, 4711, 1, 0, 'main', address, 1, 'fr', 1000000 * tries, 0, 'uncertain'
                 FROM delivery JOIN subscriber ON subscriber.id = delivery.subscriber";
    let again = "UPDATE delivery SET tries = tries + 1, state = 'deferred', doubtful = 1";
    let thirds_and_all = count_after(
        &[again, tried],
        &[again, tried],
        [
            "SELECT COUNT(*) FROM attempt WHERE number = 3 AND date_at = 2000000",
            "SELECT COUNT(*) FROM attempt WHERE number = 3",
            "SELECT COUNT(*) FROM attempt",
        ],
    )
    .await;
    assert_eq!(thirds_and_all, [2, 2, 6], "with the bytes of the second, all third ones, and all attempts");
}

//! Messages that cannot be made: a dot that was released leaves at once though one is behind it, and they wait behind
//! those that can.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use matinale::db::{Side, on};
use matinale::lifecycle::Shutdown;

use super::ground::{Bench, LONGEST, at_noon, prepare_with};
use crate::support::databases::{both, sqlite};
use crate::support::faulty::{Faulty, Offer};

/// What these readers are to get cannot be made: what was rendered in their language is broken.
pub(super) async fn break_english(bench: &Bench, readers: &str) {
    let mut tx = bench.db.write().await.unwrap();
    let broken = if matches!(tx.side(), Side::Sqlite(_)) { "x'00'" } else { "'\\x00'::bytea" };
    for sql in [
        format!("UPDATE subscriber SET language = 'en' WHERE address IN ({readers})"),
        format!(
            "INSERT INTO rendering (edition, revision, language, prepared)
             SELECT edition, revision, 'en', {broken} FROM rendering"
        ),
    ] {
        let sql = sqlx::AssertSqlSafe(sql);
        on!(&mut tx, |c| sqlx::query(sql).execute(c).await.map(drop).unwrap());
    }
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn p4_a_released_dot_waits_neither_for_the_ledger_nor_for_the_next_message() {
    let readers: Vec<String> = (0..2).map(|n| format!("r{n}@example.org")).collect();
    let offer = Offer { pipelining: true, ..Offer::default() };
    let server = Faulty::start(offer, HashMap::new(), VecDeque::new(), Vec::new()).await;
    let relay = format!("url = \"smtp://{}?tls=none\"\nconnections = 1", server.address);
    let test = sqlite().await;
    let bench = prepare_with(test.db, "", &relay, at_noon(), &readers).await;
    // The second reader's mail cannot be made.
    break_english(&bench, "'r1@example.org'").await;
    let (engine, mode, shutdown) = (bench.engine(), bench.mode(), Shutdown::new());
    let stop = shutdown.clone();
    let daemon = tokio::spawn(async move { engine.run_edition(mode, &shutdown).await });
    let released = async {
        let sql = "SELECT COUNT(*) FROM attempt";
        loop {
            let mut conn = bench.db.read().await.unwrap();
            let count: i64 = on!(&mut conn, |c| sqlx::query_scalar(sql).fetch_one(c).await.unwrap());
            if count > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), released).await.expect("it was released");
    // From now on nobody else can write.
    let tx = bench.db.write().await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), server.until(1)).await.expect("its dot came");
    drop(tx);
    stop.drain();
    daemon.await.unwrap().unwrap();
    assert_eq!((bench.counts().await.accepted, bench.counts().await.planned), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_messages_that_cannot_be_made_wait_behind_those_that_can() {
    for test in both().await {
        let readers: Vec<String> = (0..6).map(|n| format!("r{n}@example.org")).collect();
        let server = Faulty::start(Offer::default(), HashMap::new(), VecDeque::new(), Vec::new()).await;
        let relay = format!("url = \"smtp://{}?tls=none\"\nconnections = 1", server.address);
        // They come first.
        let bench = prepare_with(test.db, "", &relay, at_noon(), &readers).await;
        break_english(&bench, "'r0@example.org', 'r1@example.org'").await;
        let (engine, shutdown) = (bench.engine(), Shutdown::new());
        let stop = shutdown.clone();
        let daemon = tokio::spawn(async move { engine.run(&shutdown).await });
        let later = async {
            server.until(4).await;
            let sql = "SELECT COUNT(*) FROM delivery WHERE state = 'planned' AND next_at > $1";
            loop {
                let mut conn = bench.db.read().await.unwrap();
                let soon = bench.clock.civil_ms() + 30_000;
                let later: i64 =
                    on!(&mut conn, |c| sqlx::query_scalar(sql).bind(soon).fetch_one(c).await.unwrap());
                if later == 2 {
                    break;
                }
                drop(conn);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let later = tokio::time::timeout(LONGEST, later).await;
        assert!(later.is_ok(), "{}: {:?}", test.name, bench.counts().await);
        stop.drain();
        daemon.await.unwrap();
        assert_eq!(bench.counts().await.accepted, 4, "{}", test.name);
    }
}

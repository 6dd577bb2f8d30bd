//! What PostgreSQL reads while an edition leaves.

use std::time::Duration;

use matinale::db::{Db, Side};
use matinale::lifecycle::Shutdown;

use super::ground::{at_noon, prepare_with};
use crate::support::databases;
use crate::support::smtp::Scripted;

const READERS: i64 = 1000;
/// Many, for many attempts a commit: with few the server makes a plan for each.
const RELAY: &str = "tls=none\"\nconnections = 20";

/// How many attempts the server counted as made, and how many it read to find others: one after the other, and entries
/// of an index.
async fn attempts(db: &Db) -> (i64, i64, i64) {
    let sql = "SELECT n_tup_ins, seq_tup_read,
                      (SELECT SUM(idx_tup_read)::bigint FROM pg_stat_user_indexes WHERE relname = 'attempt')
               FROM pg_stat_user_tables
               WHERE relname = 'attempt'";
    let mut conn = db.read().await.unwrap();
    let Side::Postgres(c) = conn.side() else { unreachable!("it is on PostgreSQL") };
    sqlx::query_as(sql).fetch_one(c).await.unwrap()
}

#[tokio::test]
async fn p1_a_first_edition_finds_attempts_by_their_keys_though_there_were_none_when_its_statements_were_planned()
 {
    if !databases::postgres_wanted() {
        eprintln!("SKIPPED on PostgreSQL: MATINALE_TEST_SKIP_POSTGRES=1");
        return;
    }
    let test = databases::postgres().await;
    let server = Scripted::start(true).await;
    let addresses: Vec<String> = (0..READERS).map(|n| format!("ok-n{n}@example.org")).collect();
    let relay = format!("url = \"smtp://{}?{RELAY}", server.address);
    let bench = prepare_with(test.db, "", &relay, at_noon(), &addresses).await;
    // Statistics made meanwhile would have the statements planned anew, and a planner that has some reads both ends of an
    // index to judge them: those entries are counted, too.
    let mut conn = bench.db.read().await.unwrap();
    let Side::Postgres(c) = conn.side() else { unreachable!("it is on PostgreSQL") };
    sqlx::query("ALTER TABLE attempt SET (autovacuum_enabled = false)").execute(&mut *c).await.unwrap();
    // As after a restore: a table that was looked at while it was empty is planned for as an empty one.
    sqlx::query("ANALYZE").execute(c).await.unwrap();
    drop(conn);
    bench.engine().run_edition(bench.mode(), &Shutdown::new()).await.unwrap();
    // What a connection did is counted by and by while it lives, and at the latest when it ends.
    let counted = async {
        loop {
            match attempts(&bench.db).await {
                (made, one_by_one, entries) if made == READERS => return (one_by_one, entries),
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    let counted = tokio::time::timeout(Duration::from_secs(60), counted).await;
    let (one_by_one, entries) = counted.expect("all are counted");
    assert!(one_by_one < READERS, "{one_by_one} attempts were read one after the other to find {READERS}");
    // One each; in the first five commits of a connection, which are planned one by one, up to twenty each, and under load
    // there is a second connection. A plan that goes through a whole index reads all that were made by then, for each commit.
    assert!(entries < READERS * 5, "{entries} entries of an index were read to find {READERS}");
}

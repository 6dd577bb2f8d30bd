//! What PostgreSQL reads while an edition leaves.

use std::time::Duration;

use matinale::db::{Db, Side};
use matinale::lifecycle::Shutdown;

use super::ground::prepare;
use crate::support::databases;
use crate::support::smtp::Scripted;

const READERS: i64 = 400;

/// How many attempts the server counted as made, and how many it read one after the other to find others.
async fn attempts(db: &Db) -> (i64, i64) {
    let sql = "SELECT n_tup_ins, seq_tup_read FROM pg_stat_user_tables WHERE relname = 'attempt'";
    let mut conn = db.read().await.unwrap();
    let Side::Postgres(c) = conn.side() else { unreachable!("it is on PostgreSQL") };
    sqlx::query_as(sql).fetch_one(c).await.unwrap()
}

#[tokio::test]
async fn p1_a_first_edition_finds_attempts_by_their_keys_though_there_were_none_when_its_statements_were_planned()
 {
    if !databases::postgres_wanted() {
        return;
    }
    let test = databases::postgres().await;
    let server = Scripted::start(true).await;
    let addresses: Vec<String> = (0..READERS).map(|n| format!("ok-n{n}@example.org")).collect();
    let bench = prepare(test.db, &server, &addresses).await;
    bench.engine().run_edition(bench.mode(), &Shutdown::new()).await.unwrap();
    // The server counts what a connection did when it ends.
    let counted = async {
        loop {
            match attempts(&bench.db).await {
                (made, read) if made == READERS => return read,
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    let read = tokio::time::timeout(Duration::from_secs(60), counted).await.expect("all are counted");
    assert!(read < READERS, "{read} attempts were read one after the other to find {READERS}");
}

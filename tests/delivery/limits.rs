//! The limits that all daemons keep together: what is read of them, what lifts them, and whose clock they go by.

use matinale::db::{Conn, Side, on};
use matinale::delivery::pace::store as paces;

use crate::support::databases::{both, postgres, postgres_wanted};

async fn write(conn: &mut Conn, sql: &'static str) {
    on!(conn, |c| sqlx::query(sql).execute(c).await.map(drop).unwrap());
}

/// Three thousand providers, of two of which signals were heard.
const MANY: &str = "
INSERT INTO pace (relay, provider, signalled_at, down_since)
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
SELECT 'main', CAST(i AS TEXT), CASE WHEN i <= 2 THEN 1000 ELSE 0 END, 500 FROM n";

#[tokio::test]
async fn a_relay_that_goes_on_has_daemons_look_at_no_more_providers_than_before() {
    for test in both().await {
        let mut tx = test.db.write().await.unwrap();
        write(&mut tx, MANY).await;
        paces::free(&mut tx, "main", 2000).await.unwrap();
        let mut limited = paces::limited(&mut tx, 0).await.unwrap();
        limited.sort_by(|one, other| one.provider.cmp(&other.provider));
        let limited: Vec<_> = limited.iter().map(|row| (row.provider.as_str(), row.signalled_at)).collect();
        assert_eq!(limited, [("1", 2000), ("2", 2000)], "{}", test.name);
        let down = paces::list(&mut tx).await.unwrap().iter().filter(|row| row.down_since.is_some()).count();
        assert_eq!(down, 0, "{}: all of them are tried again", test.name);
    }
}

#[tokio::test]
async fn what_is_looked_at_many_times_a_second_reads_only_whom_signals_were_heard_of_on_postgresql_too() {
    if !postgres_wanted() {
        return;
    }
    let test = postgres().await;
    let mut tx = test.db.write().await.unwrap();
    write(&mut tx, MANY).await;
    write(&mut tx, "ANALYZE pace").await;
    // A plan that is made once for whatever is bound, as a server may choose after a few times.
    write(&mut tx, "SET LOCAL plan_cache_mode = force_generic_plan").await;
    let before = scans(&mut tx).await;
    assert_eq!(paces::limited(&mut tx, 0).await.unwrap().len(), 2);
    let after = scans(&mut tx).await;
    assert_eq!((after.0 - before.0, after.1 - before.1), (0, 1), "the table as a whole, and the index");
}

/// How often this transaction read the whole of `pace`, and by an index.
async fn scans(conn: &mut Conn) -> (i64, i64) {
    let Side::Postgres(c) = conn.side() else { unreachable!("it was opened as PostgreSQL") };
    let sql = "SELECT seq_scan, idx_scan FROM pg_stat_xact_user_tables WHERE relname = 'pace'";
    sqlx::query_as(sql).fetch_one(c).await.unwrap()
}

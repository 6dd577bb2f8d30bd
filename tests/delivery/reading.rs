//! How much of the ledger is read on PostgreSQL, by a morning, an export, a pruning: what it is about, whatever else has been
//! kept.

use std::time::Duration;

use matinale::clock::Clock;
use matinale::config::Retention;
use matinale::db::{Db, Options, on};
use matinale::delivery::prune::{self, prune};
use matinale::delivery::store;
use matinale::lifecycle::Shutdown;
use matinale::readers::{SubscriberId, sample};

use super::ground::{self, Bench, LONGEST, prepare_with};
use crate::support::databases::{self, TestDb};
use crate::support::smtp::Scripted;

/// So many deliveries of earlier mornings.
const KEPT: i64 = 20_000;
const TODAY: usize = 60;

async fn run(db: &Db, sql: &'static str) {
    let mut tx = db.write().await.unwrap();
    on!(&mut tx, |c| sqlx::query(sql).execute(c).await.map(drop).unwrap());
    tx.commit().await.unwrap();
}

/// The rows of the ledger that were read so far, by whichever way; what a connection read is known once it is gone, from
/// PostgreSQL 15 on.
async fn read(url: &str) -> i64 {
    let db = Db::open(&Options { connections: 1, ..Options::new(url) }).await.unwrap();
    let mut conn = db.read().await.unwrap();
    let others = "SELECT COUNT(*) FROM pg_stat_activity
                  WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
    let gone = async {
        while on!(&mut conn, |c| sqlx::query_scalar::<_, i64>(others).fetch_one(c).await.unwrap()) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONGEST, gone).await.expect("every connection is closed");
    let read = "SELECT CAST((SELECT SUM(seq_tup_read) FROM pg_stat_user_tables WHERE relname IN ('delivery', 'attempt'))
                            + (SELECT SUM(idx_tup_read) FROM pg_stat_user_indexes
                               WHERE relname IN ('delivery', 'attempt')) AS BIGINT)";
    let read = on!(&mut conn, |c| sqlx::query_scalar(read).fetch_one(c).await.unwrap());
    drop(conn);
    db.close().await;
    read
}

/// Each of today's is read a few times; to read all deliveries or all attempts once would be twice as much.
fn expect_few(read: i64) {
    let today = i64::try_from(TODAY).unwrap();
    assert!((today..KEPT / 2).contains(&read), "{read} rows were read of a ledger of {KEPT}, for {TODAY}");
}

/// Readers of another newsletter, today's among them, and what they got once.
async fn keep_an_earlier_morning(bench: &Bench) {
    let mut tx = bench.db.write().await.unwrap();
    sample::store::make(&mut tx, "earlier", 1, KEPT, 0).await.unwrap();
    let readers = usize::try_from(KEPT).unwrap() + TODAY;
    ground::sending(&mut tx, "earlier", &bench.clock, readers).await;
    tx.commit().await.unwrap();
    for sql in [
        "UPDATE delivery SET state = 'accepted', accepted_at = 1, tries = 1
         WHERE edition = (SELECT id FROM edition WHERE newsletter = 'earlier')",
        "INSERT INTO attempt (delivery, number, daemon, epoch, at, relay, address, revision, language, date_at,
                              date_offset, outcome)
         SELECT id, 1, 4711, 1, 0, 'main', '', 1, 'fr', 0, 0, 'accepted' FROM delivery WHERE state = 'accepted'",
        "UPDATE edition SET state = 'sent' WHERE newsletter = 'earlier'",
    ] {
        run(&bench.db, sql).await;
    }
}

#[tokio::test]
async fn p3_a_morning_with_a_takeover_and_late_mail_does_not_read_the_whole_ledger() {
    if !databases::postgres_wanted() {
        return;
    }
    let test = databases::postgres().await;
    let url = test.url.clone().unwrap();
    let server = Scripted::start(true).await;
    let relay = format!("url = \"smtp://{}?tls=none\"\nconnections = 4", server.address);
    let readers: Vec<String> = (0..TODAY).map(|n| format!("r{n}@example.org")).collect();
    let clock = Clock::manual("2026-11-24T12:00:00Z".parse().unwrap());
    let mut bench = prepare_with(test.db.clone(), "", &relay, clock, &readers).await;
    keep_an_earlier_morning(&bench).await;
    for sql in [
        "INSERT INTO daemon (lease_until, started_at, host, pid, birth, epoch) VALUES (1, 1, 'gone', 1, '1', 7)",
        "UPDATE delivery SET state = 'claimed', daemon = (SELECT MIN(id) FROM daemon), epoch = 7
         WHERE state = 'planned' AND id % 3 = 0",
        "UPDATE delivery SET deadline = 1 WHERE state = 'planned' AND id % 3 = 1",
        "UPDATE plan SET nearest = 1, changes = changes + 1",
    ] {
        run(&bench.db, sql).await;
    }
    test.db.close().await;
    let before = read(&url).await;
    bench.db = Db::open(&Options { connections: 6, ..Options::new(&url) }).await.unwrap();
    let counts = bench.send().await;
    assert_eq!((counts.accepted, counts.expired), (40, 20), "{counts:?}");
    bench.db.close().await;
    expect_few(read(&url).await - before);
}

/// Today's edition, which nobody sends, in front of an earlier morning; the connections that made it are closed.
async fn keep(postgres: &TestDb) -> Bench {
    let readers: Vec<String> = (0..TODAY).map(|n| format!("r{n}@example.org")).collect();
    let relay = "url = \"smtp://127.0.0.1:9?tls=none\"";
    let bench = prepare_with(postgres.db.clone(), "", relay, ground::at_noon(), &readers).await;
    keep_an_earlier_morning(&bench).await;
    run(&bench.db, "ANALYZE").await;
    postgres.db.close().await;
    bench
}

#[tokio::test]
async fn an_edition_is_exported_without_reading_others() {
    if !databases::postgres_wanted() {
        return;
    }
    let test = databases::postgres().await;
    let url = test.url.clone().unwrap();
    let bench = keep(&test).await;
    let before = read(&url).await;
    // One connection: after five pages its server has a plan for all pages to come.
    let db = Db::open(&Options { connections: 1, ..Options::new(&url) }).await.unwrap();
    let mut conn = db.read().await.unwrap();
    let (mut behind, mut seen) = (None, 0);
    while let Some(page) =
        store::page(&mut conn, bench.edition, behind, 5, &bench.links, "example.org").await.unwrap()
    {
        for record in &page.records {
            let id = SubscriberId(record.subscriber);
            let alone = store::find_record(&mut conn, bench.edition, id, &bench.links, "example.org").await;
            assert_eq!(alone.unwrap().unwrap().message_id, record.message_id);
        }
        seen += page.records.len();
        behind = Some(page.last);
    }
    drop(conn);
    db.close().await;
    assert_eq!(seen, TODAY);
    expect_few(read(&url).await - before);
}

#[tokio::test]
async fn an_edition_is_pruned_without_reading_others() {
    if !databases::postgres_wanted() {
        return;
    }
    let test = databases::postgres().await;
    let url = test.url.clone().unwrap();
    let bench = keep(&test).await;
    let db = Db::open(&Options { connections: 1, ..Options::new(&url) }).await.unwrap();
    for sql in [
        "UPDATE edition SET date = '2027-11-24' WHERE newsletter = 'earlier'",
        "UPDATE edition SET state = 'sent' WHERE newsletter = 'test'",
        "UPDATE delivery SET state = 'expired' WHERE state = 'planned'",
    ] {
        run(&db, sql).await;
    }
    db.close().await;
    let before = read(&url).await;
    let db = Db::open(&Options { connections: 1, ..Options::new(&url) }).await.unwrap();
    let retention = Retention { words: None, deliveries: Some(90) };
    let due = prune::list(&db, retention, "2027-12-01".parse().unwrap()).await.unwrap();
    let taken = prune(&db, &bench.clock, &due, &Shutdown::new(), &|_| ()).await.unwrap();
    db.close().await;
    assert_eq!((taken.editions, taken.deliveries), (1, TODAY as u64), "{taken:?}");
    expect_few(read(&url).await - before);
}

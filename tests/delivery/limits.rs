//! The limits that all daemons keep together: what is read of them, what lifts them, and whose clock they go by.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use matinale::clock::{Clock, timestamp};
use matinale::db::{Conn, Db, Side, on};
use matinale::delivery::pace::store as paces;
use matinale::delivery::relay::store as relays;
use matinale::delivery::{Mode, shared_clock};
use matinale::lifecycle::Shutdown;

use super::mx::{readers, straight};
use crate::support::databases::{both, postgres, postgres_wanted};
use crate::support::faulty::{Fault, Faulty, Offer, Phase, Step};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;

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

#[tokio::test]
async fn p3_starts_that_lie_further_ahead_than_all_daemons_could_take_are_from_before_the_clock_was_set_back()
{
    const MICROS: i64 = 1_000_000;
    for test in both().await {
        let mut tx = test.db.write().await.unwrap();
        let joined =
            "INSERT INTO daemon (lease_until, started_at, host, pid, birth) VALUES (0, 0, 'one', 1, '1')";
        write(&mut tx, joined).await;
        let block = MICROS / 2;
        let begins = paces::take(&mut tx, "main", "one", block, 100 * MICROS).await.unwrap();
        assert_eq!(begins, 100 * MICROS, "{}", test.name);
        let begins = paces::take(&mut tx, "main", "one", block, 40 * MICROS).await.unwrap();
        assert_eq!(begins, 40 * MICROS, "{}: a minute back", test.name);
        write(&mut tx, joined).await;
        write(&mut tx, joined).await;
        for minutes in 0..4 {
            let begins = paces::take(&mut tx, "main", "one", 60 * MICROS, 40 * MICROS).await.unwrap();
            assert_eq!(begins, 40 * MICROS + block + minutes * 60 * MICROS, "{}: each has one", test.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn section_4_a_suspension_lasts_no_longer_than_it_was_asked_for_though_the_clock_was_set_back() {
    for test in both().await {
        let server = Faulty::start(Offer::default(), HashMap::new(), VecDeque::new(), Vec::new()).await;
        let addresses: Vec<String> = readers("one.example", 3).collect();
        let (bench, _folder) = straight(test.db, server.address.port(), "", &addresses).await;
        // Two hours ago by whoever slept, two hours ahead by the clock that was set back since.
        let ahead = bench.clock.now_ms() + 120 * MINUTE;
        let suspended = "INSERT INTO pace (relay, provider, suspended_until, holds_until, step, signalled_at)
                         VALUES ('main', 'one.example', $1, $1, 60000, $2)";
        let mut tx = bench.db.write().await.unwrap();
        on!(&mut tx, |c| sqlx::query(suspended)
            .bind(ahead + 2 * SECOND)
            .bind(ahead)
            .execute(c)
            .await
            .map(drop)
            .unwrap());
        tx.commit().await.unwrap();
        let sent = tokio::time::timeout(Duration::from_secs(60), bench.send()).await;
        assert_eq!(sent.expect(test.name).accepted, 3, "{}", test.name);
    }
}

/// What the database's own clock shows.
async fn now(db: &Db) -> i64 {
    shared_clock(&mut db.read().await.unwrap(), &Clock::system()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_daemons_whose_clocks_disagree_keep_a_suspension_and_a_pause_together() {
    if !postgres_wanted() {
        return;
    }
    let test = postgres().await;
    let slow: Vec<String> = readers("slow.example", 2).collect();
    let reply = "421 4.7.0 [slow] come back later\r\n".to_owned();
    let step = Step { phase: Phase::Rcpt, fault: Fault::Reply(reply), taken: false };
    let scripts = slow.iter().map(|to| (to.clone(), VecDeque::from(vec![step.clone(); 50]))).collect();
    let server = Faulty::start(Offer::default(), scripts, VecDeque::new(), Vec::new()).await;
    let addresses: Vec<String> = slow.into_iter().chain(readers("one.example", 5)).collect();
    let (mut bench, _folder) = straight(test.db, server.address.port(), "", &addresses).await;
    let (civil, mode) = (bench.clock.civil(), Mode { once: true, ..bench.mode() });
    // Of another machine, that is so many minutes ahead.
    let other = |minutes: i64| {
        let clock = Clock::manual(timestamp(Clock::system().now_ms() + minutes * MINUTE));
        clock.set_civil(civil);
        clock
    };
    let suspended = "INSERT INTO pace (relay, provider, suspended_until, holds_until, step, signalled_at)
                     VALUES ('main', 'one.example', $1, $1, 60000, $2)";
    let at = now(&bench.db).await;
    let mut tx = bench.db.write().await.unwrap();
    on!(&mut tx, |c| sqlx::query(suspended)
        .bind(at + 5 * MINUTE)
        .bind(at)
        .execute(c)
        .await
        .map(drop)
        .unwrap());
    tx.commit().await.unwrap();
    bench.clock = other(11);
    bench.engine().run_edition(mode, &Shutdown::new()).await.unwrap();
    assert_eq!(bench.counts().await.accepted, 0, "nobody there takes anything for five minutes");

    // It heard a signal itself meanwhile, from the other provider.
    let asked = paces::list(&mut bench.db.read().await.unwrap()).await.unwrap();
    let slow = asked.iter().find(|row| row.provider == "slow").unwrap();
    let lasts = slow.suspended_until.unwrap() - now(&bench.db).await;
    assert!((59 * MINUTE..=60 * MINUTE).contains(&lasts), "an hour, by the shared clock: {lasts}");

    let mut tx = bench.db.write().await.unwrap();
    write(&mut tx, "DELETE FROM pace").await;
    write(&mut tx, "UPDATE delivery SET next_at = 0 WHERE state = 'planned'").await;
    relays::pause(&mut tx, "main", Some(now(&bench.db).await + 5 * MINUTE), None).await.unwrap();
    tx.commit().await.unwrap();
    bench.engine().run_edition(mode, &Shutdown::new()).await.unwrap();
    assert_eq!(bench.counts().await.accepted, 0, "the relay is paused for five minutes");
    let mut tx = bench.db.write().await.unwrap();
    relays::pause(&mut tx, "main", Some(now(&bench.db).await - SECOND), None).await.unwrap();
    tx.commit().await.unwrap();
    bench.clock = other(-11);
    bench.engine().run_edition(mode, &Shutdown::new()).await.unwrap();
    assert_eq!(bench.counts().await.accepted, 5, "the pause is over");
}

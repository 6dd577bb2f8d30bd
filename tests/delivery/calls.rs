//! Calls from one process to another, on PostgreSQL: heard at once, and still heard when the connection that listens was
//! lost.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use matinale::db::{Db, Options, on};
use matinale::delivery::CHANNEL;
use matinale::editions::{self, EditionState, Who};
use matinale::lifecycle::Shutdown;

use super::ground::{Bench, at_noon, prepare_with};
use crate::support::databases;
use crate::support::faulty::{Faulty, Offer};
use crate::support::lossy::Lossy;

/// Nothing here takes so long, however much the machine has to do.
const LONG: Duration = Duration::from_secs(60);
const ROUNDS: u64 = 5;

/// The server's processes that listen for us.
async fn listeners(db: &Db) -> Vec<i32> {
    let sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    let mut conn = db.read().await.unwrap();
    let matinale::db::Side::Postgres(c) = conn.side() else { unreachable!("it is on PostgreSQL") };
    sqlx::query_scalar(sql).fetch_all(c).await.unwrap()
}

/// The one that listens, once it is another than this one.
async fn listener_beside(db: &Db, old: Option<i32>) -> i32 {
    let found = async {
        loop {
            if let [one] = listeners(db).await[..]
                && Some(one) != old
            {
                return one;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, found).await.expect("somebody listens")
}

async fn terminate(db: &Db, pid: i32) {
    let mut conn = db.read().await.unwrap();
    let sql = "SELECT pg_terminate_backend($1)";
    let matinale::db::Side::Postgres(c) = conn.side() else { unreachable!("it is on PostgreSQL") };
    let ended: bool = sqlx::query_scalar(sql).bind(pid).fetch_one(c).await.unwrap();
    assert!(ended);
}

async fn call(db: &Db) {
    let mut tx = db.write().await.unwrap();
    tx.notify(CHANNEL).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_who_lost_the_connection_that_listens_is_told_to_look_and_hears_the_next_call() {
    if !databases::postgres_wanted() {
        return;
    }
    let test = databases::postgres().await;
    let mut notices = test.db.listen(CHANNEL).await.unwrap().expect("there is somebody to call");
    call(&test.db).await;
    tokio::time::timeout(LONG, notices.next()).await.expect("a call").unwrap();
    let lost = listener_beside(&test.db, None).await;
    terminate(&test.db, lost).await;
    // Nobody called: what might have been missed is looked for all the same.
    tokio::time::timeout(LONG, notices.next()).await.expect("a lost connection is a call").unwrap();
    assert_ne!(listener_beside(&test.db, Some(lost)).await, lost);
    call(&test.db).await;
    tokio::time::timeout(LONG, notices.next()).await.expect("a call after that").unwrap();
}

/// One more mail becomes due of an edition that somebody holds, and they let it go on; how long until the mail is there.
async fn round(bench: &Bench, server: &Faulty, number: u64) -> Duration {
    move_edition(bench, EditionState::Held).await;
    let mut tx = bench.db.write().await.unwrap();
    let sql =
        "UPDATE delivery SET next_at = 0 WHERE id = (SELECT MIN(id) FROM delivery WHERE state = 'planned')";
    on!(&mut tx, |c| sqlx::query(sql).execute(c).await.map(drop).unwrap());
    tx.commit().await.unwrap();
    move_edition(bench, EditionState::Sending).await;
    let called = Instant::now();
    tokio::time::timeout(LONG, server.until(number)).await.expect("p4: what goes on is sent");
    called.elapsed()
}

/// As every process does it that holds an edition or lets it go on.
async fn move_edition(bench: &Bench, to: EditionState) {
    let mut tx = bench.db.write().await.unwrap();
    let edition = editions::store::load(&mut tx, bench.edition).await.unwrap();
    let (who, now) = (Who::command_line(), bench.clock.now());
    assert!(editions::store::set_state(&mut tx, &edition, to, None, &who, now).await.unwrap());
    tx.notify(CHANNEL).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_p4_a_daemon_whose_listening_connection_was_lost_listens_anew_and_comes_when_it_is_called() {
    // How often the new connection is lost too, before it listens: by the first way it is there at once, by the other the
    // daemon tries again later.
    for lost in [0, 1] {
        let Some(url) = databases::postgres_url() else { return };
        let (lossy, daemons_url) = Lossy::start(&url);
        let open =
            async |url: &str| Db::open(&Options { connections: 6, ..Options::new(url) }).await.unwrap();
        let (db, daemons) = (open(&url).await, open(&daemons_url).await);
        db.migrate().await.unwrap();
        let offer = Offer { pipelining: true, ..Offer::default() };
        let server = Faulty::start(offer, HashMap::new(), [].into(), Vec::new()).await;
        let relay = format!("url = \"smtp://{}?tls=none\"", server.address);
        let readers: Vec<String> = (0..ROUNDS).map(|n| format!("r{n}@example.org")).collect();
        let bench = prepare_with(db.clone(), "", &relay, at_noon(), &readers).await;
        let mut tx = db.write().await.unwrap();
        let sql = "UPDATE delivery SET next_at = deadline - 1";
        on!(&mut tx, |c| sqlx::query(sql).execute(c).await.map(drop).unwrap());
        tx.commit().await.unwrap();
        let (engine, shutdown) = (bench.engine_on(daemons), Shutdown::new());
        let stop = shutdown.clone();
        // One that looks by itself twice a second: what is there much sooner was called.
        let daemon = tokio::spawn(async move { engine.run(&shutdown).await });
        let old = listener_beside(&db, None).await;
        lossy.lose_listens(lost);
        terminate(&db, old).await;
        listener_beside(&db, Some(old)).await;
        assert_eq!(lossy.listens_to_lose(), 0, "it was lost as often as it should");
        // Each but the first begins right after the daemon looked, so that it would look by itself half a second later.
        let mut took = Vec::new();
        for number in 1..=ROUNDS {
            took.push(round(&bench, &server, number).await);
        }
        took.remove(0);
        took.sort_unstable();
        // All but one: a look by itself may happen to fall together with a call, and the machine may be busy once.
        assert!(took[took.len() - 2] < Duration::from_millis(250), "lost {lost} times more: p4: {took:?}");
        stop.drain();
        tokio::time::timeout(LONG, daemon).await.expect("it ends").unwrap();
        assert_eq!(bench.counts().await.accepted, i64::try_from(ROUNDS).unwrap());
    }
}

//! The probes.

use std::sync::Arc;
use std::time::Duration;

use matinale::clock::{Clock, Random};
use matinale::db::{Db, Options, on};
use matinale::delivery::relay::store as relays;
use matinale::lifecycle::Shutdown;
use matinale::readers::links::Links;
use matinale::web;

use super::{config, get};
use crate::delivery::ground::{LONGEST, prepare_with};
use crate::support::databases::{self, both};
use crate::support::disk::SmallDisk;
use crate::support::lossy::Lossy;

fn state(db: &Db) -> web::State {
    web::State::new(Arc::new(config()), db.clone(), Clock::system(), Random::seeded(1), Links::new(b"key"))
}

/// What `/readyz` answers.
async fn ready_in(state: web::State) -> (u16, String) {
    let (status, _, text) = get(&web::routes(state), "/readyz", None).await;
    (status, text)
}

async fn ready(db: &Db) -> (u16, String) {
    ready_in(state(db)).await
}

#[tokio::test]
async fn p2_who_asks_whether_it_is_ready_is_told_what_is_missing() {
    for test in both().await {
        assert_eq!(ready(&test.db).await, (200, "ready\n".to_owned()), "{}", test.name);

        let mut tx = test.db.write().await.unwrap();
        relays::mark_down(&mut tx, "main", Clock::system().now(), "refused").await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(
            ready(&test.db).await,
            (503, "no relay takes the mail of m\n".to_owned()),
            "{}",
            test.name
        );

        let mut tx = test.db.write().await.unwrap();
        let older =
            "DELETE FROM _sqlx_migrations WHERE version = (SELECT MAX(version) FROM _sqlx_migrations)";
        on!(&mut tx, |c| sqlx::query(older).execute(c).await.map(drop).unwrap());
        // Whoever writes is not waited for.
        assert_eq!(
            ready(&test.db).await,
            (503, "no relay takes the mail of m\n".to_owned()),
            "{}",
            test.name
        );
        tx.commit().await.unwrap();
        let waits = (503, "the database waits for a migration\n".to_owned());
        assert_eq!(ready(&test.db).await, waits, "{}", test.name);
    }
}

#[tokio::test]
async fn p2_a_silent_server_is_not_waited_for_by_who_asks_whether_it_is_ready() {
    let Some(url) = databases::postgres_url() else { return };
    let (lossy, url) = Lossy::start(&url);
    let db = Db::open(&Options::new(&url)).await.unwrap();
    db.migrate().await.unwrap();
    assert_eq!(ready(&db).await.0, 200);
    lossy.freeze();
    let answer =
        tokio::time::timeout(Duration::from_secs(10), ready(&db)).await.expect("within five seconds");
    assert_eq!(answer, (503, "the database does not answer\n".to_owned()));
}

#[tokio::test]
async fn p2_a_server_that_takes_no_writes_is_told() {
    if !databases::postgres_wanted() {
        return;
    }
    let test = databases::postgres().await;
    let standby = Db::open_read_only(&Options::new(test.url.as_deref().unwrap())).await.unwrap();
    assert_eq!(ready(&standby).await, (503, "the database takes no writes\n".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_a_daemon_whose_ledger_cannot_be_kept_is_not_ready_until_it_can() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("SKIPPED: nothing may be mounted here");
        return;
    };
    let test = databases::sqlite_in(disk.path()).await;
    let (lease, relay) = ("lease = \"300ms\"", "url = \"smtp://127.0.0.1:1\"");
    let bench = prepare_with(test.db, lease, relay, Clock::system(), &[]).await;
    let (engine, shutdown) = (bench.engine(), Shutdown::new());
    let (sending, ends) = (engine.clone(), shutdown.clone());
    let daemon = tokio::spawn(async move { sending.run(&ends).await });
    let state = web::State { sending: Some(Arc::new(engine)), ..state(&bench.db) };
    let until = async |wanted: (u16, &str)| {
        let seen = async {
            loop {
                let (status, text) = ready_in(state.clone()).await;
                if (status, text.as_str()) == wanted {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LONGEST, seen).await.expect(wanted.1);
    };
    until((200, "ready\n")).await;
    disk.fill();
    until((503, "sending is in trouble: the log says which\n")).await;
    disk.empty();
    until((200, "ready\n")).await;
    shutdown.drain();
    daemon.await.unwrap();
}

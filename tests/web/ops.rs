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

/// What `/metrics` says of these, a line each.
async fn figures(state: web::State, names: &[&str]) -> Vec<String> {
    let (status, _, text) = get(&web::routes(state), "/metrics", None).await;
    assert_eq!(status, 200);
    let of_these = |line: &&str| names.iter().any(|name| line.starts_with(&format!("matinale_{name}{{")));
    text.lines().filter(of_these).map(str::to_owned).collect()
}

#[tokio::test]
async fn what_counts_whether_a_relay_takes_mail_counts_its_pauses_too() {
    for test in both().await {
        let relay = async || figures(state(&test.db), &["relay_up", "relay_paused"]).await;
        let told = |up: u8, paused: u8| {
            vec![
                format!("matinale_relay_up{{relay=\"main\"}} {up}"),
                format!("matinale_relay_paused{{relay=\"main\"}} {paused}"),
            ]
        };
        assert_eq!(relay().await, told(1, 0), "{}: nothing is known of it", test.name);
        let now = Clock::system().now();
        for (until, up, paused) in
            [(Some(i64::MAX), 0, 1), (Some(now.as_millisecond() - 3_600_000), 1, 0), (None, 1, 0)]
        {
            let mut tx = test.db.write().await.unwrap();
            relays::pause(&mut tx, "main", until, None).await.unwrap();
            tx.commit().await.unwrap();
            assert_eq!(relay().await, told(up, paused), "{} {until:?}", test.name);
        }
        let mut tx = test.db.write().await.unwrap();
        relays::mark_down(&mut tx, "main", now, "refused").await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(relay().await, told(0, 0), "{}", test.name);
    }
}

#[tokio::test]
async fn open_connections_are_told_where_they_are_counted_and_nowhere_else() {
    for test in both().await {
        let mut tx = test.db.write().await.unwrap();
        for sql in [
            "INSERT INTO pace (relay, provider, accepted) VALUES ('main', '', 7), ('main', 'google', 7)",
            "INSERT INTO daemon (lease_until, started_at, host, pid, birth) VALUES (0, 0, 'host', 1, '1')",
            "INSERT INTO connection (relay, provider, number, daemon, epoch)
             SELECT 'main', 'google', 1, id, epoch FROM daemon",
        ] {
            on!(&mut tx, |c| sqlx::query(sql).execute(c).await.map(drop).unwrap());
        }
        tx.commit().await.unwrap();
        for (providers, open) in [(false, None), (true, Some("google"))] {
            let mut config = config();
            config.relays.get_mut("main").unwrap().providers = providers;
            let state = web::State { config: Arc::new(config), ..state(&test.db) };
            let open: Vec<String> = open
                .into_iter()
                .map(|name| format!("matinale_provider_connections{{relay=\"main\",provider={name:?}}} 1"))
                .collect();
            let told = figures(state.clone(), &["provider_connections"]).await;
            assert_eq!(told, open, "{} {providers}", test.name);
            let limits = figures(state, &["provider_connections_limit"]).await;
            assert_eq!(limits.len(), 2, "{}: {limits:?}", test.name);
        }
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

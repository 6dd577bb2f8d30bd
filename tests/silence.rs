//! A PostgreSQL server that falls silent, or that is another one suddenly, while it is waited for.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Output, Stdio};
use std::time::Duration;

use matinale::db::{Db, Error, Options, on};
use sqlx::AssertSqlSafe;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::support::databases::{self, TestDb};
use crate::support::lossy::Lossy;

/// How long a server may be silent here.
const LIMIT: Duration = Duration::from_secs(4);
/// Longer than any of it takes.
const PATIENCE: Duration = Duration::from_secs(60);

async fn for_ever() -> Result<(), Error> {
    std::future::pending().await
}

/// A database, and a way to it that can be cut; `None` where PostgreSQL is skipped.
async fn behind_a_cable() -> Option<(TestDb, Lossy, String)> {
    if !databases::postgres_wanted() {
        return None;
    }
    let test = databases::postgres().await;
    let (lossy, way) = Lossy::start(test.url.as_deref().unwrap());
    Some((test, lossy, way))
}

/// Until the server itself says so.
async fn until(test: &TestDb, seen: &'static str) {
    let looking = async {
        loop {
            let mut conn = test.db.read().await.unwrap();
            let seen: bool = on!(&mut conn, |c| sqlx::query_scalar(seen).fetch_one(c).await.unwrap());
            if seen {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, looking).await.expect(seen);
}

#[tokio::test]
async fn p2_what_may_take_long_is_waited_for_while_the_server_answers_and_no_longer() {
    let Some((test, lossy, way)) = behind_a_cable().await else { return };
    let db = Db::open(&Options { timeout: LIMIT, ..Options::new(&way) }).await.unwrap();
    let waiting = tokio::spawn(async move { db.unless_lost(for_ever()).await });
    until(
        &test,
        "SELECT COALESCE(MAX(query_start - backend_start) > interval '4 s', false) FROM pg_stat_activity
         WHERE query LIKE '%pg_postmaster_start_time%' AND query NOT LIKE '%pg_stat_activity%' AND datname = current_database()",
    )
    .await;
    assert!(!waiting.is_finished(), "it answered for longer than the limit");
    lossy.freeze();
    let told = timeout(PATIENCE, waiting).await.expect("it is given up").unwrap();
    assert!(matches!(told, Err(Error::Silent(told)) if told == LIMIT), "{told:?}");
}

#[tokio::test]
async fn p2_a_server_that_says_no_to_one_more_connection_is_there() {
    if !databases::postgres_wanted() {
        return;
    }
    let test = databases::postgres().await;
    let url = test.url.as_deref().unwrap();
    let limit = Duration::from_secs(1);
    let db = Db::open(&Options { timeout: limit, ..Options::new(url) }).await.unwrap();
    let mut conn = db.read().await.unwrap();
    let name: String =
        on!(&mut conn, |c| sqlx::query_scalar("SELECT current_database()").fetch_one(c).await.unwrap());
    let elsewhere = Db::open(&Options::new(&url.replace(&name, "postgres"))).await.unwrap();
    let closed = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false");
    let mut there = elsewhere.writer().await.unwrap();
    on!(&mut there, |c| sqlx::query(AssertSqlSafe(closed)).execute(c).await.map(drop).unwrap());
    // Three times the limit, and the server's own.
    let work = async {
        on!(&mut conn, |c| sqlx::query("SELECT pg_sleep(3)").execute(c).await.map(drop))?;
        Ok::<_, Error>(())
    };
    db.unless_lost(work).await.expect("it is there and at it");
}

#[tokio::test]
async fn p2_nobody_waits_for_what_was_asked_of_a_server_that_began_anew() {
    if !databases::postgres_wanted() {
        return;
    }
    let quiet = databases::QUIET.read().await;
    let test = databases::restartable().await;
    let url = test.url.as_deref().unwrap();
    let db = Db::open(&Options { timeout: LIMIT * 5, ..Options::new(url) }).await.unwrap();
    let waiting = tokio::spawn(async move { db.unless_lost(for_ever()).await });
    until(
        &test,
        "SELECT COUNT(*) > 0 FROM pg_stat_activity
         WHERE query LIKE '%pg_postmaster_start_time%' AND query NOT LIKE '%pg_stat_activity%' AND state = 'idle' AND datname = current_database()",
    )
    .await;
    drop(quiet);
    databases::restart().await;
    let told = timeout(PATIENCE, waiting).await.expect("it is given up").unwrap();
    assert!(matches!(told, Err(Error::Restarted)), "{told:?}");
}

#[tokio::test]
async fn p2_a_command_ends_and_says_why_when_its_server_falls_silent() {
    let Some((test, lossy, way)) = behind_a_cable().await else { return };
    let mut lock = test.db.write().await.unwrap();
    on!(&mut lock, |c| sqlx::query("LOCK TABLE subscriber").execute(c).await.map(drop).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let (file, key) = (folder.path().join("matinale.toml"), folder.path().join("secret.key"));
    std::fs::write(&key, "no key of any kind\n").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let text =
        format!("[database]\nurl = \"{way}\"\ntimeout = \"4s\"\n[keys]\nsecret_file = \"secret.key\"\n");
    std::fs::write(&file, text).unwrap();
    let command = Command::new(env!("CARGO_BIN_EXE_matinale"))
        .arg("--config")
        .arg(&file)
        .args(["subscriber", "list"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut command = tokio::spawn(command.wait_with_output());
    let waits = until(
        &test,
        "SELECT COUNT(*) > 0 FROM pg_stat_activity
         WHERE wait_event_type = 'Lock' AND datname = current_database()",
    );
    tokio::select! {
        () = waits => {}
        ended = &mut command => panic!("it ended before: {:?}", ended.unwrap().unwrap()),
    }
    lossy.freeze();
    let ended = timeout(PATIENCE, command).await.expect("it ends").unwrap().unwrap();
    let Output { status, stderr, .. } = ended;
    let told = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{told}");
    assert!(told.contains("PostgreSQL cannot be reached, or has not answered for 4s"), "{told}");
}

//! A PostgreSQL server that falls silent, or that is another one suddenly, while it is waited for.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Output, Stdio};
use std::time::Duration;

use matinale::db::{Db, Error, Options, on};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::support::databases;
use crate::support::lossy::Lossy;

/// Longer than any of it takes.
const PATIENCE: Duration = Duration::from_secs(60);

async fn for_ever() -> Result<(), Error> {
    std::future::pending().await
}

#[tokio::test]
async fn p10_what_may_take_long_is_waited_for_while_the_server_answers_and_no_longer() {
    let Some(url) = databases::postgres_url() else { return };
    let (lossy, url) = Lossy::start(&url);
    let limit = Duration::from_secs(1);
    let db = Db::open(&Options { timeout: limit, ..Options::new(&url) }).await.unwrap();
    let waiting = tokio::spawn(async move { db.unless_lost(for_ever()).await });
    sleep(limit * 3).await;
    assert!(!waiting.is_finished(), "it answers");
    lossy.freeze();
    let told = timeout(PATIENCE, waiting).await.expect("it is given up").unwrap();
    assert!(matches!(told, Err(Error::Silent(told)) if told == limit), "{told:?}");
}

#[tokio::test]
async fn p10_nobody_waits_for_what_was_asked_of_a_server_that_began_anew() {
    if !databases::postgres_wanted() {
        return;
    }
    let test = databases::restartable().await;
    let waiting = tokio::spawn({
        let db = test.db.clone();
        async move { db.unless_lost(for_ever()).await }
    });
    let watched = async {
        let watching = "SELECT COUNT(*) FROM pg_stat_activity WHERE query LIKE 'SELECT (EXTRACT%'
                        AND datname = current_database() AND state = 'idle'";
        while {
            let mut conn = test.db.read().await.unwrap();
            let count: i64 = on!(&mut conn, |c| sqlx::query_scalar(watching).fetch_one(c).await.unwrap());
            count == 0
        } {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, watched).await.expect("somebody looks");
    databases::restart().await;
    let told = timeout(PATIENCE, waiting).await.expect("it is given up").unwrap();
    assert!(matches!(told, Err(Error::Restarted)), "{told:?}");
}

#[tokio::test]
async fn p10_a_command_ends_and_says_why_when_its_server_falls_silent() {
    if !databases::postgres_wanted() {
        return;
    }
    let test = databases::postgres().await;
    let (lossy, way) = Lossy::start(test.url.as_deref().unwrap());
    let mut lock = test.db.write().await.unwrap();
    on!(&mut lock, |c| sqlx::query("LOCK TABLE subscriber").execute(c).await.map(drop).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("matinale.toml");
    let key = folder.path().join("secret.key");
    std::fs::write(&key, "no key of any kind\n").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let text =
        format!("[database]\nurl = \"{way}\"\ntimeout = \"1s\"\n[keys]\nsecret_file = \"secret.key\"\n");
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
    let waits = async {
        let waiting = "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'
                       AND datname = current_database()";
        while {
            let mut conn = test.db.read().await.unwrap();
            let count: i64 = on!(&mut conn, |c| sqlx::query_scalar(waiting).fetch_one(c).await.unwrap());
            count == 0
        } {
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        waits = timeout(PATIENCE, waits) => waits.expect("it waits for the table"),
        ended = &mut command => panic!("it ended before: {:?}", ended.unwrap().unwrap()),
    }
    lossy.freeze();
    let ended = timeout(PATIENCE, command).await.expect("it ends").unwrap().unwrap();
    let Output { status, stderr, .. } = ended;
    let told = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{told}");
    assert!(told.contains("PostgreSQL cannot be reached, or has not answered for 1s"), "{told}");
}

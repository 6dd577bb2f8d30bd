//! Daemons as processes of their own, and what signals and a hold do to them in mid-edition. What is measured is
//! printed: `cargo test --test house daemons -- --include-ignored --nocapture`, with nothing else running.

use std::collections::{HashMap, VecDeque};
use std::process::Stdio;
use std::str::FromStr as _;
use std::time::{Duration, Instant};

use matinale::clock::Clock;
use matinale::db::{Db, Engine, on};
use matinale::delivery::{Counts, Record, store};
use matinale::editions::{EditionId, EditionState};
use matinale::morning::stage::{NEWSLETTER, Setting, Stage, is_operators, letter};
use secrecy::ExposeSecret as _;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::process::{Child, Command};

use super::faults::one;
use crate::support::databases;
use crate::support::faulty::{Faulty, Offer};
use crate::support::lossy::Lossy;

/// Signals and holds are timed here: one at a time, or they time each other.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
const CONNECTIONS: u32 = 4;
/// So long the server thinks about each mail: long enough for an attempt to be open most of the time.
const PACE: Duration = Duration::from_millis(20);
/// So short a lease runs out in a test; on a machine with too much to do it runs out by itself, and doubles are told.
const LEASE: Duration = Duration::from_millis(900);
/// Where nobody is to be taken over, whatever the machine does meanwhile.
const LONG_LEASE: Duration = Duration::from_secs(120);
/// So long a machine with too much to do may need, and PostgreSQL to end a transaction that was stopped within, which
/// takes it 30 s.
const PATIENCE: Duration = Duration::from_secs(120);

const GONE: &str = "SELECT COUNT(*) FROM daemon WHERE pid = $1 AND gone = 1";
const LIVES: &str = "SELECT COUNT(*) FROM daemon WHERE pid = $1";

struct Ground {
    stage: Stage,
    edition: EditionId,
    server: Faulty,
    name: &'static str,
}

impl Ground {
    /// An edition that is being sent to so many, on a scratch ledger of this engine.
    async fn prepare(postgres: Option<String>, readers: i64, lease: Duration) -> Self {
        let offer = Offer { pipelining: true, pace: PACE, ..Offer::default() };
        let server = Faulty::start(offer, HashMap::new(), VecDeque::new(), Vec::new()).await;
        let name = if postgres.is_some() { "PostgreSQL" } else { "SQLite" };
        let stage = Stage::set(&Setting {
            postgres,
            relay: server.address,
            connections: CONNECTIONS,
            messages_per_connection: 50,
            lease,
            retry: Duration::from_millis(100),
            key: None,
        })
        .await
        .unwrap();
        stage.readers(1, readers).await.unwrap();
        let bytes = letter(3_000).unwrap().to_bytes();
        let edition = stage.edition(&[("fr".to_owned(), bytes)], 0).await.unwrap();
        assert_eq!(stage.plan(edition).await.unwrap(), readers);
        stage.start(edition).await.unwrap();
        Self { stage, edition, server, name }
    }

    fn db(&self) -> &Db {
        &self.stage.house.db
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_matinale"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_operators(name)) {
            command.env_remove(name);
        }
        command
            .arg("--config")
            .arg(&self.stage.file)
            .env("MATINALE__LOG__LEVEL", "error")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// A daemon on a host of its own, so that nobody can look whether its process lives.
    fn daemon(&self, host: &str) -> Child {
        let mut command = self.command();
        command.args(["serve", "--only", "send"]).env("MATINALE__DELIVERY__HOST", host).spawn().unwrap()
    }

    async fn number(&self, sql: &'static str, bound: i64) -> i64 {
        let mut conn = self.db().read().await.unwrap();
        on!(&mut conn, |c| sqlx::query_scalar(sql).bind(bound).fetch_one(c).await.unwrap())
    }

    async fn until_number(&self, sql: &'static str, bound: i64, least: i64) {
        let start = Instant::now();
        while self.number(sql, bound).await < least {
            assert!(start.elapsed() < PATIENCE, "{}: fewer than {least}: {sql}", self.name);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn counts(&self) -> Counts {
        store::counts(&mut self.db().read().await.unwrap(), self.edition).await.unwrap()
    }

    /// Stops a daemon at any moment but one: in the middle of a write it would keep SQLite's lock, and then nobody can take
    /// over, nor send.
    async fn put_to_sleep(&self, daemon: &Child) {
        let pid = daemon.id().unwrap();
        loop {
            signal(daemon, "STOP").await;
            let start = Instant::now();
            while !all_stopped(pid) {
                assert!(start.elapsed() < PATIENCE, "{}: the daemon does not stop, or is no more", self.name);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            if self.can_be_written().await {
                return;
            }
            let seen = self.server.dots();
            signal(daemon, "CONT").await;
            self.until_dots(seen + 1).await;
        }
    }

    /// Whether nobody has SQLite's lock. PostgreSQL has none for everybody.
    async fn can_be_written(&self) -> bool {
        if self.db().engine() == Engine::Postgres {
            return true;
        }
        let url = self.stage.house.config.database.url.expose_secret();
        let at_once = SqliteConnectOptions::from_str(url).unwrap().busy_timeout(Duration::ZERO);
        let mut conn = at_once.connect().await.unwrap();
        let free = sqlx::raw_sql("BEGIN IMMEDIATE; ROLLBACK").execute(&mut conn).await.is_ok();
        conn.close().await.unwrap();
        free
    }

    async fn until_dots(&self, least: usize) {
        let start = Instant::now();
        while self.server.dots() < least {
            assert!(start.elapsed() < PATIENCE, "{}: fewer than {least} dots", self.name);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn until_final(&self) {
        let start = Instant::now();
        while !self.counts().await.all_final() {
            assert!(start.elapsed() < Duration::from_secs(240), "{}: {:?}", self.name, self.counts().await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Every delivery held against the server's record.
    async fn judge(&self) -> (Vec<Record>, usize) {
        let mut conn = self.db().read().await.unwrap();
        let links = &self.stage.house.links;
        let page = store::page(&mut conn, self.edition, None, 100_000, links, "news.example").await;
        let records = page.unwrap().unwrap().records;
        let record = self.server.record_as_it_is();
        assert!(record.violations.is_empty(), "{:?}", record.violations);
        let mut doubled = 0;
        for delivery in &records {
            let to = delivery.email.as_deref().unwrap();
            let copies = record.taken.get(to).map_or(&[][..], Vec::as_slice);
            let said = record.said.get(to).map_or(&[][..], Vec::as_slice);
            let wrong = one(delivery, copies.len(), said, &Clock::system());
            assert!(wrong.is_empty(), "{} {to}: {wrong:?}\n{said:?}\n{:?}", self.name, delivery.attempts);
            assert!(copies.windows(2).all(|pair| pair[0] == pair[1]), "p2: {to}: other bytes");
            doubled += copies.len().saturating_sub(1);
        }
        (records, doubled)
    }
}

async fn signal(child: &Child, name: &str) {
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").arg(format!("-{name}")).arg(pid).status().await.unwrap().success());
}

/// Whether each thread of a process stands still: one that writes to the disk is stopped when it has written.
fn all_stopped(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads.flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('T'))
    })
}

async fn stop(mut daemons: Vec<Child>) {
    for daemon in &mut daemons {
        daemon.kill().await.unwrap();
    }
}

fn engines() -> Vec<Option<String>> {
    let mut out = vec![None];
    out.extend(databases::postgres_url().map(Some));
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_p3_a_daemon_stopped_and_woken_after_its_lease_doubles_nothing_that_is_not_told() {
    let _alone = ALONE.lock().await;
    for postgres in engines() {
        let ground = Ground::prepare(postgres, 1_200, LEASE).await;
        let mut sleeper = ground.daemon("a");
        let mut slept = 0;
        for host in ["b", "c"] {
            let seen = ground.server.dots();
            if seen > 600 {
                // On a machine with too much to do the first of them took so long to wake that half of it is over.
                break;
            }
            ground.until_dots(seen + 40).await;
            ground.put_to_sleep(&sleeper).await;
            let pid = i64::from(sleeper.id().unwrap());
            // Where there is too much to do it may have begun a life anew before.
            let (gone, lives) = (ground.number(GONE, pid).await, ground.number(LIVES, pid).await);
            let other = ground.daemon(host);
            ground.until_number(GONE, pid, gone + 1).await;
            signal(&sleeper, "CONT").await;
            // It finds that its life is over, and begins another one before it is told to end.
            ground.until_number(LIVES, pid, lives + 1).await;
            slept += 1;
            signal(&sleeper, "TERM").await;
            assert!(sleeper.wait().await.unwrap().success());
            sleeper = other;
        }
        ground.until_final().await;
        stop(vec![sleeper]).await;
        let (records, doubled) = ground.judge().await;
        let uncertain = records
            .iter()
            .flat_map(|record| &record.attempts)
            .filter(|attempt| attempt.outcome.as_deref() == Some("uncertain"))
            .count();
        eprintln!("{}: {slept} sleeps, {doubled} doubled, {uncertain} uncertain", ground.name);
        assert_eq!(ground.counts().await.accepted, 1_200);
        ground.stage.strike().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "counts in seconds: tests/run runs it when nothing else does"]
async fn p2_a_daemon_told_to_end_in_mid_edition_is_back_within_five_seconds_and_doubles_nothing() {
    let _alone = ALONE.lock().await;
    for postgres in engines() {
        let ground = Ground::prepare(postgres, 600, LONG_LEASE).await;
        for round in 1..=3_u64 {
            let mut daemon = ground.daemon("a");
            ground.server.until(round * 100).await;
            let start = Instant::now();
            signal(&daemon, "TERM").await;
            let status = daemon.wait().await.unwrap();
            let took = start.elapsed();
            eprintln!("{}: ended {} ms after SIGTERM", ground.name, took.as_millis());
            assert!(status.success(), "{status}");
            assert!(took < Duration::from_secs(5), "{took:?}");
            let open =
                ground.number("SELECT COUNT(*) FROM attempt WHERE outcome IS NULL AND $1 = 0", 0).await;
            let held =
                ground.number("SELECT COUNT(*) FROM delivery WHERE state = 'claimed' AND $1 = 0", 0).await;
            let here = ground.number("SELECT COUNT(*) FROM daemon WHERE gone = 0 AND $1 = 0", 0).await;
            assert_eq!((open, held, here), (0, 0, 0), "{}: open, claimed, not gone", ground.name);
        }
        let daemon = ground.daemon("a");
        ground.until_final().await;
        stop(vec![daemon]).await;
        let (records, doubled) = ground.judge().await;
        assert_eq!((ground.counts().await.accepted, doubled), (600, 0));
        assert!(records.iter().all(|record| record.attempts.len() == 1), "{}", ground.name);
        ground.stage.strike().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_a_second_signal_ends_a_daemon_whose_ledger_is_silent_and_what_was_open_is_told() {
    let _alone = ALONE.lock().await;
    let Some(url) = databases::postgres_url() else { return };
    let (lossy, url) = Lossy::start(&url);
    let ground = Ground::prepare(Some(url), 300, LEASE).await;
    let mut daemon = ground.daemon("a");
    ground.server.until(100).await;
    lossy.freeze();
    // Two that come before the daemon looked are one; so the second comes again until it is heard.
    let impatient = async {
        loop {
            signal(&daemon, "TERM").await;
            if let Ok(ended) = tokio::time::timeout(Duration::from_millis(500), daemon.wait()).await {
                return ended.unwrap();
            }
        }
    };
    let status = tokio::time::timeout(Duration::from_secs(60), impatient).await;
    let status = status.expect("it ends, whatever the ledger does");
    assert_eq!(status.code(), Some(1), "it did not finish");
    lossy.thaw();
    let daemon = ground.daemon("b");
    ground.until_final().await;
    stop(vec![daemon]).await;
    ground.judge().await;
    assert_eq!(ground.counts().await.accepted, 300);
    ground.stage.strike().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_p2_a_server_that_goes_without_a_word_is_given_up_and_another_connection_goes_on() {
    let _alone = ALONE.lock().await;
    let Some(url) = databases::postgres_url() else { return };
    let ground = Ground::prepare(Some(url), 300, LONG_LEASE).await;
    // The daemon's way alone: who looks from here loses nothing.
    let (lossy, way) = Lossy::start(ground.stage.house.config.database.url.expose_secret());
    let mut command = ground.command();
    command.env("MATINALE__DATABASE__URL", way).env("MATINALE__DATABASE__TIMEOUT", "1s");
    let daemon = command.args(["serve", "--only", "send"]).spawn().unwrap();
    for round in 1..=2_u64 {
        ground.server.until(round * 100).await;
        lossy.abandon();
    }
    ground.until_final().await;
    stop(vec![daemon]).await;
    ground.judge().await;
    assert_eq!(ground.counts().await.accepted, 300);
    ground.stage.strike().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "counts in seconds: tests/run runs it when nothing else does"]
async fn p4_a_hold_by_one_stops_three_daemons_within_a_second() {
    let _alone = ALONE.lock().await;
    let Some(url) = databases::postgres_url() else { return };
    let ground = Ground::prepare(Some(url), 2_000, LONG_LEASE).await;
    let daemons = vec![ground.daemon("a"), ground.daemon("b"), ground.daemon("c")];
    for round in 1..=3_u64 {
        ground.server.until(round * 500).await;
        move_by_command(&ground, "hold").await;
        let held = Instant::now();
        let before = ground.server.dots();
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        let (began, ended) = {
            let record = ground.server.record();
            (record.began.unwrap(), record.ended.unwrap())
        };
        let after = |at: Instant| at.saturating_duration_since(held);
        eprintln!(
            "held: the last message began {} ms after, the last body ended {} ms after; {} bodies of {}",
            after(began).as_millis(),
            after(ended).as_millis(),
            ground.server.dots() - before,
            before
        );
        assert!(after(began) < Duration::from_secs(1), "p4: a message began {:?} after", after(began));
        assert!(after(ended) < Duration::from_secs(1), "p4: a body ended {:?} after", after(ended));
        let connections = usize::try_from(CONNECTIONS).unwrap() * daemons.len();
        assert!(ground.server.dots() - before <= connections, "p4: more than was on the wire");
        assert_eq!(state(&ground).await, EditionState::Held);
        move_by_command(&ground, "resume").await;
    }
    ground.until_final().await;
    stop(daemons).await;
    let (_, doubled) = ground.judge().await;
    assert_eq!((ground.counts().await.accepted, doubled), (2_000, 0));
    ground.stage.strike().await.unwrap();
}

async fn state(ground: &Ground) -> EditionState {
    let mut conn = ground.db().read().await.unwrap();
    matinale::editions::store::load(&mut conn, ground.edition).await.unwrap().state
}

async fn move_by_command(ground: &Ground, verb: &str) {
    let done = ground.command().args(["edition", verb, NEWSLETTER]).output().await.unwrap();
    assert!(done.status.success(), "{verb}: {}", String::from_utf8_lossy(&done.stderr));
}

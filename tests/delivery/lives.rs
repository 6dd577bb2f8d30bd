//! Lives follow one another: what ends one of them ends no edition.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use matinale::db::{Db, Options, on};
use matinale::delivery::{Error, Mode};
use matinale::lifecycle::Shutdown;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::Registry;

use super::dots::break_english;
use super::ground::{Bench, LONGEST, at_noon, prepare_with};
use super::relays::listen;
use crate::support::databases::{self, both};
use crate::support::faulty::{Fault, Faulty, Offer, Phase, Step};
use crate::support::lossy::Lossy;

#[tokio::test]
async fn p1_an_edition_is_seen_through_though_the_database_is_away_for_a_while() {
    if !databases::postgres_wanted() {
        return;
    }
    let readers: Vec<String> = (0..40).map(|n| format!("r{n}@example.org")).collect();
    let test = databases::postgres().await;
    let (lossy, url) = Lossy::start(test.url.as_deref().expect("it is on PostgreSQL"));
    let short = Duration::from_secs(1);
    let db = Db::open(&Options { connections: 6, timeout: short, ..Options::new(&url) }).await.unwrap();
    let offer = Offer { pipelining: true, ..Offer::default() };
    let server = Faulty::start(offer, HashMap::new(), VecDeque::new(), Vec::new()).await;
    let relay = format!("url = \"smtp://{}?tls=none\"\nconnections = 2", server.address);
    let bench = prepare_with(test.db, "", &relay, at_noon(), &readers).await;
    lossy.freeze();
    let (engine, shutdown) = (bench.engine_on(db), Shutdown::new());
    let alone = engine.run_edition(bench.mode(), &shutdown).await;
    assert!(matches!(alone, Err(Error::Db(_))), "one life ends with it: {alone:?}");
    let back = async {
        while !engine.is_in_trouble() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        lossy.thaw();
    };
    let through = async { tokio::join!(engine.see_through(bench.mode(), &shutdown), back) };
    let (sent, ()) = tokio::time::timeout(LONGEST, through).await.expect("it ends");
    sent.unwrap();
    assert!(readers.iter().all(|reader| copies(&server, reader) == 1));
    assert!(!engine.is_in_trouble());
}

#[tokio::test]
async fn p1_an_edition_whose_newsletter_is_not_configured_is_told_once_and_not_by_each_turn() {
    let (heard, _listening) = listen();
    let test = databases::sqlite().await;
    let relay = format!("url = \"smtp://127.0.0.1:{}?tls=none\"", databases::free_port());
    let bench = prepare_with(test.db, "", &relay, at_noon(), &["r0@example.org".to_owned()]).await;
    let mut tx = bench.db.write().await.unwrap();
    let renamed = "UPDATE edition SET newsletter = 'renamed'";
    on!(&mut tx, |c| sqlx::query(renamed).execute(c).await.map(drop).unwrap());
    tx.commit().await.unwrap();
    let (engine, mode) = (bench.engine(), Mode { once: true, ..bench.mode() });
    for _ in 0..3 {
        engine.run_edition(mode, &Shutdown::new()).await.unwrap();
    }
    assert_eq!(bench.counts().await.planned, 1, "it waits for its newsletter");
    let text = heard.text();
    let told: Vec<&str> = text.lines().filter(|line| line.contains("an edition is passed over")).collect();
    assert_eq!(told.len(), 1, "{text}");
    for named in ["WARN", "newsletter.id=renamed", "edition.date=2026-11-24"] {
        assert!(told[0].contains(named), "{named}: {text}");
    }
    assert!(!engine.is_in_trouble(), "it may be another daemon's");
}

/// How many copies this reader has.
fn copies(server: &Faulty, reader: &str) -> usize {
    server.record().taken.get(reader).map_or(0, Vec::len)
}

/// How many attempts the ledger has doubts about.
async fn uncertain(bench: &Bench) -> i64 {
    let mut conn = bench.db.read().await.unwrap();
    let sql = "SELECT COUNT(*) FROM attempt WHERE outcome = 'uncertain'";
    on!(&mut conn, |c| sqlx::query_scalar(sql).fetch_one(c).await.unwrap())
}

/// A log that whoever tells this breaks over, so many times.
struct Breaks {
    over: &'static str,
    left: AtomicU32,
}

impl Breaks {
    fn listen(over: &'static str, times: u32) -> tracing::subscriber::DefaultGuard {
        let log = Registry::default().with(Self { over, left: AtomicU32::new(times) });
        tracing::subscriber::set_default(log)
    }
}

impl<S: tracing::Subscriber> Layer<S> for Breaks {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        let fewer = |left: u32| left.checked_sub(1);
        let breaks = text.0.contains(self.over)
            && self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, fewer).is_ok();
        assert!(!breaks, "it breaks over this");
    }
}

struct Text(String);

impl tracing::field::Visit for Text {
    fn record_debug(&mut self, _: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        write!(self.0, "{value:?} ").unwrap();
    }
}

#[tokio::test]
async fn p1_p2_what_a_broken_worker_had_in_hand_is_told_and_sent_again_and_all_else_is_sent_once() {
    let readers: Vec<String> = (0..20).map(|n| format!("r{n}@example.org")).collect();
    for test in both().await {
        let _log = Breaks::listen("the dot may have left unanswered", 1);
        let offer = Offer { pipelining: true, ..Offer::default() };
        let step = Step { phase: Phase::Dot, fault: Fault::Close, taken: true };
        let scripts = HashMap::from([("r3@example.org".to_owned(), VecDeque::from([step]))]);
        let server = Faulty::start(offer, scripts, VecDeque::new(), Vec::new()).await;
        let relay = format!("url = \"smtp://{}?tls=none\"\nconnections = 2", server.address);
        let bench = prepare_with(test.db, "retry = [\"20ms\"]", &relay, at_noon(), &readers).await;
        let (engine, shutdown) = (bench.engine(), Shutdown::new());
        let sent = tokio::time::timeout(LONGEST, engine.run_edition(bench.mode(), &shutdown)).await;
        sent.expect("it ends").unwrap();
        assert_eq!(bench.counts().await.accepted, 20);
        for reader in &readers {
            let expected = if reader == "r3@example.org" { 2 } else { 1 };
            assert_eq!(copies(&server, reader), expected, "{reader}");
        }
        assert_eq!(uncertain(&bench).await, 1);
    }
}

#[tokio::test]
async fn p1_what_broke_whoever_had_it_in_hand_waits_and_keeps_nobody_else_from_their_mail() {
    let readers: Vec<String> = (0..60).map(|n| format!("r{n}@example.org")).collect();
    for test in both().await {
        let _log = Breaks::listen("a message cannot be made", u32::MAX);
        let offer = Offer { pipelining: true, ..Offer::default() };
        let server = Faulty::start(offer, HashMap::new(), VecDeque::new(), Vec::new()).await;
        let relay = format!("url = \"smtp://{}?tls=none\"\nconnections = 2", server.address);
        let bench = prepare_with(test.db, "retry = [\"3s\"]", &relay, at_noon(), &readers).await;
        break_english(&bench, "'r0@example.org'").await;
        let (engine, shutdown) = (bench.engine(), Shutdown::new());
        let others = async {
            while bench.counts().await.accepted < 59 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            shutdown.drain();
        };
        let sent = async { tokio::join!(engine.run_edition(bench.mode(), &shutdown), others) };
        let (sent, ()) = tokio::time::timeout(LONGEST, sent).await.expect("it ends");
        sent.unwrap();
        let counts = bench.counts().await;
        assert_eq!((counts.accepted, counts.deferred), (59, 1), "{counts:?}");
        let twice = readers.iter().filter(|reader| copies(&server, reader) > 1).count();
        assert!(
            i64::try_from(twice).unwrap() <= uncertain(&bench).await,
            "an answer that broke with it is told"
        );
    }
}

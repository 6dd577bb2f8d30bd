//! Lives follow one another: what ends one of them ends no edition.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use matinale::db::on;
use matinale::delivery::Error;
use matinale::lifecycle::Shutdown;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::Registry;

use super::ground::{Bench, LONGEST, at_noon, prepare_with};
use crate::support::databases::both;
use crate::support::faulty::{Fault, Faulty, Offer, Phase, Step};

/// Takes a table away, or brings it back.
async fn rename(bench: &Bench, from: &str, to: &str) {
    let mut tx = bench.db.write().await.unwrap();
    let sql = format!("ALTER TABLE {from} RENAME TO {to}");
    on!(&mut tx, |c| sqlx::query(sqlx::AssertSqlSafe(sql)).execute(c).await.map(drop).unwrap());
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn p1_an_edition_is_seen_through_though_the_database_refuses_for_a_while() {
    let readers: Vec<String> = (0..40).map(|n| format!("r{n}@example.org")).collect();
    for test in both().await {
        let offer = Offer { pipelining: true, ..Offer::default() };
        let server = Faulty::start(offer, HashMap::new(), VecDeque::new(), Vec::new()).await;
        let relay = format!("url = \"smtp://{}?tls=none\"\nconnections = 2", server.address);
        let bench = prepare_with(test.db, "", &relay, at_noon(), &readers).await;
        // Every look at the relays reads it, and no release does.
        rename(&bench, "relay", "relay_away").await;
        let (engine, shutdown) = (bench.engine(), Shutdown::new());
        let alone = engine.run_edition(bench.mode(), &shutdown).await;
        assert!(matches!(alone, Err(Error::Db(_))), "one life ends with it: {alone:?}");
        let back = async {
            while !engine.is_in_trouble() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            rename(&bench, "relay_away", "relay").await;
        };
        let through = async { tokio::join!(engine.see_through(bench.mode(), &shutdown), back) };
        let (sent, ()) = tokio::time::timeout(LONGEST, through).await.expect("it ends");
        sent.unwrap();
        assert_eq!(bench.counts().await.accepted, 40);
        assert!(!engine.is_in_trouble());
    }
}

/// A log that the first one to tell this breaks over.
struct Breaks {
    over: &'static str,
    broke: AtomicBool,
}

impl<S: tracing::Subscriber> Layer<S> for Breaks {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        assert!(!text.0.contains(self.over) || self.broke.swap(true, Ordering::AcqRel), "it breaks");
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
        let breaks = Breaks { over: "the dot may have left unanswered", broke: AtomicBool::new(false) };
        let _log = tracing::subscriber::set_default(Registry::default().with(breaks));
        let offer = Offer { pipelining: true, ..Offer::default() };
        let step = Step { phase: Phase::Dot, fault: Fault::Close, taken: true };
        let scripts = HashMap::from([("r3@example.org".to_owned(), VecDeque::from([step]))]);
        let server = Faulty::start(offer, scripts, VecDeque::new(), Vec::new()).await;
        let relay = format!("url = \"smtp://{}?tls=none\"\nconnections = 2", server.address);
        let settings = "lease = \"1s\"\nretry = [\"20ms\"]";
        let bench = prepare_with(test.db, settings, &relay, at_noon(), &readers).await;
        let (engine, shutdown) = (bench.engine(), Shutdown::new());
        let sent = tokio::time::timeout(LONGEST, engine.run_edition(bench.mode(), &shutdown)).await;
        sent.expect("it ends").unwrap();
        assert_eq!(bench.counts().await.accepted, 20);
        let record = server.record_as_it_is();
        for reader in &readers {
            let copies = record.taken.get(reader).map_or(0, Vec::len);
            assert_eq!(copies, if reader == "r3@example.org" { 2 } else { 1 }, "{reader}");
        }
        let mut conn = bench.db.read().await.unwrap();
        let sql = "SELECT COUNT(*) FROM attempt WHERE outcome = 'uncertain'";
        let told: i64 = on!(&mut conn, |c| sqlx::query_scalar(sql).fetch_one(c).await.unwrap());
        assert_eq!(told, 1);
    }
}

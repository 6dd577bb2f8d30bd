//! What is said between an envelope and its dot counts: the release in front of the dot looks anew.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use matinale::clock::Clock;
use matinale::db::on;
use matinale::lifecycle::Shutdown;

use super::ground::{Bench, prepare_with};
use crate::support::databases::both;
use crate::support::faulty::{Fault, Faulty, Offer, Phase, Step};

const READER: &str = "r0@example.org";

async fn change(bench: &Bench, sql: &'static str) {
    let mut tx = bench.db.write().await.unwrap();
    on!(&mut tx, |c| sqlx::query(sql).execute(c).await.map(drop).unwrap());
    tx.commit().await.unwrap();
}

/// Changes something while the server has the envelope and has not asked for the body yet; gives back how many bodies
/// came, and how many attempts were opened, when that try is over.
async fn change_behind_the_envelope(bench: &Bench, server: &Faulty, sql: &'static str) -> (usize, i64) {
    let (engine, mode, shutdown) = (bench.engine(), bench.mode(), Shutdown::new());
    let stop = shutdown.clone();
    let daemon = tokio::spawn(async move { engine.run_edition(mode, &shutdown).await.unwrap() });
    let begun = async {
        while server.record().began.is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), begun).await.expect("its envelope came");
    change(bench, sql).await;
    server.let_go(1);
    tokio::time::timeout(Duration::from_secs(30), server.until(1)).await.expect("that try is over");
    stop.drain();
    tokio::time::timeout(Duration::from_secs(30), daemon).await.expect("it leaves").unwrap();
    let mut conn = bench.db.read().await.unwrap();
    let sql = "SELECT COUNT(*) FROM attempt";
    (server.dots(), on!(&mut conn, |c| sqlx::query_scalar(sql).fetch_one(c).await.unwrap()))
}

#[tokio::test]
async fn p4_a_hold_or_a_goodbye_between_envelope_and_dot_is_heeded() {
    for (sql, what) in [
        ("UPDATE edition SET state = 'held'", "held"),
        ("UPDATE subscription SET status = 'ended'", "goodbye"),
    ] {
        for test in both().await {
            let late =
                Step { phase: Phase::Data, fault: Fault::After(1, Box::new(Fault::Drip)), taken: false };
            let scripts = HashMap::from([(READER.to_owned(), VecDeque::from([late]))]);
            let offer = Offer { pipelining: true, ..Offer::default() };
            let server = Faulty::start(offer, scripts, VecDeque::new(), Vec::new()).await;
            let relay = format!("url = \"smtp://{}?tls=none\"\nconnections = 1", server.address);
            let bench =
                prepare_with(test.db.clone(), "", &relay, Clock::system(), &[READER.to_owned()]).await;
            let seen = change_behind_the_envelope(&bench, &server, sql).await;
            assert_eq!(seen, (0, 0), "p4: {what}, {}: no dot and no attempt", test.name);
            if what == "held" {
                change(&bench, "UPDATE edition SET state = 'sending'").await;
                bench.engine().run_edition(bench.mode(), &Shutdown::new()).await.unwrap();
                assert_eq!((server.dots(), bench.counts().await.accepted), (1, 1), "p1: {}", test.name);
            }
        }
    }
}

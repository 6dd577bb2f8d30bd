//! A dot that was released leaves at once, whatever becomes of the message behind it.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use matinale::clock::Clock;
use matinale::db::on;
use matinale::lifecycle::Shutdown;

use super::ground::prepare_with;
use crate::support::databases::sqlite;
use crate::support::faulty::{Faulty, Offer};

#[tokio::test]
async fn p4_a_released_dot_waits_neither_for_the_ledger_nor_for_the_next_message() {
    let readers: Vec<String> = (0..2).map(|n| format!("r{n}@example.org")).collect();
    let offer = Offer { pipelining: true, ..Offer::default() };
    let server = Faulty::start(offer, HashMap::new(), VecDeque::new(), Vec::new()).await;
    let relay = format!("url = \"smtp://{}?tls=none\"\nconnections = 1", server.address);
    let test = sqlite().await;
    let bench = prepare_with(test.db, "", &relay, Clock::system(), &readers).await;
    // The second reader's mail cannot be made: what was rendered in their language is broken.
    let mut tx = bench.db.write().await.unwrap();
    for sql in [
        "UPDATE subscriber SET language = 'en' WHERE address = 'r1@example.org'",
        "INSERT INTO rendering (edition, revision, language, prepared) SELECT edition, revision, 'en', x'00' FROM rendering",
    ] {
        on!(&mut tx, |c| sqlx::query(sql).execute(c).await.map(drop).unwrap());
    }
    tx.commit().await.unwrap();
    let (engine, mode, shutdown) = (bench.engine(), bench.mode(), Shutdown::new());
    let stop = shutdown.clone();
    let daemon = tokio::spawn(async move { engine.run_edition(mode, &shutdown).await });
    let released = async {
        let sql = "SELECT COUNT(*) FROM attempt";
        loop {
            let mut conn = bench.db.read().await.unwrap();
            let count: i64 = on!(&mut conn, |c| sqlx::query_scalar(sql).fetch_one(c).await.unwrap());
            if count > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), released).await.expect("it was released");
    // From now on nobody else can write.
    let tx = bench.db.write().await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), server.until(1)).await.expect("its dot came");
    drop(tx);
    stop.drain();
    daemon.await.unwrap().unwrap();
    assert_eq!((bench.counts().await.accepted, bench.counts().await.planned), (1, 1));
}

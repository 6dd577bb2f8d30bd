//! Messages that cannot be made.

use std::time::Duration;

use matinale::clock::Random;
use matinale::db::on;
use matinale::delivery::store;
use matinale::lifecycle::Shutdown;
use matinale::web;

use super::ground::{Bench, LONGEST, prepare};
use crate::support::databases::both;
use crate::support::smtp::Scripted;
use crate::web::get;

/// What `/readyz` answers.
async fn ready(bench: &Bench) -> (u16, String) {
    let (db, clock, links) = (bench.db.clone(), bench.clock.clone(), bench.links.clone());
    let state = web::State::new(bench.config.clone(), db, clock, Random::seeded(1), links);
    let (status, _, text) = get(&web::routes(state), "/readyz", None).await;
    (status, text)
}

async fn set_prepared(bench: &Bench, bytes: &[u8]) {
    let mut tx = bench.db.write().await.unwrap();
    let sql = "UPDATE rendering SET prepared = $1";
    on!(&mut tx, |c| sqlx::query(sql).bind(bytes).execute(c).await.map(drop).unwrap());
    tx.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_a_daemon_that_can_make_no_message_of_an_edition_is_not_ready_until_it_can() {
    for test in both().await {
        let server = Scripted::start(true).await;
        let addresses: Vec<String> = (0..5).map(|n| format!("ok-n{n}@example.org")).collect();
        let bench = prepare(test.db.clone(), &server, &addresses).await;
        let sql = "SELECT prepared FROM rendering";
        let mut conn = bench.db.read().await.unwrap();
        let good: Vec<u8> = on!(&mut conn, |c| sqlx::query_scalar(sql).fetch_one(c).await.unwrap());
        drop(conn);
        set_prepared(&bench, b"nothing that could be sent").await;
        let (engine, shutdown) = (bench.engine(), Shutdown::new());
        let until = shutdown.clone();
        let daemon = tokio::spawn(async move { engine.run(&until).await });
        let unmade = async || store::list_unmade(&mut bench.db.read().await.unwrap()).await.unwrap();
        let seen = async {
            while unmade().await.is_empty() || bench.counts().await.claimed > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LONGEST, seen).await.expect(test.name);
        let cannot = (503, "the mail of test cannot be made: the log says why\n".to_owned());
        assert_eq!(ready(&bench).await, cannot, "{}", test.name);
        assert_eq!(bench.counts().await.planned, 5, "{}: it waits", test.name);
        set_prepared(&bench, &good).await;
        // Each is tried again after a minute.
        bench.clock.set_civil(bench.clock.civil() + Duration::from_secs(120));
        let over = async {
            while !unmade().await.is_empty() || bench.counts().await.accepted < 5 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LONGEST, over).await.expect(test.name);
        assert_eq!(ready(&bench).await, (200, "ready\n".to_owned()), "{}", test.name);
        shutdown.drain();
        daemon.await.unwrap();
    }
}

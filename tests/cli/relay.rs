//! What is done to relays by hand.

use matinale::clock::Clock;
use matinale::db::{Db, Options, on};
use matinale::delivery::relay::store as relays;

use super::refusals::{answer, house};

#[tokio::test]
async fn p2_whoever_lets_a_relay_go_on_is_believed_that_it_is_no_longer_down() {
    let house = house("");
    answer(&house, &["migrate"]);
    let url = format!("sqlite:{}", house.path().join("test.db").display());
    let db = Db::open(&Options::new(&url)).await.unwrap();
    let mut tx = db.write().await.unwrap();
    relays::mark_down(&mut tx, "main", Clock::system().now(), "connection refused").await.unwrap();
    relays::pause(&mut tx, "main", Some(i64::MAX), None).await.unwrap();
    tx.commit().await.unwrap();
    answer(&house, &["relay", "resume", "main"]);
    let known = relays::list(&mut db.read().await.unwrap()).await.unwrap().remove(0);
    assert_eq!((known.down_since, known.reason, known.paused_until), (None, None, None));
}

#[tokio::test]
async fn a_relay_whose_open_connections_nobody_counts_is_listed_without_a_number_of_them() {
    let house = house("");
    answer(&house, &["migrate"]);
    let url = format!("sqlite:{}", house.path().join("test.db").display());
    let db = Db::open(&Options::new(&url)).await.unwrap();
    let mut tx = db.write().await.unwrap();
    let sql = "INSERT INTO pace (relay, provider, accepted) VALUES ('main', '', 7)";
    on!(&mut tx, |c| sqlx::query(sql).execute(c).await.map(drop).unwrap());
    tx.commit().await.unwrap();
    let told = answer(&house, &["relay", "list"]);
    assert!(told.contains("up to 10 connections"), "{told}");
    let told: serde_json::Value =
        serde_json::from_str(&answer(&house, &["--json", "relay", "list"])).unwrap();
    let whole = &told["providers"][0];
    assert_eq!((&whole["open"], &whole["connections"]), (&serde_json::Value::Null, &10.into()), "{told}");
}

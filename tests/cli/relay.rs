//! What is done to relays by hand.

use matinale::clock::Clock;
use matinale::db::{Db, Options};
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

//! The probes.

use std::sync::Arc;
use std::time::Duration;

use matinale::clock::{Clock, Random};
use matinale::db::{Db, Options, on};
use matinale::delivery::relay::store as relays;
use matinale::readers::links::Links;
use matinale::web;

use super::{config, get};
use crate::support::databases::{self, both};
use crate::support::lossy::Lossy;

/// What `/readyz` answers over this database.
async fn ready(db: &Db) -> (u16, String) {
    let state = web::State::new(
        Arc::new(config()),
        db.clone(),
        Clock::system(),
        Random::seeded(1),
        Links::new(b"key"),
    );
    let (status, _, text) = get(&web::routes(state), "/readyz", None).await;
    (status, text)
}

#[tokio::test]
async fn p10_who_asks_whether_it_is_ready_is_told_what_is_missing() {
    for test in both().await {
        assert_eq!(ready(&test.db).await, (200, "ready\n".to_owned()), "{}", test.name);

        let mut tx = test.db.write().await.unwrap();
        relays::mark_down(&mut tx, "main", Clock::system().now(), "refused").await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(
            ready(&test.db).await,
            (503, "no relay takes the mail of m\n".to_owned()),
            "{}",
            test.name
        );

        let mut tx = test.db.write().await.unwrap();
        let older =
            "DELETE FROM _sqlx_migrations WHERE version = (SELECT MAX(version) FROM _sqlx_migrations)";
        on!(&mut tx, |c| sqlx::query(older).execute(c).await.map(drop).unwrap());
        // Whoever writes is not waited for.
        let answer = ready(&test.db).await;
        assert_eq!(answer.0, 503, "{}: {}", test.name, answer.1);
        tx.commit().await.unwrap();
        let waits = (503, "the database waits for a migration\n".to_owned());
        assert_eq!(ready(&test.db).await, waits, "{}", test.name);
    }
}

#[tokio::test]
async fn p10_a_silent_server_is_not_waited_for_by_who_asks_whether_it_is_ready() {
    let Some(url) = databases::postgres_url() else { return };
    let (lossy, url) = Lossy::start(&url);
    let db = Db::open(&Options::new(&url)).await.unwrap();
    db.migrate().await.unwrap();
    assert_eq!(ready(&db).await.0, 200);
    lossy.freeze();
    let answer = tokio::time::timeout(Duration::from_secs(20), ready(&db)).await.expect("it answers");
    assert_eq!(answer, (503, "the database does not answer\n".to_owned()));
}

//! Who is not written to any more, because nobody is there: what counts for it.

use matinale::clock::{Clock, Random};
use matinale::db::{Db, on};
use matinale::morning::{House, dead};

use crate::delivery::ground::{Bench, prepare_with};
use crate::support::databases::both;

const READER: &str = "awa@example.org";
const DAY: i64 = 86_400_000;

async fn prepare(db: Db) -> (Bench, House) {
    let clock = Clock::manual("2026-11-24T05:00:00Z".parse().unwrap());
    let relay = "url = \"smtp://127.0.0.1:1?tls=none\"";
    let bench = prepare_with(db, "", relay, clock.clone(), &[READER.to_owned()]).await;
    let house = House::new((*bench.config).clone(), bench.db.clone(), clock, Random::seeded(1));
    (bench, house)
}

/// The reader is refused, so many days from now.
async fn refused(house: &House, class: &'static str, days: i64) {
    let mut tx = house.db.write().await.unwrap();
    let sql = "INSERT INTO attempt (delivery, number, daemon, epoch, at, relay, address, revision, language, date_at,
                                    date_offset, outcome, code, text, class)
               SELECT MIN(id), (SELECT COUNT(*) FROM attempt) + 1, 1, 1, $1, 'main', 'awa@example.org', 1, 'fr', 0, 0,
                      'rejected', 550, 'nobody', $2
               FROM delivery";
    let at = house.clock.now_ms() + days * DAY;
    on!(&mut tx, |c| sqlx::query(sql).bind(at).bind(class).execute(c).await.map(drop).unwrap());
    tx.commit().await.unwrap();
}

/// Another newsletter's edition reached the reader, so many days from now.
async fn reached(house: &House, days: i64) {
    let at = house.clock.now_ms() + days * DAY;
    let mut tx = house.db.write().await.unwrap();
    for sql in [
        "INSERT INTO edition (newsletter, date, state, lock_at, locked_at, created_at)
         VALUES ('other', '2026-11-20', 'sent', $1, $1, 0)",
        "INSERT INTO delivery (edition, subscriber, subscription, state, due_at, deadline, next_at, accepted_at)
         SELECT edition.id, subscriber.id, 0, 'accepted', 0, 0, 0, CAST($1 AS BIGINT)
         FROM edition
         CROSS JOIN subscriber
         WHERE edition.newsletter = 'other'",
    ] {
        on!(&mut tx, |c| sqlx::query(sql).bind(at).execute(c).await.map(drop).unwrap());
    }
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn t16_what_was_accepted_since_takes_away_what_was_said_of_its_domain_before() {
    for test in both().await {
        let (_bench, house) = prepare(test.db).await;
        for days in [-9, -8, -7] {
            refused(&house, "domain", days).await;
        }
        reached(&house, -6).await;
        assert_eq!(dead::suppress(&house).await.unwrap(), 0, "{}", test.name);
        for (days, suppressed) in [(-5, 0), (-4, 0), (-3, 1), (-2, 0)] {
            refused(&house, "domain", days).await;
            assert_eq!(dead::suppress(&house).await.unwrap(), suppressed, "{} {days}", test.name);
        }
    }
}

#[tokio::test]
async fn t16_what_was_said_weeks_ago_suppresses_nobody_today() {
    for test in both().await {
        let (_bench, house) = prepare(test.db).await;
        refused(&house, "dead", -29).await;
        for days in [-31, -30, -29, -1] {
            refused(&house, "domain", days).await;
        }
        assert_eq!(dead::suppress(&house).await.unwrap(), 0, "{}", test.name);
        refused(&house, "dead", -27).await;
        assert_eq!(dead::suppress(&house).await.unwrap(), 1, "{}", test.name);
    }
}

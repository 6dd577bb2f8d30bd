//! Who is not written to any more, because nobody is there: what counts for it.

use matinale::clock::{Clock, Random};
use matinale::db::{Db, on};
use matinale::morning::{House, dead};
use matinale::readers::store as readers;

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
    refused_in(house, "test", class, days).await;
}

/// The same in the edition of this newsletter.
async fn refused_in(house: &House, newsletter: &'static str, class: &'static str, days: i64) {
    let mut tx = house.db.write().await.unwrap();
    let sql = "INSERT INTO attempt (delivery, number, daemon, epoch, at, relay, address, revision, language, date_at,
                                    date_offset, outcome, code, text, class)
               SELECT MIN(delivery.id), (SELECT COUNT(*) FROM attempt) + 1, 1, 1, $1, 'main', 'awa@example.org', 1, 'fr',
                      0, 0, 'rejected', 550, 'nobody', $2
               FROM delivery
               JOIN edition ON edition.id = delivery.edition
               WHERE edition.newsletter = $3";
    let at = house.clock.now_ms() + days * DAY;
    on!(&mut tx, |c| sqlx::query(sql)
        .bind(at)
        .bind(class)
        .bind(newsletter)
        .execute(c)
        .await
        .map(drop)
        .unwrap());
    tx.commit().await.unwrap();
}

/// Another newsletter's edition reached the reader, so many days from now.
async fn reached(house: &House, days: i64) {
    owed(house, "other", "accepted", days).await;
}

/// Another newsletter's edition was owed to the reader, and came to this so many days from now.
async fn owed(house: &House, newsletter: &'static str, state: &'static str, days: i64) {
    let at = house.clock.now_ms() + days * DAY;
    let mut tx = house.db.write().await.unwrap();
    for sql in [
        "INSERT INTO edition (newsletter, date, state, lock_at, locked_at, created_at)
         VALUES ($2, '2026-11-20', 'sent', $1, $1, 0)",
        "INSERT INTO delivery (edition, subscriber, subscription, state, due_at, deadline, next_at, accepted_at)
         SELECT edition.id, subscriber.id, 0, $3, 0, 0, 0, CASE WHEN $3 = 'accepted' THEN CAST($1 AS BIGINT) END
         FROM edition
         CROSS JOIN subscriber
         WHERE edition.newsletter = $2",
    ] {
        on!(&mut tx, |c| {
            let query = sqlx::query(sql).bind(at).bind(newsletter);
            let query = if sql.contains("$3") { query.bind(state) } else { query };
            query.execute(c).await.map(drop).unwrap();
        });
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

#[tokio::test]
async fn t16_an_address_that_takes_nothing_is_suppressed_after_two_editions_and_not_after_two_tries_of_one() {
    for test in both().await {
        let (_bench, house) = prepare(test.db).await;
        for days in [-12, -11, -10] {
            refused(&house, "disabled", days).await;
        }
        assert_eq!(dead::suppress(&house).await.unwrap(), 0, "{}: one edition", test.name);
        // Somebody was there in between.
        reached(&house, -9).await;
        for (newsletter, days, suppressed) in [("second", -8, 0), ("third", -7, 1)] {
            owed(&house, newsletter, "rejected", days).await;
            refused_in(&house, newsletter, "disabled", days).await;
            assert_eq!(dead::suppress(&house).await.unwrap(), suppressed, "{} {newsletter}", test.name);
        }
    }
}

#[tokio::test]
async fn t16_a_full_mailbox_a_policy_and_a_closed_address_of_last_month_suppress_nobody() {
    for test in both().await {
        let (_bench, house) = prepare(test.db).await;
        owed(&house, "second", "rejected", -29).await;
        refused(&house, "disabled", -30).await;
        refused_in(&house, "second", "disabled", -29).await;
        for class in ["full", "busy", "policy", "system", "crowded"] {
            refused(&house, class, -2).await;
            refused_in(&house, "second", class, -1).await;
        }
        assert_eq!(dead::suppress(&house).await.unwrap(), 0, "{}", test.name);
    }
}

#[tokio::test]
async fn t16_whoever_is_let_be_written_to_again_is_suppressed_by_what_is_said_from_then_on() {
    for test in both().await {
        let (bench, house) = prepare(test.db).await;
        owed(&house, "second", "rejected", -3).await;
        refused(&house, "disabled", -3).await;
        refused_in(&house, "second", "disabled", -3).await;
        for days in [-4, -3, -2] {
            refused(&house, "domain", days).await;
        }
        refused(&house, "dead", -1).await;
        dead::suppress(&house).await.unwrap();
        let mut tx = house.db.write().await.unwrap();
        let address = READER.parse().unwrap();
        let now = house.clock.now();
        assert!(readers::unsuppress(&mut tx, &bench.links, &address, now).await.unwrap(), "{}", test.name);
        assert!(!readers::unsuppress(&mut tx, &bench.links, &address, now).await.unwrap(), "{}", test.name);
        tx.commit().await.unwrap();
        assert_eq!(dead::suppress(&house).await.unwrap(), 0, "{}: an operator knows better", test.name);
        refused(&house, "dead", 1).await;
        assert_eq!(dead::suppress(&house).await.unwrap(), 1, "{}: and is told anew", test.name);
    }
}

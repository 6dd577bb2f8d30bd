//! When whose deliveries are due, whatever readers change while they are planned and afterwards.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use matinale::clock::time_zone;
use matinale::db::{Conn, Db, on};
use matinale::delivery::due::Morning;
use matinale::delivery::plan::{Plan, plan};
use matinale::delivery::store;
use matinale::editions::{self, EditionId, EditionState, Who};
use matinale::readers::SubscriberId;
use matinale::readers::links::Links;
use matinale::readers::store::prefer;

use super::ground::LONGEST;
use crate::support::databases;
use crate::support::readers;

/// A morning of the newsletter "test", which reads at half past six in Abidjan.
struct Day {
    date: &'static str,
    lock: &'static str,
}

const PLAIN: Day = Day { date: "2026-11-24", lock: "2026-11-24T05:00:00Z" };

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The edition of this day, open, and one reader who gave neither zone nor hour.
async fn prepare(db: &Db, day: &Day) -> (EditionId, SubscriberId) {
    let mut tx = db.write().await.unwrap();
    let address = "awa@example.org";
    let ids =
        readers::subscribe(&mut tx, &[readers::somebody(&Links::new(b"key"), address)], at(day.lock)).await;
    let (date, lock) = (day.date.parse().unwrap(), at(day.lock));
    let edition = editions::store::open(&mut tx, "test", date, lock, lock).await.unwrap();
    tx.commit().await.unwrap();
    (edition.id, ids[address])
}

/// Locks and plans it, in this transaction.
async fn lock(tx: &mut Conn, edition: EditionId, day: &Day) -> i64 {
    let zone: TimeZone = time_zone("Africa/Abidjan").unwrap();
    let (lock, who) = (at(day.lock), Who::clock());
    let current = editions::store::load(tx, edition).await.unwrap();
    // By the real clock, which is another than the civil one under `--at`.
    let real = at("2026-01-01T00:00:00Z");
    assert!(editions::store::set_state(tx, &current, EditionState::Locked, None, &who, real).await.unwrap());
    let morning = Morning {
        date: day.date.parse().unwrap(),
        lock,
        deadline: Time::constant(12, 0, 0, 0),
        window: Duration::from_secs(3 * 3600),
    };
    let hour = Time::constant(6, 30, 0, 0);
    plan(tx, &Plan { edition, newsletter: "test", morning, hour, zone: &zone }).await.unwrap()
}

/// A reader's own page.
async fn choose(tx: &mut Conn, reader: SubscriberId, zone: &str, hour: &str) {
    prefer(tx, reader, Some("fr"), Some(zone), Some(hour), at("2026-11-24T05:00:00Z")).await.unwrap();
}

/// When their delivery is due, and when it is too late.
async fn instants(db: &Db, edition: EditionId, reader: SubscriberId) -> Option<(String, String)> {
    let found = store::find_one(&mut db.read().await.unwrap(), edition, reader).await.unwrap()?;
    let text = |ms| Timestamp::from_millisecond(ms).unwrap().to_string();
    assert_eq!(found.next_at, found.due_at);
    Some((text(found.due_at), text(found.deadline)))
}

fn pair(due: &str, deadline: &str) -> Option<(String, String)> {
    Some((due.to_owned(), deadline.to_owned()))
}

/// Until somebody waits for a lock in this database.
async fn until_somebody_waits(db: &Db) {
    let sql = "SELECT COUNT(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
               WHERE NOT granted AND datname = current_database()";
    let seen = async {
        loop {
            let mut conn = db.read().await.unwrap();
            let waiting: i64 = on!(&mut conn, |c| sqlx::query_scalar(sql).fetch_one(c).await.unwrap());
            if waiting > 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONGEST, seen).await.expect("somebody waits");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_p5_who_changes_hour_and_zone_while_the_lock_plans_has_a_delivery_and_at_the_new_hour() {
    if !databases::postgres_wanted() {
        return;
    }
    let test = databases::postgres().await;
    let (edition, reader) = prepare(&test.db, &PLAIN).await;
    // Nobody can plan anything, but hours and zones are read.
    let mut before = test.db.write().await.unwrap();
    let sql = "LOCK TABLE delivery IN SHARE MODE";
    on!(&mut before, |c| sqlx::query(sql).execute(c).await.map(drop).unwrap());
    let db = test.db.clone();
    let planning = tokio::spawn(async move {
        let mut tx = db.write().await.unwrap();
        let planned = lock(&mut tx, edition, &PLAIN).await;
        tx.commit().await.unwrap();
        planned
    });
    until_somebody_waits(&test.db).await;
    let mut tx = test.db.write().await.unwrap();
    choose(&mut tx, reader, "America/Montreal", "07:15").await;
    tx.commit().await.unwrap();
    before.commit().await.unwrap();
    assert_eq!(planning.await.unwrap(), 1);
    let due = instants(&test.db, edition, reader).await;
    assert_eq!(due, pair("2026-11-24T12:15:00Z", "2026-11-24T17:00:00Z"));
}

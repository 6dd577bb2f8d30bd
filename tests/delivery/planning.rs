//! When whose deliveries are due, whatever readers change while they are planned and afterwards.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use matinale::clock::time_zone;
use matinale::db::{Conn, Db, Tx, on};
use matinale::delivery::due::Morning;
use matinale::delivery::plan::{Plan, plan, unseen};
use matinale::delivery::store;
use matinale::editions::{self, EditionId, EditionState, Who};
use matinale::morning::prefer::{import, prefer};
use matinale::readers::SubscriberId;
use matinale::readers::import::Options;
use matinale::readers::links::Links;
use matinale::readers::store::{self as room, NewSubscriber};

use super::ground::LONGEST;
use crate::support::databases::{self, both};
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
async fn instants(db: &Db, edition: EditionId, reader: SubscriberId) -> (String, String) {
    let found = store::find_one(&mut db.read().await.unwrap(), edition, reader)
        .await
        .unwrap()
        .expect("nobody is forgotten");
    let text = |ms| Timestamp::from_millisecond(ms).unwrap().to_string();
    assert_eq!(found.next_at, found.due_at);
    (text(found.due_at), text(found.deadline))
}

fn pair(due: &str, deadline: &str) -> (String, String) {
    (due.to_owned(), deadline.to_owned())
}

/// Until somebody waits for a lock in this database, in this task.
async fn until_somebody_waits<T>(db: &Db, task: &tokio::task::JoinHandle<T>) {
    let sql = "SELECT COUNT(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
               WHERE NOT granted AND datname = current_database()";
    let seen = async {
        loop {
            let mut conn = db.read().await.unwrap();
            let waiting: i64 = on!(&mut conn, |c| sqlx::query_scalar(sql).fetch_one(c).await.unwrap());
            if waiting > 0 {
                return;
            }
            assert!(!task.is_finished(), "it waits for nobody");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONGEST, seen).await.expect("somebody waits");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_p5_an_hour_that_nobody_had_before_the_lock_planned_leaves_nobody_out() {
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
    until_somebody_waits(&test.db, &planning).await;
    let mut tx = test.db.write().await.unwrap();
    // By a process that does not wait for the lock, and by somebody who is new.
    let (zone, hour, now) = (Some("America/Montreal"), Some("07:15"), at(PLAIN.lock));
    room::prefer(&mut tx, reader, Some("fr"), zone, hour, now).await.unwrap();
    let newcomer = NewSubscriber {
        timezone: Some("Europe/Paris".to_owned()),
        send_at: Some("08:45".to_owned()),
        ..readers::somebody(&Links::new(b"key"), "new@example.org")
    };
    let newcomer = readers::subscribe(&mut tx, &[newcomer], now).await["new@example.org"];
    tx.commit().await.unwrap();
    before.commit().await.unwrap();
    assert_eq!(planning.await.unwrap(), 2);
    let due = instants(&test.db, edition, reader).await;
    assert_eq!(due, pair("2026-11-24T12:15:00Z", "2026-11-24T17:00:00Z"));
    let due = instants(&test.db, edition, newcomer).await;
    assert_eq!(due, pair("2026-11-24T07:45:00Z", "2026-11-24T11:00:00Z"));
}

/// A reader changes hour and zone while this transaction plans, and has to wait until it ends.
async fn chosen_meanwhile(db: &Db, reader: SubscriberId, planning: Tx) {
    let own = db.clone();
    let choosing = tokio::spawn(async move {
        let mut tx = own.write().await.unwrap();
        choose(&mut tx, reader, "America/Montreal", "07:15").await;
        tx.commit().await.unwrap();
    });
    until_somebody_waits(db, &choosing).await;
    planning.commit().await.unwrap();
    choosing.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_who_changes_hour_and_zone_while_the_lock_plans_and_is_planned_before_is_moved_behind_it() {
    if !databases::postgres_wanted() {
        return;
    }
    // As it stands until somebody sends it late.
    for before in [None, Some(EditionState::Missed), Some(EditionState::Skipped)] {
        let test = databases::postgres().await;
        let (edition, reader) = prepare(&test.db, &PLAIN).await;
        if let Some(before) = before {
            let mut tx = test.db.write().await.unwrap();
            let open = editions::store::load(&mut tx, edition).await.unwrap();
            let (who, now) = (Who::clock(), at(PLAIN.lock));
            assert!(editions::store::set_state(&mut tx, &open, before, None, &who, now).await.unwrap());
            tx.commit().await.unwrap();
        }
        let mut planning = test.db.write().await.unwrap();
        assert_eq!(lock(&mut planning, edition, &PLAIN).await, 1);
        chosen_meanwhile(&test.db, reader, planning).await;
        let due = instants(&test.db, edition, reader).await;
        assert_eq!(due, pair("2026-11-24T12:15:00Z", "2026-11-24T17:00:00Z"), "{before:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_who_changes_hour_and_zone_while_a_lock_opens_its_own_edition_is_moved_behind_it() {
    if !databases::postgres_wanted() {
        return;
    }
    let test = databases::postgres().await;
    let (_, reader) = prepare(&test.db, &PLAIN).await;
    let next = Day { date: "2026-11-25", lock: "2026-11-25T05:00:00Z" };
    let mut planning = test.db.write().await.unwrap();
    unseen(&mut planning).await.unwrap();
    let (date, at) = (next.date.parse().unwrap(), at(next.lock));
    let edition = editions::store::open(&mut planning, "test", date, at, at).await.unwrap().id;
    assert_eq!(lock(&mut planning, edition, &next).await, 1);
    chosen_meanwhile(&test.db, reader, planning).await;
    let due = instants(&test.db, edition, reader).await;
    assert_eq!(due, pair("2026-11-25T12:15:00Z", "2026-11-25T17:00:00Z"));
}

#[tokio::test]
async fn p5_whoever_changes_hour_or_zone_keeps_no_more_than_the_newest_days_from_being_sent_late() {
    if !databases::postgres_wanted() {
        return;
    }
    let test = databases::postgres().await;
    let (edition, reader) = prepare(&test.db, &PLAIN).await;
    let mut tx = test.db.write().await.unwrap();
    let sql = "INSERT INTO edition (newsletter, date, state, lock_at, created_at)
               SELECT 'test', '2026-10-' || nth, 'skipped', 0, 0 FROM generate_series(11, 30) AS nth";
    on!(&mut tx, |c| sqlx::query(sql).execute(c).await.map(drop).unwrap());
    tx.commit().await.unwrap();
    let mut choosing = test.db.write().await.unwrap();
    choose(&mut choosing, reader, "America/Montreal", "07:15").await;
    let mut beside = test.db.write().await.unwrap();
    let sql = "SELECT date FROM (SELECT date FROM edition FOR UPDATE SKIP LOCKED) AS free ORDER BY date";
    let free: Vec<String> = on!(&mut beside, |c| sqlx::query_scalar(sql).fetch_all(c).await.unwrap());
    let oldest: Vec<String> = (11..=16).map(|nth| format!("2026-10-{nth}")).collect();
    assert_eq!(free, oldest, "{edition:?} is open: nobody locks it just now");
}

#[tokio::test]
async fn p5_a_change_of_hour_or_zone_before_the_claim_moves_both_instants() {
    let spring = Day { date: "2027-03-28", lock: "2027-03-27T22:00:00Z" };
    let autumn = Day { date: "2026-10-25", lock: "2026-10-24T22:00:00Z" };
    let cases = [
        // Later, and in another zone; a window that is longer than the deadline's morning.
        (&PLAIN, "Africa/Abidjan", "11:00", "2026-11-24T11:00:00Z", "2026-11-24T14:00:00Z"),
        (&PLAIN, "America/Montreal", "06:30", "2026-11-24T11:30:00Z", "2026-11-24T17:00:00Z"),
        // East of the lock the lock decides: the civil one, not `locked_at`.
        (&PLAIN, "Indian/Mauritius", "06:30", "2026-11-24T05:00:00Z", "2026-11-24T08:00:00Z"),
        (&PLAIN, "Africa/Abidjan", "04:00", "2026-11-24T05:00:00Z", "2026-11-24T12:00:00Z"),
        // The hour that is left out, and the one that comes twice.
        (&spring, "Europe/Paris", "02:30", "2027-03-28T01:30:00Z", "2027-03-28T10:00:00Z"),
        (&autumn, "Europe/Paris", "02:30", "2026-10-25T00:30:00Z", "2026-10-25T11:00:00Z"),
    ];
    for (day, zone, hour, due, deadline) in cases {
        for test in both().await {
            let (edition, reader) = prepare(&test.db, day).await;
            let mut tx = test.db.write().await.unwrap();
            assert_eq!(lock(&mut tx, edition, day).await, 1);
            tx.commit().await.unwrap();
            let mut tx = test.db.write().await.unwrap();
            choose(&mut tx, reader, zone, hour).await;
            tx.commit().await.unwrap();
            let moved = instants(&test.db, edition, reader).await;
            assert_eq!(moved, pair(due, deadline), "{}: {zone} {hour}", test.name);
            let counts = store::counts(&mut test.db.read().await.unwrap(), edition).await.unwrap();
            assert_eq!((counts.planned, counts.total()), (1, 1), "{}", test.name);
        }
    }
}

#[tokio::test]
async fn p5_an_import_moves_whom_it_changes_and_nothing_that_was_claimed_tried_or_is_over() {
    const MOVED: (&str, &str) = ("2026-11-24T09:00:00Z", "2026-11-24T12:00:00Z");
    const STAYS: (&str, &str) = ("2026-11-24T06:30:00Z", "2026-11-24T12:00:00Z");
    let cases = [
        ("planned", "sending", "Africa/Abidjan,09:00", MOVED),
        ("planned", "held", "Africa/Abidjan,09:00", MOVED),
        ("planned", "sending", ",", STAYS),
        ("claimed", "sending", "Africa/Abidjan,09:00", STAYS),
        ("deferred", "sending", "Africa/Abidjan,09:00", STAYS),
        ("accepted", "sent", "Africa/Abidjan,09:00", STAYS),
        ("planned", "sent", "Africa/Abidjan,09:00", STAYS),
    ];
    for (state, of, told, (due, deadline)) in cases {
        for test in both().await {
            let (edition, reader) = prepare(&test.db, &PLAIN).await;
            let mut tx = test.db.write().await.unwrap();
            lock(&mut tx, edition, &PLAIN).await;
            for sql in [
                format!("UPDATE delivery SET state = '{state}'"),
                format!("UPDATE edition SET state = '{of}' WHERE id = {}", edition.0),
            ] {
                on!(&mut tx, |c| sqlx::query(sqlx::AssertSqlSafe(sql)).execute(c).await.map(drop).unwrap());
            }
            tx.commit().await.unwrap();
            let house = matinale::morning::House::new(
                crate::web::config(),
                test.db.clone(),
                matinale::clock::Clock::manual(at(PLAIN.lock)),
                matinale::clock::Random::seeded(1),
            );
            let file = format!("email,timezone,send_at\nawa@example.org,{told}\nnew@example.org,,07:00\n");
            let (one, consent) = (Some("test".to_owned()), None);
            let options = Options { newsletters: ["test".to_owned()].into(), newsletter: one, consent };
            let taken = import(&house, file.as_bytes(), &options, at(PLAIN.lock), |_| Ok(())).await.unwrap();
            assert_eq!((taken.new, taken.refused), (1, 0), "{}", test.name);
            let moved = instants(&test.db, edition, reader).await;
            assert_eq!(moved, pair(due, deadline), "{}: {state}, {of}, {told:?}", test.name);
            let counts = store::counts(&mut test.db.read().await.unwrap(), edition).await.unwrap();
            assert_eq!(counts.total(), 1, "{}: who comes later has the next one", test.name);
        }
    }
}

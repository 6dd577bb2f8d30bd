//! The cap of a relay that warms up: what fits under it, what comes back of it, and where the rest goes.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use matinale::db::{Db, on};
use matinale::delivery::Mode;
use matinale::delivery::pace::{Providers, store as paces, view};
use matinale::lifecycle::Shutdown;

use super::mx::{readers, straight};
use crate::support::databases::{both, sqlite};
use crate::support::faulty::{Fault, Faulty, Offer, Opening, Phase, Step};
use crate::support::smtp::Scripted;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v7_what_does_not_fit_under_the_cap_leaves_through_the_other_relay() {
    for test in both().await {
        let server = Scripted::start(true).await;
        let spare = Scripted::start(true).await;
        let addresses: Vec<String> = readers("one.example", 20).chain(readers("slow.example", 5)).collect();
        let more = format!(
            "warm_up = {{ start = 7, growth = 1.5, from = \"2026-01-01\" }}\nweight = 1000\n\
             [relay.spare]\nurl = \"smtp://{}?tls=none\"\nweight = 0",
            spare.address
        );
        let (bench, _folder) = straight(test.db, server.address.port(), &more, &addresses).await;
        let counts = bench.send().await;
        assert_eq!(counts.accepted, 25, "{}: {counts:?}", test.name);
        assert_eq!(server.by_recipient().len(), 12, "{}: seven to one, all five to slow", test.name);
        assert_eq!(spare.by_recipient().len(), 13, "{}", test.name);
        let today = bench.clock.civil().to_zoned_datetime(jiff::tz::TimeZone::UTC).date().to_string();
        let warm = paces::warm_list(&mut bench.db.read().await.unwrap(), &today).await.unwrap();
        let warm: Vec<_> = warm.iter().map(|day| (day.provider.as_str(), day.cap, day.taken)).collect();
        assert_eq!(warm, [("one.example", 7, 7), ("slow", 7, 5)], "{}", test.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v7_of_a_cap_only_what_left_is_spent() {
    for test in both().await {
        let slow: Vec<String> = readers("slow.example", 5).collect();
        let waits = Step { phase: Phase::Dot, fault: Fault::After(1, Box::new(Fault::Drip)), taken: true };
        let scripts = slow.iter().map(|to| (to.clone(), VecDeque::from([waits.clone()]))).collect();
        let offer = Offer { pipelining: true, ..Offer::default() };
        let server = Faulty::start(offer, scripts, VecDeque::new(), Vec::new()).await;
        let more = "warm_up = { start = 7, growth = 1.5, from = \"2026-01-01\" }";
        let (bench, _folder) = straight(test.db, server.address.port(), more, &slow).await;
        let (engine, mode) = (bench.engine(), bench.mode());
        let daemon = tokio::spawn(async move { engine.run_edition(mode, &Shutdown::new()).await.unwrap() });
        server.until(1).await;
        // One is on the wire, the others wait for it; now somebody holds the edition, and they go back.
        let mut tx = bench.db.write().await.unwrap();
        let sql = "UPDATE edition SET state = 'held', held_from = 'sending'";
        on!(&mut tx, |c| sqlx::query(sql).execute(c).await.map(drop).unwrap());
        tx.commit().await.unwrap();
        let back = async {
            while bench.counts().await.planned < 3 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), back).await.expect(test.name);
        server.let_go(1);
        tokio::time::timeout(Duration::from_secs(30), daemon).await.expect(test.name).unwrap();
        assert_eq!(bench.counts().await.accepted, 1, "{}", test.name);
        let mut conn = bench.db.read().await.unwrap();
        let today = bench.clock.civil().to_zoned_datetime(jiff::tz::TimeZone::UTC).date().to_string();
        let warm = paces::warm_list(&mut conn, &today).await.unwrap();
        let warm: Vec<_> = warm.iter().map(|day| (day.provider.as_str(), day.cap, day.taken)).collect();
        assert_eq!(warm, [("slow", 7, 1)], "{}", test.name);
        // And whoever lists the relays sees it.
        let (relay, providers) = (&bench.config.relays["main"], Providers::built_in());
        let views = view(&mut conn, relay, &providers, &bench.clock).await.unwrap();
        let slow = views.iter().find(|view| view.provider == "slow").unwrap();
        assert_eq!(slow.warm_up, Some((1, 7)), "{}", test.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v7_what_comes_back_of_a_cap_is_had_again_before_the_ledger_was_told() {
    let test = sqlite().await;
    // The first connection finds nobody there, and everything waits for a second.
    let offer = Offer { pipelining: true, ..Offer::default() };
    let server = Faulty::start(offer, HashMap::new(), vec![Opening::Close].into(), Vec::new()).await;
    let addresses: Vec<String> = readers("one.example", 6).collect();
    let more = "warm_up = { start = 6, growth = 1.5, from = \"2026-01-01\" }\nconnections = 1";
    let (bench, _folder) = straight(test.db.clone(), server.address.port(), more, &addresses).await;
    let deaf =
        "CREATE TRIGGER deaf BEFORE UPDATE OF deferred ON warm_up BEGIN SELECT RAISE(ABORT, 'deaf'); END";
    alter(&bench.db, deaf).await;
    let sent = tokio::time::timeout(Duration::from_secs(60), bench.send()).await;
    assert_eq!(sent.expect("today").accepted, 6);
    let today = bench.clock.civil().to_zoned_datetime(jiff::tz::TimeZone::UTC).date().to_string();
    let warm = paces::warm_list(&mut bench.db.read().await.unwrap(), &today).await.unwrap();
    assert_eq!((warm[0].cap, warm[0].taken), (6, 6));
}

async fn alter(db: &Db, sql: &'static str) {
    let mut tx = db.write().await.unwrap();
    on!(&mut tx, |c| sqlx::query(sql).execute(c).await.map(drop).unwrap());
    tx.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v7_who_finds_nothing_of_a_cap_waits_ten_minutes_for_what_comes_back_and_then_for_tomorrow() {
    for test in both().await {
        let server = Scripted::start(true).await;
        let addresses: Vec<String> = readers("one.example", 8).collect();
        let more = "warm_up = { start = 8, growth = 1.5, from = \"2026-01-01\" }";
        let (bench, _folder) = straight(test.db, server.address.port(), more, &addresses).await;
        let today = bench.clock.civil().to_zoned_datetime(jiff::tz::TimeZone::UTC).date().to_string();
        let spent = async |taken: i64, emptied_at: i64| {
            let mut tx = bench.db.write().await.unwrap();
            let sql = "INSERT INTO warm_up (relay, provider, day, cap, taken, emptied_at)
                       VALUES ('main', 'one.example', $1, 8, $2, $3)
                       ON CONFLICT (relay, provider, day) DO UPDATE SET taken = $2, emptied_at = $3";
            on!(&mut tx, |c| sqlx::query(sql)
                .bind(&today)
                .bind(taken)
                .bind(emptied_at)
                .execute(c)
                .await
                .map(drop)
                .unwrap());
            tx.commit().await.unwrap();
        };
        let mode = Mode { once: true, ..bench.mode() };
        let waits = async |mode: Mode| -> Vec<i64> {
            bench.engine().run_edition(mode, &Shutdown::new()).await.unwrap();
            let mut conn = bench.db.read().await.unwrap();
            let sql = "SELECT next_at FROM delivery WHERE state = 'planned' OR state = 'deferred'";
            let next: Vec<i64> = on!(&mut conn, |c| sqlx::query_scalar(sql).fetch_all(c).await.unwrap());
            next.into_iter().map(|at| (at - bench.clock.civil_ms()) / 1000).collect()
        };
        // Another daemon took the last of it just now.
        spent(8, bench.clock.now_ms()).await;
        let soon = waits(mode).await;
        assert_eq!(soon.len(), 8, "{}", test.name);
        assert!(soon.iter().all(|wait| (400..=600).contains(wait)), "{}: {soon:?}", test.name);
        // It gave three of them back, and the rest left: they are had, and the cap is empty once more.
        spent(5, bench.clock.now_ms()).await;
        bench.clock.set_civil(bench.clock.civil() + Duration::from_secs(601));
        let soon = waits(mode).await;
        assert_eq!(soon.len(), 5, "{}", test.name);
        assert!(soon.iter().all(|wait| (400..=600).contains(wait)), "{}: {soon:?}", test.name);
        // Nothing came back in that time.
        spent(8, bench.clock.now_ms() - 501_000).await;
        bench.clock.set_civil(bench.clock.civil() + Duration::from_secs(601));
        let late = waits(mode).await;
        assert_eq!(late.len(), 5, "{}", test.name);
        assert!(late.iter().all(|wait| *wait > 36_000), "{}: {late:?}", test.name);
        assert_eq!(server.by_recipient().len(), 3, "{}", test.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v7_nothing_is_taken_of_a_cap_for_what_could_not_leave() {
    for test in both().await {
        let server = Scripted::start(true).await;
        let addresses: Vec<String> = readers("one.example", 8).collect();
        let more = "warm_up = { start = 8, growth = 1.5, from = \"2026-01-01\" }";
        let (bench, _folder) = straight(test.db, server.address.port(), more, &addresses).await;
        let mut tx = bench.db.write().await.unwrap();
        let sql = "INSERT INTO pace (relay, provider, suspended_until, holds_until, step, signalled_at)
                   VALUES ('main', 'one.example', $1, $1, 60000, $2)";
        let now = bench.clock.now_ms();
        on!(&mut tx, |c| sqlx::query(sql)
            .bind(now + 3_600_000)
            .bind(now)
            .execute(c)
            .await
            .map(drop)
            .unwrap());
        tx.commit().await.unwrap();
        let mode = Mode { once: true, ..bench.mode() };
        bench.engine().run_edition(mode, &Shutdown::new()).await.unwrap();
        assert_eq!(bench.counts().await.planned, 8, "{}", test.name);
        let today = bench.clock.civil().to_zoned_datetime(jiff::tz::TimeZone::UTC).date().to_string();
        let warm = paces::warm_list(&mut bench.db.read().await.unwrap(), &today).await.unwrap();
        assert_eq!(warm.len(), 0, "{}: {warm:?}", test.name);
    }
}

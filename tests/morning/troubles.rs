//! What the clock cannot do: it stands alone, is told once, and is over when it works again.

use std::time::Duration;

use matinale::clock::Random;
use matinale::delivery::relay::store as relays;
use matinale::delivery::store as ledger;
use matinale::editions::{self, EditionState};
use matinale::morning::tick::Troubles;
use matinale::morning::{House, store, tick};
use matinale::web;

use super::clock::{alarms, house, shared, sql, state};
use crate::support::databases::{both, sqlite};
use crate::support::readers;
use crate::web::get;

/// A newsletter that locks after the first one.
const SECOND: &str = "[newsletter.second]\nname = \"Second\"\nfrom = \"second@example.org\"\nlock = \"0 5 5 * * *\"\n\
    send_at = \"06:30\"\ntimezone = \"Africa/Abidjan\"\nrelays = [\"main\"]\ncheck_links = false";

/// An editor's decision that nobody can read: no step of that edition that needs a line-up succeeds.
const ODD_DECISION: &str = "INSERT INTO decision (edition, article, removed, words)
    SELECT edition.id, (SELECT MIN(id) FROM article), 0, '?' FROM edition WHERE newsletter = 'test' AND date = '2026-11-24'";

#[tokio::test]
async fn p1_one_newsletters_error_keeps_no_other_from_its_lock_and_no_alarm_from_being_raised() {
    let odd_row = "UPDATE edition SET words = '?' WHERE newsletter = 'test' AND date = '2026-11-24'";
    for odd in [odd_row, ODD_DECISION] {
        for test in both().await {
            let house = house(test.db, SECOND).await;
            tick::tick(&house).await.unwrap();
            sql(&house, odd).await;
            let since = shared(&house).await - Duration::from_secs(120);
            let mut tx = house.db.write().await.unwrap();
            relays::mark_down(&mut tx, "main", since, "refused").await.unwrap();
            tx.commit().await.unwrap();
            let down = format!("relay-down:main:{}", since.as_second());
            // The lock of `second` is later: it stands behind what cannot be done.
            house.clock.advance(Duration::from_secs(36 * 60));
            let told = tick::tick(&house).await.unwrap_err().to_string();
            assert!(told.contains("test: ") && told.contains("words"), "{}: {told}", test.name);
            let mut conn = house.db.read().await.unwrap();
            let second = editions::store::find(&mut conn, "second", "2026-11-24".parse().unwrap()).await;
            assert_eq!(second.unwrap().unwrap().state, EditionState::Locked, "{}", test.name);
            drop(conn);
            assert_eq!(alarms(&house).await, [down], "{}", test.name);
        }
    }
}

/// A look, a minute after the last, and what is told of it.
async fn look(house: &House, troubles: &Troubles) -> bool {
    house.clock.advance(Duration::from_secs(61));
    troubles.tell(house, tick::tick(house).await).await
}

#[tokio::test]
async fn p1_a_newsletter_whose_clock_fails_is_told_once_until_it_works_again() {
    for test in both().await {
        let house = house(test.db, "").await;
        let (troubles, beside) = (Troubles::default(), Troubles::default());
        assert!(look(&house, &troubles).await, "{}", test.name);
        let mended = "DELETE FROM decision";
        let mut told = Vec::new();
        for round in 1..=2 {
            sql(&house, ODD_DECISION).await;
            // The line-up of an open edition is refreshed every five minutes.
            house.clock.advance(Duration::from_secs(300));
            assert!(!look(&house, &troubles).await, "{}", test.name);
            assert_eq!(alarms(&house).await.len(), told.len(), "{}: it fails for a moment", test.name);
            told.insert(0, format!("clock:test:{}", house.clock.now().as_second()));
            for _ in 0..2 {
                look(&house, &troubles).await;
                look(&house, &beside).await;
            }
            // A daemon that was started anew meanwhile.
            let anew = Troubles::default();
            look(&house, &anew).await;
            look(&house, &anew).await;
            assert_eq!(alarms(&house).await, told, "{}: round {round}", test.name);
            assert!(troubles.last(), "{}", test.name);
            sql(&house, mended).await;
            assert!(look(&house, &troubles).await, "{}", test.name);
            assert!(!troubles.last(), "{}", test.name);
            look(&house, &beside).await;
        }
    }
}

#[tokio::test]
async fn p1_an_edition_under_way_that_lost_its_newsletter_is_told_until_that_is_back_or_all_of_it_is_over() {
    for test in both().await {
        let house = house(test.db, &format!("{SECOND}\nalerts = [\"second@example.org\"]")).await;
        let mut tx = house.db.write().await.unwrap();
        let people = [readers::somebody(&house.links, "a@one.example")];
        readers::subscribe(&mut tx, &people, house.clock.now()).await;
        tx.commit().await.unwrap();
        tick::tick(&house).await.unwrap();
        house.clock.advance(Duration::from_secs(1801));
        tick::tick(&house).await.unwrap();
        assert_eq!(state(&house, "2026-11-24").await, Some(EditionState::Locked), "{}", test.name);
        let mut config = (*house.config).clone();
        config.newsletters.remove("test");
        let without = House::new(config, house.db.clone(), house.clock.clone(), Random::seeded(1));
        let troubles = Troubles::default();
        let mut told = Vec::new();
        for round in 1..=2 {
            assert!(!look(&without, &troubles).await, "{}", test.name);
            assert_eq!(alarms(&house).await.len(), told.len(), "{}: it may be back in a moment", test.name);
            told.insert(0, format!("clock:house:{}", house.clock.now().as_second()));
            for _ in 0..3 {
                assert!(!look(&without, &troubles).await, "{}", test.name);
            }
            assert!(troubles.last(), "{}", test.name);
            assert_eq!(alarms(&house).await, told, "{}: round {round}", test.name);
            // It is being sent, so that its deadline ends it.
            assert_eq!(state(&house, "2026-11-24").await, Some(EditionState::Sending), "{}", test.name);
            if round == 1 {
                assert!(look(&house, &troubles).await && !troubles.last(), "{}", test.name);
            }
        }
        let copies = store::due_copies(&mut house.db.read().await.unwrap(), house.clock.now()).await.unwrap();
        assert!(copies.iter().all(|copy| copy.target == "second@example.org"), "{}: {copies:?}", test.name);
        assert!(copies[0].body.contains("the edition of 2026-11-24 of test: "), "{}", copies[0].body);
        // What nobody is owed anything of is not told.
        assert!(!copies[0].body.contains("2026-11-25"), "{}", copies[0].body);
        sql(&house, "UPDATE delivery SET state = 'expired'").await;
        assert!(look(&without, &troubles).await && !troubles.last(), "{}", test.name);
        assert_eq!(state(&house, "2026-11-24").await, Some(EditionState::Sent), "{}", test.name);
        told.insert(0, "undelivered:test:2026-11-24".to_owned());
        assert_eq!(alarms(&house).await, told, "{}", test.name);
        let copies = store::due_copies(&mut house.db.read().await.unwrap(), house.clock.now()).await.unwrap();
        assert_eq!(copies[2].target, "second@example.org", "{}: {copies:?}", test.name);
    }
}

#[tokio::test]
async fn p2_a_daemon_whose_clock_cannot_do_what_is_due_is_not_ready_until_it_can() {
    let test = sqlite().await;
    let house = house(test.db, "").await;
    let troubles = std::sync::Arc::new(Troubles::default());
    let (config, db) = (house.config.clone(), house.db.clone());
    let state = web::State::new(config, db, house.clock.clone(), house.random.clone(), house.links.clone());
    let routes = web::routes(web::State { looking: Some(troubles.clone()), ..state });
    look(&house, &troubles).await;
    assert_eq!(get(&routes, "/readyz", None).await.0, 200);
    sql(&house, ODD_DECISION).await;
    house.clock.advance(Duration::from_secs(300));
    look(&house, &troubles).await;
    let (status, _, text) = get(&routes, "/readyz", None).await;
    assert_eq!(
        (status, text.as_str()),
        (503, "the clock cannot do all that is due: the log says what\n"),
        "{text}"
    );
    sql(&house, "DELETE FROM decision").await;
    look(&house, &troubles).await;
    assert_eq!(get(&routes, "/readyz", None).await.0, 200);
}

#[tokio::test]
async fn p1_an_edition_of_which_no_message_can_be_made_is_told_once() {
    for test in both().await {
        let house = house(test.db, "").await;
        let people = [readers::somebody(&house.links, "a@one.example")];
        let mut tx = house.db.write().await.unwrap();
        readers::subscribe(&mut tx, &people, house.clock.now()).await;
        tx.commit().await.unwrap();
        tick::tick(&house).await.unwrap();
        house.clock.advance(Duration::from_secs(1801));
        for _ in 0..3 {
            tick::tick(&house).await.unwrap();
        }
        assert_eq!(state(&house, "2026-11-24").await, Some(EditionState::Sending), "{}", test.name);
        assert!(alarms(&house).await.is_empty(), "{}", test.name);
        let mut tx = house.db.write().await.unwrap();
        let date = "2026-11-24".parse().unwrap();
        let edition = editions::store::find(&mut tx, "test", date).await.unwrap().unwrap();
        ledger::mark_unmade(&mut tx, edition.id, house.clock.now(), "no key").await.unwrap();
        tx.commit().await.unwrap();
        for _ in 0..3 {
            tick::tick(&house).await.unwrap();
            assert_eq!(alarms(&house).await, ["unmade:test:2026-11-24"], "{}", test.name);
        }
    }
}

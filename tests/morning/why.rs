//! `why` says what a delivery really waits for.

use matinale::clock::{Clock, Random};
use matinale::db::on;
use matinale::delivery::{relay, shared_clock};
use matinale::editions::{self, EditionState, Who};
use matinale::morning::why::why;
use matinale::morning::{House, dead};

use crate::delivery::ground::{Bench, prepare_with};
use crate::support::databases::both;
use crate::support::names;

const READER: &str = "awa@example.org";

async fn story(house: &House) -> String {
    story_of(house, READER).await
}

async fn story_of(house: &House, address: &str) -> String {
    let newsletter = &house.config.newsletters["test"];
    let (date, address) = ("2026-11-24".parse().unwrap(), address.parse().unwrap());
    why(house, newsletter, date, &address).await.unwrap().join("\n")
}

async fn write(bench: &Bench, sql: &'static str, bound: i64) {
    let mut tx = bench.db.write().await.unwrap();
    on!(&mut tx, |c| sqlx::query(sql).bind(bound).execute(c).await.map(drop).unwrap());
    tx.commit().await.unwrap();
}

async fn move_to(bench: &Bench, state: EditionState, reason: Option<&str>) {
    let mut tx = bench.db.write().await.unwrap();
    let edition = editions::store::load(&mut tx, bench.edition).await.unwrap();
    let who = Who("desk".to_owned());
    assert!(
        editions::store::set_state(&mut tx, &edition, state, reason, &who, bench.clock.now()).await.unwrap()
    );
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn p6_what_a_delivery_waits_for_is_told_as_it_is() {
    for test in both().await {
        let clock = Clock::manual("2026-11-24T05:00:00Z".parse().unwrap());
        let relay = "url = \"smtp://127.0.0.1:1?tls=none\"";
        let resolver = names::start(&[("example.org", "MX 10 aspmx.l.google.com")]).await;
        let delivery = format!("resolver = \"{resolver}\"");
        let bench = prepare_with(test.db, &delivery, relay, clock.clone(), &[READER.to_owned()]).await;
        let house = House::new((*bench.config).clone(), bench.db.clone(), clock.clone(), Random::seeded(1));
        let told = async |what: &str| {
            let story = story(&house).await;
            assert!(story.contains(what), "{}: {what}\n{story}", test.name);
            story
        };
        told("No daemon is running").await;
        // One on another host, whose lease runs for a day more by whichever clock.
        let sql = "INSERT INTO daemon (lease_until, started_at, host, pid, birth) VALUES ($1, 0, 'elsewhere', 1, '1')";
        write(&bench, sql, Clock::system().now_ms() * 2).await;
        let story = told("It is due, and leaves when its turn comes.").await;
        assert!(!story.contains("No daemon") && !story.contains("waits for its hour"), "{story}");

        move_to(&bench, EditionState::Held, Some("the editor is asleep")).await;
        told("its edition is held (the editor is asleep)").await;
        move_to(&bench, EditionState::Sending, None).await;

        let mut tx = bench.db.write().await.unwrap();
        let shared = shared_clock(&mut tx, &clock).await.unwrap();
        relay::store::pause(&mut tx, "main", Some(shared + 60_000), Some("x")).await.unwrap();
        tx.commit().await.unwrap();
        let story = told("Relay main is paused until").await;
        assert!(!story.contains("when its turn comes"), "{story}");
        let mut tx = bench.db.write().await.unwrap();
        relay::store::pause(&mut tx, "main", None, None).await.unwrap();
        relay::store::mark_down(&mut tx, "main", clock.now(), "no route").await.unwrap();
        tx.commit().await.unwrap();
        told("Relay main has been left alone since").await;
        told("(no route)").await;
        let mut tx = bench.db.write().await.unwrap();
        relay::store::mark_up(&mut tx, "main").await.unwrap();
        tx.commit().await.unwrap();

        let warm = "INSERT INTO warm_up (relay, provider, day, cap, taken) VALUES ('main', 'google', '2026-11-24', $1, 500)";
        write(&bench, warm, 500).await;
        told("google had today's 500 mails").await;
        write(&bench, "DELETE FROM warm_up WHERE cap = $1", 500).await;

        let hour = clock.now_ms() + 1_800_000;
        write(&bench, "UPDATE delivery SET next_at = $1", hour).await;
        let story = told("It was put off until").await;
        assert!(!story.contains("waits for its hour"), "{story}");
        write(&bench, "UPDATE delivery SET due_at = $1", hour).await;
        told("It waits for its hour").await;
        write(&bench, "UPDATE delivery SET deadline = $1", clock.now_ms()).await;
        told("Its deadline has passed").await;
    }
}

#[tokio::test]
async fn p6_of_an_edition_that_was_never_locked_nothing_is_said_of_the_readers_subscription() {
    for test in both().await {
        let clock = Clock::manual("2026-11-24T05:00:00Z".parse().unwrap());
        let relay = "url = \"smtp://127.0.0.1:1?tls=none\"";
        let bench = prepare_with(test.db, "", relay, clock.clone(), &[READER.to_owned()]).await;
        let house = House::new((*bench.config).clone(), bench.db.clone(), clock.clone(), Random::seeded(1));
        let date = "2026-11-25".parse().unwrap();
        for (state, what) in [
            (None, "Nothing is planned yet"),
            (Some(EditionState::Skipped), "it was never locked"),
            (Some(EditionState::Cancelled), "it was never locked"),
        ] {
            let mut tx = bench.db.write().await.unwrap();
            let edition =
                editions::store::open(&mut tx, "test", date, clock.now(), clock.now()).await.unwrap();
            if let Some(state) = state {
                let (who, now) = (Who::clock(), clock.now());
                assert!(editions::store::set_state(&mut tx, &edition, state, None, &who, now).await.unwrap());
            }
            tx.commit().await.unwrap();
            let address = READER.parse().unwrap();
            let story =
                why(&house, &house.config.newsletters["test"], date, &address).await.unwrap().join("\n");
            assert!(story.contains(what) && !story.contains("no active"), "{}: {story}", test.name);
        }
    }
}

#[tokio::test]
async fn p6_the_troubles_of_other_receiving_providers_are_not_told_as_a_readers_own() {
    const STRANGER: &str = "ben@elsewhere.example";
    for test in both().await {
        let clock = Clock::manual("2026-11-24T05:00:00Z".parse().unwrap());
        let resolver = names::start(&[("example.org", "MX 10 mx.slow.example")]).await;
        let delivery = format!("resolver = \"{resolver}\"");
        let readers = [READER, STRANGER].map(str::to_owned);
        let bench = prepare_with(test.db, &delivery, "url = \"mx:\"", clock.clone(), &readers).await;
        let house = House::new((*bench.config).clone(), bench.db.clone(), clock.clone(), Random::seeded(1));
        let mut tx = bench.db.write().await.unwrap();
        let shared = shared_clock(&mut tx, &clock).await.unwrap();
        tx.rollback().await.unwrap();
        let suspended = "INSERT INTO pace (relay, provider, suspended_until, signalled_at)
                         SELECT 'main', name, $1, 1 FROM (SELECT 'slow.example' AS name UNION ALL SELECT 'yahoo'
                         UNION ALL SELECT 'small.example' UNION ALL SELECT 'other.example') AS names";
        write(&bench, suspended, shared + 3_600_000).await;
        let warm = "INSERT INTO warm_up (relay, provider, day, cap, taken) VALUES ('main', 'google', '2026-11-24', $1, 500)";
        write(&bench, warm, 500).await;
        let own = story(&house).await;
        assert!(own.contains("Relay main sends nothing to slow.example until"), "{}: {own}", test.name);
        for other in ["yahoo", "google", "small", "other"] {
            assert!(!own.contains(other), "{}: {other}\n{own}", test.name);
        }
        // Nobody says where the other's mail goes.
        let story = story_of(&house, STRANGER).await;
        for told in ["sends nothing to yahoo until", "google had today's", "to 3 of the smaller"] {
            assert!(story.contains(told), "{}: {told}\n{story}", test.name);
        }
        for other in ["slow.example", "small.example", "other.example"] {
            assert!(!story.contains(other), "{}: {other}\n{story}", test.name);
        }
        // One that could not be reached is written to all the same, unless it had its mails of the day.
        let down = "INSERT INTO pace (relay, provider, down_since, signalled_at)
                    SELECT 'main', name, $1, 1 FROM (SELECT 'far.example' AS name UNION ALL SELECT 'full.example') AS names";
        write(&bench, down, shared).await;
        let full = "INSERT INTO warm_up (relay, provider, day, cap, taken) VALUES ('main', 'full.example', '2026-11-24', $1, 9)";
        write(&bench, full, 9).await;
        let story = story_of(&house, STRANGER).await;
        let both_told = "Relay main sends nothing just now to 4 and has had trouble with 1 of the smaller";
        assert!(story.contains(both_told), "{}: {story}", test.name);
    }
}

#[tokio::test]
async fn t16_an_address_is_suppressed_when_its_domain_took_no_mail_on_three_days() {
    for test in both().await {
        let clock = Clock::manual("2026-11-24T05:00:00Z".parse().unwrap());
        let relay = "url = \"smtp://127.0.0.1:1?tls=none\"";
        let bench = prepare_with(test.db, "", relay, clock.clone(), &[READER.to_owned()]).await;
        let house = House::new((*bench.config).clone(), bench.db.clone(), clock.clone(), Random::seeded(1));
        let day = 86_400_000;
        for (tries, suppressed) in [(1, false), (2, false), (3, false), (4, true)] {
            // The second falls on the day of the first.
            let days = [0, 0, 1, 2][tries - 1];
            let sql = "INSERT INTO attempt (delivery, number, daemon, epoch, at, relay, address, revision, language, \
                       date_at, date_offset, outcome, code, class) \
                       SELECT id, (SELECT COUNT(*) FROM attempt) + 1, 1, 1, $1, 'main', 'awa@example.org', 1, 'fr', 0, 0, \
                       'rejected', 550, 'domain' FROM delivery";
            write(&bench, sql, clock.now_ms() + days * day).await;
            dead::suppress(&house).await.unwrap();
            let story = story(&house).await;
            assert_eq!(story.contains("suppressed since"), suppressed, "{} {tries}: {story}", test.name);
        }
    }
}

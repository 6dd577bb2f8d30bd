//! Whoever wants deliveries tried now is told how many are due, and what keeps the others.

use matinale::clock::{Clock, Random};
use matinale::db::on;
use matinale::delivery::{relay, shared_clock};
use matinale::editions::{self, EditionState, Who};
use matinale::morning::{House, retry};
use matinale::readers::{self, Address, SubscriberId};

use crate::delivery::ground::{Bench, prepare_with};
use crate::support::databases::both;
use crate::support::names;

async fn write(bench: &Bench, sql: &'static str, bound: i64) {
    let mut tx = bench.db.write().await.unwrap();
    on!(&mut tx, |c| sqlx::query(sql).bind(bound).execute(c).await.map(drop).unwrap());
    tx.commit().await.unwrap();
}

async fn move_to(bench: &Bench, state: EditionState) {
    let mut tx = bench.db.write().await.unwrap();
    let edition = editions::store::load(&mut tx, bench.edition).await.unwrap();
    let (who, why) = (Who("desk".to_owned()), Some("a wrong name"));
    assert!(
        editions::store::set_state(&mut tx, &edition, state, why, &who, bench.clock.now()).await.unwrap()
    );
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn p6_of_a_retry_it_is_told_how_many_are_due_now_and_what_keeps_the_others() {
    for test in both().await {
        let clock = Clock::manual("2026-11-24T05:00:00Z".parse().unwrap());
        let readers: Vec<String> = (0..4).map(|n| format!("n{n}@example.org")).collect();
        let relay = "url = \"smtp://127.0.0.1:1?tls=none\"";
        let bench = prepare_with(test.db, "", relay, clock.clone(), &readers).await;
        let house = House::new((*bench.config).clone(), bench.db.clone(), clock.clone(), Random::seeded(1));
        let retry = async || {
            let edition =
                editions::store::load(&mut bench.db.read().await.unwrap(), bench.edition).await.unwrap();
            retry::retry(&house, &house.config.newsletters["test"], &edition, None).await.unwrap()
        };
        let told = async |expected: &[&str]| assert_eq!(retry().await.unwrap(), expected, "{}", test.name);
        let late = "1 are not sent any more: their deadline has passed.";
        told(&["0 deliveries are due now."]).await;
        write(&bench, "UPDATE delivery SET state = 'deferred', next_at = $1", clock.now_ms() * 2).await;
        let sql = "UPDATE delivery SET deadline = $1 WHERE id = (SELECT MIN(id) FROM delivery)";
        write(&bench, sql, clock.civil_ms()).await;
        let later = "None leaves now; 3 are due as soon as that is over.";
        let nobody = "No daemon is running: nothing is sent until `matinale serve` or `matinale edition send test --date \
                      2026-11-24` does.";
        told(&[later, nobody, late]).await;
        // One on another host, whose lease runs for a day more by whichever clock.
        let sql = "INSERT INTO daemon (lease_until, started_at, host, pid, birth) VALUES ($1, 0, 'elsewhere', 1, '1')";
        write(&bench, sql, Clock::system().now_ms() * 2).await;
        told(&["3 deliveries are due now.", late]).await;

        let mut tx = bench.db.write().await.unwrap();
        let shared = shared_clock(&mut tx, &clock).await.unwrap();
        relay::store::pause(&mut tx, "main", Some(shared + 60_000), Some("x")).await.unwrap();
        tx.commit().await.unwrap();
        let paused = retry().await.unwrap();
        assert_eq!(paused[0], "3 deliveries are due now, and leave as this lets them:", "{}", test.name);
        assert!(paused[1].contains("`matinale relay resume main` ends that"), "{}: {paused:?}", test.name);
        write(&bench, "UPDATE relay SET paused_until = NULL WHERE paused_until > $1", 0).await;

        move_to(&bench, EditionState::Held).await;
        let held = "It waits because its edition is held (a wrong name): nothing leaves until `matinale edition resume test \
                    --date 2026-11-24`.";
        told(&[later, held, late]).await;
        move_to(&bench, EditionState::Cancelled).await;
        assert_eq!(retry().await.unwrap_err(), "the edition of 2026-11-24 is cancelled", "{}", test.name);
    }
}

#[tokio::test]
async fn p6_of_one_readers_retry_the_troubles_of_other_providers_are_not_told() {
    for test in both().await {
        let clock = Clock::manual("2026-11-24T05:00:00Z".parse().unwrap());
        let resolver = names::start(&[("example.org", "MX 10 mx.slow.example")]).await;
        let delivery = format!("resolver = \"{resolver}\"");
        let readers = ["awa@example.org", "ben@elsewhere.example"].map(str::to_owned);
        let bench = prepare_with(test.db, &delivery, "url = \"mx:\"", clock.clone(), &readers).await;
        let house = House::new((*bench.config).clone(), bench.db.clone(), clock.clone(), Random::seeded(1));
        let shared = shared_clock(&mut bench.db.read().await.unwrap(), &clock).await.unwrap();
        let suspended = "INSERT INTO pace (relay, provider, suspended_until, signalled_at)
                         SELECT 'main', name, $1, 1 FROM (SELECT 'slow.example' AS name UNION ALL SELECT 'yahoo') AS names";
        write(&bench, suspended, shared + 3_600_000).await;
        let told = async |whose: Option<&str>| {
            let mut conn = bench.db.read().await.unwrap();
            let edition = editions::store::load(&mut conn, bench.edition).await.unwrap();
            let whose = match whose {
                Some(address) => {
                    let address: Address = address.parse().unwrap();
                    let found = readers::store::find(&mut conn, &address).await.unwrap().unwrap();
                    Some((SubscriberId(found.id), address))
                }
                None => None,
            };
            drop(conn);
            write(&bench, "UPDATE delivery SET state = 'deferred', next_at = $1", clock.now_ms() * 2).await;
            let newsletter = &house.config.newsletters["test"];
            retry::retry(&house, newsletter, &edition, whose).await.unwrap().unwrap().join("\n")
        };
        let own = told(Some("awa@example.org")).await;
        assert!(own.contains("slow.example") && !own.contains("yahoo"), "{}: {own}", test.name);
        assert!(told(None).await.contains("yahoo"), "{}", test.name);
    }
}

//! Connections to the receivers' own servers: how many there may be, who has them, and who waits for one.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use matinale::db::{Db, Side, on};
use matinale::delivery::pace::store as paces;
use matinale::lifecycle::Shutdown;

use super::ground::LONGEST;
use super::mx::{DOMAINS, readers, straight};
use crate::support::databases::both;
use crate::support::faulty::{Fault, Faulty, Offer, Phase, Step};

/// Between two looks at what somebody else does.
const A_MOMENT: Duration = Duration::from_millis(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_all_daemons_together_open_no_more_connections_than_a_provider_bears() {
    for test in both().await {
        let offer = Offer { pipelining: true, pace: Duration::from_millis(10), ..Offer::default() };
        let server = Faulty::start(offer, HashMap::new(), VecDeque::new(), Vec::new()).await;
        let addresses: Vec<String> = readers("slow.example", 60).collect();
        let (bench, _folder) = straight(test.db, server.address.port(), "", &addresses).await;
        let engines = [bench.engine(), bench.engine()];
        let shutdown = Shutdown::new();
        let sent = async {
            let [one, two] = &engines;
            tokio::join!(one.run_edition(bench.mode(), &shutdown), two.run_edition(bench.mode(), &shutdown))
        };
        let watched = async {
            loop {
                let mut conn = bench.db.read().await.unwrap();
                for (_, provider, open) in paces::connections(&mut conn).await.unwrap() {
                    assert!(open <= 1, "{}: {open} connections to {provider}", test.name);
                }
                drop(conn);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::select! {
            (one, two) = sent => { one.unwrap(); two.unwrap(); }
            () = watched => {}
            () = tokio::time::sleep(LONGEST) => panic!("{}: it did not end: {:?}", test.name, bench.counts().await),
        }
        assert_eq!(bench.counts().await.accepted, 60, "{}", test.name);
        assert_eq!(server.record().most_open, 1, "{}", test.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_a_provider_that_bears_more_again_is_given_more_connections_though_nothing_new_is_due() {
    for test in both().await {
        let addresses: Vec<String> = readers("one.example", 20).collect();
        let waits = Step { phase: Phase::Dot, fault: Fault::After(1, Box::new(Fault::Drip)), taken: true };
        let scripts = addresses.iter().map(|to| (to.clone(), VecDeque::from([waits.clone()]))).collect();
        let server = Faulty::start(
            Offer { pipelining: true, ..Offer::default() },
            scripts,
            VecDeque::new(),
            Vec::new(),
        )
        .await;
        let (bench, _folder) = straight(test.db, server.address.port(), "", &addresses).await;
        let slowed = "INSERT INTO pace (relay, provider, connections, holds_until, step, signalled_at)
                      VALUES ('main', 'one.example', 1, $1, 60000, $2)";
        let now = bench.clock.now_ms();
        let mut tx = bench.db.write().await.unwrap();
        let hour = now + 3_600_000;
        on!(&mut tx, |c| sqlx::query(slowed).bind(hour).bind(now).execute(c).await.map(drop).unwrap());
        tx.commit().await.unwrap();
        let (engine, mode) = (bench.engine(), bench.mode());
        let daemon = tokio::spawn(async move { engine.run_edition(mode, &Shutdown::new()).await.unwrap() });
        let rest = async {
            // A body that waits for its answer, and an envelope behind it.
            server.until(1).await;
            assert_eq!(server.record_as_it_is().most_open, 1, "{}", test.name);
            let mut tx = bench.db.write().await.unwrap();
            paces::free(&mut tx, "main", bench.clock.now_ms()).await.unwrap();
            tx.commit().await.unwrap();
            while server.record_as_it_is().most_open < 4 {
                tokio::time::sleep(A_MOMENT).await;
            }
            server.let_go(1);
            daemon.await.unwrap();
        };
        tokio::time::timeout(LONGEST, rest).await.expect(test.name);
        assert_eq!(bench.counts().await.accepted, 20, "{}", test.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_sessions_with_nothing_to_do_end_for_those_who_wait_for_a_connection() {
    for test in both().await {
        let offer = Offer { pipelining: true, ..Offer::default() };
        let server = Faulty::start(offer, HashMap::new(), VecDeque::new(), Vec::new()).await;
        let addresses: Vec<String> =
            (1..=DOMAINS).flat_map(|n| readers(&format!("d{n}.example"), 1)).collect();
        let (bench, _folder) = straight(test.db, server.address.port(), "connections = 1", &addresses).await;
        // Each would be kept for five seconds: a minute in all.
        let sent = tokio::time::timeout(Duration::from_secs(50), bench.send());
        assert_eq!(sent.await.expect(test.name).accepted, 12, "{}", test.name);
        assert_eq!(server.record().most_open, 1, "{}", test.name);
    }
}

/// From now on no connection can be given back, or again.
async fn stick(db: &Db, stuck: bool) {
    let mut tx = db.write().await.unwrap();
    let sql: &[&'static str] = match (tx.side(), stuck) {
        (Side::Sqlite(_), true) => &["CREATE TRIGGER stuck BEFORE DELETE ON connection
                                      BEGIN SELECT RAISE(ABORT, 'it sticks'); END"],
        (Side::Sqlite(_), false) => &["DROP TRIGGER stuck"],
        (Side::Postgres(_), true) => &[
            "CREATE FUNCTION stuck() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'it sticks'; END $$",
            "CREATE TRIGGER stuck BEFORE DELETE ON connection FOR EACH ROW EXECUTE FUNCTION stuck()",
        ],
        (Side::Postgres(_), false) => &["DROP TRIGGER stuck ON connection"],
    };
    for statement in sql {
        on!(&mut tx, |c| sqlx::query(*statement).execute(c).await.map(drop).unwrap());
    }
    tx.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_p3_a_connection_that_could_not_be_given_back_is_used_anew_and_given_back_later() {
    for test in both().await {
        let offer = Offer { pipelining: true, ..Offer::default() };
        let server = Faulty::start(offer, HashMap::new(), VecDeque::new(), Vec::new()).await;
        let addresses: Vec<String> = readers("slow.example", 6)
            .chain((1..=2).flat_map(|n| readers(&format!("d{n}.example"), 1)))
            .collect();
        let more = "connections = 1\nmessages_per_connection = 2";
        let (bench, _folder) = straight(test.db, server.address.port(), more, &addresses).await;
        stick(&bench.db, true).await;
        let (engine, shutdown) = (bench.engine(), Shutdown::new());
        let until = shutdown.clone();
        let daemon = tokio::spawn(async move { engine.run(&until).await });
        let rest = async {
            while bench.counts().await.accepted < 8 {
                tokio::time::sleep(A_MOMENT).await;
            }
            let there = || async { paces::connections(&mut bench.db.read().await.unwrap()).await.unwrap() };
            assert_eq!(there().await.len(), 3, "{}: to three providers, and one of them is open", test.name);
            stick(&bench.db, false).await;
            while !there().await.is_empty() {
                tokio::time::sleep(A_MOMENT).await;
            }
        };
        tokio::time::timeout(LONGEST, rest).await.expect(test.name);
        shutdown.drain();
        daemon.await.unwrap();
        assert_eq!(server.record().most_open, 1, "{}", test.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_that_is_lifted_after_the_clock_was_set_back_is_newer_than_what_daemons_know() {
    for test in both().await {
        let mut tx = test.db.write().await.unwrap();
        let slowed = "INSERT INTO pace (relay, provider, suspended_until, holds_until, step, signalled_at)
                      VALUES ('main', 'one', 9000, 9000, 1, 5000), ('main', 'two', 900, 900, 1, 500)";
        on!(&mut tx, |c| sqlx::query(slowed).execute(c).await.map(drop).unwrap());
        paces::free(&mut tx, "main", 1000).await.unwrap();
        let rows = paces::list(&mut tx).await.unwrap();
        let rows: Vec<_> = rows.iter().map(|row| (row.suspended_until, row.signalled_at)).collect();
        assert_eq!(rows, [(None, 5001), (None, 1000)], "{}", test.name);
    }
}

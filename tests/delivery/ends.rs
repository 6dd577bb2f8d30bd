//! How deliveries end that nobody sends any more, or again: settled by hand, cancelled under way, late behind others.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use matinale::clock::{Clock, Random};
use matinale::delivery::store::{self, Settle};
use matinale::editions::{self, EditionState, Who};
use matinale::lifecycle::Shutdown;
use matinale::morning::House;
use matinale::morning::settle::{Settled, settle};

use super::ground::{Bench, LONGEST, at_noon, prepare_with};
use crate::support::databases::both;
use crate::support::faulty::{Fault, Faulty, Offer, Phase, Step};

type Scripts = HashMap<String, VecDeque<Step>>;

fn step(phase: Phase, fault: Fault, taken: bool) -> VecDeque<Step> {
    VecDeque::from([Step { phase, fault, taken }])
}

fn house(bench: &Bench) -> House {
    House {
        config: bench.config.clone(),
        db: bench.db.clone(),
        clock: bench.clock.clone(),
        random: Random::seeded(1),
        links: bench.links.clone(),
    }
}

/// A server with these scripts, and an edition to these over it.
async fn stage(
    db: matinale::db::Db,
    scripts: Scripts,
    delivery: &str,
    clock: Clock,
    to: &[String],
) -> (Faulty, Bench) {
    let offer = Offer { pipelining: true, ..Offer::default() };
    let server = Faulty::start(offer, scripts, VecDeque::new(), Vec::new()).await;
    let relay = format!("url = \"smtp://{}?tls=none\"\nconnections = 2", server.address);
    let bench = prepare_with(db, delivery, &relay, clock, to).await;
    (server, bench)
}

async fn state(bench: &Bench) -> EditionState {
    editions::store::load(&mut bench.db.read().await.unwrap(), bench.edition).await.unwrap().state
}

async fn set(bench: &Bench, to: EditionState) {
    let mut tx = bench.db.write().await.unwrap();
    let edition = editions::store::load(&mut tx, bench.edition).await.unwrap();
    let (who, now) = (Who::clock(), bench.clock.now());
    assert!(editions::store::set_state(&mut tx, &edition, to, None, &who, now).await.unwrap());
    tx.commit().await.unwrap();
    if to == EditionState::Cancelled {
        store::withdraw_all(&bench.db, bench.edition).await.unwrap();
    }
}

/// Until a body was ended: what is claimed before may still be stopped.
async fn until_a_dot(server: &Faulty, engine: &str) {
    let seen = async {
        while server.dots() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONGEST, seen).await.expect(engine);
}

/// Until the ledger says so.
async fn until(bench: &Bench, what: impl Fn(matinale::delivery::Counts) -> bool) {
    let seen = async {
        while !what(bench.counts().await) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let seen = tokio::time::timeout(LONGEST, seen).await;
    assert!(seen.is_ok(), "{:?}", bench.counts().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_what_is_settled_to_be_sent_again_leaves_though_its_edition_was_sent() {
    for test in both().await {
        let to: Vec<String> = (0..3).map(|n| format!("n{n}@example.org")).collect();
        let scripts = Scripts::from([(to[1].clone(), step(Phase::Dot, Fault::Close, false))]);
        let clock = Clock::manual("2026-11-24T05:00:00Z".parse().unwrap());
        let (server, bench) = stage(test.db, scripts, "uncertain = \"hold\"", clock, &to).await;
        let counts = bench.send().await;
        assert_eq!((counts.accepted, counts.uncertain), (2, 1), "{}", test.name);
        set(&bench, EditionState::Sent).await;
        let (house, who) = (house(&bench), Who::command_line());
        let again = settle(&house, bench.edition, None, Settle::Resend, &who).await.unwrap();
        assert_eq!(again, Ok(Settled { settled: 1, too_late: 0 }), "{}", test.name);
        assert_eq!(state(&bench).await, EditionState::Sending, "{}", test.name);
        assert_eq!(bench.send().await.accepted, 3, "{}", test.name);
        assert!(server.record().taken.contains_key(&to[1]), "{}", test.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p4_p5_nothing_that_is_late_or_cancelled_is_settled_to_be_sent_again() {
    for test in both().await {
        let to = ["n0@example.org".to_owned()];
        let scripts = Scripts::from([(to[0].clone(), step(Phase::Dot, Fault::Close, false))]);
        let clock = Clock::manual("2026-11-24T05:00:00Z".parse().unwrap());
        let (server, bench) = stage(test.db, scripts, "uncertain = \"hold\"", clock, &to).await;
        assert_eq!(bench.send().await.uncertain, 1, "{}", test.name);
        let (house, who) = (house(&bench), Who::command_line());
        bench.clock.advance(Duration::from_secs(2 * 3600));
        let late = settle(&house, bench.edition, None, Settle::Resend, &who).await.unwrap();
        assert_eq!(late, Ok(Settled { settled: 0, too_late: 1 }), "{}", test.name);
        set(&bench, EditionState::Cancelled).await;
        let cancelled = settle(&house, bench.edition, None, Settle::Resend, &who).await.unwrap();
        assert_eq!(cancelled, Err("the edition of 2026-11-24 is cancelled".to_owned()), "{}", test.name);
        let arrived = settle(&house, bench.edition, None, Settle::Accepted, &who).await.unwrap();
        assert_eq!(arrived, Ok(Settled { settled: 1, too_late: 0 }), "{}", test.name);
        assert!(server.record().taken.is_empty(), "{}", test.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_what_is_put_off_after_its_edition_was_cancelled_is_withdrawn() {
    for test in both().await {
        let to = ["n0@example.org".to_owned()];
        let later = Fault::After(1, Box::new(Fault::Reply("451 4.3.0 later\r\n".to_owned())));
        let scripts = Scripts::from([(to[0].clone(), step(Phase::Dot, later, false))]);
        let (server, bench) = stage(test.db, scripts, "retry = [\"1m\"]", at_noon(), &to).await;
        let (engine, shutdown) = (bench.engine(), Shutdown::new());
        let ends = shutdown.clone();
        let daemon = tokio::spawn(async move { engine.run(&ends).await });
        until_a_dot(&server, test.name).await;
        set(&bench, EditionState::Cancelled).await;
        server.let_go(1);
        until(&bench, |counts| counts.withdrawn == 1).await;
        shutdown.drain();
        daemon.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_what_is_late_ends_though_another_message_waits_for_its_answer() {
    for test in both().await {
        let to: Vec<String> = (0..2).map(|n| format!("n{n}@example.org")).collect();
        let waits = Fault::After(1, Box::new(Fault::Drip));
        let later = Fault::Reply("451 4.7.1 greylisted\r\n".to_owned());
        let scripts = Scripts::from([
            (to[0].clone(), step(Phase::Dot, waits, true)),
            (to[1].clone(), step(Phase::Rcpt, later, false)),
        ]);
        let clock = Clock::manual("2026-11-24T05:00:00Z".parse().unwrap());
        let (server, bench) = stage(test.db, scripts, "retry = [\"10m\"]", clock, &to).await;
        let (engine, shutdown) = (bench.engine(), Shutdown::new());
        let ends = shutdown.clone();
        let daemon = tokio::spawn(async move { engine.run(&ends).await });
        until(&bench, |counts| (counts.claimed, counts.deferred) == (1, 1)).await;
        until_a_dot(&server, test.name).await;
        bench.clock.advance(Duration::from_secs(2 * 3600));
        until(&bench, |counts| counts.expired == 1).await;
        assert_eq!(bench.counts().await.claimed, 1, "{}: it still waits", test.name);
        server.let_go(1);
        until(&bench, |counts| counts.accepted == 1).await;
        shutdown.drain();
        daemon.await.unwrap();
    }
}

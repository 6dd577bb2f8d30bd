//! What many refusals come to together, and one that comes again and again: on both databases, over a scripted server.

use std::collections::VecDeque;
use std::time::Duration;

use matinale::db::{Db, on};
use matinale::delivery::{Mode, pace, relay};
use matinale::editions::{self, EditionState};
use matinale::lifecycle::Shutdown;

use super::ground::{Bench, at_noon, prepare_with};
use super::mx::{straight, through};
use crate::support::databases::both;
use crate::support::faulty::{Fault, Faulty, Offer, Phase, Step};

/// What takes longer waits for the end of a pause.
const MINUTE: Duration = Duration::from_secs(60);
/// Words that no rule knows, with a code that says "policy".
const ODD: &str = "550 5.7.1 this is not for here\r\n";

/// A server that says this to RCPT, once for each of these.
async fn server(refused: &[String], reply: &str) -> Faulty {
    let step = Step { phase: Phase::Rcpt, fault: Fault::Reply(reply.to_owned()), taken: false };
    let scripts = refused.iter().map(|to| (to.clone(), VecDeque::from([step.clone()]))).collect();
    let offer = Offer { pipelining: true, ..Offer::default() };
    Faulty::start(offer, scripts, VecDeque::new(), Vec::new()).await
}

/// An edition to these over one connection to this server, claimed one by one: in the order in which they are due.
async fn over(server: &Faulty, db: Db, retry: &str, readers: &[String]) -> Bench {
    let relay = format!("url = \"smtp://{}?tls=none\"\nconnections = 1", server.address);
    prepare_with(db, &format!("retry = [\"{retry}\"]\nbatch = 1"), &relay, at_noon(), readers).await
}

/// Has those whose address begins so go before everybody else.
async fn lead(bench: &Bench, beginning: &str) {
    let sql = "UPDATE delivery SET next_at = next_at - 1000
               WHERE subscriber IN (SELECT id FROM subscriber WHERE address LIKE $1)";
    let mut tx = bench.db.write().await.unwrap();
    let beginning = format!("{beginning}%");
    on!(&mut tx, |c| sqlx::query(sql).bind(&beginning).execute(c).await.map(drop).unwrap());
    tx.commit().await.unwrap();
}

async fn once(bench: &Bench) {
    let mode = Mode { once: true, ..bench.mode() };
    bench.engine().run_edition(mode, &Shutdown::new()).await.unwrap();
}

async fn known(bench: &Bench) -> Vec<relay::store::Known> {
    relay::store::list(&mut bench.db.read().await.unwrap()).await.unwrap()
}

#[tokio::test]
async fn t16_a_row_of_refusals_in_odd_words_is_about_us_and_everybody_else_waits() {
    // Whether somebody is accepted first, and how many are refused for good then.
    for (accepted, lost) in [(1, 19), (0, 4)] {
        for test in both().await {
            let what = format!("{}: {accepted} accepted first", test.name);
            let mut readers: Vec<String> = (0..40).map(|n| format!("r{n}@d{}.example", n % 4)).collect();
            let server = server(&readers, ODD).await;
            readers.extend((0..accepted).map(|n| format!("ok{n}@d0.example")));
            let bench = over(&server, test.db, "30m", &readers).await;
            lead(&bench, "ok").await;
            once(&bench).await;
            let counts = bench.counts().await;
            assert_eq!((counts.accepted, counts.rejected), (accepted, lost), "{what}: {counts:?}");
            assert_eq!((counts.deferred, counts.planned), (1, 39 - lost), "{what}: {counts:?}");
            let known = known(&bench).await.remove(0);
            assert!(known.paused_until.is_some(), "{what}");
            let why = known.reason.unwrap();
            let row = format!("{} readers in a row were refused, and nobody was accepted: 5.7.1", lost + 1);
            assert!(why.starts_with(&row), "{what}: {why}");
        }
    }
}

#[tokio::test]
async fn t16_whom_one_domain_refuses_wait_and_keep_nobody_else_waiting() {
    for test in both().await {
        let mut readers: Vec<String> = (0..30).map(|n| format!("no{n}@one.example")).collect();
        let server = server(&readers, ODD).await;
        readers.extend((0..10).map(|n| format!("r{n}@d{n}.example")));
        let bench = over(&server, test.db, "30m", &readers).await;
        lead(&bench, "no").await;
        once(&bench).await;
        let counts = bench.counts().await;
        assert_eq!((counts.accepted, counts.rejected, counts.deferred), (10, 19, 11), "{}", test.name);
        assert!(known(&bench).await.iter().all(|relay| relay.paused_until.is_none()), "{}", test.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t16_where_somebody_lets_a_relay_go_on_the_row_begins_anew() {
    for test in both().await {
        let mut readers: Vec<String> = (0..9).map(|n| format!("no{n}@d{}.example", n % 4)).collect();
        let server = server(&readers, ODD).await;
        readers.extend((0..20).map(|n| format!("r{n}@d{}.example", n % 4)));
        let bench = over(&server, test.db, "20ms", &readers).await;
        lead(&bench, "no").await;
        let (engine, mode) = (bench.engine(), bench.mode());
        let daemon = tokio::spawn(async move { engine.run_edition(mode, &Shutdown::new()).await.unwrap() });
        let paused = async {
            while known(&bench).await.iter().all(|relay| relay.paused_until.is_none())
                || bench.counts().await.claimed > 0
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(MINUTE, paused).await.expect(test.name);
        let mut tx = bench.db.write().await.unwrap();
        relay::store::pause(&mut tx, "main", None, None).await.unwrap();
        tx.commit().await.unwrap();
        tokio::time::timeout(MINUTE, daemon).await.expect(test.name).unwrap();
        // Four, and four of a new row; the one between waited, and is accepted.
        let counts = bench.counts().await;
        assert_eq!((counts.rejected, counts.accepted), (8, 21), "{}: {counts:?}", test.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t16_where_somebody_lets_a_provider_go_on_its_row_begins_anew() {
    for test in both().await {
        let readers: Vec<String> = (0..30).map(|n| format!("no{n}@d1.example")).collect();
        let server = server(&[], "").await;
        let step = Step { phase: Phase::Rcpt, fault: Fault::Reply(ODD.to_owned()), taken: false };
        readers.iter().for_each(|to| server.script(to, vec![step.clone(); 3].into()));
        let (bench, _folder) = straight(test.db, server.address.port(), "", &readers).await;
        let (engine, mode) = (bench.engine(), bench.mode());
        let daemon = tokio::spawn(async move { engine.run_edition(mode, &Shutdown::new()).await.unwrap() });
        let paused = async {
            while suspended(&bench).await.is_empty() || bench.counts().await.claimed > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(MINUTE, paused).await.expect(test.name);
        assert!(bench.counts().await.rejected < 30, "{}: the others wait", test.name);
        let mut tx = bench.db.write().await.unwrap();
        pace::store::free(&mut tx, "main", bench.clock.shared_ms()).await.unwrap();
        tx.commit().await.unwrap();
        // Those who wait went back to the ledger until the end of that pause, and it comes.
        let sql =
            "UPDATE delivery SET next_at = 0 WHERE COALESCE(state, 'planned') IN ('planned', 'deferred')";
        let over = async {
            while !daemon.is_finished() {
                let mut tx = bench.db.write().await.unwrap();
                on!(&mut tx, |c| sqlx::query(sql).execute(c).await.map(drop).unwrap());
                tx.commit().await.unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(MINUTE, over).await.expect(test.name);
        daemon.await.unwrap();
        // Fewer than twenty were left, and each is refused for good: it was their own policy after all.
        let counts = bench.counts().await;
        assert_eq!((counts.rejected, counts.total()), (30, 30), "{}: {counts:?}", test.name);
        assert!(suspended(&bench).await.is_empty(), "{}", test.name);
    }
}

/// Whether the edition is held.
async fn is_held(bench: &Bench) -> bool {
    let edition = editions::store::load(&mut bench.db.read().await.unwrap(), bench.edition).await.unwrap();
    edition.state == EditionState::Held
}

/// Which providers nothing is sent to for a while.
async fn suspended(bench: &Bench) -> Vec<String> {
    let rows = pace::store::list(&mut bench.db.read().await.unwrap()).await.unwrap();
    let suspended = rows.into_iter().filter(|row| row.suspended_until.is_some());
    suspended.map(|row| row.provider).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t16_one_reader_who_is_tried_three_times_holds_no_edition() {
    // Whose own resolver is ill, straight there, and through a relay that says the same.
    for straight_there in [true, false] {
        for test in both().await {
            let what = format!("{}: straight there: {straight_there}", test.name);
            let reader = ["awa@d1.example".to_owned()];
            let server = server(&[], "").await;
            let ill = "450 4.7.25 Client host rejected: cannot find your hostname\r\n".to_owned();
            let step = Step { phase: Phase::Rcpt, fault: Fault::Reply(ill), taken: false };
            server.script(&reader[0], vec![step; 3].into());
            let url = if straight_there {
                format!("mx://?port={}", server.address.port())
            } else {
                format!("smtp://{}?tls=none", server.address)
            };
            let (bench, _folder) = through(test.db, &format!("url = \"{url}\""), &reader).await;
            let (engine, mode, shutdown) = (bench.engine(), bench.mode(), Shutdown::new());
            let until = shutdown.clone();
            let daemon = tokio::spawn(async move { engine.run_edition(mode, &until).await.unwrap() });
            server.until(3).await;
            shutdown.drain();
            tokio::time::timeout(MINUTE, daemon).await.expect(&what).unwrap();
            let counts = bench.counts().await;
            assert_eq!((counts.deferred + counts.expired, counts.total()), (1, 1), "{what}: {counts:?}");
            assert!(!is_held(&bench).await, "{what}");
            assert!(suspended(&bench).await.is_empty(), "{what}");
        }
    }
}

#[tokio::test]
async fn t16_a_receiver_that_refuses_the_mail_as_such_is_left_alone_and_two_hold_the_edition() {
    for (second, held) in [("d1", false), ("d2", true)] {
        for test in both().await {
            let what = format!("{}: d1 and {second}", test.name);
            let mut readers: Vec<String> = (0..2).map(|n| format!("no{n}@d1.example")).collect();
            readers.push(format!("no2@{second}.example"));
            let server = server(&[], "").await;
            let malformed = Fault::Reply("554 5.6.0 malformed\r\n".to_owned());
            let step = Step { phase: Phase::Rcpt, fault: malformed, taken: false };
            // At each try.
            readers.iter().for_each(|to| server.script(to, vec![step.clone(); 20].into()));
            readers.extend((0..10).map(|n| format!("r{n}@d3.example")));
            let (bench, _folder) = straight(test.db, server.address.port(), "", &readers).await;
            // They are due only once the others were heard.
            let sql = "UPDATE delivery SET next_at = next_at + 36000000
                       WHERE subscriber IN (SELECT id FROM subscriber WHERE address LIKE 'r%')";
            let mut tx = bench.db.write().await.unwrap();
            on!(&mut tx, |c| sqlx::query(sql).execute(c).await.map(drop).unwrap());
            tx.commit().await.unwrap();
            once(&bench).await;
            let counts = bench.counts().await;
            assert_eq!(is_held(&bench).await, held, "{what}: {counts:?}");
            assert_eq!(suspended(&bench).await, if held { vec![] } else { vec!["d1.example"] }, "{what}");
            assert_eq!((counts.planned, counts.accepted, counts.rejected), (10, 0, 0), "{what}: {counts:?}");
        }
    }
}

#[tokio::test]
async fn t16_receivers_that_take_no_mail_of_that_size_hold_no_edition_and_a_relay_does() {
    for (straight_there, held) in [(true, false), (false, true)] {
        for test in both().await {
            let what = format!("{}: straight there: {straight_there}", test.name);
            let offer = Offer { size: Some(1), ..Offer::default() };
            let server = Faulty::start(offer, [].into(), VecDeque::new(), Vec::new()).await;
            let readers: Vec<String> = (0..4).map(|n| format!("r{n}@d{}.example", n + 1)).collect();
            let url = if straight_there {
                format!("mx://?port={}", server.address.port())
            } else {
                format!("smtp://{}?tls=none", server.address)
            };
            let relay = format!("url = \"{url}\"\nconnections = 1");
            let (bench, _folder) = through(test.db, &relay, &readers).await;
            once(&bench).await;
            let counts = bench.counts().await;
            assert_eq!(is_held(&bench).await, held, "{what}: {counts:?}");
            // The third wait is as long as what is left of the morning, more or less.
            assert!(counts.deferred + counts.expired >= 3, "{what}: {counts:?}");
            assert!(suspended(&bench).await.is_empty(), "{what}");
        }
    }
}

#[tokio::test]
async fn t12_what_a_server_ends_each_session_with_waits_from_the_second_time_on() {
    for fault in [Fault::Goodbye, Fault::Close] {
        for test in both().await {
            let what = format!("{}: {fault:?}", test.name);
            let readers = ["awa@d1.example".to_owned(), "binta@d1.example".to_owned()];
            let server = server(&[], "").await;
            let step = Step { phase: Phase::Rcpt, fault: fault.clone(), taken: false };
            server.script(&readers[0], vec![step; 50].into());
            let bench = over(&server, test.db, "1h", &readers).await;
            once(&bench).await;
            let record = server.record_as_it_is();
            let tries = record.said[&readers[0]].len();
            // Behind the dot of another it may have been the session's own end.
            assert!((2..=4).contains(&tries) && record.taken.len() == 1, "{what}: {tries}");
            let counts = bench.counts().await;
            assert_eq!((counts.planned, counts.accepted), (1, 1), "{what}: {counts:?}");
            let mut conn = bench.db.read().await.unwrap();
            let sql = "SELECT next_at FROM delivery WHERE state = 'planned'";
            let next: i64 = on!(&mut conn, |c| sqlx::query_scalar(sql).fetch_one(c).await.unwrap());
            let wait = next - bench.clock.civil_ms();
            assert!((3_500_000..4_400_000).contains(&wait), "{what}: it waits for {wait} ms");
            let sql = "SELECT COUNT(*) FROM attempt";
            let attempts: i64 = on!(&mut conn, |c| sqlx::query_scalar(sql).fetch_one(c).await.unwrap());
            assert_eq!(attempts, 1, "{what}: that is no attempt");
            assert!(known(&bench).await.iter().all(|relay| relay.down_since.is_none()), "{what}");
        }
    }
}

#[tokio::test]
async fn p1_what_a_server_ended_two_sessions_with_is_accepted_by_the_third() {
    for test in both().await {
        let reader = ["awa@d1.example".to_owned()];
        let server = server(&[], "").await;
        let step = Step { phase: Phase::Rcpt, fault: Fault::Goodbye, taken: false };
        server.script(&reader[0], vec![step; 2].into());
        let bench = over(&server, test.db, "20ms", &reader).await;
        assert_eq!(bench.send().await.accepted, 1, "{}", test.name);
        assert_eq!(server.record().said[&reader[0]].len(), 3, "{}", test.name);
    }
}

//! What many refusals come to together, and one that comes again and again: on both databases, over a scripted server.

use std::collections::VecDeque;
use std::time::Duration;

use matinale::db::{Db, on};
use matinale::delivery::{Mode, relay};
use matinale::lifecycle::Shutdown;

use super::ground::{Bench, at_noon, prepare_with};
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

/// An edition to these over one connection to this server.
async fn over(server: &Faulty, db: Db, retry: &str, readers: &[String]) -> Bench {
    let relay = format!("url = \"smtp://{}?tls=none\"\nconnections = 1", server.address);
    prepare_with(db, &format!("retry = [\"{retry}\"]"), &relay, at_noon(), readers).await
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
        assert_eq!((counts.accepted, counts.rejected, counts.deferred), (10, 4, 26), "{}", test.name);
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

//! A standby of PostgreSQL takes its place without the newest commits: what was sent is told again, before anybody claims.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use matinale::db::{Db, Options, on};
use matinale::delivery::store;
use matinale::lifecycle::Shutdown;

use super::faults::one;
use super::ground::{LONGEST, at_noon, prepare_with};
use crate::support::databases;
use crate::support::faulty::{Fault, Faulty, Offer, Phase, Step};
use crate::support::lossy::Lossy;
use crate::support::standby::Pair;

/// When the standby is left behind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lacks {
    /// Before the daemon joined.
    TheDaemon,
    /// In mid-edition: it knows the daemon, its claims and the first outcomes.
    TheRest,
}

const READERS: usize = 30;

/// The answer to the body is a yes, and comes when it is let go.
fn waits(number: u64) -> VecDeque<Step> {
    let fault = Fault::After(number, Box::new(Fault::Drip));
    VecDeque::from([Step { phase: Phase::Dot, fault, taken: true }])
}

fn refused() -> Step {
    let fault = Fault::Reply("550 5.1.1 nobody of that name\r\n".to_owned());
    Step { phase: Phase::Rcpt, fault, taken: false }
}

/// The readers as they are written to.
async fn in_order(db: &Db) -> Vec<String> {
    let mut conn = db.read().await.unwrap();
    let sql = "SELECT address FROM delivery JOIN subscriber ON subscriber.id = delivery.subscriber ORDER BY delivery.id";
    on!(&mut conn, |c| sqlx::query_scalar(sql).fetch_all(c).await.unwrap())
}

/// A way to the database, whose silence is heard soon.
async fn open(url: &str) -> Db {
    let timeout = Duration::from_secs(2);
    Db::open(&Options { connections: 6, timeout, ..Options::new(url) }).await.unwrap()
}

/// Thirty readers, one after the other for each daemon; the standby takes over while the twentieth waits for the answer to
/// its dot.
async fn fails_over(name: &'static str, lacks: Lacks, daemons: usize) {
    if !databases::postgres_wanted() {
        return;
    }
    let pair = Pair::start(name).await;
    let db = open(&pair.url).await;
    db.migrate().await.unwrap();
    let offer = Offer { pipelining: true, ..Offer::default() };
    let server = Faulty::start(offer, HashMap::new(), VecDeque::new(), Vec::new()).await;
    let relay = format!("url = \"smtp://{}?tls=none\"\nconnections = 1", server.address);
    let readers: Vec<String> = (0..READERS).map(|n| format!("r{n}@example.org")).collect();
    // So few in hand that each daemon has some.
    let settings = format!("retry = [\"1m\"]\nbatch = {}", if daemons > 1 { 2 } else { 500 });
    let mut bench = prepare_with(db, &settings, &relay, at_noon(), &readers).await;
    let order = in_order(&bench.db).await;
    server.script(&order[9], waits(1));
    // What is lacking is not only what was accepted.
    server.script(&order[12], VecDeque::from([refused()]));
    server.script(&order[19], waits(2));
    if lacks == Lacks::TheDaemon {
        pair.leave_behind().await;
        server.let_go(1);
    }
    let (way, url) = Lossy::start(&pair.url);
    let mut running = Vec::new();
    for _ in 0..daemons {
        let (engine, mode) = (bench.engine_on(open(&url).await), bench.mode());
        running.push(tokio::spawn(async move { engine.see_through(mode, &Shutdown::new()).await }));
    }
    if lacks == Lacks::TheRest {
        server.until(10).await;
        pair.leave_behind().await;
        server.let_go(1);
    }
    server.until(20).await;
    way.freeze();
    let url = pair.fail_over().await;
    way.lead_to(&url);
    way.cut();
    way.thaw();
    server.let_go(2);
    for daemon in running {
        tokio::time::timeout(LONGEST, daemon).await.expect("it ends").unwrap().unwrap();
    }

    bench.db = open(&url).await;
    let mut conn = bench.db.read().await.unwrap();
    let page = store::page(&mut conn, bench.edition, None, 100, &bench.links, "example.org");
    let records = page.await.unwrap().unwrap().records;
    let record = server.record_as_it_is();
    assert_eq!(records.len(), READERS);
    for delivery in &records {
        let to = delivery.email.as_deref().unwrap();
        let copies = record.taken.get(to).map_or(0, Vec::len);
        let wrong = one(delivery, copies, &record.said[to], &bench.clock);
        assert_eq!(wrong, Vec::<String>::new(), "{to}: {delivery:?}");
        let ends = if to == order[12] { ("rejected", 0) } else { ("accepted", 1) };
        assert_eq!((delivery.state.as_str(), copies), ends, "{to}: {delivery:?}");
    }
    assert_eq!(record.violations, Vec::<String>::new());
}

#[tokio::test]
async fn p2_what_a_standby_lacks_is_told_again_and_nobody_is_written_to_twice() {
    fails_over("follows", Lacks::TheRest, 1).await;
}

#[tokio::test]
async fn p2_a_standby_that_lacks_the_daemon_itself_is_told_what_it_sent() {
    fails_over("lacks", Lacks::TheDaemon, 1).await;
}

#[tokio::test]
async fn p3_no_daemon_claims_before_the_others_have_told_a_standby_what_it_lacks() {
    fails_over("shared", Lacks::TheRest, 2).await;
}

//! Answers that come after somebody took over: what the ledger makes of them, and that no second copy is untold.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use matinale::db::{Conn, Side, on};
use matinale::delivery::{Record, store};
use matinale::lifecycle::Shutdown;
use tokio::task::JoinHandle;

use super::faults::one;
use super::ground::{Bench, at_noon, prepare_with};
use crate::support::databases::{self, TestDb, both};
use crate::support::faulty::{Fault, Faulty, Offer, Phase, Step};

const READER: &str = "r0@example.org";

/// The answer to the first body is a yes, and comes when it is let go.
fn taken_and_said_late() -> Step {
    Step { phase: Phase::Dot, fault: Fault::After(1, Box::new(Fault::Drip)), taken: true }
}

struct Ground {
    /// Its folder goes with it.
    _test: TestDb,
    bench: Bench,
    server: Faulty,
    name: &'static str,
    first: JoinHandle<()>,
    second: JoinHandle<()>,
}

/// Ends the first daemon's lease until somebody took its work over: it lives, and renews it between two looks.
async fn believe_the_first_dead(bench: &Bench) {
    let sql = "UPDATE daemon SET lease_until = 0 WHERE id = (SELECT MIN(id) FROM daemon) AND gone = 0";
    let dead = async {
        loop {
            let mut tx = bench.db.write().await.unwrap();
            let alive = on!(&mut tx, |c| sqlx::query(sql).execute(c).await.unwrap().rows_affected());
            tx.commit().await.unwrap();
            if alive == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), dead).await.expect("it was taken over");
}

impl Ground {
    /// One reader; the first daemon is believed dead while it waits for its answer, and a second one takes over.
    async fn prepare(test: TestDb, second: Option<Step>, uncertain: &str) -> Self {
        let steps: VecDeque<Step> = std::iter::once(taken_and_said_late()).chain(second).collect();
        let scripts = HashMap::from([(READER.to_owned(), steps)]);
        let offer = Offer { pipelining: true, ..Offer::default() };
        let server = Faulty::start(offer, scripts, VecDeque::new(), Vec::new()).await;
        let relay = format!("url = \"smtp://{}?tls=none\"\nconnections = 1", server.address);
        let delivery = format!("retry = [\"20ms\", \"20ms\"]\nuncertain = \"{uncertain}\"");
        let readers = [READER.to_owned()];
        let bench = prepare_with(test.db.clone(), &delivery, &relay, at_noon(), &readers).await;
        let daemon = || {
            let (engine, mode) = (bench.engine(), bench.mode());
            tokio::spawn(async move { engine.run_edition(mode, &Shutdown::new()).await.unwrap() })
        };
        let first = daemon();
        server.until(1).await;
        let second = daemon();
        believe_the_first_dead(&bench).await;
        Self { name: test.name, _test: test, bench, server, first, second }
    }

    /// Until this counts one.
    async fn until_one(&self, what: &str, sql: &'static str) {
        self.until(what, async |conn: &mut Conn| {
            let count: i64 = on!(conn, |c| sqlx::query_scalar(sql).fetch_one(c).await.unwrap());
            count == 1
        })
        .await;
    }

    async fn until(&self, what: &str, there: impl AsyncFn(&mut Conn) -> bool) {
        let patience = tokio::time::timeout(Duration::from_secs(30), async {
            while !there(&mut self.bench.db.read().await.unwrap()).await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(patience.await.is_ok(), "{}: {what}: {:?}", self.name, self.bench.counts().await);
    }

    /// From now on it is counted how often an answer is told.
    async fn count_what_is_told(&self) {
        let mut tx = self.bench.db.write().await.unwrap();
        let trigger: &[&str] = match tx.side() {
            Side::Sqlite(_) => &["CREATE TRIGGER counts AFTER UPDATE OF code ON attempt WHEN NEW.code = 250
                                  BEGIN INSERT INTO told_so_often VALUES (1); END"],
            Side::Postgres(_) => &[
                "CREATE FUNCTION counts() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN INSERT INTO told_so_often VALUES (1); RETURN NULL; END $$",
                "CREATE TRIGGER counts AFTER UPDATE OF code ON attempt FOR EACH ROW WHEN (NEW.code = 250)
                 EXECUTE FUNCTION counts()",
            ],
        };
        for sql in ["CREATE TABLE told_so_often (once INTEGER)"].iter().chain(trigger) {
            on!(&mut tx, |c| sqlx::query(*sql).execute(c).await.map(drop).unwrap());
        }
        tx.commit().await.unwrap();
    }

    async fn told_so_often(&self) -> i64 {
        let mut conn = self.bench.db.read().await.unwrap();
        let sql = "SELECT COUNT(*) FROM told_so_often";
        on!(&mut conn, |c| sqlx::query_scalar(sql).fetch_one(c).await.unwrap())
    }

    /// The late answer is in the ledger.
    async fn until_heard(&self) {
        let sql = "SELECT COUNT(*) FROM attempt WHERE number = 1 AND code = 250";
        self.until_one("heard", sql).await;
    }

    /// How it ended: the delivery, held against the server's record, and how many copies the reader has.
    async fn end(self) -> (Record, usize) {
        for daemon in [self.first, self.second] {
            tokio::time::timeout(Duration::from_secs(30), daemon).await.expect(self.name).unwrap();
        }
        let mut conn = self.bench.db.read().await.unwrap();
        let page = store::page(&mut conn, self.bench.edition, None, 10, &self.bench.links, "example.org");
        let mut records = page.await.unwrap().unwrap().records;
        let record = self.server.record_as_it_is();
        let copies = record.taken[READER].len();
        let delivery = records.remove(0);
        let wrong = one(&delivery, copies, &record.said[READER], &self.bench.clock);
        assert_eq!(wrong, Vec::<String>::new(), "{}", self.name);
        assert_eq!(record.violations, Vec::<String>::new(), "{}", self.name);
        (delivery, copies)
    }
}

fn told(delivery: &Record) -> Vec<(&str, Option<i64>)> {
    let attempts = delivery.attempts.iter();
    attempts.map(|attempt| (attempt.outcome.as_deref().unwrap_or("open"), attempt.code)).collect()
}

#[tokio::test]
async fn p2_a_yes_that_comes_after_the_second_copy_left_does_not_hide_that_there_are_two() {
    for test in both().await {
        let ground = Ground::prepare(test, None, "resend").await;
        ground
            .until("sent again", async |conn: &mut Conn| {
                store::all_final(conn, ground.bench.edition).await.unwrap()
            })
            .await;
        ground.server.let_go(1);
        ground.until_heard().await;
        let edition = ground.bench.edition;
        let said = store::said(&mut ground.bench.db.read().await.unwrap(), edition).await.unwrap();
        let doubts = said.iter().filter(|said| said.outcome.as_deref() == Some("uncertain")).count();
        assert_eq!(doubts, 1, "{}: the summary tells of it", ground.name);
        let (delivery, copies) = ground.end().await;
        assert_eq!((delivery.state.as_str(), copies), ("accepted", 2));
        assert_eq!(told(&delivery), [("uncertain", Some(250)), ("accepted", Some(250))]);
    }
}

#[tokio::test]
async fn p1_a_yes_that_comes_before_the_second_body_is_released_stops_it() {
    for test in both().await {
        let at_rcpt =
            Step { phase: Phase::Rcpt, fault: Fault::After(2, Box::new(Fault::Drip)), taken: false };
        let ground = Ground::prepare(test, Some(at_rcpt), "resend").await;
        let claimed_again = "SELECT COUNT(*) FROM delivery WHERE state = 'claimed' AND tries = 1";
        ground.until_one("claimed again", claimed_again).await;
        ground.count_what_is_told().await;
        ground.server.let_go(1);
        ground.until_heard().await;
        ground.server.let_go(2);
        ground.until_one("noted", "SELECT COUNT(*) FROM delivery WHERE accepted_at IS NOT NULL").await;
        // Between an answer that is told and what comes of it a second copy could leave: it is one transaction.
        assert_eq!(ground.told_so_often().await, 1, "{}", ground.name);
        let (delivery, copies) = ground.end().await;
        assert_eq!((delivery.state.as_str(), copies), ("accepted", 1));
        assert_eq!(told(&delivery), [("accepted", Some(250))]);
    }
}

#[tokio::test]
async fn p2_a_yes_that_comes_while_the_second_body_is_refused_ends_the_delivery() {
    for test in both().await {
        let no = Fault::Reply("554 5.7.1 policy says no\r\n".to_owned());
        let refused = Step { phase: Phase::Dot, fault: Fault::After(2, Box::new(no)), taken: false };
        let ground = Ground::prepare(test, Some(refused), "resend").await;
        ground.server.until(2).await;
        ground.server.let_go(1);
        ground.until_heard().await;
        ground.server.let_go(2);
        let (delivery, copies) = ground.end().await;
        assert_eq!((delivery.state.as_str(), copies), ("accepted", 1));
        assert_eq!(told(&delivery), [("accepted", Some(250)), ("rejected", Some(554))]);
    }
}

#[tokio::test]
async fn p1_a_yes_that_comes_while_the_doubt_rests_ends_the_delivery_and_nothing_is_sent_again() {
    for test in both().await {
        let ground = Ground::prepare(test, None, "hold").await;
        ground
            .until("in doubt", async |conn: &mut Conn| {
                store::all_final(conn, ground.bench.edition).await.unwrap()
            })
            .await;
        assert_eq!(ground.bench.counts().await.uncertain, 1);
        ground.server.let_go(1);
        ground.until_heard().await;
        let (delivery, copies) = ground.end().await;
        assert_eq!((delivery.state.as_str(), copies), ("accepted", 1));
        assert_eq!(told(&delivery), [("accepted", Some(250))]);
    }
}

#[tokio::test]
async fn of_somebody_who_is_erased_while_a_server_thinks_neither_address_nor_words_are_kept() {
    for test in both().await {
        let no = Fault::Reply(format!("550 5.7.1 <{READER}> is unwelcome\r\n"));
        let late = Step { phase: Phase::Rcpt, fault: Fault::After(1, Box::new(no)), taken: false };
        let scripts = HashMap::from([(READER.to_owned(), VecDeque::from([late]))]);
        let server = Faulty::start(Offer::default(), scripts, VecDeque::new(), Vec::new()).await;
        let relay = format!("url = \"smtp://{}?tls=none\"", server.address);
        let bench = prepare_with(test.db, "", &relay, at_noon(), &[READER.to_owned()]).await;
        let (engine, mode) = (bench.engine(), bench.mode());
        let daemon = tokio::spawn(async move { engine.run_edition(mode, &Shutdown::new()).await.unwrap() });
        server.until(1).await;
        let mut tx = bench.db.write().await.unwrap();
        let sql = "DELETE FROM subscriber WHERE address = $1";
        let erased =
            on!(&mut tx, |c| sqlx::query(sql).bind(READER).execute(c).await.unwrap().rows_affected());
        assert_eq!(erased, 1);
        tx.commit().await.unwrap();
        server.let_go(1);
        tokio::time::timeout(Duration::from_secs(30), daemon).await.expect(test.name).unwrap();
        let mut conn = bench.db.read().await.unwrap();
        let sql = "SELECT address, code, text FROM attempt";
        let kept: (String, Option<i64>, Option<String>) =
            on!(&mut conn, |c| sqlx::query_as(sql).fetch_one(c).await.unwrap());
        assert_eq!(kept, (String::new(), Some(550), None), "{}", test.name);
    }
}

#[tokio::test]
async fn p3_a_life_that_is_over_begins_no_further_message_when_its_last_answer_comes() {
    for test in both().await {
        let readers = [READER.to_owned(), "r1@example.org".to_owned()];
        let scripts = HashMap::from([(READER.to_owned(), VecDeque::from([taken_and_said_late()]))]);
        let offer = Offer { pipelining: true, ..Offer::default() };
        let server = Faulty::start(offer, scripts, VecDeque::new(), Vec::new()).await;
        let relay = format!(
            "url = \"smtp://{}?tls=none\"\nconnections = 1\nmessages_per_connection = 1",
            server.address
        );
        // With one message in hand it claims no more, and so it does not learn at a claim that it is over.
        let settings = "batch = 1\nuncertain = \"hold\"";
        let bench = prepare_with(test.db, settings, &relay, at_noon(), &readers).await;
        // Whoever was planned first: this one is sent first.
        let mut tx = bench.db.write().await.unwrap();
        let sql = "UPDATE delivery SET next_at = next_at - 1 \
                   WHERE subscriber = (SELECT id FROM subscriber WHERE address = $1)";
        on!(&mut tx, |c| sqlx::query(sql).bind(READER).execute(c).await.map(drop).unwrap());
        tx.commit().await.unwrap();
        let (engine, mode) = (bench.engine(), bench.mode());
        let first = tokio::spawn(async move { engine.run_edition(mode, &Shutdown::new()).await.unwrap() });
        server.until(1).await;
        let both_claimed = async {
            let sql = "SELECT COUNT(*) FROM delivery WHERE state = 'claimed'";
            loop {
                let mut conn = bench.db.read().await.unwrap();
                let count: i64 = on!(&mut conn, |c| sqlx::query_scalar(sql).fetch_one(c).await.unwrap());
                if count == 2 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let both_claimed = tokio::time::timeout(Duration::from_secs(30), both_claimed).await;
        assert!(both_claimed.is_ok(), "{}: {:?}", test.name, bench.counts().await);
        let (counts, ()) = tokio::join!(bench.send(), believe_the_first_dead(&bench));
        assert_eq!((counts.accepted, counts.uncertain), (1, 1), "{}", test.name);
        server.let_go(1);
        tokio::time::timeout(Duration::from_secs(30), first).await.expect(test.name).unwrap();
        let said = server.record_as_it_is().said;
        assert_eq!(said["r1@example.org"].len(), 1, "{}: {said:?}", test.name);
        // The edition's end is not waited for by those of a life that is over: what they hear is kept a little later.
        let heard = async {
            while bench.counts().await.accepted != 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let heard = tokio::time::timeout(Duration::from_secs(30), heard).await;
        assert!(heard.is_ok(), "{}: {:?}", test.name, bench.counts().await);
    }
}

#[tokio::test]
async fn p3_a_daemon_that_drains_renews_its_lease_while_it_waits_for_an_answer() {
    for test in both().await {
        let scripts = HashMap::from([(READER.to_owned(), VecDeque::from([taken_and_said_late()]))]);
        let offer = Offer { pipelining: true, ..Offer::default() };
        let server = Faulty::start(offer, scripts, VecDeque::new(), Vec::new()).await;
        let relay = format!("url = \"smtp://{}?tls=none\"", server.address);
        let readers = [READER.to_owned()];
        let bench = prepare_with(test.db, "lease = \"300ms\"", &relay, at_noon(), &readers).await;
        let (engine, mode, shutdown) = (bench.engine(), bench.mode(), Shutdown::new());
        let stop = shutdown.clone();
        let daemon = tokio::spawn(async move { engine.run_edition(mode, &shutdown).await.unwrap() });
        server.until(1).await;
        stop.drain();
        let lease = async || {
            let mut conn = bench.db.read().await.unwrap();
            let sql = "SELECT MAX(lease_until) FROM daemon WHERE gone = 0";
            let until: i64 = on!(&mut conn, |c| sqlx::query_scalar(sql).fetch_one(c).await.unwrap());
            until
        };
        // Twice: the first renewal may have begun before it drained.
        for _ in 0..2 {
            let before = lease().await;
            let renewed = async {
                while lease().await <= before {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(30), renewed).await.expect(test.name);
        }
        server.let_go(1);
        tokio::time::timeout(Duration::from_secs(30), daemon).await.expect(test.name).unwrap();
        assert_eq!(bench.counts().await.accepted, 1, "{}", test.name);
    }
}

#[tokio::test]
async fn p3_a_session_that_stands_still_in_a_transaction_is_ended_so_that_its_locks_are_free() {
    if !databases::postgres_wanted() {
        return;
    }
    let test = databases::postgres().await;
    let mut conn = test.db.read().await.unwrap();
    let sql = "SELECT setting FROM pg_settings WHERE name = 'idle_in_transaction_session_timeout'";
    let length: String = on!(&mut conn, |c| sqlx::query_scalar(sql).fetch_one(c).await.unwrap());
    assert_eq!(length, "30000", "milliseconds");
}

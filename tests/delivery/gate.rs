//! What people do between an envelope and its dot: the release looks, and what it forbids does not leave.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use matinale::db::{Conn, on};
use matinale::delivery::{Record, store};
use matinale::editions::{self, EditionState, Who};
use matinale::lifecycle::Shutdown;
use matinale::readers::{self, Address, SubscriberId, SubscriptionId};

use super::faults::one;
use super::ground::{Bench, at_noon, prepare_with};
use crate::support::databases::{TestDb, both};
use crate::support::faulty::{Fault, Faulty, Offer, Phase, Step};

const READER: &str = "r0@example.org";
const MOVED: &str = "elsewhere@example.org";

/// One reader, whose envelope was taken when `act` happens; the server asks for the body only then. Gives back what the
/// ledger says of them once the daemon is done.
async fn between(test: &TestDb, act: impl AsyncFnOnce(&Bench, &mut Conn)) -> (Bench, Faulty, Record) {
    let waits = Step { phase: Phase::Data, fault: Fault::After(1, Box::new(Fault::Drip)), taken: false };
    let scripts = HashMap::from([(READER.to_owned(), VecDeque::from([waits]))]);
    let offer = Offer { pipelining: true, ..Offer::default() };
    let server = Faulty::start(offer, scripts, VecDeque::new(), Vec::new()).await;
    let relay = format!("url = \"smtp://{}?tls=none\"\nconnections = 1", server.address);
    let bench = prepare_with(test.db.clone(), "", &relay, at_noon(), &[READER.to_owned()]).await;
    let (engine, mode) = (bench.engine(), bench.mode());
    let daemon = tokio::spawn(async move { engine.run_edition(mode, &Shutdown::new()).await.unwrap() });
    let begun = async {
        while server.record().began.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), begun).await.expect(test.name);
    let mut tx = bench.db.write().await.unwrap();
    act(&bench, &mut tx).await;
    tx.commit().await.unwrap();
    server.let_go(1);
    tokio::time::timeout(Duration::from_secs(30), daemon).await.expect(test.name).unwrap();
    let delivery = delivery(&bench).await;
    (bench, server, delivery)
}

async fn delivery(bench: &Bench) -> Record {
    let mut conn = bench.db.read().await.unwrap();
    let page = store::page(&mut conn, bench.edition, None, 10, &bench.links, "example.org");
    page.await.unwrap().unwrap().records.remove(0)
}

/// An end, held against what the server says of this address.
fn judge((test, bench): (&TestDb, &Bench), server: &Faulty, delivery: &Record, address: &str) {
    let record = server.record_as_it_is();
    let copies = record.taken.get(address).map_or(0, Vec::len);
    let said = record.said.get(address).map_or(&[][..], Vec::as_slice);
    let told: Vec<_> = said.iter().filter(|said| said.dot).cloned().collect();
    assert_eq!(one(delivery, copies, &told, &bench.clock), Vec::<String>::new(), "{}", test.name);
    assert_eq!(record.violations, Vec::<String>::new(), "{}", test.name);
}

async fn set_state(bench: &Bench, conn: &mut Conn, to: EditionState) {
    let edition = editions::store::load(conn, bench.edition).await.unwrap();
    let who = Who::command_line();
    assert!(editions::store::set_state(conn, &edition, to, None, &who, bench.clock.now()).await.unwrap());
}

#[tokio::test]
async fn p4_an_edition_held_after_the_envelope_ends_no_body_and_each_reader_has_it_once_it_goes_on() {
    for test in both().await {
        let hold = async |bench: &Bench, conn: &mut Conn| set_state(bench, conn, EditionState::Held).await;
        let (bench, server, held) = between(&test, hold).await;
        assert_eq!(
            (held.state.as_str(), held.attempts.len(), server.dots()),
            ("planned", 0, 0),
            "{}",
            test.name
        );
        let mut tx = bench.db.write().await.unwrap();
        set_state(&bench, &mut tx, EditionState::Sending).await;
        tx.commit().await.unwrap();
        bench.send().await;
        let sent = delivery(&bench).await;
        judge((&test, &bench), &server, &sent, READER);
        assert_eq!(
            (sent.state.as_str(), sent.attempts.len(), server.dots()),
            ("accepted", 1, 1),
            "{}",
            test.name
        );
    }
}

#[tokio::test]
async fn p4_a_reader_who_says_no_after_the_envelope_gets_no_body() {
    for suppressed in [false, true] {
        for test in both().await {
            let no = async |bench: &Bench, conn: &mut Conn| {
                let address: Address = READER.parse().unwrap();
                let person = readers::store::find(conn, &address).await.unwrap().unwrap();
                let now = bench.clock.now();
                if suppressed {
                    let id = SubscriberId(person.id);
                    readers::store::suppress_subscriber(conn, id, "operator", "by letter", now)
                        .await
                        .unwrap();
                }
                for wish in readers::store::subscriptions(conn, person.id, person.id).await.unwrap() {
                    if !suppressed {
                        assert!(
                            readers::store::end(conn, SubscriptionId(wish.id), "page", now).await.unwrap()
                        );
                    }
                }
            };
            let (bench, server, left) = between(&test, no).await;
            judge((&test, &bench), &server, &left, READER);
            let came = (left.state.as_str(), left.attempts.len(), server.dots());
            assert_eq!(came, ("withdrawn", 0, 0), "{}, suppressed: {suppressed}", test.name);
        }
    }
}

#[tokio::test]
async fn p5_a_deadline_that_passes_after_the_envelope_ends_no_body() {
    for test in both().await {
        let pass = async |_: &Bench, conn: &mut Conn| {
            on!(conn, |c| sqlx::query("UPDATE delivery SET deadline = 1")
                .execute(c)
                .await
                .map(drop)
                .unwrap());
        };
        let (bench, server, late) = between(&test, pass).await;
        judge((&test, &bench), &server, &late, READER);
        assert_eq!(
            (late.state.as_str(), late.attempts.len(), server.dots()),
            ("expired", 0, 0),
            "{}",
            test.name
        );
    }
}

#[tokio::test]
async fn p4_a_correction_that_comes_after_the_envelope_is_what_the_reader_gets() {
    for test in both().await {
        let correct = async |bench: &Bench, conn: &mut Conn| bench.correct(conn).await;
        let (bench, server, sent) = between(&test, correct).await;
        judge((&test, &bench), &server, &sent, READER);
        let came = (sent.state.as_str(), sent.attempts.len(), sent.revision, server.dots());
        assert_eq!(came, ("accepted", 1, Some(2), 1), "{}", test.name);
    }
}

#[tokio::test]
async fn p1_a_reader_whose_address_changes_after_the_envelope_gets_it_there_and_nothing_where_they_were() {
    for test in both().await {
        let change = async |_: &Bench, conn: &mut Conn| {
            let sql = "UPDATE subscriber SET address = $1";
            on!(conn, |c| sqlx::query(sql).bind(MOVED).execute(c).await.map(drop).unwrap());
        };
        let (bench, server, sent) = between(&test, change).await;
        judge((&test, &bench), &server, &sent, MOVED);
        assert_eq!((sent.state.as_str(), sent.attempts.len()), ("accepted", 1), "{}", test.name);
        assert_eq!((server.dots_to(READER), server.dots_to(MOVED)), (0, 1), "{}", test.name);
    }
}

//! What is told of relays, once for each change and until it is over; and who takes what waits for one that takes nothing.

use std::collections::{HashMap, VecDeque};
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use matinale::db::{Db, Options, on};
use matinale::delivery::pace::store as paces;
use matinale::delivery::{Mode, relay, store};
use matinale::lifecycle::Shutdown;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;

use super::ground::{Bench, LONGEST, at_noon, prepare_with};
use super::mx::through;
use crate::support::databases::{self, TestDb, both, free_port, sqlite};
use crate::support::faulty::{Fault, Faulty, Offer, Opening, Phase, Step, Stray};
use crate::support::smtp::Scripted;

#[derive(Clone, Default)]
pub struct Heard(Arc<Mutex<Vec<u8>>>);

impl Heard {
    /// All of it so far.
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Heard {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What is told of this thread alone, on which all of such a test runs.
pub fn listen() -> (Heard, tracing::subscriber::DefaultGuard) {
    listen_to(LevelFilter::WARN)
}

fn listen_to(level: LevelFilter) -> (Heard, tracing::subscriber::DefaultGuard) {
    let heard = Heard::default();
    let own = heard.clone();
    let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || own.clone());
    let layered = tracing_subscriber::registry().with(layer).with(level);
    (heard, tracing::subscriber::set_default(layered))
}

#[tokio::test]
async fn a_relay_that_is_down_is_told_once_and_not_for_each_connection() {
    let (heard, _listening) = listen();
    let readers: Vec<String> = (0..40).map(|n| format!("r{n}@example.org")).collect();
    let relay = format!("url = \"smtp://127.0.0.1:{}?tls=none\"\nconnections = 8", free_port());
    let test = sqlite().await;
    let bench = prepare_with(test.db, "", &relay, at_noon(), &readers).await;
    let mode = Mode { once: true, ..bench.mode() };
    bench.engine().run_edition(mode, &Shutdown::new()).await.unwrap();
    assert_eq!(bench.counts().await.planned, 40, "nothing of it was tried");
    let text = heard.text();
    assert_eq!(text.matches("the relay is left alone").count(), 1, "{text}");
}

#[tokio::test]
async fn p1_a_relay_that_lets_fewer_in_than_there_could_be_gets_its_mail_from_those_and_is_not_left_alone() {
    let (heard, _listening) = listen_to(LevelFilter::INFO);
    let offer = Offer { pipelining: true, pace: Duration::from_millis(2), most: Some(2), ..Offer::default() };
    let server = Faulty::start(offer, HashMap::new(), VecDeque::new(), Vec::new()).await;
    let readers: Vec<String> = (0..400).map(|n| format!("r{n}@example.org")).collect();
    let relay = format!("url = \"smtp://{}?tls=none\"\nconnections = 8", server.address);
    let test = sqlite().await;
    let bench = prepare_with(test.db, "batch = 20", &relay, at_noon(), &readers).await;
    assert_eq!(bench.send().await.accepted, 400);
    let text = heard.text();
    assert_eq!(text.matches("left alone").count(), 0, "{text}");
    // Who was turned away is not followed by another within a minute.
    let turned_away = server.record().turned_away;
    assert!((1..=6).contains(&turned_away), "{turned_away} were turned away");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_who_finds_another_providers_connection_in_the_only_place_waits_and_does_not_knock_again_at_once()
{
    let offer =
        Offer { pipelining: true, pace: Duration::from_millis(20), most: Some(1), ..Offer::default() };
    let server = Faulty::start(offer, HashMap::new(), VecDeque::new(), Vec::new()).await;
    let readers: Vec<String> = (0..60).map(|n| format!("r{n}@d{}.example", 1 + n % 2)).collect();
    let relay = format!("url = \"smtp://{}?tls=none\"\nconnections = 8\nproviders = true", server.address);
    let test = sqlite().await;
    let (bench, _folder) = through(test.db.clone(), &relay, &readers).await;
    let (engine, mode, shutdown) = (bench.engine(), bench.mode(), Shutdown::new());
    let until = shutdown.clone();
    let daemon = tokio::spawn(async move { engine.run_edition(mode, &until).await });
    let first = async {
        while bench.counts().await.accepted < 30 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONGEST, first).await.expect("one of them gets its mail");
    let turned_away = server.record().turned_away;
    assert!((1..=12).contains(&turned_away), "{turned_away} were turned away");
    shutdown.drain();
    daemon.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_rate_that_the_ledger_does_not_give_is_told_once_for_each_relay_and_not_for_each_try() {
    let (heard, _listening) = listen_to(LevelFilter::DEBUG);
    let (server, spare) = (Scripted::start(true).await, Scripted::start(true).await);
    let readers: Vec<String> = (0..40).map(|n| format!("r{n}@example.org")).collect();
    let relays = format!(
        "url = \"smtp://{}?tls=none\"\nrate = \"1000/s\"\n\
         [relay.spare]\nurl = \"smtp://{}?tls=none\"\nrate = \"1000/s\"",
        server.address, spare.address
    );
    let test = sqlite().await;
    let bench = prepare_with(test.db, "", &relays, at_noon(), &readers).await;
    let alter = async |sql: &'static str| {
        let mut tx = bench.db.write().await.unwrap();
        on!(&mut tx, |c| sqlx::query(sql).execute(c).await.map(drop).unwrap());
        tx.commit().await.unwrap();
    };
    let text = || heard.text();
    let told = |what: &str| text().matches(what).count();
    alter("CREATE TRIGGER away BEFORE INSERT ON pace BEGIN SELECT RAISE(ABORT, 'away'); END").await;
    let (engine, shutdown) = (bench.engine(), Shutdown::new());
    let mended = async {
        while told("still: the ledger cannot be asked how much") < 12 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(bench.counts().await.accepted, 0, "nothing leaves without");
        alter("DROP TRIGGER away").await;
    };
    let sent = async { tokio::join!(engine.run_edition(bench.mode(), &shutdown), mended) };
    let sent = tokio::time::timeout(LONGEST, sent).await;
    sent.unwrap_or_else(|_| panic!("{}", text())).0.unwrap();
    assert_eq!(bench.counts().await.accepted, 40);
    for relay in ["main", "spare"] {
        let errors = text()
            .lines()
            .filter(|line| line.contains(" ERROR ") && line.contains(&format!("={relay}: ")))
            .count();
        assert_eq!(errors, 1, "{relay}: {}", text());
    }
    assert_eq!(told("the ledger says again how much mail may start"), 2, "{}", text());
}

#[tokio::test]
async fn a_relay_that_refuses_us_is_told_once_though_an_operator_paused_it_and_not_for_each_connection() {
    for paused in [false, true] {
        let (heard, _listening) = listen();
        let readers: Vec<String> = (0..40).map(|n| format!("r{n}@example.org")).collect();
        let said = "550 5.7.1 part of their network is on our block list (S3150)\r\n".to_owned();
        // Every connection hears it before the first of them can end the others' part.
        let fault = Fault::After(1, Box::new(Fault::Reply(said)));
        let strays = (1..=4).map(|nth| Stray { verb: "MAIL", nth, fault: fault.clone() }).collect();
        let server = Faulty::start(Offer::default(), HashMap::new(), VecDeque::new(), strays).await;
        let relay = format!("url = \"smtp://{}?tls=none\"\nconnections = 4", server.address);
        let test = sqlite().await;
        let bench = prepare_with(test.db, "", &relay, at_noon(), &readers).await;
        let mode = Mode { once: true, ..bench.mode() };
        let (engine, shutdown) = (bench.engine(), Shutdown::new());
        let all_wait = async {
            while server.record_as_it_is().most_open < 4 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            if paused {
                let mut tx = bench.db.write().await.unwrap();
                let why = Some("an operator paused it");
                relay::store::pause(&mut tx, "main", Some(i64::MAX), why).await.unwrap();
                tx.commit().await.unwrap();
                // What only waited is back: the daemon knows of the pause.
                while bench.counts().await.claimed > 4 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            server.let_go(1);
        };
        let (sent, ()) = tokio::join!(engine.run_edition(mode, &shutdown), all_wait);
        sent.unwrap();
        assert!(bench.counts().await.deferred > 1, "more than one was refused");
        let text = heard.text();
        assert_eq!(text.matches("pausing the relay").count(), 1, "paused by hand: {paused}: {text}");
    }
}

#[tokio::test]
async fn why_a_relay_is_down_outlives_a_pause_and_a_resume() {
    for test in both().await {
        let mut tx = test.db.write().await.unwrap();
        let since = "2026-11-24T05:00:00Z".parse().unwrap();
        relay::store::mark_down(&mut tx, "main", since, "no route").await.unwrap();
        for (until, why) in [(Some(i64::MAX), Some("an operator paused it")), (None, None)] {
            relay::store::pause(&mut tx, "main", until, why).await.unwrap();
            let known = relay::store::list(&mut tx).await.unwrap().remove(0);
            assert_eq!(known.reason.as_deref(), Some("no route"), "{}: {until:?}", test.name);
            assert_eq!(known.paused_until, until, "{}", test.name);
        }
        relay::store::mark_up(&mut tx, "main").await.unwrap();
        relay::store::pause(&mut tx, "main", Some(i64::MAX), Some("an operator paused it")).await.unwrap();
        let known = relay::store::list(&mut tx).await.unwrap().remove(0);
        assert_eq!(known.reason.as_deref(), Some("an operator paused it"), "{}", test.name);
        relay::store::pause(&mut tx, "main", None, None).await.unwrap();
        let known = relay::store::list(&mut tx).await.unwrap().remove(0);
        assert_eq!((known.reason, known.paused_until), (None, None), "{}", test.name);
    }
}

/// What ends the first relay's part in the middle of an edition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// It says that it blocks us: it is left alone for ten minutes.
    Blocks,
    /// It says 421, and lets nobody in any more.
    Leaves,
    /// It is silent, and an operator pauses it.
    Paused,
}

const READERS: usize = 120;
/// So many the first relay has taken by then.
const BEFORE: usize = 30;

/// Two relays, of which the second takes what the first does not.
async fn two_relays(test: &TestDb, ends: Ends) -> (Bench, Faulty, Faulty) {
    let addresses: Vec<String> = (0..READERS).map(|n| format!("r{n}@example.org")).collect();
    let nth = u32::try_from(BEFORE).unwrap() + 1;
    let stray = |fault| vec![Stray { verb: "MAIL", nth, fault }];
    let blocked = "550 5.7.1 part of their network is on our block list (S3150)\r\n".to_owned();
    let (strays, openings) = match ends {
        Ends::Blocks => (stray(Fault::Reply(blocked)), Vec::new()),
        // Only the first connection is let in, and for the rest of the test nobody.
        Ends::Leaves => {
            (stray(Fault::Goodbye), [vec![Opening::Slow], vec![Opening::Refused; 5_000]].concat())
        }
        Ends::Paused => {
            (stray(Fault::After(1, Box::new(Fault::Reply("250 2.1.0 ok\r\n".to_owned())))), Vec::new())
        }
    };
    let offer = Offer { pipelining: true, ..Offer::default() };
    let first = Faulty::start(offer, HashMap::new(), openings.into(), strays).await;
    let spare = Faulty::start(offer, HashMap::new(), VecDeque::new(), Vec::new()).await;
    let relays = format!(
        "url = \"smtp://{}?tls=none\"\nconnections = 1\nweight = 1\n\
         [relay.spare]\nurl = \"smtp://{}?tls=none\"\nconnections = 2\nweight = 0",
        first.address, spare.address
    );
    let delivery = "retry = [\"20ms\"]";
    let bench = prepare_with(test.db.clone(), delivery, &relays, at_noon(), &addresses).await;
    (bench, first, spare)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_what_waits_for_a_relay_that_takes_nothing_any_more_leaves_by_the_other_at_once() {
    for ends in [Ends::Blocks, Ends::Leaves, Ends::Paused] {
        for test in both().await {
            let what = format!("{}: {ends:?}", test.name);
            let (bench, first, spare) = two_relays(&test, ends).await;
            let (engine, mode, shutdown) = (bench.engine(), bench.mode(), Shutdown::new());
            let daemon = tokio::spawn(async move { engine.run_edition(mode, &shutdown).await });
            let rest = async {
                if ends == Ends::Paused {
                    first.until(BEFORE as u64).await;
                    let mut tx = bench.db.write().await.unwrap();
                    let why = Some("an operator paused it");
                    relay::store::pause(&mut tx, "main", Some(i64::MAX), why).await.unwrap();
                    tx.commit().await.unwrap();
                    // What the first relay has in hand is its own; everything else does not wait for it.
                    spare.until((READERS - BEFORE - 1) as u64).await;
                    first.let_go(1);
                }
                daemon.await.unwrap().unwrap();
            };
            // The first relay takes nothing for minutes: whatever waited for it would be missing here.
            tokio::time::timeout(Duration::from_secs(60), rest).await.expect(&what);
            assert_eq!(bench.counts().await.accepted, i64::try_from(READERS).unwrap(), "{what}");

            let (first, spare) = (first.record_as_it_is(), spare.record_as_it_is());
            assert_eq!(spare.violations, Vec::<String>::new(), "{what}");
            assert_eq!(first.violations, Vec::<String>::new(), "{what}");
            assert!(!spare.taken.is_empty() && first.taken.len() >= BEFORE - 1, "{what}: in the middle");
            let mut conn = bench.db.read().await.unwrap();
            let page = store::page(&mut conn, bench.edition, None, 1000, &bench.links, "example.org");
            let records = page.await.unwrap().unwrap().records;
            assert_eq!(records.len(), READERS, "{what}");
            for delivery in records {
                let to = delivery.email.as_deref().unwrap();
                let copies = [("main", &first), ("spare", &spare)]
                    .map(|(name, server)| (name, server.taken.get(to).map_or(0, Vec::len)));
                // Each is with the one relay that the ledger names, once.
                let last = delivery.attempts.last().unwrap();
                assert_eq!(last.outcome.as_deref(), Some("accepted"), "{what}: {to}");
                for (name, count) in copies {
                    assert_eq!(count, usize::from(name == last.relay), "{what}: {to} at {name}: p6");
                }
                // The one that was refused was tried there; whoever only waited was not.
                let most = if ends == Ends::Blocks { 2 } else { 1 };
                assert!(delivery.attempts.len() <= most, "{what}: {to}: {:?}", delivery.attempts);
            }
        }
    }
}

#[tokio::test]
async fn p1_a_server_that_takes_mail_and_never_says_so_doubles_a_few_and_not_everybody() {
    // Ten are no chance, and the other connections have one each in hand by then. Where the rest takes longer than a second
    // to leave by the other relay, each connection tries one more, and then after two and four: far from everybody.
    const FEW: usize = READERS / 2;
    for (test, is_mx) in
        both().await.into_iter().zip([false; 2]).chain(both().await.into_iter().zip([true; 2]))
    {
        let what = format!("{}: straight to the receivers: {is_mx}", test.name);
        let addresses: Vec<String> = (0..READERS).map(|n| format!("r{n}@one.example")).collect();
        let silent = Step { phase: Phase::Dot, fault: Fault::Close, taken: true };
        // Of their own servers each is in doubt there until they answer, while a relay's readers go to the other relay.
        let silences = if is_mx { 1 } else { 3 };
        let scripts =
            addresses.iter().map(|to| (to.clone(), vec![silent.clone(); silences].into())).collect();
        let offer = Offer { pipelining: true, ..Offer::default() };
        let first = Faulty::start(offer, scripts, VecDeque::new(), Vec::new()).await;
        let spare = Faulty::start(offer, HashMap::new(), VecDeque::new(), Vec::new()).await;
        let url = if is_mx {
            format!("mx://?port={}", first.address.port())
        } else {
            format!("smtp://{}?tls=none", first.address)
        };
        let relays = format!(
            "url = \"{url}\"\nconnections = 4\nweight = 1\n\
             [relay.spare]\nurl = \"smtp://{}?tls=none\"\nconnections = 2\nweight = 0",
            spare.address
        );
        let (bench, _folder) = through(test.db, &relays, &addresses).await;
        let sent = tokio::time::timeout(Duration::from_secs(60), bench.send());
        let counts = sent.await.unwrap_or_else(|_| panic!("{what}: it does not end"));
        assert_eq!(counts.accepted, i64::try_from(READERS).unwrap(), "{what}: {counts:?}");
        let taken = first.record_as_it_is().taken;
        let doubled = taken.len();
        assert!((10..FEW).contains(&doubled), "{what}: {doubled} of {READERS} have two copies");
        if is_mx {
            assert!(taken.values().all(|copies| copies.len() == 2), "{what}: in doubt, and then answered");
            assert_eq!(spare.dots(), READERS - doubled, "{what}: everybody else has one");
        } else {
            assert_eq!(spare.dots(), READERS, "{what}: each has one from the relay that says so");
            let known = relay::store::list(&mut bench.db.read().await.unwrap()).await.unwrap().remove(0);
            let why = known.reason.unwrap();
            assert!(why.starts_with("dots are not answered: "), "{what}: it takes mail all the same: {why}");
        }
    }
}

/// Until the ledger knows so much of the first relay.
async fn until_known(bench: &Bench, what: &str, is_so: impl Fn(&relay::store::Known) -> bool) {
    let known = async {
        loop {
            let known = relay::store::list(&mut bench.db.read().await.unwrap()).await.unwrap();
            if known.iter().any(|one| one.name == "main" && is_so(one)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), known).await.expect(what);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_refuses_us_is_left_alone_by_every_daemon_until_an_operator_lets_it_go_on() {
    for test in both().await {
        let addresses: Vec<String> = (0..READERS).map(|n| format!("r{n}@example.org")).collect();
        let said = "5.7.1 part of their network is on our block list (S3150)";
        let nth = u32::try_from(BEFORE).unwrap();
        let stray = Stray { verb: "MAIL", nth, fault: Fault::Reply(format!("550 {said}\r\n")) };
        let offer = Offer { pipelining: true, ..Offer::default() };
        let server = Faulty::start(offer, HashMap::new(), VecDeque::new(), vec![stray]).await;
        let relay = format!("url = \"smtp://{}?tls=none\"\nconnections = 2", server.address);
        let delivery = "retry = [\"20ms\"]\nbatch = 10";
        let bench = prepare_with(test.db.clone(), delivery, &relay, at_noon(), &addresses).await;
        let daemons = [(); 2].map(|()| {
            let (engine, mode) = (bench.engine(), bench.mode());
            tokio::spawn(async move { engine.run_edition(mode, &Shutdown::new()).await.unwrap() })
        });
        // What was refused only once would be tried again by whoever does not keep the pause.
        until_known(&bench, test.name, |known| known.paused_until.is_some()).await;
        let known = relay::store::list(&mut bench.db.read().await.unwrap()).await.unwrap().remove(0);
        assert_eq!(known.reason.as_deref(), Some(said), "{}", test.name);
        assert!(known.down_since.is_some(), "{}: t16: somebody is told", test.name);
        let left = known.paused_until.unwrap() - bench.clock.now_ms();
        assert!((500_000..=600_000).contains(&left), "{}: {left} ms", test.name);
        // Both have given back what waited for it, and what was on the wire is recorded.
        let at_rest = async {
            while bench.counts().await.claimed > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), at_rest).await.expect(test.name);
        let counts = bench.counts().await;
        assert!(counts.planned > 0 && counts.deferred > 0, "{}: in the middle: {counts:?}", test.name);
        let mut tx = bench.db.write().await.unwrap();
        relay::store::pause(&mut tx, "main", None, None).await.unwrap();
        tx.commit().await.unwrap();
        let rest = async {
            for daemon in daemons {
                daemon.await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(60), rest).await.expect(test.name);
        assert_eq!(bench.counts().await.accepted, i64::try_from(READERS).unwrap(), "{}", test.name);
        let known = relay::store::list(&mut bench.db.read().await.unwrap()).await.unwrap().remove(0);
        assert_eq!((known.down_since, known.reason), (None, None), "{}: it takes mail again", test.name);
        let record = server.record_as_it_is();
        assert_eq!(record.taken.values().map(Vec::len).collect::<Vec<_>>(), [1; READERS], "{}", test.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_an_earlier_daemon_found_down_is_back_once_it_answers_another() {
    for test in both().await {
        let server = Faulty::start(Offer::default(), HashMap::new(), VecDeque::new(), Vec::new()).await;
        let relay = format!("url = \"smtp://{}?tls=none\"", server.address);
        let readers = ["awa@example.org".to_owned()];
        let bench = prepare_with(test.db.clone(), "", &relay, at_noon(), &readers).await;
        let mut tx = bench.db.write().await.unwrap();
        let since = bench.clock.now() - Duration::from_secs(60);
        relay::store::mark_down(&mut tx, "main", since, "connection refused").await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(bench.send().await.accepted, 1, "{}", test.name);
        let known = relay::store::list(&mut bench.db.read().await.unwrap()).await.unwrap().remove(0);
        assert_eq!((known.down_since, known.reason), (None, None), "{}", test.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_outlives_what_another_connection_of_a_relay_that_was_down_is_answered_after_it() {
    for test in both().await {
        let said = "5.7.1 part of their network is on our block list (S3150)";
        let late = Fault::After(1, Box::new(Fault::Reply("250 2.1.0 ok\r\n".to_owned())));
        let strays = [late, Fault::Reply(format!("550 {said}\r\n"))];
        let strays = (1..).zip(strays).map(|(nth, fault)| Stray { verb: "MAIL", nth, fault }).collect();
        // One of two connections finds nobody there: the relay is down for a second, and the other one waits for its answer.
        let openings = vec![Opening::Close].into();
        let server = Faulty::start(Offer::default(), HashMap::new(), openings, strays).await;
        let relay = format!("url = \"smtp://{}?tls=none\"\nconnections = 2", server.address);
        let addresses: Vec<String> = (0..4).map(|n| format!("r{n}@example.org")).collect();
        let bench = prepare_with(test.db.clone(), "", &relay, at_noon(), &addresses).await;
        let (engine, mode, shutdown) = (bench.engine(), bench.mode(), Shutdown::new());
        let until = shutdown.clone();
        let daemon = tokio::spawn(async move { engine.run_edition(mode, &until).await });
        until_known(&bench, test.name, |known| known.paused_until.is_some()).await;
        server.let_go(1);
        let answered = async {
            while bench.counts().await.accepted < 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), answered).await.expect(test.name);
        let known = relay::store::list(&mut bench.db.read().await.unwrap()).await.unwrap().remove(0);
        assert_eq!(known.reason.as_deref(), Some(said), "{}: why it is left alone", test.name);
        assert!(known.down_since.is_some(), "{}: t16: somebody is told", test.name);
        shutdown.drain();
        daemon.await.unwrap().unwrap();
    }
}

/// What keeps the ledger from hearing what was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deaf {
    /// It says no.
    Refuses,
    /// It does not answer, and is given up.
    Silent,
    /// It says no to everything, and this life of the daemon ends.
    Gone,
}

#[tokio::test]
async fn p6_what_was_said_while_the_ledger_says_no_is_told_later() {
    told_later(Deaf::Refuses).await;
}

#[tokio::test]
async fn p6_what_was_said_while_the_ledger_does_not_answer_is_told_later() {
    if databases::postgres_wanted() {
        told_later(Deaf::Silent).await;
    }
}

#[tokio::test]
async fn p6_what_was_said_before_a_life_of_the_daemon_ended_is_told_by_the_next() {
    told_later(Deaf::Gone).await;
}

async fn told_later(deaf: Deaf) {
    let (heard, _listening) = listen();
    let text = || String::from_utf8(heard.0.lock().unwrap().clone()).unwrap();
    let server = Scripted::start(true).await;
    let readers: Vec<String> = (0..40).map(|n| format!("ok-n{n}@example.org")).collect();
    let relay = format!("url = \"smtp://{}?tls=none\"", server.address);
    let test = sqlite().await;
    let db = if deaf == Deaf::Silent {
        let (url, timeout) = (databases::postgres_url().unwrap(), Duration::from_secs(2));
        let db = Db::open(&Options { connections: 6, timeout, ..Options::new(&url) }).await.unwrap();
        db.migrate().await.unwrap();
        db
    } else {
        test.db.clone()
    };
    let bench = prepare_with(db, "", &relay, at_noon(), &readers).await;
    let alter = async |sql: &'static str| {
        let mut tx = bench.db.write().await.unwrap();
        on!(&mut tx, |c| sqlx::query(sql).execute(c).await.map(drop).unwrap());
        tx.commit().await.unwrap();
    };
    alter("INSERT INTO pace (relay, provider) VALUES ('main', '')").await;
    let mut holds = None;
    if deaf == Deaf::Silent {
        let mut tx = bench.db.write().await.unwrap();
        let sql = "UPDATE pace SET reply = NULL";
        on!(&mut tx, |c| sqlx::query(sql).execute(c).await.map(drop).unwrap());
        holds = Some(tx);
    } else {
        alter("CREATE TRIGGER away BEFORE INSERT ON pace BEGIN SELECT RAISE(ABORT, 'away'); END").await;
    }
    let (engine, shutdown) = (bench.engine(), Shutdown::new());
    let meanwhile = async {
        while bench.counts().await.accepted < 40 || !text().contains("could not be told") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        match holds {
            Some(tx) => tx.rollback().await.unwrap(),
            None if deaf == Deaf::Gone => {
                alter("ALTER TABLE pace RENAME TO elsewhere").await;
                while !text().contains("sending stopped") {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                alter("ALTER TABLE elsewhere RENAME TO pace").await;
                alter("DROP TRIGGER away").await;
            }
            None => alter("DROP TRIGGER away").await,
        }
        loop {
            let rows = paces::list(&mut bench.db.read().await.unwrap()).await.unwrap();
            if rows.iter().map(|row| row.accepted).sum::<i64>() == 40 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        shutdown.drain();
    };
    let told = async { tokio::join!(engine.run(&shutdown), meanwhile) };
    tokio::time::timeout(LONGEST, told).await.unwrap_or_else(|_| panic!("{deaf:?}: {}", text()));
    let rows = paces::list(&mut bench.db.read().await.unwrap()).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.accepted).sum::<i64>(), 40, "{deaf:?}: and not twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_a_relay_that_was_down_when_the_last_mail_was_over_is_found_to_be_back_before_the_next() {
    for test in both().await {
        let server = Faulty::start(Offer::default(), HashMap::new(), VecDeque::new(), Vec::new()).await;
        let relays = format!(
            "url = \"smtp://{0}?tls=none\"\n[relay.spare]\nurl = \"smtp://{0}?tls=none\"\n\
             [relay.straight]\nurl = \"mx://\"",
            server.address
        );
        let (bench, _folder) = through(test.db.clone(), &relays, &[]).await;
        let hour = Duration::from_secs(3600);
        let (now, mut tx) = (bench.clock.now(), bench.db.write().await.unwrap());
        for name in ["main", "straight"] {
            relay::store::mark_down(&mut tx, name, now - hour, "nobody is there").await.unwrap();
        }
        // Whoever refuses us as a sender greets us all the same.
        relay::store::block(&mut tx, "spare", now - hour, now - hour / 2, "blocked").await.unwrap();
        tx.commit().await.unwrap();
        let (engine, shutdown) = (bench.engine(), Shutdown::new());
        let until = shutdown.clone();
        let daemon = tokio::spawn(async move { engine.run(&until).await });
        let down = async || -> Vec<String> {
            let known = relay::store::list(&mut bench.db.read().await.unwrap()).await.unwrap();
            known.into_iter().filter(|known| known.down_since.is_some()).map(|known| known.name).collect()
        };
        let back = async {
            while down().await.len() > 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LONGEST, back).await.expect(test.name);
        assert_eq!(down().await, ["spare"], "{}", test.name);
        shutdown.drain();
        daemon.await.unwrap();
        assert!(server.record().taken.is_empty(), "{}: no mail is needed for it", test.name);
    }
}

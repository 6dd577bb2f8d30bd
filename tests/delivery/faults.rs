//! The fault suite: a seed picks a mix of faults over a few hundred deliveries, and at the end the ledger is held
//! against the server's own record.
//!
//! `SEED=42 cargo test --test house faults` runs one seed alone, `SEEDS=1000` more than the usual hundred. Nothing of
//! a mix comes from anywhere but its seed; how the connections interleave is the machine's.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use matinale::clock::{Clock, Random};
use matinale::db::{Db, Options, on};
use matinale::delivery::{Counts, Record, store};
use matinale::lifecycle::Shutdown;

use super::ground::{Bench, prepare_with};
use crate::support::databases::{self, TestDb};
use crate::support::faulty::{Fault, Faulty, Offer, Opening, Phase, Said, Step};
use crate::support::lossy::Lossy;

/// Seeds that run side by side: most of their time they wait for a deadline.
const TOGETHER: usize = 10;
const READERS: u64 = 200;

/// What goes wrong on our side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ours {
    Nothing,
    /// The disk is full for a while (SQLite), or every connection to the database breaks, again and again.
    Database,
    /// Answers to COMMIT are lost, and COMMITs themselves (PostgreSQL).
    Commits,
    /// The clock steps forward and back.
    Clock,
    /// Two daemons; one after the other is believed dead although it lives.
    Fenced,
    /// The daemon dies in the middle, and another comes.
    Killed,
}

/// One seed's mix.
struct Mix {
    seed: u64,
    ours: Ours,
    postgres: bool,
    offer: Offer,
    connections: u64,
    addresses: Vec<String>,
    scripts: HashMap<String, VecDeque<Step>>,
    openings: VecDeque<Opening>,
    mails: VecDeque<(u32, Fault)>,
    /// The moments, in tries seen by the server, at which something happens on our side.
    moments: Vec<u64>,
}

fn pick<T: Clone>(random: &Random, of: &[T]) -> T {
    let at = usize::try_from(random.between(0, of.len() as u64)).unwrap();
    of[at].clone()
}

impl Mix {
    fn of(seed: u64) -> Self {
        let random = Random::seeded(seed);
        let postgres = seed % 2 == 1 && databases::postgres_wanted();
        let ours = match seed % 12 / 2 {
            0 => Ours::Nothing,
            1 => Ours::Database,
            2 if postgres => Ours::Commits,
            2 | 3 => Ours::Clock,
            4 => Ours::Fenced,
            _ => Ours::Killed,
        };
        let offer = Offer { pipelining: random.between(0, 4) > 0, starttls: random.between(0, 4) == 0 };
        let addresses: Vec<String> = (0..READERS).map(|n| format!("n{n}@example.org")).collect();
        let share = random.between(5, 40);
        let scripts = addresses
            .iter()
            .filter(|_| random.between(0, 100) < share)
            .map(|to| (to.clone(), (0..=random.between(0, 3)).map(|_| step(&random)).collect()))
            .collect();
        let openings = (0..random.between(0, 6)).map(|_| opening(&random, offer.starttls)).collect();
        let mut at = 0;
        let mails = (0..random.between(0, 4))
            .map(|_| {
                at += u32::try_from(random.between(1, 40)).unwrap();
                (at, fault(&random, &["451 4.3.0 not now\r\n", "452 4.3.1 no room\r\n"]))
            })
            .collect();
        let mut moments: Vec<u64> = (0..3).map(|_| random.between(1, READERS)).collect();
        moments.sort_unstable();
        let connections = random.between(3, 9);
        Self { seed, ours, postgres, offer, connections, addresses, scripts, openings, mails, moments }
    }
}

fn opening(random: &Random, starttls: bool) -> Opening {
    use Opening as O;
    let all = [O::Slow, O::Hang, O::Close, O::Half, O::Junk, O::Refused, O::CloseAtEhlo, O::HangAtEhlo];
    match random.between(0, 5) {
        0 if starttls => O::NoHandshake,
        0..=2 => O::Slow,
        _ => pick(random, &all),
    }
}

fn fault(random: &Random, replies: &[&str]) -> Fault {
    match random.between(0, 14) {
        0 => Fault::Hang,
        1 | 2 => Fault::Close,
        3 => Fault::Half,
        4 => Fault::Junk,
        5 => Fault::Goodbye,
        6 => Fault::Drip,
        7 => Fault::Lines,
        _ => Fault::Reply(pick(random, replies).to_owned()),
    }
}

fn step(random: &Random) -> Step {
    // What speaks of us would stop the run; `replies.rs` plays that.
    const RCPT: [&str; 6] = [
        "550 5.1.1 no such user\r\n",
        "550-5.2.1 this mailbox\r\n550 5.2.1 is inactive\r\n",
        "451 4.7.1 greylisted\r\n",
        "450-4.2.0 one\r\n450-4.2.0 two\r\n450 4.2.0 three\r\n",
        "452 4.2.2 mailbox full\r\n",
        "552 5.2.2 mailbox full\r\n",
    ];
    const DATA: [&str; 2] = ["451 4.3.0 not now\r\n", "452 4.3.1 no room\r\n"];
    const DOT: [&str; 4] = [
        "451 4.3.0 later\r\n",
        "554 5.7.1 policy says no\r\n",
        "452-4.2.2 mailbox\r\n452 4.2.2 full\r\n",
        "550 5.1.1 no such user after all\r\n",
    ];
    let (phase, fault) = match random.between(0, 10) {
        0..=3 => (Phase::Rcpt, fault(random, &RCPT)),
        4 => (Phase::Data, fault(random, &DATA)),
        5 => (Phase::Body, Fault::Close),
        _ => (Phase::Dot, fault(random, &DOT)),
    };
    let silent = matches!(fault, Fault::Hang | Fault::Close | Fault::Half | Fault::Junk);
    let good = matches!(fault, Fault::Drip | Fault::Lines);
    let taken = phase == Phase::Dot && (good || (silent && random.between(0, 2) == 0));
    Step { phase, fault, taken }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_p2_p6_whatever_fails_the_ledger_and_the_servers_record_agree() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let seeds: Vec<u64> = match number("SEED") {
        Some(seed) => vec![seed],
        None => (0..number("SEEDS").unwrap_or(100)).collect(),
    };
    let alone = seeds.len() == 1;
    if alone {
        let level = "info".to_owned();
        matinale::telemetry::start(&matinale::config::Log {
            format: matinale::config::LogFormat::Text,
            level,
        });
    }
    let mut failed: Vec<u64> = futures_util::stream::iter(seeds)
        .map(|seed| async move {
            let lived = tokio::spawn(async move {
                let run = std::panic::AssertUnwindSafe(run(Mix::of(seed), alone)).catch_unwind();
                tokio::time::timeout(Duration::from_secs(90), Box::pin(run)).await
            });
            match lived.await {
                Ok(Ok(Ok(()))) => None,
                Ok(Err(_)) => {
                    eprintln!("seed {seed}: it did not end");
                    Some(seed)
                }
                _ => Some(seed),
            }
        })
        .buffer_unordered(TOGETHER)
        .filter_map(|failed| async move { failed })
        .collect()
        .await;
    failed.sort_unstable();
    let again: Vec<String> =
        failed.iter().map(|seed| format!("SEED={seed} cargo test --test house faults")).collect();
    assert!(failed.is_empty(), "seeds that failed; each alone:\n{}", again.join("\n"));
}

async fn run(mix: Mix, aloud: bool) {
    let test: TestDb = if mix.postgres { databases::postgres().await } else { databases::sqlite().await };
    let server = Faulty::start(mix.offer, mix.scripts.clone(), mix.openings.clone(), mix.mails.clone()).await;
    let clock = Clock::manual("2026-11-24T05:00:00Z".parse().unwrap());
    let ticking = tokio::spawn(tick(clock.clone()));
    let delivery = format!(
        "retry = [\"20ms\", \"20ms\", \"20ms\", \"20ms\", \"20ms\", \"20ms\"]\nlease = \"{}\"\n\
         [delivery.timeouts]\nbanner = \"200ms\"\nmail = \"300ms\"\nrcpt = \"300ms\"\ndata = \"300ms\"\n\
         block = \"100ms\"\ndot = \"300ms\"",
        if matches!(mix.ours, Ours::Fenced | Ours::Killed) { "300ms" } else { "60s" }
    );
    let relay = format!(
        "url = \"smtp://{}{}\"\nconnections = {}\nmessages_per_connection = 30",
        server.address,
        if mix.offer.starttls { "" } else { "?tls=none" },
        mix.connections
    );
    let bench = prepare_with(test.db.clone(), &delivery, &relay, clock, &mix.addresses).await;
    let sent =
        tokio::time::timeout(Duration::from_secs(60), Box::pin(send(&mix, &bench, &server, &test))).await;
    if sent.is_err() {
        let counts = bench.counts().await;
        let relays =
            matinale::delivery::relay::store::list(&mut bench.db.read().await.unwrap()).await.unwrap();
        panic!("seed {} ({:?}): it did not end: {counts:?} {relays:?}", mix.seed, mix.ours);
    }
    ticking.abort();
    let counts = judge(&mix, &bench, &server).await;
    if aloud {
        let record = server.record();
        let copies: usize = record.taken.values().map(Vec::len).sum();
        eprintln!(
            "seed {} on {}: {:?}, {:?}: {}; {copies} mails at the server",
            mix.seed,
            test.name,
            mix.ours,
            mix.offer,
            counts.in_words()
        );
    }
}

/// The clock goes as the machine's does, until somebody steps it.
async fn tick(clock: Clock) {
    let step = Duration::from_millis(5);
    let mut ticks = tokio::time::interval(step);
    loop {
        ticks.tick().await;
        clock.advance(step);
    }
}

async fn send(mix: &Mix, bench: &Bench, server: &Faulty, test: &TestDb) {
    match mix.ours {
        Ours::Nothing => until_final(bench, &bench.db).await,
        Ours::Clock => {
            tokio::select! {
                () = until_final(bench, &bench.db) => {}
                () = step_the_clock(mix, bench, server) => {}
            }
        }
        Ours::Database if mix.postgres => {
            let (lossy, db) = by_a_lossy_way(test).await;
            let cut = async {
                for moment in &mix.moments {
                    server.until(*moment).await;
                    lossy.cut();
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = until_final(bench, &db) => {}
                () = cut => {}
            }
        }
        Ours::Database => {
            tokio::select! {
                () = until_final(bench, &bench.db) => {}
                () = fill_the_disk(mix, bench, server) => {}
            }
        }
        Ours::Commits => {
            let (lossy, db) = by_a_lossy_way(test).await;
            let lose = async {
                for (n, moment) in mix.moments.iter().enumerate() {
                    server.until(*moment).await;
                    if n % 2 == 0 { lossy.lose_answers(2) } else { lossy.lose_commits(2) }
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = until_final(bench, &db) => {}
                () = lose => {}
            }
        }
        Ours::Fenced => {
            tokio::select! {
                _ = async { tokio::join!(until_final(bench, &bench.db), until_final(bench, &bench.db)) } => {}
                () = end_leases(mix, bench, server) => {}
            }
        }
        Ours::Killed => {
            for moment in &mix.moments {
                tokio::select! {
                    () = until_final(bench, &bench.db) => {}
                    // Dropped as it stands: nothing is given back, nobody says goodbye.
                    () = server.until(*moment) => {}
                }
            }
            until_final(bench, &bench.db).await;
        }
    }
}

/// As the daemon does it: a life that ended for the database's sake is followed by another.
async fn until_final(bench: &Bench, db: &Db) {
    loop {
        let engine = bench.engine_on(db.clone());
        if engine.run_edition(bench.mode(), &Shutdown::new()).await.is_ok()
            && bench.counts().await.all_final()
        {
            return;
        }
        tokio::task::yield_now().await;
    }
}

async fn by_a_lossy_way(test: &TestDb) -> (Lossy, Db) {
    let (lossy, url) = Lossy::start(test.url.as_deref().expect("it is on PostgreSQL"));
    let db = Db::open(&Options { connections: 6, ..Options::new(&url) }).await.unwrap();
    (lossy, db)
}

async fn step_the_clock(mix: &Mix, bench: &Bench, server: &Faulty) {
    let minute = Duration::from_secs(60);
    for moment in &mix.moments {
        server.until(*moment).await;
        bench.clock.advance(minute * 5);
        server.until(moment + 5).await;
        let back = bench.clock.now().checked_sub(jiff::SignedDuration::from_mins(5)).unwrap();
        bench.clock.set(back);
        server.until(moment + 10).await;
        bench.clock.advance(minute * 5);
    }
    std::future::pending::<()>().await;
}

/// No page more than there are: every statement that needs one fails as on a full disk.
async fn fill_the_disk(mix: &Mix, bench: &Bench, server: &Faulty) {
    for moment in &mix.moments {
        server.until(*moment).await;
        limit_pages(&bench.db, 1).await;
        // So long that several commits meet it.
        for _ in 0..40 {
            drop(bench.db.read().await.unwrap());
            tokio::task::yield_now().await;
        }
        limit_pages(&bench.db, 1 << 30).await;
    }
    std::future::pending::<()>().await;
}

async fn limit_pages(db: &Db, pages: i64) {
    let mut tx = db.write().await.unwrap();
    // SQLite takes the pages that there are where fewer are named. A pragma binds nothing.
    let sql = format!("PRAGMA max_page_count = {pages}");
    on!(&mut tx, |c| sqlx::query(sqlx::AssertSqlSafe(sql.as_str())).execute(c).await.map(drop).unwrap());
    tx.commit().await.unwrap();
}

async fn end_leases(mix: &Mix, bench: &Bench, server: &Faulty) {
    for moment in &mix.moments {
        server.until(*moment).await;
        let mut tx = bench.db.write().await.unwrap();
        let sql = "UPDATE daemon SET lease_until = 0 WHERE gone = 0";
        on!(&mut tx, |c| sqlx::query(sql).execute(c).await.map(drop).unwrap());
        tx.commit().await.unwrap();
    }
    std::future::pending::<()>().await;
}

/// Holds the ledger against the server's record.
async fn judge(mix: &Mix, bench: &Bench, server: &Faulty) -> Counts {
    let seed = mix.seed;
    let mut conn = bench.db.read().await.unwrap();
    let page =
        store::page(&mut conn, bench.edition, 0, None, 1000, &bench.links, "example.org").await.unwrap();
    let (records, _) = page.unwrap();
    let counts = bench.counts().await;
    let summary = store::said(&mut conn, bench.edition).await.unwrap();
    let held: i64 = on!(&mut conn, |c| {
        sqlx::query_scalar("SELECT COUNT(*) FROM delivery WHERE daemon IS NOT NULL")
            .fetch_one(c)
            .await
            .unwrap()
    });
    let record = server.record();
    let mut wrong: Vec<String> = record.violations.clone();
    if held != 0 {
        wrong.push(format!("p1: {held} deliveries are still held"));
    }
    wrong.extend(numbers(&records, counts, &summary));
    let mut ids = BTreeSet::new();
    let mut paths = BTreeSet::new();
    for delivery in &records {
        let to = delivery.email.as_deref().unwrap_or_default();
        let empty = Vec::new();
        let copies = record.taken.get(to).unwrap_or(&empty);
        let said = record.said.get(to).map_or(&[][..], Vec::as_slice);
        let mut tell = |what: String| wrong.push(format!("{to} ({}): {what}", delivery.state));
        for fault in one(delivery, copies.len(), said, mix.ours == Ours::Fenced) {
            tell(format!("{fault}\n    server: {said:?}\n    ledger: {:?}", delivery.attempts));
        }
        if let Some(first) = copies.first() {
            if copies.iter().any(|copy| copy != first) {
                tell("p2: a second copy has other bytes, or another return path".to_owned());
            }
            let text = String::from_utf8_lossy(&first.bytes);
            if !text.contains(&format!("Message-ID: {}\n", delivery.message_id).replace('\n', "\r\n")) {
                tell("h2: the mail bears another Message-ID than the ledger says".to_owned());
            }
            if !text.contains(&format!("To: {to}\r\n")) {
                tell("the mail is somebody else's".to_owned());
            }
            if !ids.insert(delivery.message_id.clone()) || !paths.insert(first.from.clone()) {
                tell("t11: a Message-ID or return path is another reader's too".to_owned());
            }
        }
    }
    let told = wrong.join("\n");
    assert!(
        wrong.is_empty(),
        "seed {seed} ({:?}, {:?}, postgres: {}):\n{told}\nalone: SEED={seed} cargo test --test house faults",
        mix.ours,
        mix.offer,
        mix.postgres
    );
    counts
}

/// What `delivery summary` says, against what the deliveries and their attempts are.
fn numbers(records: &[Record], counts: Counts, summary: &[store::Said]) -> Vec<String> {
    let mut wrong = Vec::new();
    if counts.total() != i64::try_from(records.len()).unwrap()
        || counts.total() != i64::try_from(READERS).unwrap()
    {
        wrong.push(format!("p1: {counts:?} for {} deliveries", records.len()));
    }
    for (state, count) in counts.by_state() {
        let there = records.iter().filter(|record| record.state == state).count();
        if i64::try_from(there).unwrap() != count {
            wrong.push(format!("p1: the summary says {count} {state}, the export {there}"));
        }
    }
    if !counts.all_final() {
        wrong.push(format!("p1: not final: {counts:?}"));
    }
    for outcome in ["accepted", "deferred", "rejected", "uncertain"] {
        let attempts = records.iter().flat_map(|record| &record.attempts);
        let there = attempts.filter(|attempt| attempt.outcome.as_deref() == Some(outcome)).count();
        let said: i64 = summary
            .iter()
            .filter(|said| said.outcome.as_deref() == Some(outcome))
            .map(|said| said.attempts)
            .sum();
        if i64::try_from(there).unwrap() != said {
            wrong.push(format!("p6: the summary says {said} attempts {outcome}, the export {there}"));
        }
    }
    wrong
}

/// One delivery against what the server did with it.
fn one(delivery: &Record, copies: usize, said: &[Said], fenced: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    let count = |outcome: &str| {
        delivery.attempts.iter().filter(|attempt| attempt.outcome.as_deref() == Some(outcome)).count()
    };
    let (accepted, uncertain) = (count("accepted"), count("uncertain"));
    if delivery.attempts.iter().any(|attempt| attempt.outcome.is_none()) {
        wrong.push("an attempt is still open".to_owned());
    }
    let most = match delivery.state.as_str() {
        "accepted" => {
            if copies == 0 {
                wrong.push("p1: the server never had it".to_owned());
            }
            // A second acceptance is possible only where somebody took over from one who lives; both are told.
            if accepted != 1 && !(fenced && accepted > 1) {
                wrong.push(format!("p6: {accepted} acceptances"));
            }
            accepted + uncertain
        }
        "uncertain" => uncertain,
        "rejected" | "expired" | "withdrawn" => 0,
        other => {
            wrong.push(format!("p1: {other} is no end"));
            0
        }
    };
    if copies > most {
        wrong.push(format!("p2: {copies} copies and {most} told"));
    }
    // Word for word: what the ledger quotes, the server said to this reader, in this order. What the server said and
    // nobody heard (a deadline, a takeover) may be missing.
    let mut heard = said.iter();
    for attempt in delivery.attempts.iter().filter(|attempt| attempt.code.is_some()) {
        let same = |said: &Said| {
            said.code.map(i64::from) == attempt.code
                && said.text == attempt.text.as_deref().unwrap_or_default()
        };
        let of_mail = matches!(attempt.text.as_deref(), Some("4.3.0 not now" | "4.3.1 no room"));
        if !of_mail && !heard.any(same) {
            wrong.push(format!("p6: nobody said {:?} {:?} then", attempt.code, attempt.text));
        }
    }
    wrong
}

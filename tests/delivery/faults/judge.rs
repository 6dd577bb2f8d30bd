//! The ledger held against the server's own record.

use std::collections::BTreeSet;

use jiff::Timestamp;
use matinale::clock::Clock;
use matinale::db::on;
use matinale::delivery::{Attempt, Counts, Record, store};

use super::mix::{Mix, Ours, READERS};
use super::people::People;
use crate::delivery::ground::Bench;
use crate::support::faulty::{Faulty, Said};

/// Holds the ledger against the server's record.
pub(super) async fn judge(mix: &Mix, bench: &Bench, server: &Faulty, people: &People) -> Counts {
    let seed = mix.seed;
    let mut conn = bench.db.read().await.unwrap();
    let page = store::page(&mut conn, bench.edition, None, 1000, &bench.links, "example.org").await.unwrap();
    let records = page.unwrap().records;
    let counts = bench.counts().await;
    let summary = store::said(&mut conn, bench.edition).await.unwrap();
    let held: i64 = on!(&mut conn, |c| {
        sqlx::query_scalar("SELECT COUNT(*) FROM delivery WHERE daemon IS NOT NULL")
            .fetch_one(c)
            .await
            .unwrap()
    });
    let record = server.record_as_it_is();
    let mut wrong: Vec<String> = record.violations.clone();
    if held != 0 {
        wrong.push(format!("p1: {held} deliveries are still held"));
    }
    wrong.extend(people.wrong.lock().unwrap().iter().cloned());
    wrong.extend(numbers(&records, counts, &summary));
    let mut ids = BTreeSet::new();
    let mut paths = BTreeSet::new();
    for delivery in &records {
        let to = delivery.email.as_deref().unwrap_or_default();
        let empty = Vec::new();
        let copies = record.taken.get(to).unwrap_or(&empty);
        let said = record.said.get(to).map_or(&[][..], Vec::as_slice);
        let mut tell = |what: String| wrong.push(format!("{to} ({}): {what}", delivery.state));
        for fault in one(delivery, copies.len(), said, &bench.clock) {
            tell(format!("{fault}\n    server: {said:?}\n    ledger: {:?}", delivery.attempts));
        }
        if let Some(fault) = people.too_many(to, server) {
            tell(fault);
        }
        let gone = people.gone.lock().unwrap().contains_key(to);
        if delivery.state == "withdrawn" && !gone {
            tell("p1: withdrawn, and the reader never said no".to_owned());
        }
        if delivery.state == "expired" && mix.ours != Ours::Late {
            tell("p5: expired before its deadline".to_owned());
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

/// One delivery against what the server did with it. Attempts are told in real time and deadlines in civil time: both are
/// this clock's.
pub(in crate::delivery) fn one(
    delivery: &Record,
    copies: usize,
    said: &[Said],
    clock: &Clock,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let count = |outcome: &str| {
        delivery.attempts.iter().filter(|attempt| attempt.outcome.as_deref() == Some(outcome)).count()
    };
    let (accepted, uncertain) = (count("accepted"), count("uncertain"));
    if delivery.attempts.iter().any(|attempt| attempt.outcome.is_none()) {
        wrong.push("an attempt is still open".to_owned());
    }
    let deadline: Timestamp = delivery.deadline.parse().unwrap();
    let ahead = clock.civil_ms() - clock.now_ms();
    let late = |attempt: &&Attempt| {
        attempt.at.parse::<Timestamp>().unwrap().as_millisecond() + ahead >= deadline.as_millisecond()
    };
    if delivery.attempts.iter().filter(|one| one.outcome.as_deref() == Some("accepted")).any(|one| late(&one))
    {
        wrong.push("p5: a mail left after its deadline".to_owned());
    }
    let most = match delivery.state.as_str() {
        "accepted" => {
            if copies == 0 {
                wrong.push("p1: the server never had it".to_owned());
            }
            if accepted != 1 {
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

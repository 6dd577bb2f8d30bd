//! The fault suite: a seed picks a mix of faults over a few hundred deliveries, and at the end the ledger is held
//! against the server's own record.
//!
//! `SEED=42 cargo test --test house faults` runs one seed alone, `SEEDS=1000` more than the usual hundred. Nothing of
//! a mix comes from anywhere but its seed; how the connections interleave is the machine's.

mod judge;
mod mix;
mod ours;
mod people;

use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use matinale::clock::Clock;
use matinale::delivery::store::{self, Place, Settle};

use super::ground::{Bench, prepare_with};
use crate::support::databases::{self, TestDb};
use crate::support::disk::SmallDisk;
use crate::support::faulty::Faulty;

pub(super) use judge::one;
use mix::{Mix, Ours};
use people::People;

/// Seeds that run side by side: most of their time they wait for a deadline, and a machine with too much to do misses
/// those of the other side.
const TOGETHER: usize = 6;
/// A seed takes seconds; on a machine that is busy otherwise it may take long.
const LONGEST: Duration = Duration::from_secs(300);

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
                tokio::time::timeout(LONGEST + Duration::from_secs(30), Box::pin(run)).await
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
    let disk = if mix.ours == Ours::Disk { SmallDisk::mount() } else { None };
    let test = database(&mix, disk.as_ref()).await;
    let server =
        Faulty::start(mix.offer, mix.scripts.clone(), mix.openings.clone(), mix.strays.clone()).await;
    let clock = Clock::manual("2026-11-24T05:00:00Z".parse().unwrap());
    let ticking = tokio::spawn(tick(clock.clone()));
    let delivery = format!(
        "retry = [\"20ms\", \"20ms\", \"20ms\", \"20ms\", \"20ms\", \"20ms\"]\nlease = \"{}\"\n\
         uncertain = \"{}\"\n[delivery.timeouts]\nbanner = \"200ms\"\nmail = \"300ms\"\nrcpt = \"300ms\"\n\
         data = \"300ms\"\nblock = \"100ms\"\ndot = \"300ms\"",
        if matches!(mix.ours, Ours::Fenced | Ours::Killed) { "300ms" } else { "60s" },
        if mix.hold_uncertain { "hold" } else { "resend" },
    );
    let relay = format!(
        "url = \"smtp://{}{}\"\nconnections = {}\nmessages_per_connection = 30",
        server.address,
        if mix.offer.starttls { "" } else { "?tls=none" },
        mix.connections
    );
    let quiet = quiet(&mix).await;
    let bench = prepare_with(test.db.clone(), &delivery, &relay, clock, &mix.addresses).await;
    drop(quiet);
    let people = People::default();
    let morning = async {
        tokio::select! {
            () = ours::send(&mix, &bench, &server, &test, disk.as_ref()) => {}
            () = people.act(&mix, &bench, &server) => {}
        }
        if mix.hold_uncertain {
            settle(&bench).await;
        }
    };
    let sent = tokio::time::timeout(LONGEST, Box::pin(morning)).await;
    let quiet = self::quiet(&mix).await;
    if sent.is_err() {
        let counts = bench.counts().await;
        let relays =
            matinale::delivery::relay::store::list(&mut bench.db.read().await.unwrap()).await.unwrap();
        panic!("seed {} ({:?}): it did not end: {counts:?} {relays:?}", mix.seed, mix.ours);
    }
    ticking.abort();
    let counts = judge::judge(&mix, &bench, &server, &people).await;
    drop(quiet);
    if aloud {
        let copies: usize = server.record().taken.values().map(Vec::len).sum();
        eprintln!(
            "seed {} on {}: {:?}, {:?}, {} deeds: {}; {copies} mails at the server",
            mix.seed,
            test.name,
            mix.ours,
            mix.offer,
            mix.deeds.len(),
            counts.in_words()
        );
    }
}

async fn database(mix: &Mix, disk: Option<&SmallDisk>) -> TestDb {
    match (mix.ours, disk) {
        (Ours::Restarted, _) => {
            let quiet = databases::QUIET.read().await;
            let test = databases::restartable().await;
            drop(quiet);
            test
        }
        (_, Some(disk)) => databases::sqlite_in(disk.path()).await,
        _ if mix.postgres => databases::postgres().await,
        _ => databases::sqlite().await,
    }
}

/// Held while nothing may be restarted: other seeds share that server.
async fn quiet(mix: &Mix) -> Option<tokio::sync::RwLockReadGuard<'static, ()>> {
    if mix.ours == Ours::Restarted { Some(databases::QUIET.read().await) } else { None }
}

/// An operator has what is in doubt sent once more, until nothing of it is left to be done.
async fn settle(bench: &Bench) {
    loop {
        let settled = async {
            let mut conn = bench.db.read().await?;
            let piece = store::uncertain_piece(&mut conn, bench.edition, None, Place::FIRST).await?;
            drop(conn);
            let mut tx = bench.db.write().await?;
            let (now, civil) = (bench.clock.now_ms(), bench.clock.civil_ms());
            store::settle(&mut tx, bench.edition, piece, Settle::Resend, now, civil).await?;
            tx.commit().await?;
            Ok::<_, matinale::delivery::Error>(())
        };
        if settled.await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ours::until_final(bench, &bench.db).await;
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

//! `cargo bench --bench size`: the ledger at its full size: planning, the daemon's memory, the rate from the first
//! delivery to the last.
//!
//! Planning is held against one bare `INSERT … SELECT` of the same rows into the same table; memory is the peak of a
//! daemon's own process, once for each number of readers.
//!
//! `cargo bench --bench size -- [--postgres URL] [READERS]...` (100000 and 1000000 when none is named)

#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use matinale::db::{Db, on};
use matinale::delivery::store;
use matinale::morning::stage::sink::{self, Observer, Taken};
use matinale::morning::stage::{NEWSLETTER, Setting, Stage, letter};

const BARE: &str = "
INSERT INTO delivery (edition, subscriber, subscription, state, due_at, deadline, next_at)
SELECT $1, subscription.subscriber, subscription.id, 'planned', 0, 0, 0
FROM subscription
WHERE subscription.newsletter = $2 AND subscription.status = 'active'";

#[derive(Default)]
struct Count(AtomicU64);

impl Observer for Count {
    fn taken(&self, _taken: Taken<'_>) -> Duration {
        self.0.fetch_add(1, Ordering::Relaxed);
        Duration::ZERO
    }
}

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let (mut postgres, mut sizes) = (None, Vec::new());
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    while let Some(arg) = args.next() {
        if arg == "--postgres" {
            postgres = Some(args.next().ok_or("--postgres needs a URL")?);
        } else {
            sizes.push(arg.parse::<i64>().map_err(|error| format!("{arg}: {error}"))?);
        }
    }
    if sizes.is_empty() {
        sizes = vec![100_000, 1_000_000];
    }
    println!("{}, the default durability", if postgres.is_some() { "PostgreSQL" } else { "SQLite" });
    let mut first = None;
    for size in sizes {
        let peak = measure(postgres.clone(), size).await?;
        match first {
            None => first = Some(peak),
            Some(first) => println!("  memory against the first size: {:.2}", peak as f64 / first as f64),
        }
    }
    Ok(())
}

async fn measure(postgres: Option<String>, size: i64) -> Result<u64, Failure> {
    let count = Arc::new(Count::default());
    let relay = sink::open(count.clone()).await?;
    let stage = Stage::set(&Setting {
        postgres,
        relay,
        connections: 20,
        messages_per_connection: 1_000_000,
        lease: Duration::from_secs(60),
        retry: Duration::from_secs(60),
        key: None,
    })
    .await?;
    let start = Instant::now();
    stage.readers(1, size).await?;
    println!("\n{size} readers (made in {:.1} s)", start.elapsed().as_secs_f64());
    let bytes = letter(4_000)?.to_bytes();
    let (mut planned, mut bare) = (Vec::new(), Vec::new());
    let mut editions = Vec::new();
    for day in 0..3 {
        let edition = stage.edition(&[("fr".to_owned(), bytes.clone())], day * 2).await?;
        let start = Instant::now();
        let rows = stage.plan(edition).await?;
        planned.push(start.elapsed());
        if rows != size {
            return Err(format!("{rows} planned of {size}").into());
        }
        let other = stage.edition(&[("fr".to_owned(), bytes.clone())], day * 2 + 1).await?;
        let start = Instant::now();
        plan_barely(&stage.house.db, other.0).await?;
        bare.push(start.elapsed());
        editions.push(edition);
    }
    planned.sort();
    bare.sort();
    let (plan, other) = (planned[1].as_secs_f64(), bare[1].as_secs_f64());
    println!(
        "  planning {plan:.2} s, a bare INSERT ... SELECT {other:.2} s: x{:.2} (at most 3)",
        plan / other
    );
    let edition = editions[0];
    stage.start(edition).await?;
    let start = Instant::now();
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_matinale"))
        .arg("--config")
        .arg(&stage.file)
        .args(["serve", "--only", "send"])
        .env("MATINALE__LOG__LEVEL", "error")
        .stdin(Stdio::null())
        .spawn()?;
    let status = format!("/proc/{}/status", daemon.id());
    let mut peak = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        peak = peak.max(high_water(&status).unwrap_or(0));
        let mut conn = stage.house.db.read().await?;
        if store::all_final(&mut conn, edition).await? {
            break;
        }
        if let Some(status) = daemon.try_wait()? {
            return Err(format!("the daemon ended: {status}").into());
        }
    }
    let took = start.elapsed().as_secs_f64();
    daemon.kill()?;
    daemon.wait()?;
    let mut conn = stage.house.db.read().await?;
    let counts = store::counts(&mut conn, edition).await?;
    drop(conn);
    println!(
        "  sent in {took:.0} s, {:.0}/s; the sink had {}, the ledger says {} accepted",
        size as f64 / took,
        count.0.load(Ordering::Relaxed),
        counts.accepted
    );
    println!("  peak memory of the daemon {} MB (under 100)", peak / 1024);
    stage.strike().await?;
    Ok(peak)
}

async fn plan_barely(db: &Db, edition: i64) -> Result<(), Failure> {
    let mut tx = db.write().await?;
    on!(&mut tx, |c| sqlx::query(BARE).bind(edition).bind(NEWSLETTER).execute(c).await.map(drop)?);
    tx.commit().await?;
    Ok(())
}

/// The most memory that a process has held, in kilobytes.
fn high_water(status: &str) -> Option<u64> {
    let text = std::fs::read_to_string(status).ok()?;
    text.lines().find(|line| line.starts_with("VmHWM:"))?.split_ascii_whitespace().nth(1)?.parse().ok()
}

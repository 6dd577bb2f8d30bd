//! One edition at its full size.

#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use matinale::delivery::store;
use matinale::editions::EditionId;
use matinale::morning::stage::{Stage, is_operators, letter};

use super::figures::{Cpu, Run, Table};
use super::sinks::{Kind, Sink};
use super::{Failure, Options, sql};

/// The most messages of one run with the ledger or without, and how many runs of each.
const COMPARED: i64 = 20_000;
const ROUNDS: i32 = 3;

pub(super) async fn measure(options: &Options) -> Result<(), Failure> {
    let mut first = None;
    for size in &options.sizes {
        let peak = one(options, *size).await?;
        match first {
            None => first = Some(peak),
            Some(first) => {
                let ratio = peak as f64 / first as f64;
                println!("  memory against the first size: x{ratio:.2} (at most 1.1: {})", yes(ratio <= 1.1));
            }
        }
    }
    Ok(())
}

fn yes(kept: bool) -> &'static str {
    if kept { "yes" } else { "NO" }
}

async fn one(options: &Options, size: i64) -> Result<u64, Failure> {
    let sink = Sink::start(Kind::Fast)?;
    let stage = super::stage(options.postgres.clone(), sink.address()).await?;
    let start = Instant::now();
    stage.readers(1, size).await?;
    println!("\n{size} readers (made in {:.1} s)", start.elapsed().as_secs_f64());
    let edition = plan(options, &stage, size).await?;
    let peak = daemon(&stage, edition, size).await?;
    compare(options, &stage, Kind::Postfix, ("ledger, into smtp-sink", 100), size).await?;
    compare(options, &stage, Kind::Fast, ("ledger, into a fast sink", 200), size).await?;
    stage.strike().await?;
    Ok(peak)
}

/// Planning against a bare insert, in turns; gives back one planned edition.
async fn plan(options: &Options, stage: &Stage, size: i64) -> Result<EditionId, Failure> {
    let bytes = letter(options.bytes)?.to_bytes();
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
        sql::plan_barely(&stage.house.db, other).await?;
        bare.push(start.elapsed());
        editions.push(edition);
    }
    planned.sort();
    bare.sort();
    let (plan, other) = (planned[1].as_secs_f64(), bare[1].as_secs_f64());
    let ratio = plan / other;
    println!(
        "  planning {plan:.2} s, a bare INSERT ... SELECT {other:.2} s: x{ratio:.2} (at most 3: {})",
        yes(ratio <= 3.0)
    );
    Ok(editions[0])
}

/// A daemon of its own sends it all; the most memory that it held.
async fn daemon(stage: &Stage, edition: EditionId, size: i64) -> Result<u64, Failure> {
    stage.start(edition).await?;
    let start = Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_matinale"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_operators(name)) {
        command.env_remove(name);
    }
    let mut daemon = command
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
    let counts = store::counts(&mut stage.house.db.read().await?, edition).await?;
    println!("  sent in {took:.0} s, {:.0}/s; {}", size as f64 / took, counts.in_words());
    let megabytes = peak as f64 / 1024.0;
    println!("  peak memory of the daemon {megabytes:.1} MB (under 100: {})", yes(megabytes < 100.0));
    sql::close(&stage.house.db, edition).await?;
    Ok(peak)
}

/// The same edition with the ledger and without, in turns, in tables as full as they are.
async fn compare(
    options: &Options,
    stage: &Stage,
    kind: Kind,
    (name, days): (&'static str, i32),
    size: i64,
) -> Result<(), Failure> {
    let count = size.min(COMPARED);
    let mut sink = Sink::start(kind)?;
    let bytes = letter(options.bytes)?.to_bytes();
    let mut table = Table::new(name, Some(0.9));
    for round in 0..ROUNDS {
        let edition = stage.edition(&[("fr".to_owned(), bytes.clone())], days + round).await?;
        sql::plan_some(&stage.house.db, edition, count).await?;
        stage.start(edition).await?;
        for (sender, unrecorded) in [("no-op ledger", true), ("matinale", false)] {
            let cpu = Cpu::now()?;
            let took = super::send(stage, edition, sink.address(), unrecorded).await?;
            let run =
                Run { messages: u32::try_from(count)?, took, cpu: Some(cpu.since()?), sink: Duration::ZERO };
            sink.add(&mut table, sender, run)?;
        }
        sql::close(&stage.house.db, edition).await?;
    }
    table.print();
    Ok(())
}

/// The most memory that a process has held, in kilobytes.
fn high_water(status: &str) -> Option<u64> {
    let text = std::fs::read_to_string(status).ok()?;
    text.lines().find(|line| line.starts_with("VmHWM:"))?.split_ascii_whitespace().nth(1)?.parse().ok()
}

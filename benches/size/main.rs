//! `cargo bench --bench size`: the ledger at its full size, and day after day.
//!
//! For each number of readers: planning is held against one bare `INSERT … SELECT` of the same rows into the same
//! table; memory is the peak of a daemon's own process that sends the whole edition; and the rate with the ledger is
//! held against the rate of a ledger that does nothing, in turns, in the tables as full as they are.
//!
//! `cargo bench --bench size -- [--postgres URL] [--bytes N] [READERS]...` (100000 and 1000000 when none is named), or
//! day after day `-- [--postgres URL] --editions 30 --subscribers 100000`.

mod days;
#[path = "../wire/figures.rs"]
mod figures;
mod full;
#[path = "../wire/sinks.rs"]
mod sinks;
mod sql;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use matinale::clock::{Clock, Random};
use matinale::delivery::{Engine, Mode, store};
use matinale::editions::EditionId;
use matinale::lifecycle::Shutdown;
use matinale::morning::stage::{Setting, Stage};

type Failure = Box<dyn std::error::Error>;

const CONNECTIONS: u32 = 20;
/// Size of each mail on the wire, where none is asked for: the smaller of the two that `wire` measures.
const BYTES: usize = 20_000;

struct Options {
    postgres: Option<String>,
    sizes: Vec<i64>,
    editions: Option<u32>,
    subscribers: i64,
    /// Size of each mail on the wire.
    bytes: usize,
}

fn options() -> Result<Options, Failure> {
    let mut options =
        Options { postgres: None, sizes: Vec::new(), editions: None, subscribers: 100_000, bytes: BYTES };
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--postgres" => options.postgres = Some(value()?),
            "--editions" => options.editions = Some(value()?.parse()?),
            "--bytes" => options.bytes = value()?.parse()?,
            "--subscribers" => options.subscribers = value()?.parse()?,
            size => options.sizes.push(size.parse().map_err(|error| format!("{size}: {error}"))?),
        }
    }
    if options.sizes.is_empty() {
        options.sizes = vec![100_000, 1_000_000];
    }
    Ok(options)
}

fn main() -> Result<(), Failure> {
    // The sink is a process of its own, which this one starts.
    if std::env::args().nth(1).as_deref() == Some("sink") {
        return Ok(sinks::run()?);
    }
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let options = options()?;
    println!(
        "{}, synchronous=full, linger 1 ms (the defaults), {CONNECTIONS} connections, mails of {} bytes",
        if options.postgres.is_some() { "PostgreSQL" } else { "SQLite" },
        options.bytes
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match options.editions {
        Some(editions) => runtime.block_on(days::measure(&options, editions)),
        None => runtime.block_on(full::measure(&options)),
    }
}

async fn stage(postgres: Option<String>, relay: SocketAddr) -> Result<Stage, Failure> {
    Ok(Stage::set(&Setting {
        postgres,
        relay,
        connections: CONNECTIONS,
        messages_per_connection: 1_000_000,
        lease: Duration::from_secs(60),
        retry: Duration::from_secs(60),
        key: None,
    })
    .await?)
}

/// Sends an edition in this process to this receiver, until each delivery is final; how long it took. `unrecorded`:
/// nothing is claimed and nothing recorded.
async fn send(
    stage: &Stage,
    edition: EditionId,
    to: SocketAddr,
    unrecorded: bool,
) -> Result<Duration, Failure> {
    let house = &stage.house;
    let mut config = (*house.config).clone();
    for relay in config.relays.values_mut() {
        (relay.host, relay.port) = (to.ip().to_string(), to.port());
    }
    let (clock, random) = (Clock::system(), Random::system());
    let engine = Engine::new(config.into(), house.db.clone(), clock, random, house.links.clone())?;
    let mode = Mode { edition: Some(edition), now: true, unrecorded, ..Mode::default() };
    let start = Instant::now();
    engine.run_edition(mode, &Shutdown::new()).await?;
    let took = start.elapsed();
    if !unrecorded && !store::all_final(&mut house.db.read().await?, edition).await? {
        return Err("the edition is not over".into());
    }
    Ok(took)
}

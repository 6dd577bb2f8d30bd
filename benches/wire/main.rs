//! `cargo bench --bench wire`: how fast whole editions leave, as ratios to named peers in the same run.
//!
//! Everything Matinale does is in its figures (claims, personal parts, ledger, signature); each peer sends the same
//! number of messages of the same size over as many connections, to the same sink, on the same machine. One round
//! runs every sender once; ratios are taken within a round, and the median of the rounds is printed.
//!
//! `cargo bench --bench wire -- [--messages N] [--rounds N] [--connections N] [--postgres URL] [--alone] [CASE]...`

mod delay;
mod figures;
mod parts;
mod peers;
mod sinks;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use matinale::clock::{Clock, Random};
use matinale::delivery::{Engine, Mode, store};
use matinale::lifecycle::Shutdown;
use matinale::morning::stage::{Setting, Stage, letter};

use figures::{Cpu, Table};
use sinks::{Kind, Sink};

const HELP: &str =
    "usage: wire [--messages N] [--rounds N] [--connections N] [--postgres URL] [--alone] [CASE]...
cases: plain-20k plain-60k signed-60k far-60k fast-60k fast-signed-60k ledger parts split (all when none is named)";

pub(crate) struct Options {
    messages: u32,
    rounds: usize,
    connections: u32,
    postgres: Option<String>,
    /// Only Matinale, to be looked at with a profiler.
    alone: bool,
    cases: Vec<String>,
}

/// One comparison.
struct Case {
    name: &'static str,
    bytes: usize,
    signed: bool,
    sink: Kind,
    /// One way.
    delay: Duration,
    /// Of the messages asked for: a slow wire needs fewer.
    share: u32,
    wanted: Option<f64>,
    peers: bool,
}

const CASES: [Case; 6] = [
    Case {
        name: "plain-20k",
        bytes: 20_000,
        signed: false,
        sink: Kind::Postfix,
        delay: Duration::ZERO,
        share: 1,
        wanted: Some(1.2),
        peers: true,
    },
    Case {
        name: "plain-60k",
        bytes: 60_000,
        signed: false,
        sink: Kind::Postfix,
        delay: Duration::ZERO,
        share: 1,
        wanted: Some(1.05),
        peers: false,
    },
    Case {
        name: "signed-60k",
        bytes: 60_000,
        signed: true,
        sink: Kind::Postfix,
        delay: Duration::ZERO,
        share: 1,
        wanted: Some(0.8),
        peers: false,
    },
    Case {
        name: "far-60k",
        bytes: 60_000,
        signed: false,
        sink: Kind::Postfix,
        delay: Duration::from_millis(10),
        share: 4,
        wanted: Some(3.5),
        peers: false,
    },
    Case {
        name: "fast-60k",
        bytes: 60_000,
        signed: false,
        sink: Kind::Fast,
        delay: Duration::ZERO,
        share: 1,
        wanted: None,
        peers: true,
    },
    Case {
        name: "fast-signed-60k",
        bytes: 60_000,
        signed: true,
        sink: Kind::Fast,
        delay: Duration::ZERO,
        share: 1,
        wanted: None,
        peers: false,
    },
];

fn options() -> Result<Options, String> {
    let mut options = Options {
        messages: 20_000,
        rounds: 5,
        connections: 20,
        postgres: None,
        alone: false,
        cases: Vec::new(),
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value\n{HELP}"));
        let number = |text: String| text.parse::<u32>().map_err(|error| format!("{text}: {error}\n{HELP}"));
        match arg.as_str() {
            "--bench" => {}
            "--messages" => options.messages = number(value()?)?,
            "--rounds" => options.rounds = number(value()?)?.max(1) as usize,
            "--connections" => options.connections = number(value()?)?.max(1),
            "--postgres" => options.postgres = Some(value()?),
            "--alone" => options.alone = true,
            name if !name.starts_with('-') => options.cases.push(name.to_owned()),
            _ => return Err(HELP.to_owned()),
        }
    }
    Ok(options)
}

fn main() {
    let first = std::env::args().nth(1);
    let done = match first.as_deref() {
        Some("sink") => sinks::run(),
        Some("delay") => delay::run(std::env::args().skip(2)),
        _ => options().and_then(|options| bench(&options)),
    };
    if let Err(message) = done {
        eprintln!("{message}");
        std::process::exit(2);
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| error.to_string())
}

fn bench(options: &Options) -> Result<(), String> {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let wanted = |name: &str| options.cases.is_empty() || options.cases.iter().any(|case| case == name);
    let runtime = runtime()?;
    println!(
        "{} messages a run, {} connections, {} rounds, medians; {}, synchronous=full, linger 1 ms (the defaults)",
        options.messages,
        options.connections,
        options.rounds,
        if options.postgres.is_some() { "PostgreSQL" } else { "SQLite" }
    );
    if wanted("parts") {
        parts::print()?;
    }
    for case in CASES.iter().filter(|case| wanted(case.name)) {
        runtime.block_on(compare(case, options))?;
    }
    if wanted("ledger") {
        runtime.block_on(ledger(options))?;
    }
    if wanted("split") {
        runtime.block_on(split(options))?;
    }
    Ok(())
}

/// One sender against the others, round after round.
async fn compare(case: &Case, options: &Options) -> Result<(), String> {
    let messages = options.messages / case.share;
    let mut table = Table::new(case.name, case.wanted);
    for round in 0..options.rounds {
        let mut sink = Sink::start(case.sink)?;
        let wire = delay::Delay::before(sink.address(), case.delay)?;
        let size = Stamp::of(case, options)?;
        let (to, connections) = (wire.address(), options.connections);
        if !options.alone {
            let run = peers::smtp_source(to, connections, messages, size.bytes)?;
            sink.add(&mut table, "smtp-source", run)?;
        }
        let run = matinale(case, options, messages, to, false).await?;
        sink.add(&mut table, "matinale", run)?;
        if options.alone {
            continue;
        }
        let signs = case.signed;
        let bare = move || peers::bare(to, connections, messages, size.bytes, signs);
        let run = tokio::task::spawn_blocking(bare).await.map_err(|error| error.to_string())??;
        sink.add(&mut table, if signs { "bare wire, signing" } else { "bare wire" }, run)?;
        if case.peers && round < 3 {
            // The slow ones get a fair share of the time, not of the messages.
            let few = messages / 4;
            let run = peers::lettre_pool(to, connections, few, size.bytes).await?;
            sink.add(&mut table, "lettre's pool", run)?;
            if let Some(run) = peers::nodemailer(to, connections, few, size.bytes)? {
                sink.add(&mut table, "nodemailer's pool", run)?;
            }
        }
    }
    table.print();
    Ok(())
}

/// The size that a message of this case has on the wire, for those who send a constant one.
struct Stamp {
    bytes: usize,
}

impl Stamp {
    fn of(case: &Case, _options: &Options) -> Result<Self, String> {
        let bytes = parts::filled(case.bytes, case.signed)?.len();
        Ok(Self { bytes })
    }
}

/// A whole edition, from the claim to the last outcome in the ledger.
async fn matinale(
    case: &Case,
    options: &Options,
    messages: u32,
    relay: SocketAddr,
    unrecorded: bool,
) -> Result<figures::Run, String> {
    let told = |error: matinale::morning::Error| error.to_string();
    let setting = Setting {
        postgres: options.postgres.clone(),
        relay,
        connections: options.connections,
        messages_per_connection: 1_000_000,
        lease: Duration::from_secs(60),
        retry: Duration::from_secs(60),
        key: if case.signed { Some(parts::key()?) } else { None },
    };
    let stage = Stage::set(&setting).await.map_err(told)?;
    stage.readers(1, messages.into()).await.map_err(told)?;
    let bytes = letter(case.bytes).map_err(|error| error.to_string())?.to_bytes();
    let edition = stage.edition(&[("fr".to_owned(), bytes)], 0).await.map_err(told)?;
    stage.plan(edition).await.map_err(told)?;
    stage.start(edition).await.map_err(told)?;
    let house = &stage.house;
    let engine = Engine::new(
        house.config.clone(),
        house.db.clone(),
        Clock::system(),
        Random::system(),
        house.links.clone(),
    )
    .map_err(|error| error.to_string())?;
    let mode = Mode { edition: Some(edition), now: true, unrecorded, ..Mode::default() };
    let (cpu, start) = (Cpu::now()?, Instant::now());
    engine.run_edition(mode, &Shutdown::new()).await.map_err(|error| error.to_string())?;
    let (took, spent) = (start.elapsed(), cpu.since()?);
    if !unrecorded {
        let mut conn = house.db.read().await.map_err(|error| error.to_string())?;
        let counts = store::counts(&mut conn, edition).await.map_err(|error| error.to_string())?;
        if counts.accepted != i64::from(messages) {
            return Err(format!("the ledger says {counts:?} of {messages}"));
        }
        drop(conn);
    }
    stage.strike().await.map_err(told)?;
    Ok(figures::Run { messages, took, cpu: Some(spent), sink: Duration::ZERO })
}

/// Our processor time for one signed message, by part: what is left when a part is left out. Into the fast sink, so
/// that nothing waits for the receiver.
async fn split(options: &Options) -> Result<(), String> {
    let case = |signed| Case {
        name: "split",
        bytes: 60_000,
        signed,
        sink: Kind::Fast,
        delay: Duration::ZERO,
        share: 1,
        wanted: None,
        peers: false,
    };
    let (bare, unsigned, signed) = (case(false), case(false), case(true));
    let [mut wire, mut ledger, mut sign] = [const { Vec::new() }; 3];
    let render = parts::filling(60_000)?;
    for _ in 0..options.rounds {
        let sink = Sink::start(Kind::Fast)?;
        let mut each = [0.0; 3];
        for (at, (case, unrecorded)) in
            [(&bare, true), (&unsigned, false), (&signed, false)].into_iter().enumerate()
        {
            let run = matinale(case, options, options.messages, sink.address(), unrecorded).await?;
            each[at] = run.cpu_each().unwrap_or(f64::NAN);
        }
        wire.push(each[0] - render);
        ledger.push(each[1] - each[0]);
        sign.push(each[2] - each[1]);
    }
    let [wire, ledger, sign] = [wire, ledger, sign].map(figures::median);
    println!("\nsplit: our CPU for one signed message of 60 KB, into the fast sink, microseconds");
    println!("  render  {render:>6.1}  (filling in what is personal)");
    println!("  sign    {sign:>6.1}");
    println!("  wire    {wire:>6.1}  (and the claims)");
    println!("  ledger  {ledger:>6.1}");
    Ok(())
}

/// What the ledger costs: the same edition with it and without, in turns.
async fn ledger(options: &Options) -> Result<(), String> {
    let plain = |name, sink, bytes| Case {
        name,
        bytes,
        signed: false,
        sink,
        delay: Duration::ZERO,
        share: 1,
        wanted: None,
        peers: false,
    };
    let cases = [
        plain("ledger, 60 KB, smtp-sink", Kind::Postfix, 60_000),
        plain("ledger, 60 KB, fast sink", Kind::Fast, 60_000),
    ];
    for case in cases {
        let mut table = Table::new(case.name, Some(0.9));
        for _ in 0..options.rounds {
            let mut sink = Sink::start(case.sink)?;
            for (name, unrecorded) in [("no-op ledger", true), ("matinale", false)] {
                let run = matinale(&case, options, options.messages, sink.address(), unrecorded).await?;
                sink.add(&mut table, name, run)?;
            }
        }
        table.print();
    }
    Ok(())
}

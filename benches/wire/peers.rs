//! The peers: Postfix's `smtp-source`, lettre's own pool, nodemailer's pool.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use lettre::address::Envelope;
use lettre::transport::smtp::client::Tls;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::figures::{Cpu, Run};
use super::parts::Bare;

pub(crate) fn smtp_source(
    to: SocketAddr,
    connections: u32,
    messages: u32,
    bytes: usize,
) -> Result<Run, String> {
    let start = Instant::now();
    let status = Command::new("smtp-source")
        .args(["-d", "-s", &connections.to_string(), "-m", &messages.to_string(), "-l", &bytes.to_string()])
        .args(["-f", "bounce@news.example", "-t", "reader@d1.example", &to.to_string()])
        .status()
        .map_err(|error| format!("smtp-source (Debian's postfix): {error}"))?;
    let took = start.elapsed();
    if status.success() {
        Ok(Run { messages, took, cpu: None, sink: Duration::ZERO })
    } else {
        Err(format!("smtp-source: {status}"))
    }
}

/// The ceiling: one constant mail, the end of a body and the next envelope in one write, no name, no ledger, nothing
/// looked at but the codes. What no sender that does its work can pass. With `signs` each mail costs a bare signature and
/// the hash of its body besides, on as many threads as there are cores; otherwise there is one thread.
pub(crate) fn bare(
    to: SocketAddr,
    connections: u32,
    messages: u32,
    bytes: usize,
    signs: bool,
) -> Result<Run, String> {
    let body = Arc::new(super::parts::filled(bytes, false)?);
    let signs = if signs { Some(Arc::new(Bare::new()?)) } else { None };
    let runtime = if signs.is_some() {
        tokio::runtime::Builder::new_multi_thread().enable_all().build()
    } else {
        tokio::runtime::Builder::new_current_thread().enable_all().build()
    };
    let runtime = runtime.map_err(|error| error.to_string())?;
    let (cpu, start) = (Cpu::now()?, Instant::now());
    runtime.block_on(async {
        let left = Arc::new(AtomicU32::new(messages));
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..connections {
            workers.spawn(bare_session(to, left.clone(), body.clone(), signs.clone()));
        }
        while let Some(ended) = workers.join_next().await {
            ended.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        }
        Ok::<(), String>(())
    })?;
    Ok(Run { messages, took: start.elapsed(), cpu: Some(cpu.since()?), sink: Duration::ZERO })
}

async fn bare_session(
    to: SocketAddr,
    left: Arc<AtomicU32>,
    body: Arc<Vec<u8>>,
    signs: Option<Arc<Bare>>,
) -> std::io::Result<()> {
    const ENVELOPE: &str = "MAIL FROM:<bounce@news.example>\r\nRCPT TO:<reader@d1.example>\r\nDATA\r\n";
    let take = || {
        let some =
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        if let Some(bare) = signs.as_ref().filter(|_| some) {
            Bare::hash(&body);
            bare.sign(&body);
        }
        some
    };
    let mut stream = BufReader::new(TcpStream::connect(to).await?);
    stream.get_ref().set_nodelay(true)?;
    expect(&mut stream, &["220"]).await?;
    stream.write_all(b"EHLO bench.example\r\n").await?;
    expect(&mut stream, &["250"]).await?;
    if !take() {
        return Ok(());
    }
    stream.write_all(ENVELOPE.as_bytes()).await?;
    expect(&mut stream, &["250", "250", "354"]).await?;
    let mut whole = body.to_vec();
    whole.extend_from_slice(b".\r\n");
    let through_dot = whole.len();
    whole.extend_from_slice(ENVELOPE.as_bytes());
    loop {
        if !take() {
            stream.write_all(&whole[..through_dot]).await?;
            return expect(&mut stream, &["250"]).await;
        }
        stream.write_all(&whole).await?;
        expect(&mut stream, &["250", "250", "250", "354"]).await?;
    }
}

/// Reads replies, each of which must have its code.
async fn expect(stream: &mut BufReader<TcpStream>, codes: &[&str]) -> std::io::Result<()> {
    let mut line = String::new();
    for code in codes {
        loop {
            line.clear();
            stream.read_line(&mut line).await?;
            if !line.starts_with(code) {
                return Err(std::io::Error::other(format!("{code} expected, {line:?} came")));
            }
            if !line[code.len()..].starts_with('-') {
                break;
            }
        }
    }
    Ok(())
}

pub(crate) async fn lettre_pool(
    to: SocketAddr,
    connections: u32,
    messages: u32,
    bytes: usize,
) -> Result<Run, String> {
    let pool = lettre::transport::smtp::PoolConfig::new().max_size(connections);
    let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(to.ip().to_string())
        .port(to.port())
        .tls(Tls::None)
        .pool_config(pool)
        .build();
    let body = Arc::new(super::parts::filled(bytes, false)?);
    let next = Arc::new(AtomicU32::new(0));
    let (cpu, start) = (Cpu::now()?, Instant::now());
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let (transport, body, next) = (transport.clone(), body.clone(), next.clone());
        workers.spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= messages {
                    return Ok(());
                }
                let address =
                    |text: String| text.parse::<lettre::Address>().map_err(|error| error.to_string());
                let (from, to) =
                    (address("bounce@news.example".to_owned())?, address(format!("reader.{n}@d1.example"))?);
                let envelope = Envelope::new(Some(from), vec![to]).map_err(|error| error.to_string())?;
                transport.send_raw(&envelope, &body).await.map_err(|error| error.to_string())?;
            }
        });
    }
    while let Some(ended) = workers.join_next().await {
        ended.map_err(|error| error.to_string()).and_then(|sent: Result<(), String>| sent)?;
    }
    Ok(Run { messages, took: start.elapsed(), cpu: Some(cpu.since()?), sink: Duration::ZERO })
}

const SCRIPT: &str = r#"
const nodemailer = require("nodemailer");
const [host, port, connections, messages, file] = process.argv.slice(1);
const raw = require("fs").readFileSync(file);
const transport = nodemailer.createTransport({
  host, port: Number(port), secure: false, ignoreTLS: true, pool: true,
  maxConnections: Number(connections), maxMessages: Infinity });
let next = 0;
async function worker() {
  while (next < Number(messages)) {
    const n = next++;
    await transport.sendMail({ envelope: { from: "bounce@news.example", to: `reader.${n}@d1.example` }, raw });
  }
}
const start = process.hrtime.bigint();
Promise.all(Array.from({ length: Number(connections) * 2 }, worker)).then(() => {
  const cpu = process.cpuUsage();
  console.log(Number(process.hrtime.bigint() - start) / 1e9, (cpu.user + cpu.system) / 1e6);
  transport.close();
});
"#;

/// `None`, and a word why, where node or npm is missing.
pub(crate) fn nodemailer(
    to: SocketAddr,
    connections: u32,
    messages: u32,
    bytes: usize,
) -> Result<Option<Run>, String> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("nodemailer");
    if !folder.join("node_modules/nodemailer").exists() {
        std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let installed = Command::new("npm")
            .args(["install", "--silent", "--no-audit", "--no-fund", "nodemailer@10"])
            .current_dir(&folder)
            .stdout(Stdio::null())
            .status();
        if !installed.is_ok_and(|status| status.success()) {
            println!("  (nodemailer left out: `npm install nodemailer` did not work)");
            return Ok(None);
        }
    }
    let file = folder.join("message.eml");
    std::fs::write(&file, super::parts::filled(bytes, false)?).map_err(|error| error.to_string())?;
    let output = Command::new("node")
        .args(["-e", SCRIPT, "--", &to.ip().to_string(), &to.port().to_string()])
        .args([&connections.to_string(), &messages.to_string()])
        .arg(&file)
        .current_dir(&folder)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("node: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut numbers = text.split_ascii_whitespace().filter_map(|word| word.parse::<f64>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(took), Some(cpu)) => Ok(Some(Run {
            messages,
            took: Duration::from_secs_f64(took),
            cpu: Some(Duration::from_secs_f64(cpu)),
            sink: Duration::ZERO,
        })),
        _ => Err(format!("nodemailer: {text}")),
    }
}

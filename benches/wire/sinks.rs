//! The receivers: Postfix's `smtp-sink`, and one of ours that is fast enough not to be the bound; each a process of
//! its own, so that its work is not counted as the sender's.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use matinale::morning::stage::sink::{self, Observer, Taken};

use super::figures::{self, Run, Table};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Postfix,
    Fast,
}

/// A receiver that runs until it is dropped.
pub(crate) struct Sink {
    address: SocketAddr,
    child: Child,
    /// The child's processor time when it was last asked.
    cpu: Duration,
    /// Asks our own how many it took; Postfix's keeps no count that can be asked for.
    counter: Option<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Sink {
    pub(crate) fn start(kind: Kind) -> Result<Self, String> {
        match kind {
            Kind::Fast => {
                let me = std::env::current_exe().map_err(|error| error.to_string())?;
                let mut child = Command::new(me)
                    .arg("sink")
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .spawn()
                    .map_err(|error| error.to_string())?;
                let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
                    return Err("the sink has no pipes".to_owned());
                };
                let mut lines = BufReader::new(stdout);
                let address = line(&mut lines)?.parse().map_err(|_| "the sink told no address".to_owned())?;
                Ok(Self { address, child, cpu: Duration::ZERO, counter: Some((stdin, lines)) })
            }
            Kind::Postfix => {
                let address = free_port()?;
                let mut command = Command::new("smtp-sink");
                if is_root() {
                    // It refuses to stay root.
                    command.args(["-u", "postfix"]);
                }
                let child = command
                    .args(["-m", "600", &address.to_string(), "1024"])
                    .stdout(Stdio::null())
                    .spawn()
                    .map_err(|error| format!("smtp-sink (Debian's postfix): {error}"))?;
                until_it_listens(address)?;
                Ok(Self { address, child, cpu: Duration::ZERO, counter: None })
            }
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds a run that ended here, with the receiver's processor time since the one before; fails when our own sink
    /// did not take exactly as many messages.
    pub(crate) fn add(
        &mut self,
        table: &mut Table,
        sender: &'static str,
        mut run: Run,
    ) -> Result<(), String> {
        self.expect(run.messages)?;
        let cpu = figures::of_process(self.child.id())?;
        run.sink = cpu.saturating_sub(std::mem::replace(&mut self.cpu, cpu));
        table.add(sender, run);
        Ok(())
    }

    /// Fails when our own sink did not take exactly so many since the last time.
    fn expect(&mut self, messages: u32) -> Result<(), String> {
        let Some((stdin, lines)) = &mut self.counter else { return Ok(()) };
        writeln!(stdin).map_err(|error| error.to_string())?;
        let text = line(lines)?;
        let taken: u32 = text.parse().map_err(|_| format!("the sink said {text:?}"))?;
        if taken == messages {
            Ok(())
        } else {
            Err(format!("the sink took {taken}, the sender said {messages}"))
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // It may be gone already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn line(lines: &mut BufReader<ChildStdout>) -> Result<String, String> {
    let mut text = String::new();
    lines.read_line(&mut text).map_err(|error| error.to_string())?;
    Ok(text.trim().to_owned())
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|of| of.uid() == 0)
}

/// A port of loopback that was free a moment ago.
pub(crate) fn free_port() -> Result<SocketAddr, String> {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .map_err(|error| error.to_string())
}

pub(crate) fn until_it_listens(address: SocketAddr) -> Result<(), String> {
    let until = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(address).is_err() {
        if Instant::now() > until {
            return Err(format!("nothing listens on {address}"));
        }
        std::thread::yield_now();
    }
    Ok(())
}

#[derive(Default)]
struct Count(AtomicU32);

impl Observer for Count {
    fn taken(&self, _taken: Taken<'_>) -> Duration {
        self.0.fetch_add(1, Ordering::Relaxed);
        Duration::ZERO
    }
}

/// The sink's own process: its address, then a count for each line it is sent.
pub(crate) fn run() -> Result<(), String> {
    let count = Arc::new(Count::default());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let address = free_port()?;
    let serving = count.clone();
    let listener = runtime
        .block_on(async { tokio::net::TcpListener::bind(address).await })
        .map_err(|error| error.to_string())?;
    println!("{address}");
    std::thread::spawn(move || {
        for _ in std::io::stdin().lines() {
            println!("{}", count.0.swap(0, Ordering::Relaxed));
        }
        std::process::exit(0);
    });
    runtime.block_on(sink::serve(listener, serving)).map_err(|error| error.to_string())
}

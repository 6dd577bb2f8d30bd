//! `demo`: a whole morning on sample articles and readers, with an inbox to look at.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use tokio::net::TcpListener;

use super::{Context, Exit, Table};
use crate::lifecycle::Shutdown;
use crate::morning::demo::{self, Morning};
use crate::morning::{inbox, line_up};
use crate::selection::words::Phrases;
use crate::{editions, web};

/// What `demo` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Keep everything in this folder [default: a temporary one, removed at the end]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Serve the pages here
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8025")]
    listen: SocketAddr,
    /// End after the morning, with its summary
    #[arg(long)]
    once: bool,
}

pub(super) async fn run(args: &Args, cx: &Context) -> anyhow::Result<Exit> {
    cx.log_plainly();
    // Its own, because the inbox is stopped when the morning is over, and nobody was told to stop then.
    let shutdown = cx.shutdown()?.child();
    let temporary = std::env::temp_dir().join(format!("matinale-demo-{}", std::process::id()));
    let folder = args.dir.as_ref().unwrap_or(&temporary);
    // An earlier demonstration in the same folder is over.
    for part in ["demo.db", "demo.db-wal", "demo.db-shm"] {
        remove(&folder.join(part), |path| std::fs::remove_file(path))?;
    }
    remove(&folder.join("inbox"), |path| std::fs::remove_dir_all(path))?;
    let listener = match TcpListener::bind(args.listen).await {
        Ok(listener) => listener,
        // Something else is served there: any free port does for a look.
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            TcpListener::bind((args.listen.ip(), 0)).await?
        }
        Err(error) => return Err(error).context(args.listen.to_string()),
    };
    let listen = listener.local_addr()?;
    let result = morning(args, cx, folder, listen, listener, &shutdown).await;
    if args.dir.is_none() {
        remove(&temporary, |path| std::fs::remove_dir_all(path))?;
    }
    result
}

fn remove(path: &PathBuf, how: impl Fn(&PathBuf) -> std::io::Result<()>) -> anyhow::Result<()> {
    match how(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context(path.display().to_string())
        }
        _ => Ok(()),
    }
}

async fn morning(
    args: &Args,
    cx: &Context,
    folder: &std::path::Path,
    listen: SocketAddr,
    listener: TcpListener,
    shutdown: &Shutdown,
) -> anyhow::Result<Exit> {
    let morning = demo::run(folder, listen, shutdown).await?;
    tell(&morning, cx, (!args.once).then_some(listen)).await?;
    if !args.once {
        let house = &morning.house;
        let state = web::State::new(
            house.config.clone(),
            house.db.clone(),
            house.clock.clone(),
            house.random.clone(),
            house.links.clone(),
        );
        let routes = web::routes(state).merge(inbox::routes(morning.inbox.maildir.clone()));
        web::serve(listener, routes, shutdown, web::LONGEST_END).await;
    }
    shutdown.stop();
    morning.house.db.close().await;
    Ok(Exit::Done)
}

/// The morning in 24 lines.
async fn tell(morning: &Morning, cx: &Context, listen: Option<SocketAddr>) -> anyhow::Result<()> {
    let newsletter = &morning.house.config.newsletters[demo::NEWSLETTER];
    let edition = editions::store::find(&mut morning.house.db.read().await?, &newsletter.id, morning.date)
        .await?
        .context("the edition")?;
    let shown = line_up::shown(&morning.house, newsletter, &edition).await?;
    let mut out = cx.out();
    if cx.json {
        out.json(&shown)?;
        out.finish()?;
        return Ok(());
    }
    out.line(&format!(
        "{}, {}: {} articles in, {} readers",
        newsletter.name, morning.date, morning.articles, morning.readers
    ))?;
    out.line("")?;
    let phrases = Phrases::of(&newsletter.language);
    let mut table = Table::new(&["", phrases.points, phrases.title, phrases.why]);
    for item in &shown.items {
        let title: String = item.title.chars().take(56).collect();
        table.row(&[item.position.to_string(), item.points.to_string(), title, item.why(phrases)]);
    }
    out.table(&table)?;
    out.line("")?;
    out.line(&format!("Delivered, each at the reader's own hour: {}", morning.counts.in_words()))?;
    if let Some(listen) = listen {
        out.line("")?;
        out.line("Look at it:")?;
        out.line(&format!("  the inbox    http://{listen}/inbox"))?;
        out.line(&format!("  the edition  http://{listen}/e/{}/{}", newsletter.id, morning.date))?;
        out.line("Ctrl-C ends the demonstration.")?;
    }
    out.finish()?;
    Ok(())
}

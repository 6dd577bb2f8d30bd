//! `article import|list|show|retract`: the store by hand.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use serde::Serialize;
use url::Url;

use super::{Context, Exit, Refusal, Table};
use crate::articles::import::{self, Report, Says};
use crate::articles::ingest::Tally;
use crate::articles::{Article, ArticleId, store, text};

/// So many refusals of one file are printed for people; JSON has them all.
const SHOWN: usize = 50;

/// What `article` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring articles from files into the store; the same again changes nothing
    #[command(
        after_help = "Formats, by the ending or else by the content: .jsonl (one article object a line), .json (JSON Feed, an \
        article object or an array of them), .xml .rss .atom .rdf (RSS, RDF, Atom), .html, .txt (title, standfirst, caption and \
        date lines, body).\n\nA text or page without a link is known by urn:sha256:… of its title and date. A date without a time is \
        midnight UTC.\n\nAn article that is refused is named with its place and field, and does not stop the rest. Exit status 1 \
        only where a whole file could not be read; the other files are imported all the same."
    )]
    Import(ImportArgs),
    /// The newest articles
    List(ListArgs),
    /// One article whole
    Show {
        /// Its number or its URL
        article: String,
    },
    /// Take an article back: no edition still open will show it
    Retract {
        /// Its number or its URL
        article: String,
        /// Why
        #[arg(long)]
        why: Option<String>,
        /// Let it stand again
        #[arg(long, conflicts_with = "why")]
        undo: bool,
    },
}

#[derive(Debug, clap::Args)]
struct ImportArgs {
    /// Files; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The link of the only article, or where the feed was read from
    #[arg(long)]
    url: Option<Url>,
    /// The source of all articles
    #[arg(long)]
    source: Option<String>,
    /// The language of articles that do not say theirs
    #[arg(long)]
    language: Option<String>,
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Of this source only
    #[arg(long)]
    source: Option<String>,
    /// The retracted ones too
    #[arg(long)]
    retracted: bool,
    /// So many
    #[arg(long, default_value_t = 50)]
    limit: u32,
}

pub(super) async fn run(args: &Args, cx: &Context) -> anyhow::Result<Exit> {
    let exit = match &args.command {
        Command::Import(args) => import(args, cx).await,
        Command::List(args) => list(args, cx).await,
        Command::Show { article } => show(article, cx).await,
        Command::Retract { article, why, undo } => retract(article, why.as_deref(), *undo, cx).await,
    };
    cx.close().await;
    exit
}

#[derive(Serialize)]
struct Summary<'a> {
    #[serde(flatten)]
    tally: Tally,
    failed: usize,
    files: &'a [Report],
}

async fn import(args: &ImportArgs, cx: &Context) -> anyhow::Result<Exit> {
    let db = cx.db().await?;
    let says = Says {
        url: args.url.clone(),
        source: args.source.clone(),
        language: args.language.clone(),
        format: None,
    };
    let mut reports = Vec::new();
    for path in &args.files {
        let now = cx.clock().now();
        let report = if path.as_path() == Path::new("-") {
            import::stdin(db, &says, now).await
        } else {
            import::file(db, path, &says, now).await
        };
        reports.push(report.with_context(|| path.display().to_string())?);
    }
    let tally = reports.iter().fold(Tally::default(), |sum, report| sum.plus(report.tally));
    let failed = reports.iter().filter(|report| report.failed.is_some()).count();
    let mut out = cx.out();
    if cx.json {
        out.json(&Summary { tally, failed, files: &reports })?;
    } else {
        for report in &reports {
            if let Some(why) = &report.failed {
                out.line(&format!("{}: not imported: {why}", report.file))?;
            }
            for refusal in report.refusals.iter().take(SHOWN) {
                out.line(&format!("{}: {}: {}: {}", report.file, refusal.place, refusal.field, refusal.why))?;
            }
            if report.refusals.len() > SHOWN {
                out.line(&format!("{}: and {} more refused", report.file, report.refusals.len() - SHOWN))?;
            }
        }
        out.table(&by_format(&reports))?;
        out.line(&format!(
            "{} new, {} updated, {} unchanged, {} refused{}",
            tally.new,
            tally.updated,
            tally.unchanged,
            tally.refused,
            if failed > 0 { format!("; {failed} files not imported") } else { String::new() }
        ))?;
    }
    out.finish()?;
    Ok(if failed > 0 { Exit::Failed } else { Exit::Done })
}

fn by_format(reports: &[Report]) -> Table {
    let mut formats: BTreeMap<&str, (usize, usize, Tally)> = BTreeMap::new();
    for report in reports {
        let row = formats.entry(report.format.unwrap_or("unknown")).or_default();
        row.0 += 1;
        row.1 += usize::from(report.failed.is_some());
        row.2 = row.2.plus(report.tally);
    }
    let mut table =
        Table::new(&["format", "files", "not imported", "new", "updated", "unchanged", "refused"]);
    for (format, (files, failed, tally)) in formats {
        let numbers = [files, failed, tally.new, tally.updated, tally.unchanged, tally.refused];
        let mut row = vec![format.to_owned()];
        row.extend(numbers.iter().map(ToString::to_string));
        table.row(&row);
    }
    table
}

async fn list(args: &ListArgs, cx: &Context) -> anyhow::Result<Exit> {
    let mut conn = cx.db().await?.read().await?;
    let articles = store::list_latest(&mut conn, args.source.as_deref(), args.retracted, args.limit).await?;
    let mut out = cx.out();
    if cx.json {
        for article in &articles {
            out.json(article)?;
        }
    } else if articles.is_empty() {
        out.line("The store has no article.")?;
    } else {
        let mut table = Table::new(&["id", "dated", "language", "source", "title"]);
        for article in &articles {
            let gone = if article.retracted_at.is_some() { "(retracted) " } else { "" };
            table.row(&[
                article.id.to_string(),
                article.dated().to_string(),
                article.language.clone().unwrap_or_default(),
                text::clip(&article.source, 24),
                text::clip(&format!("{gone}{}", article.title), 80),
            ]);
        }
        out.table(&table)?;
    }
    out.finish()?;
    Ok(Exit::Done)
}

async fn show(wanted: &str, cx: &Context) -> anyhow::Result<Exit> {
    let mut conn = cx.db().await?.read().await?;
    let article = load(&mut conn, wanted).await?;
    drop(conn);
    let mut out = cx.out();
    if cx.json {
        out.json(&article)?;
    } else {
        out.line(&article.title)?;
        let mut table = Table::new(&["", ""]);
        let mut row = |name: &str, value: Option<String>| {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                table.row(&[name.to_owned(), value]);
            }
        };
        row("id", Some(article.id.to_string()));
        row("url", Some(article.url.clone()));
        row("source", Some(article.source.clone()));
        row("language", article.language.clone());
        row("section", article.section.clone());
        row("countries", Some(article.countries.join(" ")));
        row("tags", Some(article.tags.join(", ")));
        row("author", article.author.clone());
        row("published", article.published_at.map(|at| at.to_string()));
        row("first seen", Some(article.first_seen_at.to_string()));
        row("updated", Some(article.updated_at.to_string()));
        row("value", article.value.map(|value| value.to_string()));
        row("lifetime", article.lifetime.map(|lifetime| lifetime.as_str().to_owned()));
        row("embargo until", article.embargo_until.map(|at| at.to_string()));
        row("image", article.image_url.clone());
        row("image shows", article.image_alt.clone());
        row("image by", article.image_credit.clone());
        row("came by", Some(article.origin.clone()));
        row("retracted", article.retracted_at.map(|at| at.to_string()));
        row("because", article.retracted_why.clone());
        out.table(&table)?;
        for part in [&article.summary, &article.body].into_iter().filter(|part| !part.is_empty()) {
            out.line("")?;
            out.line(part)?;
        }
    }
    out.finish()?;
    Ok(Exit::Done)
}

async fn retract(wanted: &str, why: Option<&str>, undo: bool, cx: &Context) -> anyhow::Result<Exit> {
    let mut tx = cx.db().await?.write().await?;
    let article = load(&mut tx, wanted).await?;
    if undo {
        store::restore(&mut tx, article.id).await?;
    } else {
        let why = why.map(text::line);
        store::retract(&mut tx, article.id, why.as_deref(), cx.clock().now()).await?;
    }
    tx.commit().await?;
    let mut out = cx.out();
    if cx.json {
        out.json(&serde_json::json!({ "id": article.id, "url": article.url, "retracted": !undo }))?;
    } else {
        out.line(&format!("{}: {}", if undo { "stands again" } else { "retracted" }, article.title))?;
    }
    out.finish()?;
    Ok(Exit::Done)
}

async fn load(conn: &mut crate::db::Conn, wanted: &str) -> anyhow::Result<Article> {
    let found = match wanted.parse::<i64>() {
        Ok(id) => store::find(conn, ArticleId(id)).await?,
        Err(_) => store::find_by_url(conn, wanted).await?,
    };
    found.ok_or_else(|| Refusal(format!("there is no article {wanted}")).into())
}

//! `rehearse`: the whole morning at full size into a sink; nothing leaves, and nothing of the house is changed.

use anyhow::Context as _;

use super::dates::DateArg;
use super::{Context, Exit, Refusal};
use crate::db::Db;
use crate::morning::House;
use crate::morning::rehearse::{self, Rehearsal, Weight};

/// What `rehearse` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The newsletter's id
    newsletter: String,
    /// The date of the edition [default: the next lock's]
    #[arg(long)]
    date: Option<DateArg>,
    /// So many made-up readers in place of the real list
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    subscribers: Option<u32>,
    /// A PostgreSQL server for the scratch ledger, in a schema of its own that is dropped at the end; a SQLite file
    /// in the temporary folder otherwise
    #[arg(long, value_name = "URL", value_parser = super::postgres_url)]
    postgres: Option<String>,
}

pub(super) async fn run(args: &Args, cx: &Context) -> anyhow::Result<Exit> {
    let config = cx.config_for_rehearsal()?.clone();
    let newsletter = cx.newsletter(&args.newsletter)?.clone();
    // Looked at and never written to, whatever a rehearsal does.
    let db = Db::open_read_only(&config.database.options())
        .await
        .context("database.url: `matinale migrate` makes the database")?;
    if !db.is_current().await? {
        return Err(Refusal("the database is of another version: run `matinale migrate`".to_owned()).into());
    }
    let house = House::new(config, db.clone(), cx.clock().clone(), cx.random().clone());
    let date = match args.date {
        Some(date) => Some(date.resolve(cx.clock().civil(), &newsletter.timezone)?),
        None => None,
    };
    let today = DateArg::Relative(0).resolve(cx.clock().civil(), &newsletter.timezone)?;
    if let Some(date) = date.filter(|date| *date < today) {
        return Err(Refusal(format!("{date} is past: what is rehearsed is a morning to come")).into());
    }
    let wanted = Rehearsal { date, subscribers: args.subscribers, postgres: args.postgres.clone() };
    let shutdown = cx.shutdown()?;
    let rehearsed = rehearse::rehearse(&house, &newsletter, &wanted, &shutdown, &|text| cx.say(text)).await;
    db.close().await;
    let report = rehearsed?.map_err(Refusal)?;
    let mut out = cx.out();
    if cx.json {
        out.json(&report)?;
    } else {
        for line in report.lines() {
            out.line(&line)?;
        }
    }
    out.finish()?;
    Ok(match report.worst() {
        Some(Weight::Stops) => Exit::Refused,
        Some(Weight::Error) => Exit::Failed,
        Some(Weight::Warning) | None => Exit::Done,
    })
}

//! `prune`: what is old in the ledger is reduced to counts, in short steps beside a daemon that sends.

use jiff::tz::TimeZone;

use super::{Context, Exit, Misuse, Refusal};
use crate::delivery::prune::{self, Due};

/// What `prune` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Say what would be taken, and take nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(args: &Args, cx: &Context) -> anyhow::Result<Exit> {
    let retention = cx.config()?.retention;
    let db = cx.db().await?;
    let today = cx.clock().now().to_zoned_datetime(TimeZone::UTC).date();
    let due = prune::list(db, retention, today).await?;
    if args.dry_run {
        tell(&due, cx)?;
        return Ok(Exit::Done);
    }
    if !args.yes && !due.is_empty() {
        allow(&due)?;
    }
    let shutdown = cx.shutdown()?;
    let taken = prune::prune(db, cx.clock(), &due, &shutdown, &|text| cx.say(text)).await?;
    let mut out = cx.out();
    if cx.json {
        out.json(&taken)?;
    } else {
        out.line(&format!(
            "{} editions: {} deliveries and {} attempts reduced to counts, {} attempts without words; {} daemons and \
             {} providers and warm-up days forgotten; no step longer than {} ms",
            taken.editions,
            taken.deliveries,
            taken.attempts,
            taken.words,
            taken.daemons,
            taken.paces,
            taken.longest_step_ms
        ))?;
    }
    out.finish()?;
    cx.close().await;
    if shutdown.is_draining() {
        return Err(anyhow::anyhow!("interrupted; the rest is taken the next time"));
    }
    Ok(Exit::Done)
}

fn tell(due: &Due, cx: &Context) -> anyhow::Result<()> {
    let mut out = cx.out();
    for edition in &due.editions {
        if cx.json {
            out.json(edition)?;
            continue;
        }
        let what = if edition.reduce { "deliveries and attempts" } else { "the relays' words" };
        out.line(&format!("{} {}: {what}", edition.newsletter, edition.date))?;
    }
    for edition in &due.unfinished {
        cx.say(&format!(
            "{} {}: old, and not over: it would be left alone",
            edition.newsletter, edition.date
        ));
    }
    let (daemons, paces) = (due.daemons, due.paces);
    if due.is_empty() {
        if !cx.json {
            out.line("Nothing is old enough.")?;
        }
    } else if daemons + paces > 0 && cx.json {
        out.json(&serde_json::json!({ "daemons": daemons, "paces": paces }))?;
    } else if daemons + paces > 0 {
        out.line(&format!("{daemons} daemons that are gone, {paces} providers and warm-up days"))?;
    }
    out.finish()?;
    Ok(())
}

/// Asks, where somebody can be asked.
fn allow(due: &Due) -> anyhow::Result<()> {
    use std::io::IsTerminal as _;
    if !std::io::stdin().is_terminal() {
        return Err(
            Misuse("this takes rows for ever: say --yes, or look first with --dry-run".to_owned()).into()
        );
    }
    let (reduced, silenced): (Vec<_>, Vec<_>) = due.editions.iter().partition(|edition| edition.reduce);
    super::output::say(&format!(
        "Reduce {} editions to counts, take the relays' words from {} more, and forget {} daemons that are gone and {} \
         providers and warm-up days? It cannot be undone. [y/N] ",
        reduced.len(),
        silenced.len(),
        due.daemons,
        due.paces
    ));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(Refusal("nothing was taken".to_owned()).into())
    }
}

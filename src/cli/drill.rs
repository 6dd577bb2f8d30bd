//! `drill`: kills daemons at random moments of a made-up morning, restarts them, and counts lost and doubled mails.

use std::time::Duration;

use anyhow::Context as _;
use secrecy::ExposeSecret as _;

use super::{Context, Exit, Misuse, Refusal};
use crate::config::values;
use crate::morning::drill::{self, Drill, Report};

/// What `drill` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many times a daemon is killed
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    kills: u32,
    /// How many deliveries there are
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    deliveries: u32,
    /// How many daemons run side by side; with several, one is killed each time, and each third time it is left
    /// dead until its lease has run out. Several need PostgreSQL
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=20))]
    daemons: u32,
    /// The connections of each daemon
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=500))]
    connections: u32,
    /// A daemon's lease in the drill; shorter than in earnest, so that a drill ends
    #[arg(long, default_value = "1s")]
    lease: String,
    /// A PostgreSQL server to drill on, in a schema of its own that is dropped at the end; SQLite otherwise. The
    /// configuration's own server with `--on-configured`
    #[arg(long, value_name = "URL", conflicts_with = "on_configured", value_parser = super::postgres_url)]
    postgres: Option<String>,
    /// Drill on the server that the configuration names, when it is PostgreSQL
    #[arg(long)]
    on_configured: bool,
}

pub(super) async fn run(args: &Args, cx: &Context) -> anyhow::Result<Exit> {
    let postgres = if args.on_configured {
        let url = cx.config()?.database.options().url.expose_secret().to_owned();
        url.starts_with("postgres").then_some(url)
    } else {
        cx.log_plainly();
        args.postgres.clone()
    };
    if args.daemons > 1 && postgres.is_none() {
        return Err(Misuse("several daemons need PostgreSQL: --postgres URL".to_owned()).into());
    }
    let lease = values::duration(&args.lease).map_err(|error| Misuse(format!("--lease: {error}")))?;
    let drill = Drill {
        program: std::env::current_exe().context("this program's own file")?,
        postgres,
        kills: args.kills,
        deliveries: args.deliveries,
        daemons: args.daemons,
        connections: args.connections,
        lease: lease.max(Duration::from_millis(300)),
        bytes: 20_000,
    };
    let shutdown = cx.shutdown()?;
    let report = drill::run(&drill, cx.random().clone(), &shutdown, &|text| cx.say(text)).await?;
    let Some(report) = report else {
        return Err(Refusal("interrupted: nothing of it is left behind".to_owned()).into());
    };
    let kept = report.kept(args.connections);
    if cx.json {
        cx.out().line(&serde_json::to_string(&report)?)?;
    } else {
        cx.out().line(&told(&report, &drill))?;
    }
    Ok(if kept && report.is_whole(args.kills) { Exit::Done } else { Exit::Failed })
}

fn told(report: &Report, drill: &Drill) -> String {
    let engine = if drill.postgres.is_some() { "PostgreSQL" } else { "SQLite" };
    let mut lines = vec![
        format!(
            "{} deliveries, {} daemon{} on {engine}, {} connections each, lease {} ms (shortened), {:.0} s",
            drill.deliveries,
            drill.daemons,
            if drill.daemons == 1 { "" } else { "s" },
            drill.connections,
            drill.lease.as_millis(),
            report.seconds,
        ),
        format!("kills       {:>6}", report.kills),
        format!("  left dead {:>6}  until the lease had run out", report.not_restarted),
        format!("  idle      {:>6}", report.idle_kills),
        "open attempts at the kill:".to_owned(),
    ];
    let most = report.open_at_kill.values().copied().max().unwrap_or(1).max(1);
    for (open, count) in &report.open_at_kill {
        let bar =
            "#".repeat(usize::try_from((u64::from(*count) * 40).div_ceil(u64::from(most))).unwrap_or(1));
        lines.push(format!("  {open:>4}  {count:>5}  {bar}"));
    }
    lines.extend([
        format!("accepted    {:>6}", report.counts.accepted),
        format!("forgotten   {:>6}  readers without a delivery", report.forgotten),
        format!("lost        {:>6}", report.lost),
        format!("unowed      {:>6}  mails of no delivery", report.unowed),
        format!("doubled     {:>6}  same Message-ID, same bytes", report.doubled),
        format!("  uncertain {:>6}  attempts in the ledger", report.uncertain),
        format!("  untold    {:>6}", report.untold),
        format!("  altered   {:>6}", report.altered),
        verdict(report, drill),
    ]);
    lines.join("\n")
}

fn verdict(report: &Report, drill: &Drill) -> String {
    if !report.kept(drill.connections) {
        "The promises were NOT kept.".to_owned()
    } else if report.is_whole(drill.kills) {
        "The promises were kept.".to_owned()
    } else {
        format!(
            "The promises were kept, but the deliveries were over after {} of {} kills: more of them prove more (--deliveries).",
            report.kills, drill.kills
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drill_that_had_too_little_to_interrupt_says_that_and_not_that_promises_were_broken() {
        let drill = Drill {
            program: "matinale".into(),
            postgres: None,
            kills: 5,
            deliveries: 5,
            daemons: 1,
            connections: 2,
            lease: Duration::from_secs(1),
            bytes: 2_000,
        };
        let whole = Report { kills: 5, ..Report::default() };
        let idle = Report { kills: 3, idle_kills: 1, ..Report::default() };
        let broken = Report { lost: 1, ..idle.clone() };
        assert_eq!(verdict(&whole, &drill), "The promises were kept.");
        let told = verdict(&idle, &drill);
        assert!(
            told.starts_with("The promises were kept, but the deliveries were over after 3 of 5 kills"),
            "{told}"
        );
        assert_eq!(verdict(&broken, &drill), "The promises were NOT kept.");
    }
}

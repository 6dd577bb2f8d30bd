//! `selection`: what was learned from the editors, putting it in force and taking it back, and past days again.

use super::dates::DateArg;
use super::{Context, Exit, Misuse, Refusal, Table};
use crate::articles::Lifetime;
use crate::config::Newsletter;
use crate::editions::Who;
use crate::morning::{learn, replay, words};
use crate::selection::learning::Weights;

/// What `selection` takes.
#[derive(Debug, clap::Subcommand)]
pub enum Args {
    /// How near the given and the learned weights come to the editors, morning by morning
    Learning(Which),
    /// Every proposal for an edition and every step of its editors
    History(History),
    /// Every candidate of an edition's last proposal as it was made, and what stopped those left out
    Record(History),
    /// Put the learned weights in force; refused while the mornings do not warrant it
    Promote(Promote),
    /// Put the given weights in force again
    Demote(Which),
    /// Run past days under other weights and limits, and show what would have changed
    Replay(Replay),
}

/// Which newsletter.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// The newsletter's id
    newsletter: String,
}

/// What `selection history` takes.
#[derive(Debug, clap::Args)]
pub struct History {
    #[command(flatten)]
    which: Which,
    /// The edition's date [default: today]
    #[arg(long)]
    date: Option<DateArg>,
}

/// What `selection promote` takes.
#[derive(Debug, clap::Args)]
pub struct Promote {
    #[command(flatten)]
    which: Which,
    /// Even when the mornings do not warrant it
    #[arg(long)]
    anyway: bool,
}

/// What `selection replay` takes.
#[derive(Debug, clap::Args)]
pub struct Replay {
    #[command(flatten)]
    which: Which,
    /// The first date: ISO 8601, today or yesterday in the newsletter's zone
    #[arg(long, value_name = "DATE")]
    from: DateArg,
    /// The last date [default: today]
    #[arg(long, value_name = "DATE")]
    to: Option<DateArg>,
    /// A term's factor (freshness=1.5), or a limit by its name in the configuration (limits.country=2, items=8); may be
    /// repeated
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<replay::Setting>,
}

pub(super) async fn run(args: &Args, cx: &Context) -> anyhow::Result<Exit> {
    match args {
        Args::Learning(which) => learning(cx.newsletter(&which.newsletter)?, cx).await,
        Args::History(args) => history(args, cx).await,
        Args::Record(args) => record(args, cx).await,
        Args::Promote(args) => {
            let newsletter = cx.newsletter(&args.which.newsletter)?;
            let weights = learn::promote(&cx.house().await?, newsletter, args.anyway, &Who::command_line())
                .await?
                .map_err(Refusal)?;
            cx.say(&format!("In force from the next refresh on: {}", weights.in_words()));
            cx.say(&format!("Back: matinale selection demote {}", newsletter.id));
            Ok(Exit::Done)
        }
        Args::Demote(which) => {
            let newsletter = cx.newsletter(&which.newsletter)?;
            if !learn::demote(&cx.house().await?, newsletter, &Who::command_line()).await? {
                return Err(Refusal("the given weights are in force already".to_owned()).into());
            }
            cx.say("The given weights are in force from the next refresh on.");
            Ok(Exit::Done)
        }
        Args::Replay(args) => replay_days(args, cx).await,
    }
}

async fn learning(newsletter: &Newsletter, cx: &Context) -> anyhow::Result<Exit> {
    let report = learn::report(&cx.house().await?, newsletter).await?;
    let mut out = cx.out();
    if cx.json {
        out.json(&report)?;
    } else {
        out.table(&mornings(&report))?;
        out.line("")?;
        out.line(&learn::in_words(&report.verdict))?;
        if let Some(words) = learn::lots_in_words(&report.lots) {
            out.line(&words)?;
        }
        let in_force =
            report.in_force.as_ref().map_or_else(|| "the given weights".to_owned(), Weights::in_words);
        out.line(&format!("In force: {in_force}"))?;
        if !report.learned.is_given() {
            out.line(&format!("Learned: {}", report.learned.in_words()))?;
        }
    }
    out.finish()?;
    Ok(Exit::Done)
}

/// A line a morning: how near either way came, how much of the proposal was kept, and how mixed the edition was.
fn mornings(report: &learn::Report) -> Table {
    let mut table = Table::new(&[
        "date",
        "given",
        "learned",
        "from",
        "kept",
        "moved",
        "repeats",
        "unlike",
        "countries",
        "sections",
        "sources",
        "ran",
        "",
    ]);
    for morning in &report.mornings {
        let mut row = vec![
            morning.date.clone(),
            part(morning.given),
            part(morning.learned),
            morning.lessons.to_string(),
        ];
        match &morning.figures {
            None => row.extend(std::iter::repeat_n(String::new(), 8)),
            Some(figures) => row.extend([
                format!("{}/{}", figures.kept, figures.items),
                figures.moved.to_string(),
                figures.repeats.to_string(),
                figures.distance.map(|distance| format!("{} %", distance / 10)).unwrap_or_default(),
                figures.countries.to_string(),
                figures.sections.to_string(),
                figures.sources.to_string(),
                figures.ran.to_string(),
            ]),
        }
        row.push(if morning.looked { "" } else { "no editor looked: not counted" }.to_owned());
        table.row(&row);
    }
    table
}

async fn history(args: &History, cx: &Context) -> anyhow::Result<Exit> {
    let newsletter = cx.newsletter(&args.which.newsletter)?;
    let date = args.date.unwrap_or(DateArg::Relative(0));
    let date = date.resolve(cx.clock().civil(), &newsletter.timezone)?;
    let happened = learn::history(&cx.house().await?, newsletter, date).await?;
    let mut out = cx.out();
    let mut table = Table::new(&["at", "who", "what", "from", "to", "title"]);
    for step in &happened {
        if cx.json {
            out.json(step)?;
            continue;
        }
        let place = |at: Option<i64>| at.map(|at| at.to_string()).unwrap_or_default();
        table.row(&[
            words::instant(step.at, &newsletter.timezone),
            step.who.clone(),
            what(step),
            place(step.from),
            place(step.to),
            step.title.clone(),
        ]);
    }
    if !cx.json {
        out.table(&table)?;
    }
    out.finish()?;
    if happened.is_empty() {
        cx.say(&format!("Nothing was proposed for {} of {date}.", newsletter.id));
    }
    Ok(Exit::Done)
}

/// What was done, with the value and the lifetime where these were given.
fn what(step: &learn::Happened) -> String {
    let value = step.value.map(|value| value.to_string());
    let given = [value.as_deref(), step.lifetime.map(Lifetime::as_str)];
    let given: Vec<&str> = given.into_iter().flatten().collect();
    [step.what, &given.join(", ")].join(" ").trim_end().to_owned()
}

async fn record(args: &History, cx: &Context) -> anyhow::Result<Exit> {
    let newsletter = cx.newsletter(&args.which.newsletter)?;
    let date = args.date.unwrap_or(DateArg::Relative(0));
    let date = date.resolve(cx.clock().civil(), &newsletter.timezone)?;
    let Some(proposal) = learn::record(&cx.house().await?, newsletter, date).await? else {
        return Err(Refusal(format!("nothing was proposed for {} of {date}", newsletter.id)).into());
    };
    let mut out = cx.out();
    super::edition::explain(&proposal, newsletter, &mut out)?;
    out.finish()?;
    Ok(Exit::Done)
}

async fn replay_days(args: &Replay, cx: &Context) -> anyhow::Result<Exit> {
    let newsletter = cx.newsletter(&args.which.newsletter)?;
    let resolve = |date: DateArg| date.resolve(cx.clock().civil(), &newsletter.timezone);
    let (from, to) = (resolve(args.from)?, resolve(args.to.unwrap_or(DateArg::Relative(0)))?);
    if to < from {
        return Err(Misuse(format!("--to {to} lies before --from {from}")).into());
    }
    let days = replay::replay(&cx.house().await?, newsletter, from, to, &args.set).await?.map_err(Misuse)?;
    let mut out = cx.out();
    for day in &days {
        if cx.json {
            out.json(day)?;
            continue;
        }
        let agreed = match (day.agreement, day.agreement_then) {
            (Some(now), Some(then)) => format!(": nDCG@10 against what ran {} -> {}", part(now), part(then)),
            _ => String::new(),
        };
        out.line(&format!("{}{agreed}", day.date))?;
        if day.changes.is_empty() {
            out.line("  nothing would have changed")?;
        } else {
            let mut table = Table::new(&["", "from", "to", "points", "then", "title"]);
            for change in &day.changes {
                let sign = match (change.from, change.to) {
                    (None, _) => "+",
                    (_, None) => "-",
                    _ => "~",
                };
                let shown = |value: Option<String>| value.unwrap_or_else(|| "out".to_owned());
                table.row(&[
                    sign.to_owned(),
                    shown(change.from.map(|at| at.to_string())),
                    shown(change.to.map(|at| at.to_string())),
                    shown(change.points.map(|points| points.to_string())),
                    shown(change.points_then.map(|points| points.to_string())),
                    change.title.clone(),
                ]);
            }
            out.table(&table)?;
        }
        for relaxed in &day.relaxed {
            out.line(&format!("  {relaxed}"))?;
        }
        out.line("")?;
    }
    out.finish()?;
    if days.is_empty() {
        cx.say(&format!("{} has no edition from {from} to {to}.", newsletter.id));
    }
    Ok(Exit::Done)
}

/// Ten-thousandths as a decimal number.
fn part(value: i64) -> String {
    format!("{}.{:04}", value / 10_000, value % 10_000)
}

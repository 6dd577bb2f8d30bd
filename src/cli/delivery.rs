//! `delivery`: the ledger.

use super::dates::DateArg;
use super::{Context, Exit, Misuse, Refusal, Table};
use crate::clock::timestamp;
use crate::config::Newsletter;
use crate::delivery::prune;
use crate::delivery::store::{self, Settle};
use crate::editions::{self, Edition, Who};
use crate::morning::{self, House, words};
use crate::readers::{self, Address, SubscriberId};

const PAGE: i64 = 1000;
/// So many kinds of what relays said stand in a summary for people.
const SHOWN: usize = 12;

/// What `delivery` takes.
#[derive(Debug, clap::Subcommand)]
pub enum Args {
    /// List deliveries, a line each
    List(Which),
    /// Give every delivery with every try
    Export(Which),
    /// Count them by state, and what the relays said
    Summary(Which),
    /// Make deferred deliveries due now
    Retry(One),
    /// End uncertain deliveries by hand
    Settle(SettleArgs),
}

/// Which edition.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// The newsletter's id
    newsletter: String,
    /// The date it bears [default: today]
    #[arg(long)]
    date: Option<DateArg>,
}

/// Which edition, and whose delivery.
#[derive(Debug, clap::Args)]
pub struct One {
    #[command(flatten)]
    which: Which,
    /// Only the delivery to this address
    #[arg(long, value_name = "ADDRESS")]
    to: Option<String>,
}

/// How uncertain deliveries end.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("how").required(true))]
pub struct SettleArgs {
    #[command(flatten)]
    one: One,
    /// They arrived, somebody knows
    #[arg(long, group = "how")]
    accepted: bool,
    /// They go out again, the same bytes
    #[arg(long, group = "how")]
    resend: bool,
}

struct Place<'a> {
    house: House,
    newsletter: &'a Newsletter,
    edition: Edition,
}

async fn place<'a>(which: &Which, cx: &'a Context) -> anyhow::Result<Place<'a>> {
    let newsletter = cx.newsletter(&which.newsletter)?;
    let date =
        which.date.unwrap_or(DateArg::Relative(0)).resolve(cx.clock().civil(), &newsletter.timezone)?;
    let house = cx.house().await?;
    let edition = editions::store::find(&mut house.db.read().await?, &newsletter.id, date)
        .await?
        .ok_or_else(|| Refusal(format!("{} has no edition of {date}", newsletter.id)))?;
    let pruned = prune::pruned_at(&mut house.db.read().await?, edition.id).await?;
    if let Some(at) = pruned {
        let at = words::instant(timestamp(at), &newsletter.timezone);
        cx.say(&format!(
            "The ledger of this edition was reduced to counts on {at}: `delivery summary` tells them."
        ));
    }
    Ok(Place { house, newsletter, edition })
}

pub(super) async fn run(args: &Args, cx: &Context) -> anyhow::Result<Exit> {
    match args {
        Args::List(which) => list(&place(which, cx).await?, cx).await,
        Args::Export(which) => export(&place(which, cx).await?, cx).await,
        Args::Summary(which) => summary(&place(which, cx).await?, cx).await,
        Args::Retry(one) => retry(one, cx).await,
        Args::Settle(args) => settle(args, cx).await,
    }
}

async fn list(place: &Place<'_>, cx: &Context) -> anyhow::Result<Exit> {
    if cx.json {
        return export(place, cx).await;
    }
    let mut table = Table::new(&["address", "state", "due", "tries", "last word"]);
    let mut behind = None;
    let mut conn = place.house.db.read().await?;
    let domain = place.newsletter.domain();
    while let Some(page) =
        store::page(&mut conn, place.edition.id, behind, PAGE, &place.house.links, domain).await?
    {
        for record in page.records {
            let word = record.attempts.last().map_or_else(String::new, |attempt| {
                let code = attempt.code.map(|code| code.to_string()).unwrap_or_default();
                format!("{code} {}", attempt.text.as_deref().unwrap_or_default()).trim().to_owned()
            });
            table.row(&[
                record.email.unwrap_or_else(|| "(erased)".to_owned()),
                record.state,
                record.due_at,
                record.attempts.len().to_string(),
                word,
            ]);
        }
        behind = Some(page.last);
    }
    let mut out = cx.out();
    out.table(&table)?;
    out.finish()?;
    Ok(Exit::Done)
}

async fn export(place: &Place<'_>, cx: &Context) -> anyhow::Result<Exit> {
    let mut out = cx.out();
    let mut behind = None;
    let mut conn = place.house.db.read().await?;
    let domain = place.newsletter.domain();
    while let Some(page) =
        store::page(&mut conn, place.edition.id, behind, PAGE, &place.house.links, domain).await?
    {
        for record in &page.records {
            out.json(record)?;
        }
        behind = Some(page.last);
    }
    out.finish()?;
    Ok(Exit::Done)
}

async fn summary(place: &Place<'_>, cx: &Context) -> anyhow::Result<Exit> {
    let mut conn = place.house.db.read().await?;
    let counts = store::counts(&mut conn, place.edition.id).await?;
    let said = store::said(&mut conn, place.edition.id).await?;
    let mut out = cx.out();
    if cx.json {
        out.json(&serde_json::json!({
            "newsletter": place.edition.newsletter, "date": place.edition.date.to_string(),
            "state": place.edition.state, "total": counts.total(), "counts": counts, "said": said,
        }))?;
    } else {
        out.line(&format!(
            "{}, edition of {}: {}",
            place.newsletter.name, place.edition.date, place.edition.state
        ))?;
        let mut table = Table::new(&["deliveries", "state"]);
        for (word, count) in counts.by_state().iter().filter(|(_, count)| *count > 0) {
            table.row(&[count.to_string(), (*word).to_owned()]);
        }
        table.row(&[counts.total().to_string(), "in all".to_owned()]);
        out.table(&table)?;
        if !said.is_empty() {
            out.line("")?;
            let mut table = Table::new(&["tries", "relay", "outcome", "reply", "about"]);
            for row in said.iter().take(SHOWN) {
                let code = row.code.map(|code| code.to_string()).unwrap_or_default();
                let enhanced = row.enhanced.as_deref().unwrap_or_default();
                table.row(&[
                    row.attempts.to_string(),
                    row.relay.clone(),
                    row.outcome.clone().unwrap_or_else(|| "open".to_owned()),
                    format!("{code} {enhanced}").trim().to_owned(),
                    row.class.clone().unwrap_or_default(),
                ]);
            }
            out.table(&table)?;
            let more = said.get(SHOWN..).unwrap_or_default();
            if !more.is_empty() {
                let tries: i64 = more.iter().map(|row| row.attempts).sum();
                out.line(&format!("and {} more, {tries} tries: --json gives each", more.len()))?;
            }
        }
    }
    out.finish()?;
    Ok(Exit::Done)
}

async fn whose(one: &One, place: &Place<'_>) -> anyhow::Result<Option<(SubscriberId, Address)>> {
    let Some(text) = &one.to else { return Ok(None) };
    let address: Address = text.parse().map_err(|error| Misuse(format!("{text:?} {error}")))?;
    let found = readers::store::find(&mut place.house.db.read().await?, &address).await?;
    match found {
        Some(subscriber) => Ok(Some((SubscriberId(subscriber.id), address))),
        None => Err(Refusal(format!("nobody with the address {address} is known")).into()),
    }
}

async fn retry(one: &One, cx: &Context) -> anyhow::Result<Exit> {
    let place = place(&one.which, cx).await?;
    let whose = whose(one, &place).await?;
    let told = morning::retry::retry(&place.house, place.newsletter, &place.edition, whose).await?;
    for line in told.map_err(Refusal)? {
        cx.say(&line);
    }
    Ok(Exit::Done)
}

async fn settle(args: &SettleArgs, cx: &Context) -> anyhow::Result<Exit> {
    let place = place(&args.one.which, cx).await?;
    let whose = whose(&args.one, &place).await?.map(|(subscriber, _)| subscriber);
    let how = if args.accepted { Settle::Accepted } else { Settle::Resend };
    let who = Who::command_line();
    let done = morning::settle::settle(&place.house, place.edition.id, whose, how, &who).await?;
    let done = done.map_err(Refusal)?;
    let late = match done.too_late {
        0 => String::new(),
        count => format!(" {count} stay uncertain: their deadline has passed."),
    };
    cx.say(&format!("{} uncertain deliveries are settled.{late}", done.settled));
    Ok(Exit::Done)
}

//! `subscriber`: people and their wishes.

use std::fs::File;
use std::io::{BufReader, IsTerminal as _, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;

use super::{Context, Exit, Misuse, Refusal, Table};
use crate::delivery;
use crate::morning::prefer;
use crate::readers::import::{Options, Reject};
use crate::readers::store::{self, Subscriber, Subscription};
use crate::readers::{Address, SubscriberId};

const PAGE: i64 = 1000;

/// What `subscriber` takes.
#[derive(Debug, clap::Subcommand)]
pub enum Args {
    /// Take people in from a CSV file; refused lines do not stop the rest
    Import(Import),
    /// Give everybody as the same CSV
    Export,
    /// List people, a line each
    List,
    /// Show everything known of one person
    Show(One),
    /// Forget a person; only a keyed hash stays, so that nobody adds them again
    Erase(Erase),
}

/// What `subscriber import` takes.
#[derive(Debug, clap::Args)]
pub struct Import {
    /// The file: a header with email, name, language, timezone, `send_at`, newsletters, status, `consented_at`,
    /// `consent_source`; UTF-8, comma or semicolon, quoted as RFC 4180
    file: PathBuf,
    /// The words that these readers agreed to; kept with each
    #[arg(long, value_name = "TEXT")]
    consent: Option<String>,
    /// The newsletter of lines that name none [default: the only one there is]
    #[arg(long, value_name = "ID")]
    newsletter: Option<String>,
    /// Write refused lines with their reasons to this file
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
}

/// One person.
#[derive(Debug, clap::Args)]
pub struct One {
    /// The address
    address: String,
}

/// What `subscriber erase` takes.
#[derive(Debug, clap::Args)]
pub struct Erase {
    /// The address
    address: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(args: &Args, cx: &Context) -> anyhow::Result<Exit> {
    match args {
        Args::Import(args) => take(args, cx).await,
        Args::Export => export(cx).await,
        Args::List => list(cx).await,
        Args::Show(one) => show(one, cx).await,
        Args::Erase(args) => erase(args, cx).await,
    }
}

pub(super) fn address(text: &str) -> anyhow::Result<Address> {
    text.parse().map_err(|error| Misuse(format!("{text:?} {error}")).into())
}

async fn take(args: &Import, cx: &Context) -> anyhow::Result<Exit> {
    let house = cx.house().await?;
    let newsletters: std::collections::BTreeSet<String> = house.config.newsletters.keys().cloned().collect();
    if let Some(id) = &args.newsletter {
        cx.newsletter(id)?;
    }
    let only = (newsletters.len() == 1).then(|| newsletters.iter().next().cloned()).flatten();
    let options =
        Options { newsletters, newsletter: args.newsletter.clone().or(only), consent: args.consent.clone() };
    let shown = args.file.display().to_string();
    let file = File::open(&args.file).with_context(|| shown.clone())?;
    let mut rejects = match &args.rejects {
        Some(path) => {
            let mut writer = csv::Writer::from_path(path).with_context(|| path.display().to_string())?;
            writer.write_record(["line", "reason", "text"])?;
            Some(writer)
        }
        None => None,
    };
    let mut told = 0;
    let reject = |reject: &Reject| {
        if let Some(writer) = &mut rejects {
            writer
                .write_record([&reject.line.to_string(), &reject.reason, &reject.text])
                .map_err(std::io::Error::other)?;
        }
        told += 1;
        if told <= 20 {
            cx.say(&format!("{shown}:{}: {}", reject.line, reject.reason));
        } else if told == 21 {
            cx.say("… more lines were refused; --rejects FILE has them all");
        }
        Ok(())
    };
    let reader = BufReader::with_capacity(1 << 16, file);
    let now = cx.clock().now();
    let summary =
        prefer::import(&house, reader, &options, now, reject).await.with_context(|| shown.clone())?;
    if let Some(writer) = &mut rejects {
        writer.flush()?;
    }
    let mut out = cx.out();
    if cx.json {
        out.json(&summary)?;
    } else {
        out.line(&format!(
            "{} new, {} updated, {} unchanged, {} refused",
            summary.new, summary.updated, summary.unchanged, summary.refused
        ))?;
    }
    out.finish()?;
    Ok(Exit::Done)
}

async fn each_page(
    cx: &Context,
    mut visit: impl FnMut(&Subscriber, &[Subscription]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let db = cx.db().await?;
    let mut conn = db.read().await?;
    let mut after = 0;
    loop {
        let people = store::list(&mut conn, after, PAGE).await?;
        let (Some(first), Some(last)) = (people.first().map(|p| p.id), people.last().map(|p| p.id)) else {
            return Ok(());
        };
        let wishes = store::subscriptions(&mut conn, first, last).await?;
        for person in &people {
            let own: Vec<Subscription> =
                wishes.iter().filter(|wish| wish.subscriber == person.id).cloned().collect();
            visit(person, &own)?;
        }
        after = last;
    }
}

async fn export(cx: &Context) -> anyhow::Result<Exit> {
    let mut out = cx.out();
    if cx.json {
        each_page(cx, |person, wishes| {
            Ok(out.json(&serde_json::json!({ "subscriber": person, "subscriptions": wishes }))?)
        })
        .await?;
        out.finish()?;
        return Ok(Exit::Done);
    }
    let mut writer = csv::Writer::from_writer(Vec::new());
    let columns = [
        "email",
        "name",
        "language",
        "timezone",
        "send_at",
        "newsletters",
        "status",
        "consented_at",
        "consent_source",
    ];
    writer.write_record(columns)?;
    each_page(cx, |person, wishes| {
        // One line a status: a line's newsletters share it.
        for status in ["active", "pending", "ended"] {
            let ids: Vec<&str> = wishes
                .iter()
                .filter(|wish| wish.status == status)
                .map(|wish| wish.newsletter.as_str())
                .collect();
            let Some(first) = wishes.iter().find(|wish| wish.status == status) else { continue };
            let text = |value: &Option<String>| value.clone().unwrap_or_default();
            writer.write_record([
                person.address.clone(),
                text(&person.name),
                text(&person.language),
                text(&person.timezone),
                text(&person.send_at),
                ids.join(";"),
                status.to_owned(),
                text(&first.consented_at),
                text(&first.consent_source),
            ])?;
        }
        Ok(())
    })
    .await?;
    out.bytes(&writer.into_inner().map_err(|error| anyhow::anyhow!("{error}"))?)?;
    out.finish()?;
    Ok(Exit::Done)
}

async fn list(cx: &Context) -> anyhow::Result<Exit> {
    let mut out = cx.out();
    let mut table = Table::new(&["address", "language", "zone", "hour", "subscriptions"]);
    each_page(cx, |person, wishes| {
        if cx.json {
            return Ok(out.json(&serde_json::json!({ "subscriber": person, "subscriptions": wishes }))?);
        }
        let wishes: Vec<String> =
            wishes.iter().map(|wish| format!("{} ({})", wish.newsletter, wish.status)).collect();
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        table.row(&[
            person.address.clone(),
            text(&person.language),
            text(&person.timezone),
            text(&person.send_at),
            wishes.join(", "),
        ]);
        Ok(())
    })
    .await?;
    if !cx.json {
        out.table(&table)?;
    }
    out.finish()?;
    Ok(Exit::Done)
}

async fn show(one: &One, cx: &Context) -> anyhow::Result<Exit> {
    let address = address(&one.address)?;
    let house = cx.house().await?;
    let mut conn = house.db.read().await?;
    let suppression = store::find_suppression(&mut conn, &house.links, &address).await?;
    let Some(person) = store::find(&mut conn, &address).await? else {
        let why =
            suppression.map(|s| format!(" (the address is suppressed: {})", s.reason)).unwrap_or_default();
        return Err(Refusal(format!("nobody with the address {address} is known{why}")).into());
    };
    let wishes = store::subscriptions(&mut conn, person.id, person.id).await?;
    let mut out = cx.out();
    let all =
        serde_json::json!({ "subscriber": person, "subscriptions": wishes, "suppression": suppression });
    if cx.json {
        out.json(&all)?;
    } else {
        out.line(&serde_json::to_string_pretty(&all)?)?;
    }
    out.finish()?;
    Ok(Exit::Done)
}

async fn erase(args: &Erase, cx: &Context) -> anyhow::Result<Exit> {
    let address = address(&args.address)?;
    if !args.yes {
        if !std::io::stdin().is_terminal() {
            return Err(Misuse("erasing cannot be undone: say --yes".to_owned()).into());
        }
        eprint!("Forget {address} for ever? [y/N] ");
        std::io::stderr().flush()?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            return Err(Refusal("nothing was erased".to_owned()).into());
        }
    }
    let house = cx.house().await?;
    let mut tx = house.db.write().await?;
    if let Some(person) = store::find(&mut tx, &address).await? {
        delivery::store::forget(&mut tx, SubscriberId(person.id)).await?;
    }
    let known = store::erase(&mut tx, &house.links, &address, cx.clock().now()).await?;
    tx.commit().await?;
    cx.say(if known {
        "Erased; the address will not be added again."
    } else {
        "Nobody was known by it; it will not be added."
    });
    Ok(Exit::Done)
}

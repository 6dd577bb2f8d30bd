//! `edition list`: the newest editions of a newsletter and the next locks, or what there is of one date.

use super::Which;
use crate::cli::dates::DateArg;
use crate::cli::{Context, Exit, Table};
use crate::editions::schedule::{self, Due};
use crate::editions::{self, Edition};
use crate::morning::words;

/// What `edition list` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The newsletter's id
    newsletter: String,
    /// Only the edition of this date: ISO 8601, today, tomorrow or yesterday in the newsletter's zone [default: all]
    #[arg(long)]
    date: Option<DateArg>,
}

pub(super) async fn list(args: &Args, cx: &Context) -> anyhow::Result<Exit> {
    let which = Which { newsletter: args.newsletter.clone(), date: args.date };
    let place = which.place(cx).await?;
    let (newsletter, now) = (place.newsletter, cx.clock().now());
    let (editions, next) = if args.date.is_some() {
        let due = schedule::is_due(newsletter, place.date)?;
        let next = schedule::lock_of(newsletter, place.date)?.filter(|next| due && next.lock > now);
        (place.known().await?.into_iter().collect(), next.into_iter().collect())
    } else {
        let mut conn = place.house.db.read().await?;
        let editions = editions::store::list(&mut conn, &newsletter.id, 30).await?;
        (editions, schedule::next_locks(newsletter, now, 5)?)
    };
    tell(&place, &editions, &next, cx)
}

fn tell(place: &super::Place<'_>, editions: &[Edition], next: &[Due], cx: &Context) -> anyhow::Result<Exit> {
    let next = next.iter().filter(|due| editions.iter().all(|edition| edition.date != due.date));
    let mut out = cx.out();
    if cx.json {
        for edition in editions {
            out.json(&serde_json::json!({
                "newsletter": edition.newsletter, "date": edition.date.to_string(), "state": edition.state,
                "revision": edition.revision, "lock_at": edition.lock_at.to_string(), "reason": edition.reason,
            }))?;
        }
        for due in next {
            out.json(&serde_json::json!({
                "newsletter": place.newsletter.id, "date": due.date.to_string(), "state": null, "revision": 0,
                "lock_at": due.lock.to_string(), "reason": null,
            }))?;
        }
    } else {
        let words = |at| words::instant(at, &place.newsletter.timezone);
        let mut table = Table::new(&["date", "state", "revision", "locks", ""]);
        for due in next.rev() {
            table.row(&[
                due.date.to_string(),
                "next".to_owned(),
                String::new(),
                words(due.lock),
                String::new(),
            ]);
        }
        for edition in editions {
            table.row(&[
                edition.date.to_string(),
                edition.state.to_string(),
                edition.revision.to_string(),
                words(edition.lock_at),
                edition.reason.clone().unwrap_or_default(),
            ]);
        }
        out.table(&table)?;
    }
    out.finish()?;
    Ok(Exit::Done)
}

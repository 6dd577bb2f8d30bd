//! `suppression`: addresses that must not be written to.

use super::subscriber::address;
use super::{Context, Exit, Refusal, Table};
use crate::clock::timestamp;
use crate::delivery::shared_clock;
use crate::readers::store;

/// What `suppression` takes.
#[derive(Debug, clap::Subcommand)]
pub enum Args {
    /// List them, with why and since when
    List,
    /// Keep an address from being written to
    Add {
        /// The address
        address: String,
        /// Why, for those who look at it later
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
    },
    /// Let an address be written to again, whatever servers said of it before
    Remove {
        /// The address
        address: String,
    },
}

pub(super) async fn run(args: &Args, cx: &Context) -> anyhow::Result<Exit> {
    let house = cx.house().await?;
    match args {
        Args::List => {
            let all = store::suppressions(&mut house.db.read().await?).await?;
            let mut out = cx.out();
            let mut table = Table::new(&["address", "why", "since", ""]);
            for one in &all {
                if cx.json {
                    out.json(one)?;
                }
                table.row(&[
                    one.key.clone().unwrap_or_else(|| "(erased)".to_owned()),
                    one.reason.clone(),
                    timestamp(one.since).to_string(),
                    one.note.clone().unwrap_or_default(),
                ]);
            }
            if !cx.json {
                out.table(&table)?;
            }
            out.finish()?;
        }
        Args::Add { address: text, note } => {
            let address = address(text)?;
            let mut tx = house.db.write().await?;
            let new = store::suppress(
                &mut tx,
                &house.links,
                &address,
                "operator",
                note.as_deref(),
                cx.clock().now(),
            )
            .await?;
            tx.commit().await?;
            cx.say(if new { "Suppressed from now on." } else { "It was suppressed already." });
        }
        Args::Remove { address: text } => {
            let address = address(text)?;
            let mut tx = house.db.write().await?;
            // The clock that daemons agree on: what they heard is held against it.
            let now = timestamp(shared_clock(&mut tx, cx.clock()).await?);
            let removed = store::unsuppress(&mut tx, &house.links, &address, now).await?;
            tx.commit().await?;
            if !removed {
                return Err(
                    Refusal("it is not suppressed, or its owner was erased: that stays".to_owned()).into()
                );
            }
            cx.say("It may be written to again; what servers said of it before counts no more.");
        }
    }
    Ok(Exit::Done)
}

//! `check`: every fault of the configuration, or its effective values.

use super::{Context, Exit, Table};

/// Nothing to choose.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub(super) fn run(_: &Args, cx: &Context) -> anyhow::Result<Exit> {
    let config = cx.config()?;
    crate::delivery::engine::try_out(config)?;
    let mut out = cx.out();
    if cx.json {
        for value in &config.effective {
            out.json(value)?;
        }
    } else {
        let mut table = Table::new(&["key", "value", "from"]);
        for value in &config.effective {
            table.row(&[&value.key, &value.value, &value.origin]);
        }
        out.table(&table)?;
        for newsletter in config.newsletters.values() {
            out.line("")?;
            out.line(&format!("{} locks next:", newsletter.name))?;
            let runs = crate::editions::schedule::next_locks(newsletter, cx.clock().now(), 5)?;
            for run in runs {
                out.line(&format!("  edition of {}: {}", run.date, run.lock))?;
            }
        }
    }
    out.finish()?;
    cx.say("The configuration is good.");
    Ok(Exit::Done)
}

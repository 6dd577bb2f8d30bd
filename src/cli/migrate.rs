//! `migrate`: brings the database to this version.

use super::{Context, Exit, Table};
use crate::db::{self, Db};

/// What `migrate` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: &Args, cx: &Context) -> anyhow::Result<Exit> {
    let options = cx.config()?.database.options();
    let db = if args.dry_run { Db::find_read_only(&options).await? } else { Some(Db::open(&options).await?) };
    let steps = match &db {
        None => db::all_migrations(),
        Some(db) if args.dry_run => db.unless_lost(db.pending()).await?,
        Some(db) => db.unless_lost(db.migrate()).await?,
    };
    let mut out = cx.out();
    if cx.json {
        for step in &steps {
            out.json(
                &serde_json::json!({ "version": step.version, "name": step.name, "applied": !args.dry_run }),
            )?;
        }
    } else if steps.is_empty() {
        out.line("The database is at this version.")?;
    } else {
        let mut table = Table::new(&["", "migration"]);
        for step in &steps {
            table.row(&[step.version.to_string(), step.name.clone()]);
        }
        out.line(if args.dry_run { "Would be applied:" } else { "Applied:" })?;
        out.table(&table)?;
    }
    out.finish()?;
    if let Some(db) = db {
        db.close().await;
    }
    Ok(Exit::Done)
}

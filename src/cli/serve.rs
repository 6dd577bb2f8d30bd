//! `serve`: the daemon.

use std::collections::BTreeSet;

use super::{Context, Exit};
use crate::morning::serve::{self, Role};

/// What `serve` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these roles: clock, ingest, send, receive, web
    #[arg(long, value_delimiter = ',', value_name = "ROLE")]
    only: Vec<Role>,
}

pub(super) async fn run(args: &Args, cx: &Context) -> anyhow::Result<Exit> {
    let house = cx.house().await?;
    let roles: BTreeSet<Role> =
        if args.only.is_empty() { Role::all() } else { args.only.iter().copied().collect() };
    serve::serve(&house, &roles, &cx.shutdown()?).await?;
    cx.close().await;
    Ok(Exit::Done)
}

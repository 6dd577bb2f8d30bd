//! `serve`: the daemon.

use std::collections::BTreeSet;

use super::{Context, Exit, Misuse};
use crate::morning::serve::{self, Role};

/// What `serve` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these roles: clock, ingest, send, receive, web
    #[arg(long, value_delimiter = ',', value_name = "ROLE")]
    only: Vec<Role>,
}

pub(super) async fn run(args: &Args, cx: &Context) -> anyhow::Result<Exit> {
    let roles: BTreeSet<Role> =
        if args.only.is_empty() { Role::all() } else { args.only.iter().copied().collect() };
    if !roles.iter().any(|role| role.runs()) {
        return Err(Misuse(
            "receive alone has nothing to run yet: name clock, ingest, send or web beside it".to_owned(),
        )
        .into());
    }
    let house = cx.house().await?;
    serve::serve(&house, &roles, &cx.shutdown()?).await?;
    cx.close().await;
    Ok(Exit::Done)
}

//! `serve`: the daemon.

use std::collections::BTreeSet;

use super::{Context, Exit, Misuse};
use crate::morning::serve::{self, Role};

/// What `serve` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these roles: clock, ingest, send, web
    #[arg(long, value_delimiter = ',', value_name = "ROLE")]
    only: Vec<Role>,
}

pub(super) async fn run(args: &Args, cx: &Context) -> anyhow::Result<Exit> {
    let roles: BTreeSet<Role> =
        if args.only.is_empty() { Role::all() } else { args.only.iter().copied().collect() };
    if args.only.iter().any(|role| !role.runs()) {
        return Err(
            Misuse("receive has nothing to run yet: name clock, ingest, send or web".to_owned()).into()
        );
    }
    // First of all: the first process of a container is sent no signal that it does not listen to, and the database may
    // be away, or take its time to migrate.
    let shutdown = cx.shutdown()?;
    let house = tokio::select! {
        house = cx.house() => house?,
        () = shutdown.draining() => {
            cx.say("Told to end before it had begun.");
            return Ok(Exit::Done);
        }
    };
    let served = serve::serve(&house, &roles, &shutdown).await;
    cx.close().await;
    served?;
    Ok(Exit::Done)
}

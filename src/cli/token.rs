//! `token`: push tokens for the newsroom's system.

use super::{Context, Exit, Refusal, Table};
use crate::access::tokens;
use crate::clock::timestamp;

/// What `token` takes.
#[derive(Debug, clap::Subcommand)]
pub enum Args {
    /// Make a token; it is shown this once
    Add {
        /// Its name, such as the system that will use it
        name: String,
    },
    /// List tokens by name
    List,
    /// End a token
    Revoke {
        /// Its name
        name: String,
    },
}

pub(super) async fn run(args: &Args, cx: &Context) -> anyhow::Result<Exit> {
    let db = cx.db().await?;
    let mut out = cx.out();
    match args {
        Args::Add { name } => {
            let mut tx = db.write().await?;
            let token = tokens::create(&mut tx, name, cx.random(), cx.clock().now())
                .await?
                .ok_or_else(|| Refusal(format!("there is a token {name:?} already")))?;
            tx.commit().await?;
            if cx.json {
                out.json(&serde_json::json!({ "name": name, "token": token }))?;
            } else {
                out.line(&token)?;
            }
            cx.say("Keep it now: it is not shown again.");
        }
        Args::List => {
            let mut table = Table::new(&["name", "since", "last used", ""]);
            for token in tokens::list(&mut db.read().await?).await? {
                if cx.json {
                    out.json(&token)?;
                }
                table.row(&[
                    token.name,
                    timestamp(token.created_at).to_string(),
                    token.last_used_at.map(|at| timestamp(at).to_string()).unwrap_or_default(),
                    token.revoked_at.map(|_| "revoked".to_owned()).unwrap_or_default(),
                ]);
            }
            if !cx.json {
                out.table(&table)?;
            }
        }
        Args::Revoke { name } => {
            let mut tx = db.write().await?;
            if !tokens::revoke(&mut tx, name, cx.clock().now()).await? {
                return Err(Refusal(format!("there is no token {name:?} that works")).into());
            }
            tx.commit().await?;
            cx.say("Revoked.");
        }
    }
    out.finish()?;
    Ok(Exit::Done)
}

//! `relay`: the servers that take mail from us.

use std::time::Duration;

use super::{Context, Exit, Misuse, Table};
use crate::clock::timestamp;
use crate::delivery::relay::store;

/// What `relay` takes.
#[derive(Debug, clap::Subcommand)]
pub enum Args {
    /// List them, and how they are
    List,
    /// Give nothing to a relay for a while
    Pause {
        /// Its name
        name: String,
        /// How long
        #[arg(long = "for", value_name = "LENGTH", default_value = "1h", value_parser = crate::config::values::duration)]
        length: Duration,
    },
    /// Let it go on
    Resume {
        /// Its name
        name: String,
    },
}

pub(super) async fn run(args: &Args, cx: &Context) -> anyhow::Result<Exit> {
    let house = cx.house().await?;
    let known = |name: &String| {
        if house.config.relays.contains_key(name) {
            Ok(())
        } else {
            let names: Vec<&str> = house.config.relays.keys().map(String::as_str).collect();
            Err(Misuse(format!("there is no relay {name:?}; known: {}", names.join(", "))))
        }
    };
    match args {
        Args::List => {
            let states = store::list(&mut house.db.read().await?).await?;
            let mut out = cx.out();
            let mut table = Table::new(&["relay", "host", "state", ""]);
            for (name, relay) in &house.config.relays {
                let state = states.iter().find(|state| state.name == *name);
                let now = cx.clock().now_ms();
                let paused = state.and_then(|state| state.paused_until).filter(|until| *until > now);
                let down = state.and_then(|state| state.down_since);
                let word = match (paused, down) {
                    (Some(until), _) => format!("paused until {}", timestamp(until)),
                    (None, Some(since)) => format!("down since {}", timestamp(since)),
                    (None, None) => "good".to_owned(),
                };
                let reason = state.and_then(|state| state.reason.clone()).unwrap_or_default();
                if cx.json {
                    out.json(&serde_json::json!({ "name": name, "host": relay.host, "port": relay.port, "state": word, "reason": reason }))?;
                }
                table.row(&[name.clone(), format!("{}:{}", relay.host, relay.port), word, reason]);
            }
            if !cx.json {
                out.table(&table)?;
            }
            out.finish()?;
        }
        Args::Pause { name, length } => {
            known(name)?;
            let until = cx.clock().now_ms() + i64::try_from(length.as_millis()).unwrap_or(i64::MAX / 2);
            let mut tx = house.db.write().await?;
            store::pause(&mut tx, name, Some(until), Some("an operator paused it")).await?;
            tx.notify(crate::delivery::CHANNEL).await?;
            tx.commit().await?;
            cx.say(&format!("Nothing is given to {name} until {}.", timestamp(until)));
        }
        Args::Resume { name } => {
            known(name)?;
            let mut tx = house.db.write().await?;
            store::pause(&mut tx, name, None, None).await?;
            tx.notify(crate::delivery::CHANNEL).await?;
            tx.commit().await?;
            cx.say(&format!("{name} goes on."));
        }
    }
    Ok(Exit::Done)
}

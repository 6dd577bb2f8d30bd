//! `relay`: the servers that take mail from us.

use std::time::Duration;

use super::{Context, Exit, Misuse, Table};
use crate::clock::timestamp;
use crate::config::{Relay, RelayKind};
use crate::delivery::pace::{self, Providers};
use crate::delivery::relay::store;
use crate::delivery::shared_clock;

/// What `relay` takes.
#[derive(Debug, clap::Subcommand)]
pub enum Args {
    /// List them and the receiving providers: how they are, how fast they go, what they said last
    ///
    /// A provider that there are no rules for stands for itself while something holds it back, and together with the
    /// others otherwise; --json gives each of them.
    List,
    /// Give nothing to a relay for a while
    Pause {
        /// Its name
        name: String,
        /// How long
        #[arg(long = "for", value_name = "LENGTH", default_value = "1h", value_parser = crate::config::values::duration)]
        length: Duration,
    },
    /// Let it go on, at its full pace to every provider, and tell it as up until its mail says otherwise
    ///
    /// Who could not be reached is tried again when the wait for that is over, and not before.
    Resume {
        /// Its name
        name: String,
    },
}

/// What a new identity may send, in words; nothing where there is no plan.
fn warming(relay: &Relay) -> String {
    relay.warm_up.map_or_else(String::new, |plan| {
        format!("warms up since {}: at first {} a day to each provider", plan.from, plan.start)
    })
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
            let providers = Providers::load(house.config.delivery.providers_file.as_deref())
                .map_err(anyhow::Error::msg)?;
            let mut conn = house.db.read().await?;
            let now = shared_clock(&mut conn, cx.clock()).await?;
            let states = store::list(&mut conn).await?;
            let mut out = cx.out();
            let mut table =
                Table::new(&["relay", "host", "state", "pace", "taken", "put off", "refused", ""]);
            for (name, relay) in &house.config.relays {
                let state = states.iter().find(|state| state.name == *name);
                let paused = state.and_then(|state| state.paused_until).filter(|until| *until > now);
                let down = state.and_then(|state| state.down_since);
                let word = match (paused, down) {
                    (Some(until), _) => format!("paused until {}", timestamp(until)),
                    (None, Some(since)) => format!("down since {}", timestamp(since)),
                    (None, None) => "good".to_owned(),
                };
                let reason = state.and_then(|state| state.reason.clone()).unwrap_or_default();
                let views = pace::view(&mut conn, relay, &providers, cx.clock()).await?;
                let host = match relay.kind {
                    RelayKind::Mx => "the receivers' own".to_owned(),
                    _ => format!("{}:{}", relay.host, relay.port),
                };
                if cx.json {
                    out.json(&serde_json::json!({ "name": name, "host": relay.host, "port": relay.port, "state": word, "reason": reason, "providers": views }))?;
                    continue;
                }
                let views = pace::folded(views, &providers, true);
                let whole = views.iter().find(|view| view.provider.is_empty());
                let cells = |view: Option<&pace::View>| {
                    let count =
                        |of: fn(&pace::View) -> i64| view.map_or(String::new(), |view| of(view).to_string());
                    [
                        view.map(pace::View::pace).unwrap_or_default(),
                        count(|view| view.accepted),
                        count(|view| view.deferred),
                        count(|view| view.rejected),
                    ]
                };
                let told = if reason.is_empty() {
                    whole.and_then(|view| view.last_reply.clone()).unwrap_or_default()
                } else {
                    reason
                };
                let told = if told.is_empty() { warming(relay) } else { told };
                let word = match whole {
                    Some(view) if word == "good" => view.state.clone(),
                    _ => word,
                };
                let [pace_words, taken, put_off, refused] = cells(whole);
                table.row(&[name.clone(), host, word, pace_words, taken, put_off, refused, told]);
                for view in views.iter().filter(|view| !view.provider.is_empty()) {
                    let [pace_words, taken, put_off, refused] = cells(Some(view));
                    let last = view.last_reply.clone().unwrap_or_default();
                    let place = format!("  {}", view.provider);
                    let cells =
                        [place, String::new(), view.state.clone(), pace_words, taken, put_off, refused, last];
                    table.row(&cells);
                }
            }
            if !cx.json {
                out.table(&table)?;
            }
            out.finish()?;
        }
        Args::Pause { name, length } => {
            known(name)?;
            let mut tx = house.db.write().await?;
            // Every daemon counts by the same clock.
            let now = shared_clock(&mut tx, cx.clock()).await?;
            let until = now + i64::try_from(length.as_millis()).unwrap_or(i64::MAX / 2);
            store::pause(&mut tx, name, Some(until), Some("an operator paused it")).await?;
            tx.notify(crate::delivery::CHANNEL).await?;
            tx.commit().await?;
            cx.say(&format!("Nothing is given to {name} until {}.", timestamp(until)));
        }
        Args::Resume { name } => {
            known(name)?;
            let mut tx = house.db.write().await?;
            store::pause(&mut tx, name, None, None).await?;
            // Whoever says so knows better than what was found last; the next mail tells.
            store::mark_up(&mut tx, name).await?;
            let now = shared_clock(&mut tx, cx.clock()).await?;
            pace::store::free(&mut tx, name, now).await?;
            tx.notify(crate::delivery::CHANNEL).await?;
            tx.commit().await?;
            cx.say(&format!("{name} goes on."));
        }
    }
    Ok(Exit::Done)
}

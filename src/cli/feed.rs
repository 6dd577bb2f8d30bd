//! `feed list|fetch`: how the feeds are doing, and what one says now.

use clap::Subcommand;
use url::Url;

use super::{Context, Exit, Misuse, Table};
use crate::articles::fetch::Fetcher;
use crate::articles::poll::store::State;
use crate::articles::{Defaults, poll, text};
use crate::config::masked;

/// What `feed` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What each feed gave last, and its health
    List,
    /// Ask a feed now and show what it says, without storing it
    Fetch {
        /// Its URL, or its name in the configuration; every configured feed otherwise
        feed: Option<String>,
    },
}

pub(super) async fn run(args: &Args, cx: &Context) -> anyhow::Result<Exit> {
    let exit = match &args.command {
        Command::List => list(cx).await,
        Command::Fetch { feed } => fetch(feed.as_deref(), cx).await,
    };
    cx.close().await;
    exit
}

async fn list(cx: &Context) -> anyhow::Result<Exit> {
    let config = cx.config()?;
    let mut conn = cx.db().await?.read().await?;
    let states = poll::store::list(&mut conn).await?;
    let silent = poll::list_silent(&mut conn, config, cx.clock().now()).await?;
    drop(conn);
    let mut out = cx.out();
    let mut table =
        Table::new(&["feed", "health", "last article", "asked", "next", "status", "new", "refused", "says"]);
    for (name, feed) in &config.feeds {
        let state = states.iter().find(|state| state.name == *name && state.url == feed.url.as_str());
        let health = match state {
            _ if !feed.enabled => "off",
            None => "never asked",
            Some(state) if state.failures > 0 => "failing",
            Some(_) if silent.iter().any(|silent| silent.name == *name) => "silent",
            Some(_) => "good",
        };
        if cx.json {
            out.json(&serde_json::json!({ "name": name, "url": masked::url(feed.url.as_str()), "health": health, "state": state.map(shown) }))?;
            continue;
        }
        let instant = |at: Option<jiff::Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
        table.row(&[
            name.clone(),
            health.to_owned(),
            instant(state.and_then(|state| state.last_article_at)),
            instant(state.and_then(|state| state.last_asked_at)),
            instant(state.map(|state| state.next_at)),
            state.and_then(|state| state.last_status).map(|status| status.to_string()).unwrap_or_default(),
            state.map(|state| state.last.new.to_string()).unwrap_or_default(),
            state.map(|state| state.last.refused.to_string()).unwrap_or_default(),
            state
                .and_then(|state| shown(state).last_error)
                .map(|text| text::clip(&text, 60))
                .unwrap_or_default(),
        ]);
    }
    if !cx.json {
        if table.is_empty() {
            out.line("No feed is configured: add a [feed.NAME] with its url.")?;
        } else {
            out.table(&table)?;
        }
    }
    out.finish()?;
    Ok(Exit::Done)
}

/// A feed's state without the secrets of its URL. What an earlier version noted of it may name them too.
fn shown(state: &State) -> State {
    let words = |text: &String| text.split(' ').map(masked::url).collect::<Vec<_>>().join(" ");
    State { url: masked::url(&state.url), last_error: state.last_error.as_ref().map(words), ..state.clone() }
}

async fn fetch(wanted: Option<&str>, cx: &Context) -> anyhow::Result<Exit> {
    let config = cx.config()?;
    let urls: Vec<(String, Url)> = match wanted {
        None => config.feeds.iter().map(|(name, feed)| (name.clone(), feed.url.clone())).collect(),
        Some(wanted) => {
            let known = config.feeds.get(wanted).map(|feed| feed.url.clone());
            let url = known.map_or_else(|| Url::parse(wanted), Ok).map_err(|_| {
                Misuse(format!("{wanted} is neither a URL nor the name of a feed in the configuration"))
            })?;
            vec![(wanted.to_owned(), url)]
        }
    };
    let fetcher = Fetcher::new(&config.fetch)?;
    let mut out = cx.out();
    let mut exit = Exit::Done;
    for (name, url) in &urls {
        let (found, note) = match poll::fetch_once(&fetcher, url, cx.clock().now()).await {
            Ok(said) => said,
            Err(why) => {
                cx.say(&format!("{name}: {why}"));
                exit = Exit::Failed;
                continue;
            }
        };
        if let Some(note) = note {
            cx.say(&format!("{name}: {note}"));
        }
        let defaults: &Defaults = &found.defaults;
        let mut table = Table::new(&["published", "title", "url"]);
        for (place, draft) in found.drafts {
            match draft.and_then(|draft| draft.check(defaults)) {
                Ok(clean) if cx.json => {
                    let draft = clean.draft();
                    out.json(&serde_json::json!({
                        "feed": name, "url": draft.url, "title": draft.title, "summary": draft.summary, "body": draft.body,
                        "author": draft.author, "tags": draft.tags, "published_at": draft.published_at, "image_url": draft.image_url,
                    }))?;
                }
                Ok(clean) => {
                    let draft = clean.draft();
                    table.row(&[
                        draft.published_at.map(|at| at.to_string()).unwrap_or_default(),
                        text::clip(&draft.title, 80),
                        draft.url.clone(),
                    ]);
                }
                Err(refused) => cx.say(&format!("{name}: {place}: {refused}")),
            }
        }
        if !cx.json {
            out.table(&table)?;
        }
    }
    out.finish()?;
    Ok(exit)
}

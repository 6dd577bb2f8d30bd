//! Feeds, asked when they are due.
//!
//! Owns the table `feed` (in `store`), the conditional question, and the patience with servers that say no. Leaves
//! the wire to [`fetch`](super::fetch) and the reading to [`formats`](super::formats). A feed is asked by one daemon
//! at a time: whoever moves its `next_at` has it. What a feed says is kept before its `ETag` is: a crash between the
//! two asks again, and finds nothing new.

pub mod pace;
pub mod store;

use std::time::Duration;

use futures_util::StreamExt as _;
use jiff::Timestamp;

use super::fetch::{Answer, Error, Fetcher, Request};
use super::formats::Found;
use super::import::parse_feed;
use super::ingest::{Tally, keep};
use crate::clock::{Clock, Random, timestamp};
use crate::config::{Config, Feed, masked};
use crate::db::{self, Conn, Db};
use crate::lifecycle::Shutdown;
use store::State;

/// So many feeds are asked at a time.
const AT_ONCE: usize = 8;
/// A longer word of a server about itself is cut.
const MAX_ERROR_CHARS: usize = 300;
const ACCEPT: &str = "application/atom+xml, application/rss+xml, application/feed+json, application/rdf+xml;q=0.9, \
                      application/xml;q=0.8, text/xml;q=0.8, application/json;q=0.7, */*;q=0.1";

/// What a round of asking brought.
#[derive(Clone, Debug, Default)]
pub struct Polled {
    /// How many feeds were asked.
    pub asked: usize,
    /// What they brought.
    pub tally: Tally,
    /// Which failed, and why.
    pub failed: Vec<(String, String)>,
}

/// Asks every feed that is due, and keeps what it brings. One that fails does not stop the others. Told to end, it asks none
/// any more and waits for no answer; what has come whole is kept.
///
/// # Errors
/// Only where the database fails.
pub async fn poll_due(
    db: &Db,
    config: &Config,
    clock: &Clock,
    random: &Random,
    fetcher: &Fetcher,
    shutdown: &Shutdown,
) -> db::Result<Polled> {
    // Seen on a reading connection first: most are not due, and the writer has other work.
    let known = db.answered(async { store::list(&mut db.read().await?).await }).await?;
    let now = clock.now();
    let waits = |feed: &Feed| {
        let same = |state: &&State| state.name == feed.name && state.url == feed.url.as_str();
        known.iter().find(same).is_some_and(|state| state.next_at > now)
    };
    // Until then nobody else asks it: the longest answer, and time to read and keep it.
    let hold = config.fetch.timeout + Duration::from_mins(1);
    // A loop, not a closure: the compiler cannot see that a closure here works for every lifetime.
    let mut rounds = Vec::new();
    for feed in config.feeds.values().filter(|feed| feed.enabled && !waits(feed)) {
        rounds.push(claim_and_ask(db, feed, hold, clock, random, fetcher, shutdown));
    }
    let mut polled = Polled::default();
    let mut results = futures_util::stream::iter(rounds).buffer_unordered(AT_ONCE);
    while let Some(result) = results.next().await {
        let Some((name, result)) = result? else { continue };
        polled.asked += 1;
        match result {
            Ok(tally) => polled.tally = polled.tally.plus(tally),
            Err(why) => polled.failed.push((name, why)),
        }
    }
    Ok(polled)
}

type Outcome = (String, Result<Tally, String>);

/// Takes a feed only when its turn has come: one that waited in line behind slow ones would be anybody's again.
async fn claim_and_ask(
    db: &Db,
    feed: &Feed,
    hold: Duration,
    clock: &Clock,
    random: &Random,
    fetcher: &Fetcher,
    shutdown: &Shutdown,
) -> db::Result<Option<Outcome>> {
    if shutdown.is_draining() {
        return Ok(None);
    }
    let claimed = async {
        let mut tx = db.write().await?;
        let claimed = store::claim(&mut tx, &feed.name, feed.url.as_str(), clock.now(), hold).await?;
        tx.commit().await?;
        Ok::<_, db::Error>(claimed)
    };
    match db.answered(claimed).await? {
        Some(state) => ask(db, feed, state, clock, random, fetcher, shutdown).await,
        None => Ok(None),
    }
}

/// Asks one feed and writes down how it went; `None` where it was given up because the daemon ends.
async fn ask(
    db: &Db,
    feed: &Feed,
    mut state: State,
    clock: &Clock,
    random: &Random,
    fetcher: &Fetcher,
    shutdown: &Shutdown,
) -> db::Result<Option<Outcome>> {
    let request = Request {
        etag: state.etag.clone(),
        last_modified: state.last_modified.clone(),
        accept: Some(ACCEPT),
        max_bytes: None,
    };
    let answer = tokio::select! {
        // First: an answer that is there is kept.
        biased;
        answer = fetcher.get(&feed.url, &request) => answer,
        () = shutdown.draining() => {
            // Whoever comes next asks it at once, and does not wait until its taker counts as dead.
            state.next_at = clock.now();
            db.answered(record(db, &state)).await?;
            return Ok(None);
        }
    };
    let now = clock.now();
    let asked_for = answer
        .as_ref()
        .ok()
        .and_then(|answer| answer.retry_after.as_deref())
        .and_then(|text| pace::retry_after(text, now));
    state.last_status = answer.as_ref().ok().map(|answer| i64::from(answer.status));
    let said = understand(answer, now).await;
    let result = match said {
        Ok(Said { found: None, note }) => {
            state.last_error = note;
            Ok(Tally::default())
        }
        Ok(Said { found: Some((found, etag, last_modified)), note }) => {
            let tally = db.answered(keep_found(db, feed, found, now)).await?;
            state.etag = etag;
            state.last_modified = last_modified;
            state.last_error = note;
            state.last = tally;
            if tally.new > 0 {
                state.last_article_at = Some(now);
            }
            Ok(tally)
        }
        Err(why) => Err(super::text::clip(&super::text::line(&why), MAX_ERROR_CHARS)),
    };
    match &result {
        Ok(tally) => {
            state.failures = 0;
            state.last_success_at = Some(now);
            tracing::info!(feed.name = %feed.name, new = tally.new, updated = tally.updated, refused = tally.refused, "feed asked");
        }
        Err(why) => {
            state.failures += 1;
            state.last_error = Some(why.clone());
            tracing::warn!(feed.name = %feed.name, failures = state.failures, %why, "feed failed");
        }
    }
    state.last_asked_at = Some(now);
    let wait = pace::wait(feed.every, state.failures, asked_for, random.between(0, 1000));
    state.next_at = timestamp(now.as_millisecond() + i64::try_from(wait.as_millis()).unwrap_or(i64::MAX / 4));
    db.answered(record(db, &state)).await?;
    Ok(Some((feed.name.clone(), result)))
}

async fn record(db: &Db, state: &State) -> db::Result<()> {
    let mut tx = db.write().await?;
    store::record(&mut tx, state).await?;
    tx.commit().await
}

struct Said {
    /// The articles, and the marks of the answer; `None` where nothing changed.
    found: Option<(Found, Option<String>, Option<String>)>,
    /// What the operator should know though it went well.
    note: Option<String>,
}

async fn understand(answer: Result<Answer, Error>, now: Timestamp) -> Result<Said, String> {
    let answer = answer.map_err(|error| error.to_string())?;
    let note = answer
        .moved
        .as_ref()
        .map(|to| format!("has moved to {} for good: mend its url", masked::url(to.as_str())));
    match answer.status {
        304 => Ok(Said { found: None, note }),
        200 => {
            let cut = answer.cut;
            let found = parse_feed(answer.body, answer.content_type, answer.url, now).await?;
            // A cut answer is asked for again, whole.
            let marks = if cut { (None, None) } else { (answer.etag, answer.last_modified) };
            let note = if cut {
                Some("the answer was cut off: its articles so far were kept".to_owned())
            } else {
                note
            };
            Ok(Said { found: Some((found, marks.0, marks.1)), note })
        }
        410 => Err("410: the feed is gone for good".to_owned()),
        429 => Err("429: asked too often".to_owned()),
        status => Err(format!("answered {status}")),
    }
}

async fn keep_found(db: &Db, feed: &Feed, found: Found, now: Timestamp) -> db::Result<Tally> {
    let mut defaults = found.defaults;
    if feed.source.is_some() {
        defaults.source.clone_from(&feed.source);
    }
    defaults.language = defaults.language.or_else(|| feed.language.clone());
    defaults.section.clone_from(&feed.section);
    defaults.countries.clone_from(&feed.countries);
    let kept = keep(db, found.drafts, &defaults, &format!("feed:{}", feed.name), now).await?;
    for one in &kept {
        if let Err(refused) = &one.result {
            tracing::debug!(feed.name = %feed.name, place = %one.place, %refused, "article refused");
        }
    }
    Ok(Tally::of(&kept))
}

/// What a feed says now, kept nowhere.
///
/// # Errors
/// Why there is nothing to show.
pub async fn fetch_once(
    fetcher: &Fetcher,
    url: &url::Url,
    now: Timestamp,
) -> Result<(Found, Option<String>), String> {
    let request = Request { accept: Some(ACCEPT), ..Request::default() };
    let said = understand(fetcher.get(url, &request).await, now).await?;
    Ok((said.found.map(|(found, _, _)| found).unwrap_or_default(), said.note))
}

/// A feed that brought nothing new for longer than its `silent_after`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Silent {
    /// Its name.
    pub name: String,
    /// When it last brought something; when it was first asked, where it never did.
    pub since: Timestamp,
    /// What was wrong last.
    pub last_error: Option<String>,
}

/// The enabled feeds that are silent at `now`, by name.
pub async fn list_silent(conn: &mut Conn, config: &Config, now: Timestamp) -> db::Result<Vec<Silent>> {
    let states = store::list(conn).await?;
    let silent = states.into_iter().filter_map(|state| {
        let feed = config.feeds.get(&state.name).filter(|feed| feed.enabled)?;
        let since = state.last_article_at.unwrap_or(state.created_at);
        let quiet_ms = now.as_millisecond() - since.as_millisecond();
        let allowed_ms = i64::try_from(feed.silent_after.as_millis()).unwrap_or(i64::MAX);
        (quiet_ms >= allowed_ms).then_some(Silent { name: state.name, since, last_error: state.last_error })
    });
    Ok(silent.collect())
}

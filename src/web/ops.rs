//! Probes and figures: `/healthz` (the process lives), `/readyz` (it can work), `/metrics` (Prometheus text).

use std::fmt::Write as _;
use std::time::Duration;

use axum::Router;
use axum::extract::State as Extract;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::time::timeout;

use super::State;
use crate::delivery::relay::store::Known;
use crate::{articles, delivery, editions, readers};

/// Whoever probes gives up after some seconds, and would know less then.
const READY: Duration = Duration::from_secs(5);

pub(super) fn routes() -> Router<State> {
    Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
}

async fn ready(Extract(state): Extract<State>) -> Response {
    match timeout(READY, missing(&state)).await {
        Ok(Ok(None)) => "ready\n".into_response(),
        Ok(Ok(Some(why))) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
        // Why not is told in the log by whoever needs it: a probe is open to everybody.
        Ok(Err(_)) | Err(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n").into_response()
        }
    }
}

/// What keeps this process from its work.
async fn missing(state: &State) -> crate::db::Result<Option<String>> {
    if !state.db.is_current().await? {
        return Ok(Some("the database waits for a migration".to_owned()));
    }
    if !state.db.takes_writes().await? {
        return Ok(Some("the database takes no writes".to_owned()));
    }
    if state.sending.as_ref().is_some_and(|engine| engine.is_in_trouble()) {
        return Ok(Some("sending is in trouble: the log says which".to_owned()));
    }
    if state.looking.as_ref().is_some_and(|troubles| troubles.last()) {
        return Ok(Some("the clock cannot do all that is due: the log says what".to_owned()));
    }
    if let Some(id) = without_relay(state).await? {
        return Ok(Some(format!("no relay takes the mail of {id}")));
    }
    let unmade = delivery::store::list_unmade(&mut state.db.read().await?).await?;
    Ok(unmade.first().map(|one| format!("the mail of {} cannot be made: the log says why", one.newsletter)))
}

/// A newsletter none of whose relays takes mail, as far as the daemons know.
async fn without_relay(state: &State) -> crate::db::Result<Option<&str>> {
    let known = delivery::relay::store::list(&mut state.db.read().await?).await?;
    let down = |name: &String| known.iter().any(|relay| relay.name == *name && relay.down_since.is_some());
    let lost = state.config.newsletters.values().find(|newsletter| newsletter.relays.iter().all(down));
    Ok(lost.map(|newsletter| newsletter.id.as_str()))
}

async fn metrics(Extract(state): Extract<State>) -> Response {
    match figures(&state).await {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the figures could not be read");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

async fn figures(state: &State) -> Result<String, delivery::Error> {
    let mut conn = state.db.read().await?;
    let mut out = String::new();
    let mut say = |name: &str, help: &str, rows: &[(String, i64)]| {
        // Writing to a text cannot fail.
        writeln!(out, "# HELP matinale_{name} {help}\n# TYPE matinale_{name} gauge").ok();
        for (labels, value) in rows {
            writeln!(out, "matinale_{name}{labels} {value}").ok();
        }
    };
    say(
        "build_info",
        "The version of this daemon.",
        &[(format!("{{version={:?}}}", env!("CARGO_PKG_VERSION")), 1)],
    );
    let articles = i64::try_from(articles::store::count(&mut conn).await?).unwrap_or(i64::MAX);
    say("articles", "Articles in the store.", &[(String::new(), articles)]);
    let (mut active, mut deliveries) = (Vec::new(), Vec::new());
    for id in state.config.newsletters.keys() {
        active.push((format!("{{newsletter={id:?}}}"), readers::store::count_active(&mut conn, id).await?));
        // The next day's is opened within a second of a lock, and owes nobody anything yet.
        if let Some(edition) = editions::store::find_frozen(&mut conn, id).await? {
            let counts = delivery::store::counts(&mut conn, edition.id).await?;
            for (word, count) in counts.by_state() {
                let labels = format!("{{newsletter={id:?},state={word:?}}}");
                deliveries.push((labels, count));
            }
        }
    }
    say("subscriptions_active", "Active subscriptions.", &active);
    say("deliveries", "Deliveries of the newest edition that was locked, by state.", &deliveries);
    let now = delivery::shared_clock(&mut conn, &state.clock).await?;
    let known = delivery::relay::store::list(&mut conn).await?;
    let up = |one: &Known| one.down_since.is_none() && !one.is_paused(now);
    say(
        "relay_up",
        "Whether the relay takes mail: 0 while it is down, or paused.",
        &of_relays(state, &known, |one| one.is_none_or(up)),
    );
    say(
        "relay_paused",
        "Whether nothing is given to the relay for a while: somebody wants it so, or it refused us.",
        &of_relays(state, &known, |one| one.is_some_and(|one| one.is_paused(now))),
    );
    let providers = delivery::pace::Providers::load(state.config.delivery.providers_file.as_deref())
        .map_err(delivery::Error::Rules)?;
    let mut views = Vec::new();
    for relay in state.config.relays.values() {
        // A line for each domain in the world would be too much for whoever keeps them.
        let all = delivery::pace::view(&mut conn, relay, &providers, &state.clock).await?;
        views.extend(delivery::pace::folded(all, &providers, false));
    }
    let rows = |of: fn(&delivery::pace::View) -> Option<i64>| -> Vec<(String, i64)> {
        let labels =
            |view: &delivery::pace::View| format!("{{relay={:?},provider={:?}}}", view.relay, view.provider);
        views.iter().filter_map(|view| Some((labels(view), of(view)?))).collect()
    };
    say(
        "provider_takes",
        "Whether a receiving provider takes mail.",
        &rows(|view| Some(i64::from(view.takes))),
    );
    say("provider_connections", "Connections open to a provider.", &rows(|view| view.open));
    say(
        "provider_connections_limit",
        "Connections that a provider may have now.",
        &rows(|view| Some(i64::from(view.connections))),
    );
    // What is slower than one a second is told as the messages of an hour.
    #[expect(clippy::cast_possible_truncation, reason = "rates are small")]
    let hourly = rows(|view| view.rate.map(|rate| (rate * 3600.0).round() as i64));
    say("provider_rate_limit_per_hour", "Messages an hour that a provider may have now.", &hourly);
    say("provider_accepted", "Messages that a provider took.", &rows(|view| Some(view.accepted)));
    say("provider_deferred", "Tries that a provider put off.", &rows(|view| Some(view.deferred)));
    say("provider_rejected", "Messages that a provider refused.", &rows(|view| Some(view.rejected)));
    say("warm_up_taken", "How much of today's cap was had.", &rows(|view| view.warm_up.map(|(had, _)| had)));
    say("warm_up_cap", "A new identity's cap today.", &rows(|view| view.warm_up.map(|(_, cap)| cap)));
    Ok(out)
}

/// Whether this is so, for each relay of the configuration, by what is known of it.
fn of_relays(state: &State, known: &[Known], is_so: impl Fn(Option<&Known>) -> bool) -> Vec<(String, i64)> {
    let told = |name: &String| {
        let one = known.iter().find(|known| known.name == *name);
        (format!("{{relay={name:?}}}"), i64::from(is_so(one)))
    };
    state.config.relays.keys().map(told).collect()
}

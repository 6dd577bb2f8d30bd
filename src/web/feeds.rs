//! The editions as feeds: Atom (RFC 4287) and JSON Feed 1.1, from the same content as the mail.

use askama::Template;
use axum::Router;
use axum::extract::{Path, State as Extract};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::tz::TimeZone;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::State;
use super::archive::{self, CACHE};
use super::edition::{Edition, Items};
use super::public::Away;
use crate::config::Newsletter;
use crate::mail::Content;

pub(super) fn routes() -> Router<State> {
    Router::new()
        .route("/archive/{newsletter}/feed.atom", get(atom))
        .route("/archive/{newsletter}/feed.json", get(json_feed))
}

#[derive(Template)]
#[template(path = "public/feed.atom", escape = "html")]
struct Atom<'a> {
    newsletter: &'a Newsletter,
    address: &'a str,
    updated: String,
    entries: Vec<Entry>,
}

/// One edition in a feed.
struct Entry {
    address: String,
    title: String,
    summary: String,
    html: String,
    /// The morning it was for, RFC 3339.
    at: String,
    picture: Option<String>,
}

/// A feed, or the word that the reader has it already.
fn answer(kind: &'static str, body: String, headers: &HeaderMap) -> Response {
    let etag = format!("\"{}\"", &data_encoding::HEXLOWER.encode(&Sha256::digest(&body))[..32]);
    let cache = [(header::CACHE_CONTROL, CACHE.to_owned()), (header::ETAG, etag.clone())];
    if headers.get(header::IF_NONE_MATCH).is_some_and(|seen| seen == etag.as_str()) {
        return (StatusCode::NOT_MODIFIED, cache).into_response();
    }
    (cache, [(header::CONTENT_TYPE, kind)], body).into_response()
}

async fn entries(state: &State, newsletter: &Newsletter) -> Result<Vec<Entry>, Away> {
    let contents = archive::contents(state, &newsletter.id, None).await?;
    Ok(contents.iter().filter_map(|content| entry(content, newsletter)).collect())
}

fn entry(content: &Content, newsletter: &Newsletter) -> Option<Entry> {
    let edition = Edition::new(content);
    let html = Items { edition: &edition }.render().ok()?;
    let zone: &TimeZone = &newsletter.timezone;
    let at = content.date.to_datetime(newsletter.send_at).to_zoned_datetime(zone.clone()).ok()?;
    Some(Entry {
        html: html.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n"),
        at: at.timestamp().to_string(),
        address: edition.address,
        title: edition.headline,
        summary: edition.standfirst,
        picture: edition.card.map(|card| card.url),
    })
}

async fn atom(
    Extract(state): Extract<State>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Away> {
    let Some(newsletter) = state.config.newsletters.get(&id) else {
        return Ok(StatusCode::NOT_FOUND.into_response());
    };
    let entries = entries(&state, newsletter).await?;
    let feed = Atom {
        newsletter,
        address: &format!("{}/archive/{id}", state.config.web.base()),
        updated: entries.first().map_or_else(|| "1970-01-01T00:00:00Z".to_owned(), |entry| entry.at.clone()),
        entries,
    };
    match feed.render() {
        Ok(body) => Ok(answer("application/atom+xml; charset=utf-8", body, &headers)),
        Err(error) => {
            tracing::error!(%error, "a feed could not be rendered");
            Ok(StatusCode::INTERNAL_SERVER_ERROR.into_response())
        }
    }
}

async fn json_feed(
    Extract(state): Extract<State>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Away> {
    let Some(newsletter) = state.config.newsletters.get(&id) else {
        return Ok(StatusCode::NOT_FOUND.into_response());
    };
    let address = format!("{}/archive/{id}", state.config.web.base());
    let items: Vec<serde_json::Value> = entries(&state, newsletter)
        .await?
        .into_iter()
        .map(|entry| {
            let mut item = json!({
                "id": entry.address, "url": entry.address, "title": entry.title, "summary": entry.summary,
                "content_html": entry.html, "date_published": entry.at,
            });
            if let Some(picture) = entry.picture {
                item["image"] = picture.into();
            }
            item
        })
        .collect();
    let mut feed = json!({
        "version": "https://jsonfeed.org/version/1.1", "title": newsletter.name, "home_page_url": address,
        "feed_url": format!("{address}/feed.json"), "language": newsletter.language,
        "authors": [{ "name": newsletter.name }], "items": items,
    });
    if let Some(promise) = &newsletter.promise {
        feed["description"] = promise.as_str().into();
    }
    Ok(answer("application/feed+json; charset=utf-8", feed.to_string(), &headers))
}

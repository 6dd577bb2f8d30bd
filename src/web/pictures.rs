//! `/i/HASH.jpg`: the pictures of mails and pages. The address names the bytes and nobody who looks at them.

use axum::Router;
use axum::extract::{Path, State as Extract};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::State;
use crate::articles::picture::fit::Kind;
use crate::articles::picture::store;
use crate::db;

/// What an address shows never changes.
const FOR_GOOD: &str = "public, max-age=31536000, immutable";

pub(super) fn routes() -> Router<State> {
    Router::new().route("/i/{file}", get(picture))
}

async fn picture(Extract(state): Extract<State>, Path(file): Path<String>, headers: HeaderMap) -> Response {
    let named = file.rsplit_once('.').and_then(|(hash, ending)| Some((hash, Kind::of(ending)?)));
    let Some((hash, kind)) = named else { return StatusCode::NOT_FOUND.into_response() };
    let etag = format!("\"{hash}\"");
    match find(&state, hash, kind).await {
        Ok(Some(_)) if headers.get(header::IF_NONE_MATCH).is_some_and(|seen| seen == etag.as_str()) => {
            (StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response()
        }
        Ok(Some(bytes)) => {
            let cache = FOR_GOOD.to_owned();
            let kind = kind.content_type().to_owned();
            ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, cache), (header::ETAG, etag)], bytes)
                .into_response()
        }
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => {
            tracing::error!(%error, "a picture could not be loaded");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

async fn find(state: &State, hash: &str, kind: Kind) -> db::Result<Option<Vec<u8>>> {
    store::find(&mut state.db.read().await?, hash, kind).await
}

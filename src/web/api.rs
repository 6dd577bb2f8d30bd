//! The push interface: `POST /api/v1/articles` with a bearer token.

use axum::body::Bytes;
use axum::extract::State as Extract;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};

use super::State;
use crate::access::tokens;
use crate::articles::push::{self, Answer};
use crate::db;

pub(super) fn routes() -> Router<State> {
    Router::new().route("/api/v1/articles", post(articles))
}

async fn articles(Extract(state): Extract<State>, headers: HeaderMap, body: Bytes) -> Response {
    let answer = match name_of(&state, &headers).await {
        Ok(Some(name)) => push::push(&state.db, &state.clock, &name, body.to_vec()).await,
        Ok(None) => Ok(Answer::rejected(
            401,
            "needs Authorization: Bearer TOKEN, with a token of `matinale token add`",
        )),
        Err(error) => Err(error),
    };
    match answer {
        Ok(answer) => {
            let status = StatusCode::from_u16(answer.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut response = (status, Json(answer)).into_response();
            if status == StatusCode::UNAUTHORIZED {
                response
                    .headers_mut()
                    .insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
            }
            response
        }
        Err(error) => {
            tracing::error!(%error, "a push could not be kept");
            (
                StatusCode::SERVICE_UNAVAILABLE,
                Json(Answer::rejected(503, "the store does not answer; nothing was kept")),
            )
                .into_response()
        }
    }
}

/// The name of the token that a request bears.
async fn name_of(state: &State, headers: &HeaderMap) -> db::Result<Option<String>> {
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let Some((_, token)) = bearer else { return Ok(None) };
    let mut tx = state.db.write().await?;
    let name = tokens::verify(&mut tx, token.trim(), state.clock.now()).await?;
    tx.commit().await?;
    Ok(name)
}

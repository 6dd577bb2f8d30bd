//! The push interface: `POST /api/v1/articles` with a bearer token.
//!
//! Owns who may come in and how HTTP says it; what a push means is [`push`]'s. Every answer is JSON, a refusal too,
//! and nothing is read of a body whose sender may not come in.

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State as Extract};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};

use super::State;
use crate::access::tokens;
use crate::articles::push::{self, Answer, MAX_BYTES};
use crate::db;

pub(super) fn routes() -> Router<State> {
    Router::new().route("/api/v1/articles", post(articles).fallback(wrong_method))
}

async fn articles(Extract(state): Extract<State>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let answer = match name_of(&state, &head.headers).await {
        Ok(Some(name)) => keep(&state, &name, body).await,
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

async fn keep(state: &State, token: &str, body: Body) -> db::Result<Answer> {
    // One byte more than allowed, so that the push itself says so.
    match to_bytes(body, MAX_BYTES + 1).await {
        Ok(body) => push::push(&state.db, &state.clock, token, body.to_vec()).await,
        Err(_) => Ok(Answer::rejected(
            413,
            format!("the body is larger than {} MiB, or was cut off", MAX_BYTES >> 20),
        )),
    }
}

async fn wrong_method() -> Response {
    let answer = Answer::rejected(405, "articles are pushed by POST");
    (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST")], Json(answer)).into_response()
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

//! The push interface by HTTP.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use matinale::access::tokens;
use matinale::clock::{Clock, Random};
use matinale::readers::links::Links;
use matinale::web::{self, State};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::config;
use crate::support::databases::both;

const ARTICLE: &str = r#"{"url": "https://a.example/1", "title": "Un"}"#;

async fn ask(routes: &Router, method: &str, token: &str, body: impl Into<Body>) -> (u16, Value) {
    let request = Request::builder()
        .method(method)
        .uri("/api/v1/articles")
        .header("authorization", format!("Bearer {token}"))
        .body(body.into())
        .unwrap();
    let response = routes.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn articles_come_in_by_a_token_and_by_nothing_else() {
    for house in both().await {
        let db = house.db.clone();
        let now = "2026-11-24T05:00:00Z".parse().unwrap();
        let random = Random::seeded(7);
        let mut tx = db.write().await.unwrap();
        let token = tokens::create(&mut tx, "cms", &random, now).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        let state =
            State::new(Arc::new(config()), db.clone(), Clock::manual(now), random, Links::new(b"a secret"));
        let routes = web::routes(state);

        let (status, answer) = ask(&routes, "POST", &token, ARTICLE).await;
        assert_eq!((status, &answer["results"][0]["result"]), (200, &json!("new")), "{answer}");
        let (status, answer) = ask(&routes, "POST", &token, ARTICLE).await;
        assert_eq!((status, &answer["unchanged"]), (200, &json!(1)));
        let (status, answer) = ask(&routes, "POST", &token, r#"[{"url": "x", "title": "y"}]"#).await;
        let expected =
            json!({"index": 0, "result": "refused", "url": "x", "field": "url", "why": "is not absolute"});
        assert_eq!((status, &answer["results"][0]), (422, &expected));

        let (status, answer) = ask(&routes, "GET", &token, Body::empty()).await;
        assert_eq!((status, &answer["error"]), (405, &json!("articles are pushed by POST")));
        let (status, answer) = ask(&routes, "POST", &token, vec![b' '; 13 << 20]).await;
        assert_eq!(status, 413, "{answer}");

        // Whoever may not come in has nothing read.
        let unread = Body::from_stream(futures_util::stream::poll_fn(
            |_| -> std::task::Poll<Option<Result<Vec<u8>, std::io::Error>>> { panic!("the body was read") },
        ));
        assert_eq!(ask(&routes, "POST", "matinale_wrong", unread).await.0, 401);
        let mut tx = db.write().await.unwrap();
        assert!(tokens::revoke(&mut tx, "cms", now).await.unwrap());
        tx.commit().await.unwrap();
        assert_eq!(ask(&routes, "POST", &token, ARTICLE).await.0, 401);
    }
}

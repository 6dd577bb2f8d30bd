//! What newsrooms push.

use matinale::articles::push::{MAX_ARTICLES, push};
use matinale::clock::Clock;
use serde_json::{Value, json};

use crate::support::databases::both;

#[tokio::test]
async fn every_pushed_object_has_its_result_and_the_same_url_again_is_an_update() {
    for house in both().await {
        let db = house.db.clone();
        let clock = Clock::manual("2026-11-24T05:00:00Z".parse().unwrap());
        let push = async |value: Value| {
            let answer = push(&db, &clock, "cms", value.to_string().into_bytes()).await.unwrap();
            (answer.status(), serde_json::to_value(&answer).unwrap())
        };
        let (status, answer) = push(json!({"url": "https://a.example/1?utm_source=x", "title": "Un"})).await;
        assert_eq!(status, 200);
        let id = answer["results"][0]["id"].clone();
        assert_eq!(
            answer["results"][0],
            json!({"index": 0, "result": "new", "url": "https://a.example/1", "id": id})
        );

        let (status, answer) = push(json!([
            {"url": "https://a.example/1", "title": "Un, corrigé"},
            {"url": "https://a.example/2", "title": "Deux", "published_at": "demain"},
            "trois",
            {"url": "https://a.example/4", "title": "Quatre"},
            {"url": "https://a.example/4", "title": "Quatre"},
        ]))
        .await;
        assert_eq!(status, 422);
        let results: Vec<&str> =
            answer["results"].as_array().unwrap().iter().map(|one| one["result"].as_str().unwrap()).collect();
        assert_eq!(results, ["updated", "refused", "refused", "new", "unchanged"]);
        assert_eq!((&answer["results"][0]["id"], &answer["refused"]), (&id, &json!(2)));
        assert_eq!(answer["results"][1]["field"], "published_at");
        assert_eq!(answer["results"][2]["why"], "must be an object, found a text");
    }
}

#[tokio::test]
async fn p10_what_is_no_push_is_rejected_whole() {
    for house in both().await {
        let db = house.db.clone();
        let clock = Clock::manual("2026-11-24T05:00:00Z".parse().unwrap());
        let many = format!("[{}0]", "0,".repeat(MAX_ARTICLES));
        for (body, status) in [("", 400), ("{\"url\"", 400), ("7", 422), (many.as_str(), 413), ("[]", 200)] {
            let answer = push(&db, &clock, "cms", body.as_bytes().to_vec()).await.unwrap();
            assert_eq!(answer.status(), status, "{body:.20}");
        }
    }
}

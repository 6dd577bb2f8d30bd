//! The other faces of an edition: its page, the archive, the feeds.

use std::sync::Arc;

use axum::http::header;
use jiff::Timestamp;
use matinale::articles::formats::feed;
use matinale::clock::{Clock, Random};
use matinale::db::Db;
use matinale::editions::{EditionState, NewRevision, Who, store};
use matinale::readers::links::Links;
use matinale::web;
use serde_json::{Value, json};

use super::{config, get};
use crate::support::databases::both;

fn content(date: &str) -> Value {
    json!({
        "newsletter": {
            "id": "m", "name": "Le <Matin>", "language": "fr", "list_id": "m.news.example", "from_name": "M",
            "from_address": "m@news.example", "public_url": "https://news.example",
        },
        "date": date,
        "items": [
            {
                "position": 1, "url": "https://press.example/1", "title": "Cacao </title><script>alert(1)</script>",
                "summary": "Un & deux", "source": "Presse", "countries": ["CI"],
                "image": { "url": "https://news.example/i/ab.jpg", "alt": "Le port", "width": 1200, "height": 675 },
            },
            { "position": 2, "url": "javascript:alert(2)", "title": "خبر\u{7} عاجل\u{202E}", "language": "ar" },
            { "position": 3, "url": format!("https://news.example/e/m/{date}"), "title": "Lu ici", "source": "M" },
        ],
        "sponsor": { "name": "Café", "text": "Bon.", "url": "javascript:alert(3)", "link_text": "Voir" },
    })
}

/// An edition of this date, taken to this state.
async fn edition(db: &Db, date: &str, states: &[EditionState]) {
    let now: Timestamp = "2026-11-24T05:00:00Z".parse().unwrap();
    let who = Who("Awa".to_owned());
    let mut tx = db.write().await.unwrap();
    let edition = store::open(&mut tx, "m", date.parse().unwrap(), now, now).await.unwrap();
    let content = content(date).to_string();
    let revision = NewRevision { number: 1, who: &who, why: "lock", content: &content, renderings: &[] };
    store::freeze(&mut tx, edition.id, &revision, now).await.unwrap();
    for state in states {
        let edition = store::load(&mut tx, edition.id).await.unwrap();
        assert!(store::set_state(&mut tx, &edition, *state, None, &who, now).await.unwrap());
    }
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn an_edition_that_went_out_has_a_page_a_place_in_the_archive_and_one_in_each_feed() {
    use EditionState::{Cancelled, Locked, Sending, Sent};
    for test in both().await {
        edition(&test.db, "2026-11-20", &[Locked, Sending, Sent]).await;
        edition(&test.db, "2026-11-23", &[Locked, Sending]).await;
        edition(&test.db, "2026-11-21", &[Locked, Cancelled]).await;
        edition(&test.db, "2026-11-24", &[]).await;
        let clock = Clock::manual("2026-11-24T05:00:00Z".parse().unwrap());
        let links = Links::new(b"key");
        let state = web::State::new(Arc::new(config()), test.db.clone(), clock, Random::seeded(1), links);
        let routes = web::routes(state);

        for path in ["/archive/m/2026-11-23", "/e/m/2026-11-23", "/s/m", "/"] {
            let (status, headers, page) = get(&routes, path, None).await;
            assert_eq!(
                (status, &headers[header::CACHE_CONTROL]),
                (200, &"public, max-age=300".parse().unwrap())
            );
            assert!(headers.contains_key(header::CONTENT_SECURITY_POLICY));
            for expected in [
                "<link rel=\"canonical\" href=\"https://news.example/archive/m/2026-11-23\">",
                "<meta property=\"og:image\" content=\"https://news.example/i/ab.jpg\">",
                "<meta property=\"og:site_name\" content=\"Le &#60;Matin&#62;\">",
                "<meta property=\"og:locale\" content=\"fr_FR\">",
                "<h2 lang=\"ar\" dir=\"rtl\">خبر عاجل</h2>",
                "Un &#38; deux",
            ] {
                assert!(page.contains(expected), "{}: {path}: {expected} is not in\n{page}", test.name);
            }
            assert!(!page.contains("<script") && !page.contains("javascript:"), "{path}");
            assert!(
                page.contains("Lu ici") && !page.contains("/e/m/"),
                "{path}: a text that is read here leads nowhere"
            );
            // Who came to ask for it is told how to get it.
            let invited = page.contains("href=\"mailto:m@news.example?subject=Le%20%3CMatin%3E\"");
            assert_eq!(invited, ["/s/m", "/"].contains(&path), "{path}");
        }
        for path in
            ["/archive/m/2026-11-21", "/archive/m/2026-11-22", "/archive/m/x", "/archive/other", "/s/other"]
        {
            assert_eq!(get(&routes, path, None).await.0, 404, "{path}");
        }

        let (status, _, list) = get(&routes, "/archive/m", None).await;
        assert_eq!(status, 200);
        let (newer, older) = (list.find("/m/2026-11-23").unwrap(), list.find("/m/2026-11-20").unwrap());
        assert!(newer < older && !list.contains("2026-11-24") && !list.contains("2026-11-21"));
        let (_, _, list) = get(&routes, "/archive/m?before=2026-11-23", None).await;
        assert!(!list.contains("/m/2026-11-23") && list.contains("/m/2026-11-20"));

        let (_, headers, atom) = get(&routes, "/archive/m/feed.atom", None).await;
        assert!(!atom.contains(['\u{7}', '\u{202E}']), "what XML cannot hold is not in it");
        assert_eq!(headers[header::CONTENT_TYPE], "application/atom+xml; charset=utf-8");
        let found = feed::read(&atom, None).unwrap();
        let read = found.drafts.into_iter().map(|(_, draft)| draft.unwrap().url);
        let days = ["2026-11-23", "2026-11-20"].map(|day| format!("https://news.example/archive/m/{day}"));
        assert_eq!(read.collect::<Vec<_>>(), days, "{atom}");
        let etag = headers[header::ETAG].to_str().unwrap();
        assert_eq!(get(&routes, "/archive/m/feed.atom", Some(etag)).await.0, 304);

        let (_, headers, body) = get(&routes, "/archive/m/feed.json", None).await;
        assert_eq!(headers[header::CONTENT_TYPE], "application/feed+json; charset=utf-8");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((&body["title"], &body["description"]), (&json!("Le <Matin>"), &json!("Dix & pas onze")));
        let first = &body["items"][0];
        assert_eq!(
            (&first["id"], &first["date_published"]),
            (&json!(days[0]), &json!("2026-11-23T06:30:00Z"))
        );
        assert!(!first["content_html"].as_str().unwrap().contains("<script"));
        assert_eq!(get(&routes, "/archive/other/feed.atom", None).await.0, 404);
    }
}

#[tokio::test]
async fn before_the_first_edition_a_visitor_is_told_how_to_get_it() {
    for test in both().await {
        let clock = Clock::manual("2026-11-24T05:00:00Z".parse().unwrap());
        let links = Links::new(b"key");
        let state = web::State::new(Arc::new(config()), test.db.clone(), clock, Random::seeded(1), links);
        let routes = web::routes(state);
        for path in ["/s/m", "/", "/archive/m"] {
            let (status, _, page) = get(&routes, path, None).await;
            assert_eq!(status, 200, "{}: {path}", test.name);
            assert!(page.contains("La première édition se prépare."), "{page}");
            assert!(page.contains("mailto:m@news.example?subject="), "{page}");
        }
        assert_eq!(get(&routes, "/s/other", None).await.0, 404);
    }
}

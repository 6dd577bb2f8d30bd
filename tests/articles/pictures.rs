//! Pictures come in once, under the guards of feeds, and leave from an address without anybody in it.

use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::routing::get;
use image::{DynamicImage, ImageFormat, RgbImage};
use matinale::articles::fetch::Fetcher;
use matinale::articles::picture;
use matinale::clock::{Clock, Random};
use matinale::readers::links::Links;
use matinale::web;
use tower::ServiceExt as _;

use super::{config, fetch_config, serve};
use crate::support::databases::both;

const LIMIT: Duration = Duration::from_secs(5);

fn webp() -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(RgbImage::new(1_600, 900)).write_to(&mut out, ImageFormat::WebP).unwrap();
    out.into_inner()
}

#[tokio::test]
async fn m14_a_picture_is_fetched_once_made_a_jpeg_and_served_for_good() {
    for test in both().await {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let picture = move || {
            count.fetch_add(1, Ordering::SeqCst);
            std::future::ready(webp())
        };
        let broken = || std::future::ready("<html>not here</html>");
        let server =
            serve(Router::new().route("/a.webp", get(picture)).route("/broken.jpg", get(broken))).await;
        let fetcher = Fetcher::new(&fetch_config()).unwrap().and_ours(&[server]);
        let clock = Clock::manual("2026-11-24T04:30:00Z".parse().unwrap());
        let ask = async |path: &str| {
            let url = format!("http://{server}/{path}");
            picture::get(&test.db, &clock, &fetcher, &url, LIMIT).await.unwrap()
        };
        let first = ask("a.webp").await.unwrap();
        assert_eq!((first.width, first.height), (1_200, 675), "{}", test.name);
        assert_eq!(ask("a.webp").await, Some(first.clone()));
        assert_eq!(asked.load(Ordering::SeqCst), 1, "asked once");
        assert_eq!(ask("broken.jpg").await, None);
        assert_eq!(ask("nowhere.jpg").await, None);

        let state = web::State::new(
            Arc::new(config()),
            test.db.clone(),
            clock.clone(),
            Random::seeded(1),
            Links::new(b"key"),
        );
        let routes = web::routes(state);
        let page = async |path: String, seen: Option<&str>| {
            let mut request = Request::get(path);
            if let Some(seen) = seen {
                request = request.header(header::IF_NONE_MATCH, seen);
            }
            routes.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
        };
        let answer = page(format!("/i/{}.jpg", first.hash), None).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "image/jpeg");
        assert_eq!(answer.headers()[header::CACHE_CONTROL], "public, max-age=31536000, immutable");
        let etag = answer.headers()[header::ETAG].to_str().unwrap().to_owned();
        let answer = page(format!("/i/{}.jpg", first.hash), Some(&etag)).await;
        assert_eq!(answer.status(), StatusCode::NOT_MODIFIED);
        for wrong in [format!("/i/{}.png", first.hash), "/i/x.jpg".to_owned(), "/i/x".to_owned()] {
            assert_eq!(page(wrong, None).await.status(), StatusCode::NOT_FOUND);
        }
    }
}

#[tokio::test]
async fn p10_a_picture_at_a_private_address_is_not_asked_for() {
    for test in both().await {
        let fetcher = Fetcher::new(&fetch_config()).unwrap();
        let clock = Clock::manual("2026-11-24T04:30:00Z".parse().unwrap());
        let url = "http://127.0.0.1/picture.jpg";
        assert_eq!(picture::get(&test.db, &clock, &fetcher, url, LIMIT).await.unwrap(), None);
    }
}

//! Feeds asked when they are due, against a server that says what it was asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use matinale::articles::fetch::Fetcher;
use matinale::articles::{poll, store};
use matinale::clock::{Clock, Random};
use matinale::config::{Config, Feed};
use matinale::lifecycle::Shutdown;
use tokio::sync::Semaphore;

use super::{fetch_config, serve};
use crate::support::databases::both;

const FEED: &str = "<rss version='2.0'><channel><title>La Digue</title><item><title>Le mil a levé</title>
    <link>https://digue.example/mil?utm_source=rss</link><description>&lt;p>Bonne pluie.&lt;script>x()&lt;/script></description></item>
    <item><link>https://digue.example/sans-titre</link></item></channel></rss>";

/// What the server does next, and what it was asked with.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<(u16, Vec<HeaderMap>)>>);

async fn answer(State(server): State<Server>, headers: HeaderMap) -> Response {
    let mut server = server.0.lock().unwrap();
    let known = headers.get("if-none-match").is_some_and(|etag| etag == "\"v1\"");
    server.1.push(headers);
    match server.0 {
        429 => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "7200")]).into_response(),
        500 => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        _ if known => StatusCode::NOT_MODIFIED.into_response(),
        _ => ([("etag", "\"v1\""), ("last-modified", "Mon, 23 Nov 2026 05:00:00 GMT")], FEED).into_response(),
    }
}

fn config(feeds: impl IntoIterator<Item = Feed>) -> Config {
    let mut config = super::config();
    config.feeds = feeds.into_iter().map(|feed| (feed.name.clone(), feed)).collect();
    config.fetch = fetch_config();
    config
}

fn feed(name: &str, url: &str) -> Feed {
    Feed {
        name: name.to_owned(),
        url: url::Url::parse(url).unwrap(),
        source: None,
        every: Duration::from_secs(600),
        language: Some("fr".to_owned()),
        section: Some("Afrique".to_owned()),
        countries: vec!["ML".to_owned()],
        silent_after: Duration::from_secs(36 * 3600),
        enabled: true,
    }
}

#[tokio::test]
async fn a_feed_is_asked_when_due_conditionally_and_with_patience() {
    for house in both().await {
        let db = house.db.clone();
        let server = Server::default();
        let address = serve(Router::new().route("/rss", get(answer)).with_state(server.clone())).await;
        let config = config([feed("digue", &format!("http://{address}/rss"))]);
        let clock = Clock::manual("2026-11-24T05:00:00Z".parse().unwrap());
        let random = Random::seeded(7);
        let fetcher = Fetcher::new(&config.fetch).unwrap().and_ours(&[address]);
        let round =
            async || poll::poll_due(&db, &config, &clock, &random, &fetcher, &Shutdown::new()).await.unwrap();
        let state = async || {
            let mut conn = db.read().await.unwrap();
            poll::store::list(&mut conn).await.unwrap().remove(0)
        };

        let polled = round().await;
        assert_eq!((polled.asked, polled.tally.new, polled.tally.refused), (1, 1, 1), "{:?}", polled.failed);
        let mut conn = db.read().await.unwrap();
        let article = store::find_by_url(&mut conn, "https://digue.example/mil").await.unwrap().unwrap();
        assert_eq!((article.source.as_str(), article.summary.as_str()), ("La Digue", "Bonne pluie."));
        assert_eq!((article.language.as_deref(), article.origin.as_str()), (Some("fr"), "feed:digue"));
        assert_eq!((article.section.as_deref(), article.countries), (Some("Afrique"), vec!["ML".to_owned()]));
        drop(conn);

        // Not due: not asked. Due: asked with what it said last.
        assert_eq!(round().await.asked, 0);
        clock.advance(Duration::from_secs(660));
        assert_eq!(round().await.tally.new, 0);
        {
            let asked = &server.0.lock().unwrap().1;
            assert_eq!(asked.len(), 2);
            assert_eq!(asked[1]["if-none-match"], "\"v1\"");
            assert_eq!(asked[1]["if-modified-since"], "Mon, 23 Nov 2026 05:00:00 GMT");
        }
        assert_eq!((state().await.last_status, state().await.failures), (Some(304), 0));

        // It says when to come back.
        server.0.lock().unwrap().0 = 429;
        clock.advance(Duration::from_secs(660));
        let polled = round().await;
        assert_eq!(polled.failed, [("digue".to_owned(), "429: asked too often".to_owned())]);
        assert!(state().await.next_at.as_millisecond() >= clock.now_ms() + 7_200_000);
        clock.advance(Duration::from_secs(7_100));
        assert_eq!(round().await.asked, 0);

        // It fails again, and is silent after its time.
        server.0.lock().unwrap().0 = 500;
        clock.advance(Duration::from_secs(2_000));
        assert_eq!(round().await.failed[0].1, "answered 500");
        assert_eq!(state().await.failures, 2);
        let mut conn = db.read().await.unwrap();
        assert!(poll::list_silent(&mut conn, &config, clock.now()).await.unwrap().is_empty());
        clock.advance(Duration::from_secs(36 * 3600));
        let silent = poll::list_silent(&mut conn, &config, clock.now()).await.unwrap();
        assert_eq!(
            (silent[0].name.as_str(), silent[0].last_error.as_deref()),
            ("digue", Some("answered 500"))
        );
    }
}

#[tokio::test]
async fn a_feed_that_another_daemon_asks_is_left_to_it() {
    for house in both().await {
        let db = house.db.clone();
        let now = "2026-11-24T05:00:00Z".parse().unwrap();
        let hold = Duration::from_secs(90);
        let mut tx = db.write().await.unwrap();
        assert!(poll::store::claim(&mut tx, "a", "https://a.example/", now, hold).await.unwrap().is_some());
        assert!(poll::store::claim(&mut tx, "a", "https://a.example/", now, hold).await.unwrap().is_none());
        // A new URL under the old name is asked at once.
        assert!(poll::store::claim(&mut tx, "a", "https://b.example/", now, hold).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn p2_a_daemon_that_ends_waits_for_no_feed_and_keeps_what_came_whole() {
    for house in both().await {
        let db = house.db.clone();
        let begun = Arc::new(Semaphore::new(0));
        let asked = begun.clone();
        let slow = get(move || async move {
            asked.add_permits(1);
            std::future::pending::<()>().await;
        });
        let quick = Router::new().route("/rss", get(answer)).with_state(Server::default());
        let address = serve(quick.route("/slow", slow)).await;
        // Eight are asked at a time, in this order: the quick one makes room for the last of the slow ones.
        let mut feeds = vec![feed("a", &format!("http://{address}/rss"))];
        let slow = ["b", "c", "d", "e", "f", "g", "h", "i"];
        feeds.extend(slow.map(|name| feed(name, &format!("http://{address}/slow"))));
        feeds.push(feed("later", &format!("http://{address}/slow")));
        let mut config = config(feeds);
        config.fetch.timeout = Duration::from_secs(86_400);
        let clock = Clock::manual("2026-11-24T05:00:00Z".parse().unwrap());
        let random = Random::seeded(7);
        let fetcher = Fetcher::new(&config.fetch).unwrap().and_ours(&[address]);
        let shutdown = Shutdown::new();
        let round = poll::poll_due(&db, &config, &clock, &random, &fetcher, &shutdown);
        let told = async {
            begun.acquire_many(8).await.unwrap().forget();
            shutdown.drain();
        };
        let both = async { tokio::join!(round, told) };
        let (polled, ()) = tokio::time::timeout(Duration::from_secs(60), both).await.expect("it ends");
        let polled = polled.unwrap();
        assert_eq!((polled.asked, polled.tally.new), (1, 1), "{}: {:?}", house.name, polled.failed);
        let states = poll::store::list(&mut db.read().await.unwrap()).await.unwrap();
        for state in &states {
            // What was given up is nobody's failure, and whoever starts next asks it at once.
            let due = state.next_at <= clock.now();
            let expected = (state.name != "a", 0, None);
            assert_eq!(
                (due, state.failures, state.last_error.clone()),
                expected,
                "{}: {state:?}",
                house.name
            );
        }
        let names: Vec<&str> = states.iter().map(|state| state.name.as_str()).collect();
        assert_eq!(
            names,
            ["a", "b", "c", "d", "e", "f", "g", "h", "i"],
            "{}: none was begun after that",
            house.name
        );
        assert_eq!(begun.available_permits(), 0, "{}", house.name);
    }
}

//! Links are asked when an edition locks: a dead one is told with its item, and stops nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, head};
use matinale::articles::formats::Format;
use matinale::articles::import::{self, Says};
use matinale::clock::{Clock, Random};
use matinale::config::Config;
use matinale::editions::{Who, store};
use matinale::morning::lock::{self, Locked, WARNED};
use matinale::morning::{House, line_up};

use crate::support::databases::both;

fn config() -> Config {
    let folder = tempfile::tempdir().unwrap();
    let (file, key) = (folder.path().join("matinale.toml"), folder.path().join("secret.key"));
    std::fs::write(&key, "key").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let text = "[keys]\nsecret_file = \"secret.key\"\n[fetch]\nprivate_addresses = true\n\
         [relay.main]\nurl = \"smtp://127.0.0.1:1\"\n\
         [newsletter.test]\nname = \"Test\"\nfrom = \"test@example.org\"\nlock = \"0 0 5 * * *\"\nsend_at = \"06:30\"\n\
         timezone = \"Africa/Abidjan\"\nrelays = [\"main\"]\n";
    std::fs::write(&file, text).unwrap();
    Config::load(&[file], &BTreeMap::new()).unwrap()
}

#[tokio::test]
async fn a_dead_link_is_told_at_the_lock_with_its_item_and_stops_nothing() {
    let pages = Router::new()
        .route("/0", get(|| async { "here" }))
        // Answers GET and not HEAD, as many do.
        .route("/1", head(|| async { StatusCode::METHOD_NOT_ALLOWED }).get(|| async { "here" }))
        .route("/2", get(|| async { StatusCode::FORBIDDEN }))
        .route("/3", get(|| async { StatusCode::INTERNAL_SERVER_ERROR }))
        .route("/4", get(|| async { (StatusCode::FOUND, [("location", "/0")]) }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    // By name: the preflight lets no number stand in a link.
    let server = format!("localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move { axum::serve(listener, pages).await });
    for test in both().await {
        let clock = Clock::manual("2026-11-24T05:00:00Z".parse().unwrap());
        let mut lines = String::new();
        let titles = [
            "Cacao record",
            "Loi adoptée à Dakar",
            "Fuel levy",
            "Drones in Kigali",
            "Port de Tanger",
            "Coffee auction",
        ];
        for (n, title) in titles.iter().enumerate() {
            writeln!(
                lines,
                "{{\"url\": \"http://{server}/{n}\", \"title\": \"{title}\", \"summary\": \"Ce qui s’est passé.\", \
                 \"source\": \"Source {n}\", \"published_at\": \"2026-11-23T20:00:00Z\"}}"
            )
            .unwrap();
        }
        let says = Says { format: Some(Format::JsonLines), ..Says::default() };
        import::read(&test.db, "test".to_owned(), import::bytes(lines.into_bytes()), &says, clock.now())
            .await
            .unwrap();
        let house = House::new(config(), test.db.clone(), clock, Random::seeded(1));
        let newsletter = &house.config.newsletters["test"];
        let edition = line_up::open(&house, newsletter, "2026-11-24".parse().unwrap()).await.unwrap();
        let locked = lock::lock(&house, newsletter, &edition, &Who("Awa".to_owned()), true).await.unwrap();
        let Locked::Done(frozen) = locked else { panic!("{}: {locked:?}", test.name) };
        assert_eq!((frozen.revision, frozen.planned), (1, 0), "{}", test.name);
        let events = store::events(&mut house.db.read().await.unwrap(), edition.id).await.unwrap();
        let mut told: Vec<&str> = events
            .iter()
            .filter(|event| event.what == WARNED && event.detail.contains(" answers "))
            .filter_map(|event| event.detail.split_once(": ").map(|(_, what)| what))
            .collect();
        told.sort_unstable();
        // Whoever locks is told the same.
        assert!(frozen.warnings.contains(&format!(
            "item 4: http://{server}/3 answers 500; look at it, or take another article"
        )));
        // What the preflight only warns of is kept beside it.
        assert!(events.iter().any(|event| event.what == WARNED && event.detail.contains("[footer]")));
        let help = "look at it, or take another article";
        assert_eq!(
            told,
            [
                format!("http://{server}/3 answers 500; {help}"),
                format!("http://{server}/5 answers 404; {help}"),
            ]
        );
        // A correction is held against the same rules; what it says of links comes after it is frozen.
        let edition = line_up::open(&house, newsletter, edition.date).await.unwrap();
        let who = Who("Awa".to_owned());
        let corrected = lock::correct(&house, newsletter, &edition, "a date", &who).await.unwrap().unwrap();
        assert_eq!(corrected.revision, 2);
        assert!(corrected.warnings.contains(&format!("item 4: http://{server}/3 answers 500; {help}")));
        assert!(corrected.warnings.iter().any(|warning| warning.ends_with("[footer]")), "{corrected:#?}");
    }
}

//! What a preview shows a reader: what they have got, whatever was corrected since; what they would get otherwise.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use matinale::articles::formats::Format;
use matinale::articles::import::{self, Says};
use matinale::clock::{Clock, Random};
use matinale::config::Config;
use matinale::db::on;
use matinale::editions::{self, Document, Edition, Who};
use matinale::morning::lock::{self, Locked};
use matinale::morning::{House, line_up, preview};
use sqlx::AssertSqlSafe;

use crate::support::databases::both;
use crate::support::readers;

fn config() -> Config {
    let folder = tempfile::tempdir().unwrap();
    let (file, key) = (folder.path().join("matinale.toml"), folder.path().join("secret.key"));
    std::fs::write(&key, "key").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let text = "[keys]\nsecret_file = \"secret.key\"\n[relay.main]\nurl = \"smtp://127.0.0.1:1\"\n\
         [newsletter.test]\nname = \"Test\"\nfrom = \"test@example.org\"\nlock = \"0 0 5 * * *\"\nsend_at = \"06:30\"\n\
         timezone = \"Africa/Abidjan\"\nrelays = [\"main\"]\ncheck_links = false\n";
    std::fs::write(&file, text).unwrap();
    Config::load(&[file], &BTreeMap::new()).unwrap()
}

/// Six articles and these readers.
async fn fill(house: &House, addresses: &[&str]) {
    let mut lines = String::new();
    for (n, title) in ["Cacao", "Loi", "Fuel", "Drones", "Port", "Coffee"].iter().enumerate() {
        writeln!(
            lines,
            "{{\"url\": \"https://a{n}.example/{n}\", \"title\": \"{title}\", \"summary\": \"Ce qui s’est passé.\", \
             \"source\": \"Source {n}\", \"published_at\": \"2026-11-23T20:00:00Z\"}}"
        )
        .unwrap();
    }
    let now = house.clock.now();
    let says = Says { format: Some(Format::JsonLines), ..Says::default() };
    import::read(&house.db, "test".to_owned(), import::bytes(lines.into_bytes()), &says, now).await.unwrap();
    let people: Vec<_> = addresses.iter().map(|address| readers::somebody(&house.links, address)).collect();
    let mut tx = house.db.write().await.unwrap();
    readers::subscribe(&mut tx, &people, now).await;
    tx.commit().await.unwrap();
}

/// As if a daemon had tried this reader's delivery once, with revision 1.
async fn tried(house: &House, address: &str, outcome: &str) {
    let mut tx = house.db.write().await.unwrap();
    let sql = format!(
        "INSERT INTO attempt (delivery, number, daemon, epoch, at, relay, address, revision, language, date_at,
             date_offset, outcome)
         SELECT delivery.id, 1, 1, 1, 0, 'main', '{address}', 1, 'fr', 1795500000000, 0, '{outcome}'
         FROM delivery
         JOIN subscriber ON subscriber.id = delivery.subscriber
         WHERE subscriber.address = '{address}'"
    );
    let rows = on!(&mut tx, |c| {
        sqlx::query(AssertSqlSafe(sql.as_str())).execute(c).await.map(|done| done.rows_affected()).unwrap()
    });
    assert_eq!(rows, 1);
    tx.commit().await.unwrap();
}

async fn say(house: &House, edition: &Edition, subject: &str) {
    let document: Document = serde_json::from_value(serde_json::json!({ "subject": subject })).unwrap();
    let newsletter = &house.config.newsletters["test"];
    let who = Who::command_line();
    line_up::edit(house, newsletter, edition, &document, &who).await.unwrap().unwrap();
}

#[tokio::test]
async fn p6_a_reader_is_shown_what_they_have_got_or_would_get() {
    for test in both().await {
        let clock = Clock::manual("2026-11-24T05:00:00Z".parse().unwrap());
        let house = House::new(config(), test.db.clone(), clock, Random::seeded(1));
        let newsletter = &house.config.newsletters["test"];
        fill(&house, &["has@example.org", "waits@example.org", "new@example.org"]).await;
        let date = "2026-11-24".parse().unwrap();
        let edition = line_up::open(&house, newsletter, date).await.unwrap();
        say(&house, &edition, "Le premier sujet").await;
        let edition = line_up::open(&house, newsletter, date).await.unwrap();
        let who = Who("Awa".to_owned());
        let locked = lock::lock(&house, newsletter, &edition, &who, true).await.unwrap();
        assert!(matches!(locked, Locked::Done(_)), "{}: {locked:?}", test.name);
        tried(&house, "has@example.org", "accepted").await;
        tried(&house, "waits@example.org", "deferred").await;
        let edition = line_up::open(&house, newsletter, date).await.unwrap();
        say(&house, &edition, "Le second sujet").await;
        let edition = line_up::open(&house, newsletter, date).await.unwrap();
        lock::correct(&house, newsletter, &edition, "a subject", &who).await.unwrap().unwrap();
        let edition = line_up::open(&house, newsletter, date).await.unwrap();
        assert_eq!(edition.revision, 2);
        for (address, subject) in [
            (Some("has@example.org"), "Le premier sujet"),
            (Some("waits@example.org"), "Le second sujet"),
            (Some("new@example.org"), "Le second sujet"),
            (Some("stranger@example.org"), "Le second sujet"),
            (None, "Le second sujet"),
        ] {
            let shown = preview::preview(&house, newsletter, &edition, address).await.unwrap().unwrap();
            assert_eq!(shown.subject, subject, "{}: {address:?}", test.name);
            let eml = String::from_utf8(shown.eml.clone()).unwrap();
            assert!(eml.contains(&format!("\r\nSubject: {subject}\r\n")), "{eml}");
            assert!(shown.html.contains(&format!("<title>{subject}</title>")), "{}", shown.html);
            assert!(shown.text.starts_with("TEST\n"), "{}", shown.text);
            let again = preview::preview(&house, newsletter, &edition, address).await.unwrap().unwrap();
            assert_eq!(again.eml, shown.eml);
        }
    }
}

#[tokio::test]
async fn p5_whoever_only_looks_opens_no_edition_and_what_they_saw_is_taken_by_the_one_that_is_opened_then() {
    for test in both().await {
        let clock = Clock::manual("2026-11-24T04:30:00Z".parse().unwrap());
        let house = House::new(config(), test.db.clone(), clock, Random::seeded(1));
        let newsletter = &house.config.newsletters["test"];
        fill(&house, &["new@example.org"]).await;
        let date = "2026-11-24".parse().unwrap();
        let find =
            async || editions::store::find(&mut house.db.read().await.unwrap(), "test", date).await.unwrap();
        let seen = line_up::look(&house, newsletter, date).await.unwrap();
        for address in [Some("new@example.org"), None] {
            let shown = preview::preview(&house, newsletter, &seen, address).await.unwrap().unwrap();
            assert!(shown.text.contains("Cacao"), "{}: {}", test.name, shown.text);
        }
        let shown = line_up::shown(&house, newsletter, &seen).await.unwrap();
        assert_eq!(shown.items.len(), 6, "{}", test.name);
        let mut document = line_up::document(&house, newsletter, &seen).await.unwrap();
        assert!(find().await.is_none(), "{}", test.name);

        let items = document.items.as_mut().unwrap();
        items.swap(0, 3);
        let wanted: Vec<String> = items.iter().map(|item| item.url.clone()).collect();
        let opened = line_up::open(&house, newsletter, date).await.unwrap();
        let who = Who::command_line();
        line_up::edit(&house, newsletter, &opened, &document, &who).await.unwrap().unwrap();
        let edition = find().await.unwrap();
        let items = line_up::shown(&house, newsletter, &edition).await.unwrap().items;
        let pinned: Vec<i64> = items.iter().filter(|item| item.pinned).map(|item| item.position).collect();
        assert_eq!(pinned, [1, 4], "{}: what was moved", test.name);
        assert!(items.iter().map(|item| &item.url).eq(&wanted), "{}", test.name);
    }
}

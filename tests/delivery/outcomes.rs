//! What relays say, and what the ledger makes of it, on both databases.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use matinale::clock::{Clock, Random};
use matinale::config::Config;
use matinale::db::{Db, on};
use matinale::delivery::due::Morning;
use matinale::delivery::plan::{Plan, plan};
use matinale::delivery::{Counts, Engine, Mode, store};
use matinale::editions::{self, EditionId, EditionState, NewRevision, Who};
use matinale::lifecycle::Shutdown;
use matinale::mail::{self, Content, Language, Prepared};
use matinale::readers::links::Links;
use matinale::readers::store::{NewSubscriber, NewSubscription};

use crate::support::databases::both;
use crate::support::smtp::Scripted;

struct Bench {
    db: Db,
    config: Arc<Config>,
    edition: EditionId,
    links: Links,
    _folder: tempfile::TempDir,
}

fn config(server: &Scripted, folder: &tempfile::TempDir) -> Config {
    use std::os::unix::fs::PermissionsExt as _;
    let (file, key) = (folder.path().join("matinale.toml"), folder.path().join("secret.key"));
    std::fs::write(&key, "key").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let text = format!(
        "[database]\nurl = \"sqlite:unused.db\"\n[keys]\nsecret_file = \"secret.key\"\n\
         [delivery]\nretry = [\"20ms\", \"20ms\", \"20ms\"]\n\
         [relay.main]\nurl = \"smtp://{}?tls=none\"\nconnections = 4\n\
         [newsletter.test]\nname = \"Test\"\nfrom = \"Test <test@example.org>\"\nlock = \"0 0 5 * * *\"\n\
         send_at = \"06:30\"\nrelays = [\"main\"]\ncheck_links = false\n",
        server.address
    );
    std::fs::write(&file, text).unwrap();
    Config::load(&[file], &BTreeMap::new()).unwrap()
}

fn content() -> Content {
    serde_json::from_value(serde_json::json!({
        "newsletter": {
            "id": "test", "name": "Test", "language": "fr", "list_id": "test.example.org", "from_name": "Test",
            "from_address": "test@example.org", "public_url": "https://news.example.org"
        },
        "date": "2026-11-24",
        "items": [{ "position": 1, "url": "https://example.org/1", "title": "Le cacao monte", "summary": "Un résumé.\n.\nFin." }]
    }))
    .unwrap()
}

async fn prepare(db: Db, server: &Scripted, addresses: &[String]) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let config = Arc::new(config(server, &folder));
    let links = Links::new(b"key");
    let now = Clock::system().now();
    let people: Vec<NewSubscriber> = addresses
        .iter()
        .map(|address| NewSubscriber {
            key: address.clone(),
            key_hash: links.key_hash(address),
            address: address.clone(),
            name: None,
            language: None,
            timezone: None,
            send_at: None,
        })
        .collect();
    let mut tx = db.write().await.unwrap();
    let ids = matinale::readers::store::upsert(&mut tx, &people, now).await.unwrap();
    let wishes: Vec<NewSubscription> = ids
        .values()
        .map(|(id, _)| NewSubscription {
            subscriber: id.0,
            newsletter: "test".to_owned(),
            status: "active",
            consented_at: None,
            consent_source: None,
            consent_text: None,
        })
        .collect();
    matinale::readers::store::subscribe(&mut tx, &wishes, now).await.unwrap();
    let edition =
        editions::store::open(&mut tx, "test", "2026-11-24".parse().unwrap(), now, now).await.unwrap();
    let who = Who::command_line();
    let rendered = mail::render(&content(), Language::first_of(["fr"])).unwrap();
    let renderings = [("fr".to_owned(), Prepared::new(&rendered, &content()).to_bytes())];
    let revision = NewRevision { number: 1, who: &who, why: "lock", content: "{}", renderings: &renderings };
    editions::store::freeze(&mut tx, edition.id, &revision, now).await.unwrap();
    let zone = jiff::tz::TimeZone::UTC;
    let owed = Plan {
        edition: edition.id,
        newsletter: "test",
        morning: Morning {
            date: now.to_zoned_datetime(zone.clone()).date(),
            lock: now,
            deadline: jiff::civil::Time::constant(0, 0, 0, 0),
            window: Duration::from_secs(3600),
        },
        hour: jiff::civil::Time::constant(0, 0, 0, 0),
        zone: &zone,
    };
    assert_eq!(plan(&mut tx, &owed).await.unwrap(), i64::try_from(addresses.len()).unwrap());
    for state in [EditionState::Locked, EditionState::Sending] {
        let edition = editions::store::load(&mut tx, edition.id).await.unwrap();
        assert!(editions::store::set_state(&mut tx, &edition, state, None, &who, now).await.unwrap());
    }
    tx.commit().await.unwrap();
    Bench { db, config, edition: edition.id, links, _folder: folder }
}

impl Bench {
    async fn send(&self) -> Counts {
        let (clock, random) = (Clock::system(), Random::seeded(1));
        let engine =
            Engine::new(self.config.clone(), self.db.clone(), clock, random, self.links.clone()).unwrap();
        let mode = Mode { edition: Some(self.edition), ..Mode::default() };
        engine.run_edition(mode, &Shutdown::new()).await.unwrap();
        store::counts(&mut self.db.read().await.unwrap(), self.edition).await.unwrap()
    }
}

/// How many mails each plan leaves with its reader.
const PLANS: [(&str, usize); 13] = [
    ("ok", 1),
    ("reject-x", 0),
    ("policy-x", 0),
    ("defer-1", 1),
    ("defer-2", 1),
    ("dotdefer-1", 1),
    ("dotreject-x", 0),
    // Taken and not said: RFC 5321 has it sent again, with the same Message-ID.
    ("taken-1", 2),
    ("lost-1", 1),
    ("cut-1", 1),
    ("busy-1", 1),
    ("junk-1", 1),
    ("multi-1", 1),
];

#[tokio::test]
async fn p1_p2_every_delivery_ends_and_the_servers_record_agrees() {
    for pipelining in [true, false] {
        for test in both().await {
            let server = Scripted::start(pipelining).await;
            let addresses: Vec<String> =
                (0..130).map(|n| format!("{}-n{n}@example.org", PLANS[n % PLANS.len()].0)).collect();
            let bench = prepare(test.db, &server, &addresses).await;
            let counts = bench.send().await;
            assert_eq!((counts.accepted, counts.rejected), (100, 30), "{} {counts:?}", test.name);
            let by = server.by_recipient();
            for (n, address) in addresses.iter().enumerate() {
                let expected = PLANS[n % PLANS.len()].1;
                assert_eq!(by.get(address).copied().unwrap_or(0), expected, "{} {address}", test.name);
            }
            let record = server.record.lock().unwrap();
            let mut bytes: BTreeMap<&str, (&str, &[u8], &str)> = BTreeMap::new();
            for taken in &record.taken {
                let one = (taken.message_id.as_str(), taken.bytes.as_slice(), taken.from.as_str());
                let first = bytes.entry(&taken.to).or_insert(one);
                assert_eq!(*first, one, "p2: a second copy is the same bytes: {}", taken.to);
            }
            let ids: std::collections::BTreeSet<&str> = bytes.values().map(|(id, ..)| *id).collect();
            assert_eq!(ids.len(), bytes.len(), "h2: one Message-ID for each reader");
            let paths: std::collections::BTreeSet<&str> = bytes.values().map(|(.., path)| *path).collect();
            assert_eq!(paths.len(), bytes.len(), "t11: one return path for each reader");
        }
    }
}

#[tokio::test]
async fn p4_who_said_goodbye_after_the_lock_is_withdrawn() {
    for test in both().await {
        let server = Scripted::start(true).await;
        let addresses: Vec<String> = (0..20).map(|n| format!("ok-n{n}@example.org")).collect();
        let bench = prepare(test.db, &server, &addresses).await;
        let mut tx = bench.db.write().await.unwrap();
        on!(&mut tx, |c| {
            let sql = "UPDATE subscription SET status = 'ended' WHERE id IN (SELECT id FROM subscription ORDER BY id LIMIT 3)";
            sqlx::query(sql).execute(c).await.map(drop).unwrap();
        });
        tx.commit().await.unwrap();
        let counts = bench.send().await;
        assert_eq!((counts.accepted, counts.withdrawn), (17, 3), "{}", test.name);
        assert_eq!(server.record.lock().unwrap().taken.len(), 17);
    }
}

#[tokio::test]
async fn p3_two_daemons_share_one_ledger_and_nobody_is_written_to_twice() {
    for test in both().await {
        let server = Scripted::start(true).await;
        let addresses: Vec<String> = (0..300).map(|n| format!("ok-n{n}@example.org")).collect();
        let bench = prepare(test.db, &server, &addresses).await;
        let (left, right) = tokio::join!(bench.send(), bench.send());
        assert_eq!(left.accepted.max(right.accepted), 300, "{}", test.name);
        let by = server.by_recipient();
        assert_eq!(by.len(), 300);
        assert!(by.values().all(|count| *count == 1));
    }
}

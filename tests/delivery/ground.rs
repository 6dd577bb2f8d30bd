//! An edition that is being sent, in a house of its own: what the tests of this room begin with.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use matinale::clock::{Clock, Random};
use matinale::config::Config;
use matinale::db::{Conn, Db};
use matinale::delivery::due::Morning;
use matinale::delivery::plan::{Plan, plan};
use matinale::delivery::{Counts, Engine, Mode, store};
use matinale::editions::{self, EditionId, EditionState, NewRevision, Who};
use matinale::lifecycle::Shutdown;
use matinale::mail::{self, Content, Language, Prepared};
use matinale::readers::links::Links;

use crate::support::readers;
use crate::support::smtp::Scripted;

/// What takes longer will not end by itself, on however busy a machine.
pub const LONGEST: Duration = Duration::from_secs(300);

pub struct Bench {
    pub db: Db,
    pub config: Arc<Config>,
    pub edition: EditionId,
    pub links: Links,
    pub clock: Clock,
    _folder: tempfile::TempDir,
}

/// `delivery` and `relay`: what stands in `[delivery]` and `[relay.main]`; a `[relay.spare]` behind it is the
/// newsletter's too.
fn config(delivery: &str, relay: &str, folder: &tempfile::TempDir) -> Config {
    use std::os::unix::fs::PermissionsExt as _;
    let (file, key) = (folder.path().join("matinale.toml"), folder.path().join("secret.key"));
    std::fs::write(&key, "key").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let relays = if relay.contains("[relay.spare]") { "\"main\", \"spare\"" } else { "\"main\"" };
    let text = format!(
        "[database]\nurl = \"sqlite:unused.db\"\n[keys]\nsecret_file = \"secret.key\"\n\
         [delivery]\n{delivery}\n[relay.main]\n{relay}\n\
         [newsletter.test]\nname = \"Test\"\nfrom = \"Test <test@example.org>\"\nlock = \"0 0 5 * * *\"\n\
         send_at = \"06:30\"\nrelays = [{relays}]\ncheck_links = false\n"
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

/// An edition that is being sent to these, over this server as it is.
pub async fn prepare(db: Db, server: &Scripted, addresses: &[String]) -> Bench {
    let relay = format!("url = \"smtp://{}?tls=none\"\nconnections = 4", server.address);
    prepare_with(db, "retry = [\"20ms\", \"20ms\", \"20ms\"]", &relay, at_noon(), addresses).await
}

/// The system's clock, but for the civil time, which begins at noon: no test runs into midnight.
pub fn at_noon() -> Clock {
    let clock = Clock::system();
    let utc = jiff::tz::TimeZone::UTC;
    let today = clock.now().to_zoned_datetime(utc.clone()).date();
    let noon = utc.to_timestamp(today.at(12, 0, 0, 0)).unwrap();
    clock.set_civil(noon);
    clock
}

/// The same with these settings and this clock.
pub async fn prepare_with(db: Db, delivery: &str, relay: &str, clock: Clock, addresses: &[String]) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let config = Arc::new(config(delivery, relay, &folder));
    let links = Links::new(b"key");
    let now = clock.civil();
    let people: Vec<_> = addresses.iter().map(|address| readers::somebody(&links, address)).collect();
    let mut tx = db.write().await.unwrap();
    readers::subscribe(&mut tx, &people, now).await;
    let edition = sending(&mut tx, "test", &clock, addresses.len()).await;
    tx.commit().await.unwrap();
    Bench { db, config, clock, edition, links, _folder: folder }
}

/// An edition of a newsletter that is being sent to so many.
pub async fn sending(tx: &mut Conn, newsletter: &str, clock: &Clock, readers: usize) -> EditionId {
    let now = clock.civil();
    let edition =
        editions::store::open(tx, newsletter, "2026-11-24".parse().unwrap(), now, now).await.unwrap();
    let who = Who::command_line();
    let rendered = mail::render(&content(), Language::first_of(["fr"])).unwrap();
    let renderings = [("fr".to_owned(), Prepared::new(&rendered, &content()).to_bytes())];
    let revision = NewRevision { number: 1, who: &who, why: "lock", content: "{}", renderings: &renderings };
    editions::store::freeze(tx, edition.id, &revision, now).await.unwrap();
    let zone = jiff::tz::TimeZone::UTC;
    let owed = Plan {
        edition: edition.id,
        newsletter,
        morning: Morning {
            date: now.to_zoned_datetime(zone.clone()).date(),
            lock: now,
            deadline: jiff::civil::Time::constant(0, 0, 0, 0),
            window: Duration::from_secs(3600),
        },
        hour: jiff::civil::Time::constant(0, 0, 0, 0),
        zone: &zone,
    };
    assert_eq!(plan(tx, &owed).await.unwrap(), i64::try_from(readers).unwrap());
    for state in [EditionState::Locked, EditionState::Sending] {
        let edition = editions::store::load(tx, edition.id).await.unwrap();
        assert!(editions::store::set_state(tx, &edition, state, None, &who, now).await.unwrap());
    }
    edition.id
}

impl Bench {
    pub fn engine(&self) -> Engine {
        self.engine_on(self.db.clone())
    }

    /// A daemon that reaches the ledger by another way.
    pub fn engine_on(&self, db: Db) -> Engine {
        let (clock, random) = (self.clock.clone(), Random::seeded(1));
        Engine::new(self.config.clone(), db, clock, random, self.links.clone()).unwrap()
    }

    pub fn mode(&self) -> Mode {
        Mode { edition: Some(self.edition), ..Mode::default() }
    }

    /// Freezes a second revision with other words.
    pub async fn correct(&self, conn: &mut Conn) {
        let mut content = content();
        "Le cacao baisse".clone_into(&mut content.items[0].title);
        let who = Who::command_line();
        let rendered = mail::render(&content, Language::first_of(["fr"])).unwrap();
        let renderings = [("fr".to_owned(), Prepared::new(&rendered, &content).to_bytes())];
        let revision =
            NewRevision { number: 2, who: &who, why: "mistaken", content: "{}", renderings: &renderings };
        editions::store::freeze(conn, self.edition, &revision, self.clock.now()).await.unwrap();
    }

    pub async fn counts(&self) -> Counts {
        store::counts(&mut self.db.read().await.unwrap(), self.edition).await.unwrap()
    }

    pub async fn send(&self) -> Counts {
        let (engine, shutdown) = (self.engine(), Shutdown::new());
        let sent = tokio::time::timeout(LONGEST, engine.run_edition(self.mode(), &shutdown)).await;
        let counts = self.counts().await;
        sent.unwrap_or_else(|_| panic!("it did not end: {counts:?}")).unwrap();
        counts
    }
}

//! A rehearsal is the real morning, and leaves no trace: no mail at the relay, no change in the house's database.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use matinale::articles::formats::Format;
use matinale::articles::import::{self, Says};
use matinale::clock::{Clock, Random};
use matinale::config::Config;
use matinale::db::{Db, Engine, Options, on};
use matinale::delivery::relay::store as relays;
use matinale::lifecycle::Shutdown;
use matinale::morning::rehearse::{Rehearsal, Report, Weight, rehearse};
use matinale::morning::{House, tick};
use matinale::readers;
use matinale::readers::links::Links;
use matinale::readers::store::NewSubscriber;

use crate::support::smtp::Scripted;
use crate::support::{databases, readers as support};

const TABLES: [&str; 12] = [
    "edition",
    "item",
    "revision",
    "rendering",
    "delivery",
    "attempt",
    "daemon",
    "relay",
    "subscriber",
    "subscription",
    "suppression",
    "proposal",
];

fn config(relay: &str, more: &str) -> Config {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let (file, key) = (folder.path().join("matinale.toml"), folder.path().join("secret.key"));
    std::fs::write(&key, "key").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let text = format!(
        "[keys]\nsecret_file = \"secret.key\"\n[relay.main]\n{relay}\nconnections = 3\n\
         [newsletter.test]\nname = \"Test\"\nfrom = \"test@example.org\"\nlock = \"0 0 5 * * *\"\nsend_at = \"06:30\"\n\
         timezone = \"Africa/Abidjan\"\nrelays = [\"main\"]\nminimum_items = 3\n{more}\n"
    );
    std::fs::write(&file, text).unwrap();
    Config::load(&[file], &BTreeMap::new()).unwrap()
}

/// Six articles, forty readers in two zones and three languages, one of whom is suppressed and one of whom cannot be
/// written to.
async fn furnish(db: &Db) {
    db.migrate().await.unwrap();
    let now = "2026-11-23T21:00:00Z".parse().unwrap();
    let mut lines = String::new();
    let titles = [
        "Le cacao gagne dix francs",
        "La loi foncière passe",
        "Moins de taxe sur l’essence",
        "Des drones pour les cliniques",
        "Tanger agrandit son port",
        "Enchères records du café",
    ];
    for (n, title) in titles.iter().enumerate() {
        writeln!(
            lines,
            "{{\"url\": \"https://press.example/{n}\", \"title\": \"{title}\", \
             \"summary\": \"{title}, et ce que cela change.\", \"source\": \"Source {n}\", \
             \"published_at\": \"2026-11-23T20:00:00Z\"}}"
        )
        .unwrap();
    }
    let says = Says { format: Some(Format::JsonLines), ..Says::default() };
    import::read(db, "test".to_owned(), import::bytes(lines.into_bytes()), &says, now).await.unwrap();
    let links = Links::new(b"key");
    let people: Vec<NewSubscriber> = (0..40)
        .map(|n| {
            let address =
                if n == 7 { "deux mots@example.org".to_owned() } else { format!("n{n}@example.org") };
            NewSubscriber {
                language: [None, Some("en"), Some("xx")][n % 3].map(str::to_owned),
                timezone: (n % 2 == 0).then(|| "Indian/Mauritius".to_owned()),
                ..support::somebody(&links, &address)
            }
        })
        .collect();
    let mut tx = db.write().await.unwrap();
    let ids = support::subscribe(&mut tx, &people, now).await;
    let first = ids["n3@example.org"];
    readers::store::suppress_subscriber(&mut tx, first, "operator", "asked by letter", now).await.unwrap();
    tx.commit().await.unwrap();
}

/// How many rows each table has; on PostgreSQL a digest of them too, for SQLite's file is compared as it is.
async fn everything(db: &Db) -> Vec<String> {
    let mut conn = db.read().await.unwrap();
    let mut out = Vec::new();
    for table in TABLES {
        let digest = match conn.engine() {
            Engine::Sqlite => "''",
            Engine::Postgres => {
                "COALESCE(md5(string_agg(CAST(t AS TEXT), ',' ORDER BY CAST(t AS TEXT))), '')"
            }
        };
        // A table's name cannot be bound; these are constants.
        let sql = format!("SELECT COUNT(*), {digest} FROM {table} AS t");
        let row: (i64, String) =
            on!(&mut conn, |c| sqlx::query_as(sqlx::AssertSqlSafe(sql.as_str())).fetch_one(c).await.unwrap());
        out.push(format!("{table}: {row:?}"));
    }
    out
}

/// A house that can only be looked at.
async fn house(url: &str, relay: &str, more: &str) -> House {
    let db = Db::open_read_only(&Options { connections: 4, ..Options::new(url) }).await.unwrap();
    let clock = Clock::manual("2026-11-23T22:00:00Z".parse().unwrap());
    House::new(config(relay, more), db, clock, Random::seeded(1))
}

async fn play(house: &House, wanted: &Rehearsal) -> Result<Report, String> {
    let newsletter = house.config.newsletters["test"].clone();
    rehearse(house, &newsletter, wanted, &Shutdown::new(), &|_| ()).await.unwrap()
}

fn told(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "never".to_owned(), |at| at.to_string())
}

fn weights(report: &Report, place: &str) -> Vec<(Weight, String)> {
    let of = report.faults.iter().filter(|fault| fault.place == place);
    of.map(|fault| (fault.weight, fault.what.clone())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_p5_a_rehearsal_tells_the_morning_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("real.db");
    let mut urls = vec![format!("sqlite:{}", file.display())];
    urls.extend(databases::postgres_url());
    for url in urls {
        let real = Db::open(&Options { connections: 4, ..Options::new(&url) }).await.unwrap();
        furnish(&real).await;
        let before = everything(&real).await;
        real.close().await;
        let bytes = std::fs::read(&file).unwrap();
        let server = Scripted::start(true).await;
        let at = format!("url = \"smtp://{}?tls=none\"\nrate = \"2/m\"", server.address);
        let house = house(&url, &at, "").await;

        let report = play(&house, &Rehearsal::default()).await.unwrap();
        assert_eq!((report.date.as_str(), report.lock_at.as_str()), ("2026-11-24", "2026-11-24T05:00:00Z"));
        assert_eq!((report.readers, report.sent, report.items), (39, 38, 6));
        // Mauritius is past its half past six at the lock: the lock decides. Abidjan has until its own.
        assert_eq!(told(report.first_at), "2026-11-24T05:00:00Z");
        // Twenty leave by ten past five at two a minute, the others from half past six on.
        assert_eq!(told(report.last_at), "2026-11-24T06:39:30Z");
        assert_eq!(report.zones.iter().map(|zone| zone.count).collect::<Vec<_>>(), [20, 19]);
        assert!((report.capacity - 2.0 / 60.0).abs() < 1e-9, "{}", report.capacity);
        assert!(weights(&report, "relay.main").is_empty(), "{:?}", report.faults);
        assert_eq!(weights(&report, "languages").len(), 1, "{:?}", report.faults);
        let unfit = report.faults.iter().filter(|fault| fault.what.contains("deux mots")).count();
        assert_eq!(unfit, 1, "{:?}", report.faults);
        assert_eq!(report.worst(), Some(Weight::Warning), "{:?}", report.faults);
        assert!(report.lines().len() <= 24, "{}", report.lines().join("\n"));

        let made_up = Rehearsal { subscribers: Some(500), ..Rehearsal::default() };
        assert_eq!(play(&house, &made_up).await.unwrap().sent, 500);
        assert!(server.record.lock().unwrap().taken.is_empty(), "a rehearsal's mail left");
        house.db.close().await;
        assert_eq!(std::fs::read(&file).unwrap(), bytes, "the database's file changed");
        let real = Db::open(&Options { connections: 2, ..Options::new(&url) }).await.unwrap();
        assert_eq!(everything(&real).await, before);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rehearsal_finds_what_would_stop_the_morning() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("real.db").display());
    furnish(&Db::open(&Options::new(&url)).await.unwrap()).await;
    // Nobody listens on port 1; eleven items are not to be had; half an hour is too short at that rate.
    let relay = "url = \"smtp://127.0.0.1:1\"\nrate = \"1/m\"";
    let house = house(&url, relay, "approval = \"approve\"\n").await;
    let newsletter =
        matinale::config::Newsletter { minimum_items: 9, ..house.config.newsletters["test"].clone() };
    let wanted = Rehearsal::default();
    let report = rehearse(&house, &newsletter, &wanted, &Shutdown::new(), &|_| ()).await.unwrap().unwrap();
    assert_eq!(report.worst(), Some(Weight::Stops));
    assert_eq!(weights(&report, "the line-up").len(), 1, "{:?}", report.faults);
    let silent = weights(&report, "relay.main");
    assert!(silent.len() == 1 && silent[0].0 == Weight::Error, "{:?}", report.faults);
    assert_eq!((report.late, report.last_at), (39, None));
    assert!(report.faults.iter().any(|fault| fault.mend.contains("edition approve")), "{:?}", report.faults);
    let last = report.lines().pop().unwrap();
    assert_eq!(last, "To do first: the line-up: import articles, or look at `matinale feed list`.");
    let past = Rehearsal { date: Some("2026-11-23".parse().unwrap()), ..Rehearsal::default() };
    assert!(play(&house, &past).await.is_ok(), "a past edition that was never locked may be rehearsed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_a_rehearsal_of_a_morning_under_way_tells_what_is_left_of_it_from_now_on() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("real.db").display());
    let db = Db::open(&Options { connections: 4, ..Options::new(&url) }).await.unwrap();
    furnish(&db).await;
    let server = Scripted::start(true).await;
    let relay = format!("url = \"smtp://{}?tls=none\"\nrate = \"2/m\"", server.address);
    let clock = Clock::manual("2026-11-24T04:30:00Z".parse().unwrap());
    let config = config(&relay, "check_links = false\n");
    let house = House::new(config, db.clone(), clock.clone(), Random::seeded(1));
    tick::tick(&house).await.unwrap();
    clock.set("2026-11-24T05:00:00Z".parse().unwrap());
    tick::tick(&house).await.unwrap();
    // Fifteen of the twenty in Mauritius have it; the relay is paused for ten minutes more.
    let now: Timestamp = "2026-11-24T05:10:00Z".parse().unwrap();
    clock.set(now);
    let mut tx = db.write().await.unwrap();
    let had = "UPDATE delivery SET state = 'accepted'
               WHERE id IN (SELECT id FROM delivery ORDER BY due_at, id LIMIT 15)";
    on!(&mut tx, |c| sqlx::query(had).execute(c).await.map(drop).unwrap());
    relays::pause(&mut tx, "main", Some(now.as_millisecond() + 600_000), Some("asked for")).await.unwrap();
    tx.commit().await.unwrap();
    let wanted = Rehearsal { date: Some("2026-11-24".parse().unwrap()), ..Rehearsal::default() };
    let report = play(&house, &wanted).await.unwrap();
    assert_eq!((report.readers, report.served, report.late), (39, 15, 0));
    assert_eq!(told(report.due_at), "2026-11-24T05:10:00Z");
    assert_eq!(told(report.first_at), "2026-11-24T05:20:00Z");
    assert_eq!(told(report.last_at), "2026-11-24T06:39:30Z", "nineteen from half past six on");
    let paused = weights(&report, "relay.main");
    assert!(paused.len() == 1 && paused[0].0 == Weight::Error, "{:?}", report.faults);
    assert!(report.lines()[2].starts_with("readers    39, 15 served already: "), "{:?}", report.lines());
    // The five that were left have theirs as well: nothing waits for the pause any more.
    let mut tx = db.write().await.unwrap();
    let all = "UPDATE delivery SET state = 'accepted' WHERE id IN (SELECT id FROM delivery ORDER BY due_at, id LIMIT 20)";
    on!(&mut tx, |c| sqlx::query(all).execute(c).await.map(drop).unwrap());
    tx.commit().await.unwrap();
    let report = play(&house, &wanted).await.unwrap();
    assert_eq!((report.served, told(report.first_at)), (20, "2026-11-24T06:30:00Z".to_owned()));
    let paused = weights(&report, "relay.main");
    assert!(paused.len() == 1 && paused[0].0 == Weight::Warning, "{:?}", report.faults);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_a_rehearsal_that_is_told_to_end_while_its_readers_are_made_up_ends_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("real.db").display());
    furnish(&Db::open(&Options::new(&url)).await.unwrap()).await;
    let house = house(&url, "url = \"smtp://127.0.0.1:1\"", "").await;
    let newsletter = house.config.newsletters["test"].clone();
    for postgres in [None, databases::postgres_url()] {
        let wanted =
            Rehearsal { subscribers: Some(10_000_000), postgres: postgres.clone(), ..Rehearsal::default() };
        let shutdown = Shutdown::new();
        let say = |text: &str| {
            if text.starts_with("making up") {
                shutdown.drain();
            }
        };
        let rehearsed = rehearse(&house, &newsletter, &wanted, &shutdown, &say);
        // All of them take minutes.
        let ended = tokio::time::timeout(std::time::Duration::from_secs(40), rehearsed).await;
        let told = ended.expect("at once").unwrap().unwrap_err();
        assert_eq!(told, "interrupted: nothing of it is left behind");
        if let Some(url) = postgres {
            assert_eq!(databases::stages(&url).await, 0);
        }
    }
}

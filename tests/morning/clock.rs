//! What the clock does by itself: opens, locks, catches up, or says that it missed a morning, once.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use matinale::articles::formats::Format;
use matinale::articles::import::{self, Says};
use matinale::clock::{Clock, Random, timestamp};
use matinale::config::Config;
use matinale::db::{Db, on};
use matinale::delivery::relay::store as relays;
use matinale::delivery::shared_clock;
use matinale::editions::{self, Document, Edition, EditionState, Who};
use matinale::lifecycle::Shutdown;
use matinale::morning::send::{How, send};
use matinale::morning::serve::{Role, serve};
use matinale::morning::{House, line_up, lock, store, tick};
use matinale::web;
use sqlx::AssertSqlSafe;

use crate::support::databases::{both, sqlite};
use crate::support::smtp::Scripted;
use crate::support::{names, readers};
use crate::web::get;

fn config(more: &str) -> Config {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let (file, key) = (folder.path().join("matinale.toml"), folder.path().join("secret.key"));
    std::fs::write(&key, "key").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::copy(&key, folder.path().join("no-key.pem")).unwrap();
    let text = format!(
        "[keys]\nsecret_file = \"secret.key\"\n[relay.main]\nurl = \"smtp://127.0.0.1:1\"\n\
         [newsletter.test]\nname = \"Test\"\nfrom = \"test@example.org\"\nlock = \"0 0 5 * * *\"\nsend_at = \"06:30\"\n\
         timezone = \"Africa/Abidjan\"\nrelays = [\"main\"]\ncheck_links = false\nalerts = [\"ops@example.org\"]\n{more}\n"
    );
    std::fs::write(&file, text).unwrap();
    Config::load(&[file], &BTreeMap::new()).unwrap()
}

/// A house at half past four, with six articles of the evening before.
pub(super) async fn house(db: Db, more: &str) -> House {
    let clock = Clock::manual("2026-11-24T04:30:00Z".parse().unwrap());
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
            "{{\"url\": \"https://press.example/{n}\", \"title\": \"{title}\", \"summary\": \"Ce qui s’est passé.\", \
             \"source\": \"Source {n}\", \"published_at\": \"2026-11-23T20:00:00Z\"}}"
        )
        .unwrap();
    }
    let says = Says { format: Some(Format::JsonLines), ..Says::default() };
    import::read(&db, "test".to_owned(), import::bytes(lines.into_bytes()), &says, clock.now())
        .await
        .unwrap();
    House::new(config(more), db, clock, Random::seeded(1))
}

async fn find(house: &House, date: &str) -> Option<Edition> {
    let mut conn = house.db.read().await.unwrap();
    editions::store::find(&mut conn, "test", date.parse().unwrap()).await.unwrap()
}

pub(super) async fn state(house: &House, date: &str) -> Option<EditionState> {
    find(house, date).await.map(|edition| edition.state)
}

/// By the clock that all daemons agree on, of which the house hears nothing: it sends nothing.
pub(super) async fn shared(house: &House) -> Timestamp {
    let own = Clock::manual(house.clock.now());
    timestamp(shared_clock(&mut house.db.read().await.unwrap(), &own).await.unwrap())
}

pub(super) async fn alarms(house: &House) -> Vec<String> {
    let alarms = store::alarms(&mut house.db.read().await.unwrap(), 100).await.unwrap();
    alarms.into_iter().map(|alarm| alarm.key).collect()
}

#[tokio::test]
async fn an_edition_is_opened_refreshed_locked_and_sent_by_the_clock() {
    for test in both().await {
        let house = house(test.db, "").await;
        tick::tick(&house).await.unwrap();
        assert_eq!(state(&house, "2026-11-24").await, Some(EditionState::Open), "{}", test.name);
        house.clock.advance(Duration::from_secs(1801));
        // Locked, then sending, then (nobody reads it) sent: each look does the next step.
        for expected in [EditionState::Locked, EditionState::Sending, EditionState::Sent] {
            tick::tick(&house).await.unwrap();
            assert_eq!(state(&house, "2026-11-24").await, Some(expected), "{}", test.name);
        }
        assert_eq!(state(&house, "2026-11-25").await, Some(EditionState::Open), "{}", test.name);
        assert!(alarms(&house).await.is_empty(), "{}", test.name);
    }
}

#[tokio::test]
async fn c6_a_lock_missed_by_less_than_the_catch_up_is_done_and_by_more_is_missed_and_told_once() {
    for test in both().await {
        let house = house(test.db, "catch_up = \"3h\"").await;
        tick::tick(&house).await.unwrap();
        // Down from half past four to half past seven.
        house.clock.advance(Duration::from_secs(3 * 3600));
        tick::tick(&house).await.unwrap();
        assert_eq!(state(&house, "2026-11-24").await, Some(EditionState::Locked), "{}", test.name);
        // Down for a day and a half more.
        house.clock.advance(Duration::from_secs(36 * 3600));
        for _ in 0..3 {
            tick::tick(&house).await.unwrap();
        }
        assert_eq!(state(&house, "2026-11-25").await, Some(EditionState::Missed), "{}", test.name);
        assert_eq!(alarms(&house).await, ["missed:test:2026-11-25"], "{}", test.name);
    }
}

#[tokio::test]
async fn c7_what_nobody_approved_does_not_go_out_and_the_desk_is_told_before() {
    for test in both().await {
        let house = house(test.db, "approval = \"approve\"\nremind = \"45m\"").await;
        tick::tick(&house).await.unwrap();
        assert_eq!(alarms(&house).await, ["unapproved:test:2026-11-24"], "{}", test.name);
        house.clock.advance(Duration::from_secs(3600));
        tick::tick(&house).await.unwrap();
        assert_eq!(state(&house, "2026-11-24").await, Some(EditionState::Open), "{}", test.name);
        house.clock.advance(Duration::from_secs(4 * 3600));
        tick::tick(&house).await.unwrap();
        assert_eq!(state(&house, "2026-11-24").await, Some(EditionState::Missed), "{}", test.name);
    }
}

#[tokio::test]
async fn too_few_articles_skip_the_morning_and_somebody_is_told() {
    for test in both().await {
        let house = house(test.db, "minimum_items = 9").await;
        tick::tick(&house).await.unwrap();
        house.clock.advance(Duration::from_secs(1801));
        tick::tick(&house).await.unwrap();
        assert_eq!(state(&house, "2026-11-24").await, Some(EditionState::Skipped), "{}", test.name);
        assert_eq!(alarms(&house).await, ["skipped:test:2026-11-24"], "{}", test.name);
    }
}

#[tokio::test]
async fn p4_each_hold_of_an_edition_is_told_once() {
    for test in both().await {
        let house = house(test.db, "").await;
        tick::tick(&house).await.unwrap();
        house.clock.advance(Duration::from_secs(1801));
        tick::tick(&house).await.unwrap();
        let newsletter = &house.config.newsletters["test"];
        let mut bodies = Vec::new();
        for (n, why) in [Some("a wrong figure"), None, Some("once more")].into_iter().enumerate() {
            let locked = find(&house, "2026-11-24").await.unwrap();
            let who = Who::command_line();
            assert!(lock::set_state(&house, &locked, EditionState::Held, why, &who).await.unwrap());
            for _ in 0..2 {
                tick::tick(&house).await.unwrap();
            }
            // A correction under way is no other hold.
            let held = find(&house, "2026-11-24").await.unwrap();
            let document: Document = serde_json::from_str(&format!("{{\"subject\": \"Mil {n}\"}}")).unwrap();
            line_up::edit(&house, newsletter, &held, &document, &who).await.unwrap().unwrap();
            tick::tick(&house).await.unwrap();
            let keys = alarms(&house).await;
            bodies.push(why.unwrap_or("Somebody held it."));
            assert_eq!(keys.len(), bodies.len(), "{}: {keys:?}", test.name);
            assert!(keys.iter().all(|key| key.starts_with("held:test:2026-11-24:")), "{keys:?}");
            let held = find(&house, "2026-11-24").await.unwrap();
            assert!(lock::set_state(&house, &held, EditionState::Locked, None, &who).await.unwrap());
        }
        let copies = store::due_copies(&mut house.db.read().await.unwrap(), house.clock.now()).await.unwrap();
        for why in bodies {
            let told = copies.iter().filter(|copy| copy.body.starts_with(why)).count();
            assert_eq!(told, 1, "{}: {why}", test.name);
        }
    }
}

#[tokio::test]
async fn p10_what_the_preflight_stops_is_told_again_when_it_was_mended_in_vain() {
    for test in both().await {
        let house = house(test.db, "").await;
        tick::tick(&house).await.unwrap();
        let newsletter = &house.config.newsletters["test"];
        let edit = async |text: &str| {
            let edition = find(&house, "2026-11-24").await.unwrap();
            let document: Document = serde_json::from_str(text).unwrap();
            let who = Who("Awa".to_owned());
            line_up::edit(&house, newsletter, &edition, &document, &who).await.unwrap().unwrap();
        };
        edit(r#"{"opening": "TODO", "preheader": "TODO"}"#).await;
        house.clock.advance(Duration::from_secs(1801));
        for told in 1..=3 {
            for _ in 0..2 {
                tick::tick(&house).await.unwrap();
                // As a line-up does that the machine proposes anew: nobody mended anything.
                sql(&house, "UPDATE edition SET version = version + 1 WHERE date = '2026-11-24'").await;
            }
            let keys = alarms(&house).await;
            assert_eq!(keys.len(), told, "{}: {keys:?}", test.name);
            assert!(keys.iter().all(|key| key.starts_with("preflight:test:2026-11-24:")), "{keys:?}");
            // Mended, and broken again before anybody looked; then mended in part.
            match told {
                1 => {
                    edit(r#"{"opening": null, "preheader": null}"#).await;
                    edit(r#"{"opening": "TODO", "preheader": "TODO"}"#).await;
                }
                2 => edit(r#"{"opening": null}"#).await,
                _ => edit(r#"{"preheader": null}"#).await,
            }
        }
        tick::tick(&house).await.unwrap();
        assert_eq!(state(&house, "2026-11-24").await, Some(EditionState::Locked), "{}", test.name);
        assert_eq!(alarms(&house).await.len(), 3, "{}", test.name);
    }
}

#[tokio::test]
async fn p2_an_edition_is_skipped_together_with_its_alarm_or_not_at_all() {
    for test in both().await {
        let house = house(test.db, "minimum_items = 9").await;
        tick::tick(&house).await.unwrap();
        house.clock.advance(Duration::from_secs(1801));
        // Whatever keeps the alarm from being written: here its table is gone.
        sql(&house, "ALTER TABLE alarm RENAME TO elsewhere").await;
        tick::tick(&house).await.unwrap_err();
        assert_eq!(state(&house, "2026-11-24").await, Some(EditionState::Open), "{}", test.name);
        sql(&house, "ALTER TABLE elsewhere RENAME TO alarm").await;
        // By whomever: who sends by hand after the hour decides as the clock does.
        let how = How { wait: true, now: true, late: false, civil: false };
        let newsletter = &house.config.newsletters["test"];
        let sent = send(&house, newsletter, "2026-11-24".parse().unwrap(), how, &Shutdown::new()).await;
        assert!(sent.unwrap().unwrap_err().contains("is skipped"), "{}", test.name);
        assert_eq!(state(&house, "2026-11-24").await, Some(EditionState::Skipped), "{}", test.name);
        assert_eq!(alarms(&house).await, ["skipped:test:2026-11-24"], "{}", test.name);
    }
}

#[tokio::test]
async fn p10_what_sending_needs_is_tried_before_an_edition_is_locked() {
    let broken = [
        ("rules_file", "[delivery]\nrules_file = \"nowhere.toml\""),
        ("providers_file", "[delivery]\nproviders_file = \"nowhere.toml\""),
        ("dkim", "[dkim.\"example.org\"]\nselector = \"m\"\nkey_file = \"no-key.pem\""),
    ];
    for (what, more) in broken {
        let test = sqlite().await;
        let house = house(test.db, more).await;
        let newsletter = &house.config.newsletters["test"];
        let how = How { wait: true, now: true, late: false, civil: false };
        let told = send(&house, newsletter, "2026-11-24".parse().unwrap(), how, &Shutdown::new()).await;
        let told = told.expect_err(what).to_string();
        assert!(told.contains(what), "{told}");
        assert_eq!(state(&house, "2026-11-24").await, None, "{what}");
    }
}

#[tokio::test]
async fn a_relay_that_takes_nothing_is_told_once_and_a_provider_where_it_has_many_readers() {
    for test in both().await {
        let house = house(test.db, "").await;
        let since = shared(&house).await;
        let mut tx = house.db.write().await.unwrap();
        relays::mark_down(&mut tx, "main", since, "refused").await.unwrap();
        for (provider, accepted) in [("google", 500), ("tiny.example", 5)] {
            let sql = "INSERT INTO pace (relay, provider, down_since, reason, accepted) VALUES ('main', $1, $2, 'no', $3)";
            on!(&mut tx, |c| sqlx::query(sql)
                .bind(provider)
                .bind(since.as_millisecond())
                .bind(accepted)
                .execute(c)
                .await
                .map(drop)
                .unwrap());
        }
        tx.commit().await.unwrap();
        tick::tick(&house).await.unwrap();
        assert!(alarms(&house).await.is_empty(), "{}: they are down for a moment", test.name);
        for table in ["relay", "pace"] {
            sql(&house, format!("UPDATE {table} SET down_since = down_since - 61000")).await;
        }
        for _ in 0..3 {
            tick::tick(&house).await.unwrap();
        }
        let since = since.as_second() - 61;
        let keys = ["provider-down:google (through main)", "relay-down:main"];
        let mut told = alarms(&house).await;
        told.sort();
        assert_eq!(told, keys.map(|key| format!("{key}:{since}")), "{}", test.name);
    }
}

/// A house whose relay goes straight to the receivers under a cap of two a day, with three readers at one of them.
async fn warming(db: Db) -> House {
    let resolver =
        names::start(&[("one.example", "MX 10 mx.one.example"), ("mx.one.example", "A 127.0.0.1")]).await;
    let more = format!(
        "remind = \"45m\"\n[delivery]\nresolver = \"{resolver}\"\n[relay.straight]\nurl = \"mx:\"\n\
         warm_up = {{ start = 2, growth = 1.5, from = \"2026-11-01\" }}"
    );
    let mut house = house(db, &more).await;
    let mut config = (*house.config).clone();
    config.newsletters.get_mut("test").unwrap().relays = vec!["straight".to_owned()];
    house = House::new(config, house.db, house.clock, house.random);
    let now = house.clock.now();
    let people = ["a", "b", "c"].map(|name| readers::somebody(&house.links, &format!("{name}@one.example")));
    let mut tx = house.db.write().await.unwrap();
    readers::subscribe(&mut tx, &people, now).await;
    tx.commit().await.unwrap();
    house
}

#[tokio::test]
async fn v7_a_warm_up_that_does_not_carry_the_edition_is_told_once_before_the_lock() {
    for test in both().await {
        let house = warming(test.db).await;
        for _ in 0..3 {
            tick::tick(&house).await.unwrap();
        }
        assert_eq!(alarms(&house).await, ["warm-up:test:2026-11-24"], "{}", test.name);
    }
}

#[tokio::test]
async fn v7_whoever_locks_by_hand_is_told_that_the_warm_up_does_not_carry_it() {
    for test in both().await {
        let house = warming(test.db).await;
        let newsletter = &house.config.newsletters["test"];
        let date = "2026-11-24".parse().unwrap();
        let edition = line_up::open(&house, newsletter, date).await.unwrap();
        let who = Who::command_line();
        let locked = lock::lock_or_refuse(&house, newsletter, &edition, &who, false).await.unwrap().unwrap();
        assert_eq!((locked.revision, locked.planned), (1, 3), "{}", test.name);
        assert!(locked.warnings.iter().any(|warning| warning.contains("only 2 of 3 readers at one.example")));
        let events = editions::store::events(&mut house.db.read().await.unwrap(), edition.id).await.unwrap();
        let told = events.iter().filter(|event| event.what == lock::WARNED);
        assert!(
            told.clone().any(|event| event.detail.contains("only 2 of 3 readers at one.example")),
            "{}: {events:?}",
            test.name
        );
    }
}

pub(super) async fn sql(house: &House, statement: impl Into<String>) {
    let (statement, mut tx) = (AssertSqlSafe(statement.into()), house.db.write().await.unwrap());
    on!(&mut tx, |c| sqlx::query(statement).execute(c).await.map(drop).unwrap());
    tx.commit().await.unwrap();
}

/// Far longer than anything here takes, and shorter than a relay is waited for.
const LONGEST: Duration = Duration::from_secs(30);

#[tokio::test]
async fn p1_an_ear_that_never_greets_delays_no_lock_and_no_end() {
    for test in both().await {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = silent.local_addr().unwrap().port();
        let more =
            format!("[notices]\nrelay = \"silent\"\n[relay.silent]\nurl = \"smtp://127.0.0.1:{port}\"");
        let house = house(test.db, &more).await;
        let since = shared(&house).await - Duration::from_secs(120);
        let mut tx = house.db.write().await.unwrap();
        relays::mark_down(&mut tx, "main", since, "refused").await.unwrap();
        tx.commit().await.unwrap();
        house.clock.advance(Duration::from_secs(120));
        let shutdown = Shutdown::new();
        let (own, ends) = (house.clone(), shutdown.clone());
        let daemon = tokio::spawn(async move { serve(&own, &[Role::Clock].into(), &ends).await });
        let called = tokio::time::timeout(LONGEST, silent.accept()).await.expect("the alarm is on its way");
        house.clock.advance(Duration::from_secs(1800));
        let locked = async {
            while matches!(state(&house, "2026-11-24").await, None | Some(EditionState::Open)) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LONGEST, locked).await.expect("it is locked meanwhile");
        shutdown.drain();
        tokio::time::timeout(LONGEST, daemon).await.expect("it ends").unwrap().unwrap();
        drop(called);
    }
}

#[tokio::test]
async fn p10_an_alarm_is_from_whom_the_configuration_says_and_through_the_relay_that_it_says() {
    let named = "Rédaction <alarms@bücher.example>";
    for (from, envelope, header) in [
        (None, "test@example.org", "From: test@example.org\r\n"),
        (
            Some(named),
            "alarms@xn--bcher-kva.example",
            "From: =?UTF-8?B?UsOpZGFjdGlvbg==?=\r\n <alarms@xn--bcher-kva.example>\r\n",
        ),
    ] {
        let (main, notices) = (Scripted::start(true).await, Scripted::start(true).await);
        let mut more = "minimum_items = 9\n[notices]\nrelay = \"notices\"\n".to_owned();
        if let Some(from) = from {
            writeln!(more, "from = \"{from}\"").unwrap();
        }
        for (name, server) in [("notices", &notices), ("unused", &main)] {
            writeln!(more, "[relay.{name}]\nurl = \"smtp://{}?tls=none\"", server.address).unwrap();
        }
        let test = sqlite().await;
        let house = house(test.db, &more).await;
        tick::tick(&house).await.unwrap();
        house.clock.advance(Duration::from_secs(1801));
        let shutdown = Shutdown::new();
        let (own, ends) = (house.clone(), shutdown.clone());
        let daemon = tokio::spawn(async move { serve(&own, &[Role::Clock].into(), &ends).await });
        let taken = || notices.record.lock().unwrap().taken.first().cloned();
        let heard = async {
            while taken().is_none() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LONGEST, heard).await.expect("it is heard");
        shutdown.drain();
        tokio::time::timeout(LONGEST, daemon).await.expect("it ends").unwrap().unwrap();
        let taken = taken().unwrap();
        let text = String::from_utf8(taken.bytes).unwrap();
        assert_eq!((taken.from.as_str(), taken.to.as_str()), (envelope, "ops@example.org"), "{text}");
        assert!(text.contains(header), "{text}");
        let domain = envelope.split_once('@').unwrap().1;
        assert!(taken.message_id.ends_with(&format!("@{domain}>")), "{text}");
    }
}

#[tokio::test]
async fn an_alarm_that_nobody_heard_for_three_days_is_given_up() {
    for test in both().await {
        let house = house(test.db, "minimum_items = 9").await;
        tick::tick(&house).await.unwrap();
        house.clock.advance(Duration::from_secs(1801));
        tick::tick(&house).await.unwrap();
        let mut conn = house.db.read().await.unwrap();
        for (hours, due) in [(71, 1), (2, 0)] {
            house.clock.advance(Duration::from_secs(hours * 3600));
            let copies = store::due_copies(&mut conn, house.clock.now()).await.unwrap();
            assert_eq!(copies.len(), due, "{}: after {hours} hours more", test.name);
        }
    }
}

#[tokio::test]
async fn p6_the_figures_show_the_mornings_deliveries_though_the_next_edition_is_open() {
    for test in both().await {
        let house = house(test.db, "").await;
        let people = [readers::somebody(&house.links, "a@one.example")];
        let mut tx = house.db.write().await.unwrap();
        readers::subscribe(&mut tx, &people, house.clock.now()).await;
        tx.commit().await.unwrap();
        tick::tick(&house).await.unwrap();
        house.clock.advance(Duration::from_secs(1801));
        tick::tick(&house).await.unwrap();
        assert_eq!(state(&house, "2026-11-25").await, Some(EditionState::Open), "{}", test.name);
        let (config, db) = (house.config.clone(), house.db.clone());
        let state =
            web::State::new(config, db, house.clock.clone(), house.random.clone(), house.links.clone());
        let (_, _, text) = get(&web::routes(state), "/metrics", None).await;
        let planned = "matinale_deliveries{newsletter=\"test\",state=\"planned\"} 1\n";
        assert!(text.contains(planned), "{}: {text}", test.name);
    }
}

#[tokio::test]
async fn p1_an_edition_that_is_not_over_is_not_counted_each_second() {
    for test in both().await {
        let house = house(test.db, "").await;
        let mut tx = house.db.write().await.unwrap();
        let somebody = [readers::somebody(&house.links, "awa@example.org")];
        readers::subscribe(&mut tx, &somebody, house.clock.now()).await;
        tx.commit().await.unwrap();
        tick::tick(&house).await.unwrap();
        house.clock.advance(Duration::from_secs(1801));
        for _ in 0..2 {
            tick::tick(&house).await.unwrap();
        }
        assert_eq!(state(&house, "2026-11-24").await, Some(EditionState::Sending), "{}", test.name);
        // Whoever counts finds what cannot be.
        let odd = "INSERT INTO pruned_delivery (edition, state, count)
                   SELECT id, 'odd', 1 FROM edition WHERE state = 'sending'";
        sql(&house, odd).await;
        tick::tick(&house).await.unwrap();
        sql(&house, "UPDATE delivery SET state = 'accepted'").await;
        assert!(
            tick::tick(&house).await.is_err(),
            "{}: who is told how it ended is told by counts",
            test.name
        );
        sql(&house, "DELETE FROM pruned_delivery").await;
        tick::tick(&house).await.unwrap();
        assert_eq!(state(&house, "2026-11-24").await, Some(EditionState::Sent), "{}", test.name);
    }
}

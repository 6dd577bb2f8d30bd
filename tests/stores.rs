//! One SQL text, two drivers: the stores' functions, each at least once, on both engines, with the same answers.

use std::time::Duration;

use jiff::Timestamp;
use matinale::access::tokens;
use matinale::clock::{Clock, Random};
use matinale::config::Alert;
use matinale::db::{Conn, Db, Options, Side, on};
use matinale::delivery::relay::store as relays;
use matinale::delivery::store::{self as ledger, Place, Settle};
use matinale::editions::store as editions;
use matinale::editions::{Decision, EditionState, EditionWords, LineUp, NewRevision, Who};
use matinale::morning::store::{self as morning, NewAlarm};
use matinale::readers::links::Links;
use matinale::readers::store::{self as readers, NewSubscriber, NewSubscription};
use matinale::readers::{Address, SubscriberId, SubscriptionId};
use matinale::selection::Given;

use tokio::time::timeout;

use crate::support::databases::{both, postgres_url};

#[tokio::test]
async fn p3_every_store_gives_the_same_answers_on_both_engines() {
    let mut told = Vec::new();
    for test in both().await {
        told.push(everything(&test.db).await);
    }
    if let [sqlite, postgres] = told.as_slice() {
        assert_eq!(sqlite, postgres);
    }
}

/// Far longer than any of it takes, and shorter than a pool waits for a connection.
const SOON: Duration = Duration::from_secs(20);

/// Which process of PostgreSQL's answers.
async fn process(conn: &mut Conn) -> Option<i32> {
    match conn.side() {
        Side::Sqlite(_) => None,
        Side::Postgres(c) => Some(sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(c).await.unwrap()),
    }
}

#[tokio::test]
async fn p3_a_connection_kept_for_the_next_to_write_is_in_nobodys_way() {
    for test in both().await {
        let db = &test.db;
        let mut writer = db.writer().await.unwrap();
        let first = process(&mut writer).await;
        db.keep(writer);
        let mut writer = db.writer().await.unwrap();
        assert_eq!(process(&mut writer).await, first, "it is given to the next to write");
        // Somebody waits for it already.
        let write = async { timeout(SOON, db.write()).await.expect("a transaction begins").unwrap() };
        let (tx, ()) = tokio::join!(biased; write, async { db.keep(writer) });
        tx.commit().await.unwrap();
        // And nobody does.
        db.keep(db.writer().await.unwrap());
        let tx = timeout(SOON, db.write()).await.expect("a transaction begins").unwrap();
        tx.commit().await.unwrap();
        db.keep(db.writer().await.unwrap());
        timeout(SOON, db.close()).await.expect("closing waits for nothing that is kept");
    }
}

#[tokio::test]
async fn p3_a_pool_that_has_none_to_spare_keeps_none() {
    let Some(url) = postgres_url() else { return };
    let db = Db::open(&Options { connections: 2, ..Options::new(&url) }).await.unwrap();
    let _listens = db.listen("somebody").await.unwrap();
    db.keep(db.writer().await.unwrap());
    let tx = timeout(SOON, db.write()).await.expect("a transaction begins").unwrap();
    tx.rollback().await.unwrap();
}

async fn everything(db: &Db) -> Vec<String> {
    let now: Timestamp = "2026-11-24T05:00:00Z".parse().unwrap();
    let (links, who) = (Links::new(b"key"), Who("Awa".to_owned()));
    let mut out = Vec::new();
    let mut say = |what: &str, answer: &dyn std::fmt::Debug| out.push(format!("{what}: {answer:?}"));
    let mut tx = db.write().await.unwrap();

    let address: Address = "Awa@Example.org".parse().unwrap();
    let person = NewSubscriber {
        key: address.key().to_owned(),
        key_hash: links.key_hash(address.key()),
        address: address.as_str().to_owned(),
        name: Some("Awa".to_owned()),
        language: Some("fr".to_owned()),
        timezone: None,
        send_at: None,
    };
    say("suppressed", &readers::suppressed(&mut tx, std::slice::from_ref(&person)).await.unwrap());
    for _ in 0..2 {
        say("upsert", &readers::upsert(&mut tx, std::slice::from_ref(&person), now).await.unwrap());
    }
    let subscriber = readers::find(&mut tx, &address).await.unwrap().unwrap();
    let wish = NewSubscription {
        subscriber: subscriber.id,
        newsletter: "m".to_owned(),
        status: "active",
        consented_at: None,
        consent_source: Some("page".to_owned()),
        consent_text: None,
    };
    say("standing", &readers::standing(&mut tx, std::slice::from_ref(&wish)).await.unwrap());
    readers::subscribe(&mut tx, &[wish], now).await.unwrap();
    let id = SubscriberId(subscriber.id);
    readers::prefer(&mut tx, id, Some("en"), Some("Africa/Dakar"), Some("07:00"), now).await.unwrap();
    say("person", &readers::find_by_id(&mut tx, id).await.unwrap());
    let wishes = readers::subscriptions(&mut tx, 0, i64::MAX).await.unwrap();
    say("wishes", &wishes);
    say("wish", &readers::find_subscription(&mut tx, SubscriptionId(wishes[0].id)).await.unwrap());
    say("active", &readers::count_active(&mut tx, "m").await.unwrap());
    say("languages", &readers::languages(&mut tx, "m").await.unwrap());
    say("list", &readers::list(&mut tx, 0, 10).await.unwrap());

    let date = "2026-11-24".parse().unwrap();
    let edition = editions::open(&mut tx, "m", date, now, now).await.unwrap();
    editions::set_lock(&mut tx, edition.id, now).await.unwrap();
    let words = EditionWords { subject: Some("Cacao".to_owned()), ..EditionWords::default() };
    editions::set_words(&mut tx, edition.id, &words).await.unwrap();
    say("approve", &editions::approve(&mut tx, edition.id, &who, now).await.unwrap());
    let given = Given { value: Some(4), lifetime: Some(matinale::articles::Lifetime::Long) };
    let decision = Decision { pinned: Some(1), given, ..Decision::default() };
    editions::decide(&mut tx, edition.id, matinale::articles::ArticleId(7), &decision).await.unwrap();
    say("decisions", &editions::decisions(&mut tx, edition.id).await.unwrap());
    say("line-up", &editions::set_line_up(&mut tx, edition.id, &LineUp::default(), now).await.unwrap());
    say("no previous", &editions::previous_lock(&mut tx, "m", date).await.unwrap());
    let renderings = [("fr".to_owned(), vec![1, 2, 3])];
    let revision = NewRevision { number: 1, who: &who, why: "lock", content: "{}", renderings: &renderings };
    editions::freeze(&mut tx, edition.id, &revision, now).await.unwrap();
    say("twice", &editions::freeze(&mut tx, edition.id, &revision, now).await.is_err());
    say("content", &editions::find_content(&mut tx, edition.id, 1).await.unwrap());
    say("rendering", &editions::find_rendering(&mut tx, edition.id, 1, "fr").await.unwrap());
    for state in [EditionState::Locked, EditionState::Sending, EditionState::Held] {
        let edition = editions::load(&mut tx, edition.id).await.unwrap();
        say("state", &editions::set_state(&mut tx, &edition, state, Some("why"), &who, now).await.unwrap());
    }
    say("edition", &editions::find(&mut tx, "m", date).await.unwrap());
    say("live", &editions::list_live(&mut tx).await.unwrap().len());
    say("all", &editions::list(&mut tx, "m", 5).await.unwrap().len());
    say("sent", &editions::list_sent(&mut tx, "m", None, 5).await.unwrap().len());
    say("ran", &editions::ran(&mut tx, "m", "2026-11-25".parse().unwrap(), 3).await.unwrap());
    say("events", &editions::events(&mut tx, edition.id).await.unwrap());
    for what in [None, Some("held"), Some("none")] {
        let newest = editions::find_newest_event(&mut tx, edition.id, what).await.unwrap();
        say("newest event", &newest.map(|(_, detail)| detail));
    }

    say("counts", &ledger::counts(&mut tx, edition.id).await.unwrap());
    say("final", &ledger::all_final(&mut tx, edition.id).await.unwrap());
    say("said", &ledger::said(&mut tx, edition.id).await.unwrap());
    say("dead", &ledger::dead_addresses(&mut tx, 5, now.as_millisecond()).await.unwrap());
    say("one", &ledger::find_one(&mut tx, edition.id, id).await.unwrap());
    say("page", &ledger::page(&mut tx, edition.id, None, 5, &links, "example.org").await.unwrap());
    say("record", &ledger::find_record(&mut tx, edition.id, id, &links, "example.org").await.unwrap());
    for how in [Settle::Accepted, Settle::Resend] {
        let piece = ledger::uncertain_piece(&mut tx, edition.id, Some(id), Place::FIRST).await.unwrap();
        say("settle", &ledger::settle(&mut tx, edition.id, piece, how, 1, 1).await.unwrap());
    }
    ledger::forget(&mut tx, id).await.unwrap();

    for why in ["no key", "no words"] {
        ledger::mark_unmade(&mut tx, edition.id, now, why).await.unwrap();
    }
    say("unmade, of an edition that is held", &ledger::list_unmade(&mut tx).await.unwrap());
    let held = editions::load(&mut tx, edition.id).await.unwrap();
    editions::set_state(&mut tx, &held, EditionState::Sending, None, &who, now).await.unwrap();
    say("unmade", &ledger::list_unmade(&mut tx).await.unwrap());
    ledger::mark_made(&mut tx, edition.id).await.unwrap();
    say("made", &ledger::list_unmade(&mut tx).await.unwrap());

    relays::mark_down(&mut tx, "main", now, "refused").await.unwrap();
    relays::block(&mut tx, "main", now, now, "blocked").await.unwrap();
    relays::mark_answered(&mut tx, "main", 0).await.unwrap();
    relays::pause(&mut tx, "main", Some(5), Some("by hand")).await.unwrap();
    say("relays", &relays::list(&mut tx).await.unwrap());
    for asked_at in [0, i64::MAX] {
        relays::mark_greeted(&mut tx, "main", asked_at).await.unwrap();
        say("greeted", &relays::list(&mut tx).await.unwrap());
    }
    relays::mark_up(&mut tx, "main").await.unwrap();
    relays::pause(&mut tx, "main", None, None).await.unwrap();
    say("relays", &relays::list(&mut tx).await.unwrap());

    let alarm = NewAlarm {
        key: "k".to_owned(),
        newsletter: Some("m"),
        subject: "s".to_owned(),
        body: "b".to_owned(),
    };
    let ears = [Alert::Mail("ops@example.org".to_owned())];
    for _ in 0..2 {
        say("raise", &morning::raise(&mut tx, &alarm, &ears, now).await.unwrap());
    }
    let copies = morning::due_copies(&mut tx, now).await.unwrap();
    say("copies", &copies);
    for _ in 0..2 {
        say("claim", &morning::claim_copy(&mut tx, &copies[0], now, Duration::from_secs(30)).await.unwrap());
    }
    morning::mark_heard(&mut tx, &copies[0], now).await.unwrap();
    let stuck = NewAlarm { key: "clock:m:1".to_owned(), ..alarm };
    morning::raise(&mut tx, &stuck, &[], now).await.unwrap();
    for of in [None, Some("m")] {
        morning::clear_clock_alarms(&mut tx, of, now).await.unwrap();
        say("open", &morning::open_clock_alarm(&mut tx, Some("m")).await.unwrap());
    }
    say("alarms", &morning::alarms(&mut tx, 5).await.unwrap());
    morning::see_until(&mut tx, "m", now).await.unwrap();
    say("seen", &morning::seen_until(&mut tx, "m").await.unwrap());

    let random = Random::seeded(1);
    let token = tokens::create(&mut tx, "cms", &random, now).await.unwrap().unwrap();
    say("again", &tokens::create(&mut tx, "cms", &random, now).await.unwrap().is_some());
    say("verify", &tokens::verify(&mut tx, &token, now).await.unwrap());
    say("revoke", &tokens::revoke(&mut tx, "cms", now).await.unwrap());
    say("verify", &tokens::verify(&mut tx, &token, now).await.unwrap());
    say("tokens", &tokens::list(&mut tx).await.unwrap());

    say("end", &readers::end(&mut tx, SubscriptionId(wishes[0].id), "one-click", now).await.unwrap());
    readers::activate(&mut tx, SubscriptionId(wishes[0].id), now).await.unwrap();
    say("suppress", &readers::suppress(&mut tx, &links, &address, "operator", None, now).await.unwrap());
    say("suppression", &readers::find_suppression(&mut tx, &links, &address).await.unwrap());
    say("unsuppress", &readers::unsuppress(&mut tx, &links, &address, now).await.unwrap());
    readers::suppress_subscriber(&mut tx, id, "bounce", "gone", now).await.unwrap();
    say("suppressions", &readers::suppressions(&mut tx).await.unwrap());
    say("erase", &readers::erase(&mut tx, &links, &address, now).await.unwrap());
    say("erased", &readers::suppressions(&mut tx).await.unwrap());
    tx.commit().await.unwrap();
    say("retry", &ledger::retry(db, edition.id, None, 1, 0).await.unwrap());
    ledger::withdraw_all(db, edition.id).await.unwrap();

    let clock = Clock::manual(now);
    say("alone", &matinale::delivery::others_alive(db, &clock, None).await.unwrap());
    out
}

#[tokio::test]
async fn p2_a_transaction_given_up_while_it_begins_leaves_nothing_open() {
    for test in both().await {
        for _ in 0..5 {
            // As many looks as it takes to be somewhere in the middle.
            for looks in 0..40 {
                let mut begin = Box::pin(test.db.write());
                for _ in 0..looks {
                    tokio::select! {
                        biased;
                        _ = &mut begin => break,
                        () = tokio::task::yield_now() => {}
                    }
                }
            }
            if test.url.is_none() {
                // The only writer is free again.
                test.db.write().await.unwrap().rollback().await.unwrap();
                continue;
            }
            // All that the pool may have.
            let mut all = Vec::new();
            for _ in 0..6 {
                all.push(test.db.read().await.unwrap());
            }
            let sql = "SELECT COUNT(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
            let open: i64 = on!(&mut all[0], |c| sqlx::query_scalar(sql).fetch_one(c).await.unwrap());
            assert_eq!(open, 0);
        }
    }
}

#[tokio::test]
async fn what_is_pending_is_told_by_a_server_that_takes_no_writes() {
    let Some(url) = postgres_url() else { return };
    let standby = Db::open_read_only(&Options::new(&url)).await.unwrap();
    assert_eq!(standby.pending().await.unwrap(), matinale::db::all_migrations());
    assert!(!standby.is_current().await.unwrap());
    let db = Db::open(&Options::new(&url)).await.unwrap();
    db.migrate().await.unwrap();
    assert_eq!(standby.pending().await.unwrap(), []);
    assert!(standby.is_current().await.unwrap());
}

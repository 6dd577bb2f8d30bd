//! What relays say, and what the ledger makes of it, on both databases.

use std::collections::{BTreeMap, HashMap, VecDeque};

use matinale::db::on;
use matinale::delivery::store;
use matinale::lifecycle::Shutdown;

use super::ground::{LONGEST, at_noon, prepare, prepare_with};
use crate::support::databases::both;
use crate::support::faulty::{Fault, Faulty, Offer, Phase, Step};
use crate::support::smtp::Scripted;

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

#[tokio::test]
async fn p1_an_address_that_no_mail_can_bear_is_rejected_with_the_reason() {
    for test in both().await {
        let server = Scripted::start(true).await;
        let mut addresses: Vec<String> = (0..20).map(|n| format!("ok-n{n}@example.org")).collect();
        // As an older version may have let it in.
        addresses.push("awa diop, somebody@example.org".to_owned());
        let bench = prepare(test.db, &server, &addresses).await;
        let counts = bench.send().await;
        assert_eq!((counts.accepted, counts.rejected), (20, 1), "{}", test.name);
        let mut conn = bench.db.read().await.unwrap();
        let said = store::said(&mut conn, bench.edition).await.unwrap();
        let refusal = said.iter().find(|said| said.outcome.as_deref() == Some("rejected")).unwrap();
        assert_eq!((refusal.code, refusal.class.as_deref()), (Some(553), Some("policy")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_a_relay_that_is_slow_keeps_nobody_from_the_other() {
    for test in both().await {
        let offer = Offer { pipelining: true, ..Offer::default() };
        let slow = Faulty::start(offer, HashMap::new(), VecDeque::new(), Vec::new()).await;
        let fast = Faulty::start(offer, HashMap::new(), VecDeque::new(), Vec::new()).await;
        let relays = format!(
            "url = \"smtp://{}?tls=none\"\nconnections = 2\nrate = \"1/m\"\n\
             [relay.spare]\nurl = \"smtp://{}?tls=none\"\nconnections = 2",
            slow.address, fast.address
        );
        let to: Vec<String> = (0..100).map(|n| format!("n{n}@example.org")).collect();
        let bench = prepare_with(test.db, "", &relays, at_noon(), &to).await;
        let (engine, mode) = (bench.engine(), bench.mode());
        let shutdown = Shutdown::new();
        let ends = shutdown.clone();
        let daemon = tokio::spawn(async move { engine.run_edition(mode, &ends).await });
        // The slow one has one on its way, and keeps twice as many as it has connections.
        let rest = tokio::time::timeout(LONGEST, fast.until(95)).await;
        assert!(rest.is_ok(), "{}: {:?}", test.name, bench.counts().await);
        shutdown.drain();
        daemon.await.unwrap().unwrap();
        assert!(slow.dots() <= 5, "{}", test.name);
    }
}

#[tokio::test]
async fn p2_what_is_in_doubt_is_repeated_as_it_was_though_a_try_since_was_refused() {
    for test in both().await {
        let step = |phase, fault, taken| Step { phase, fault, taken };
        // Its servers let it wait before they hear from us again.
        let script = VecDeque::from([
            step(Phase::Dot, Fault::Close, true),
            step(Phase::Rcpt, Fault::Reply("450 4.2.0 come again\r\n".to_owned()), false),
        ]);
        let offer = Offer { pipelining: true, ..Offer::default() };
        let scripts = HashMap::from([("r0@example.org".to_owned(), script)]);
        let server = Faulty::start(offer, scripts, VecDeque::new(), Vec::new()).await;
        let relay = format!("url = \"smtp://{}?tls=none\"\nconnections = 1", server.address);
        let bench = prepare_with(
            test.db,
            "retry = [\"20ms\", \"20ms\", \"20ms\"]",
            &relay,
            at_noon(),
            &["r0@example.org".to_owned()],
        )
        .await;
        let mut tx = bench.db.write().await.unwrap();
        let sql = "UPDATE subscription SET consented_at = '2025-08-03', consent_source = 'https://example.org/join'";
        on!(&mut tx, |c| sqlx::query(sql).execute(c).await.map(drop).unwrap());
        tx.commit().await.unwrap();
        assert_eq!(bench.send().await.accepted, 1);
        let taken = server.record().taken["r0@example.org"].clone();
        assert_eq!(taken.len(), 2);
        let text = String::from_utf8_lossy(&taken[0].bytes).into_owned();
        assert!(
            text.contains("example.org/join"),
            "{}: it says where the reader asked for it: {text}",
            test.name
        );
        assert_eq!(taken[0], taken[1], "{}: a second copy is the same bytes", test.name);
    }
}

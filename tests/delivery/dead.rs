//! Receivers that answer nobody or let nobody in, and those who are to be reached all the same.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use matinale::delivery::pace::store as paces;
use matinale::delivery::{Mode, store};
use matinale::lifecycle::Shutdown;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use super::ground::{LONGEST, at_noon, prepare_with};
use super::mx::{readers, straight};
use crate::support::databases::both;
use crate::support::faulty::{Faulty, Offer, Opening};
use crate::support::names;
use crate::support::smtp::Scripted;

/// How many domains there are whose server accepts and says nothing, each at an address of its own.
const DEAD: u8 = 6;
/// Connections that may be open.
const CONNECTIONS: usize = 8;

/// What the dead saw: how often each was tried, and how many of those that had been before at a time, at most.
#[derive(Debug, Default)]
struct Seen {
    tries: BTreeMap<IpAddr, u32>,
    again: usize,
    most_again: usize,
}

/// Accepts at every address of this machine, and never greets.
async fn mute(port: u16) -> Arc<Mutex<Seen>> {
    let seen = Arc::new(Mutex::new(Seen::default()));
    for n in 1..=DEAD {
        let listener = TcpListener::bind(dead(n, port)).await.unwrap();
        let seen = seen.clone();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let seen = seen.clone();
                let ip = socket.local_addr().unwrap().ip();
                tokio::spawn(async move {
                    let again = {
                        let mut seen = seen.lock().unwrap();
                        let tries = seen.tries.entry(ip).or_default();
                        *tries += 1;
                        let again = *tries > 1;
                        seen.again += usize::from(again);
                        seen.most_again = seen.most_again.max(seen.again);
                        again
                    };
                    // Until whoever came has waited for long enough.
                    drop(socket.read(&mut [0]).await);
                    seen.lock().unwrap().again -= usize::from(again);
                });
            }
        });
    }
    seen
}

fn dead(n: u8, port: u16) -> SocketAddr {
    ([127, 0, 8, n], port).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_receivers_that_answer_nobody_keep_no_more_than_a_quarter_of_the_connections_from_the_others() {
    for test in both().await {
        let server = Scripted::start(true).await;
        let port = server.address.port();
        let seen = mute(port).await;
        let entries: Vec<[String; 2]> = (1..=DEAD)
            .flat_map(|n| {
                let (domain, host) = (format!("dead{n}.example"), format!("mx.dead{n}.example"));
                [[domain, format!("MX 10 {host}")], [host, format!("A {}", dead(n, port).ip())]]
            })
            .chain([["one.example".to_owned(), "A 127.0.0.1".to_owned()]])
            .collect();
        let entries: Vec<(&str, &str)> =
            entries.iter().map(|[name, is]| (name.as_str(), is.as_str())).collect();
        let resolver = names::start(&entries).await;
        let settings =
            format!("retry = [\"20ms\"]\nresolver = \"{resolver}\"\n[delivery.timeouts]\nbanner = \"700ms\"");
        let relay = format!("url = \"mx://?port={port}\"\nconnections = {CONNECTIONS}");
        let mut addresses: Vec<String> =
            (1..=DEAD).flat_map(|n| readers(&format!("dead{n}.example"), 2)).collect();
        addresses.extend(readers("one.example", 20));
        let bench = prepare_with(test.db, &settings, &relay, at_noon(), &addresses).await;
        let (engine, shutdown) = (bench.engine(), Shutdown::new());
        let until = shutdown.clone();
        let mode = Mode { now: true, ..bench.mode() };
        let daemon = tokio::spawn(async move { engine.run_edition(mode, &until).await });
        let again = || seen.lock().unwrap().tries.values().map(|tries| tries - 1).sum::<u32>();
        let rest = async {
            while again() < 4 || bench.counts().await.accepted < 20 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LONGEST, rest).await.unwrap_or_else(|_| panic!("{}: {seen:?}", test.name));
        shutdown.drain();
        daemon.await.unwrap().unwrap();
        let most = seen.lock().unwrap().most_again;
        // Of one that has gone, its server may not know yet when the next one comes.
        assert!((1..=CONNECTIONS / 4 + 1).contains(&most), "{}: {most} at a time", test.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p6_who_is_refused_in_place_of_a_greeting_has_the_words_as_a_try_and_the_provider_is_paused() {
    for test in both().await {
        let openings = [Opening::Refused; 20].into();
        let server = Faulty::start(Offer::default(), HashMap::new(), openings, Vec::new()).await;
        // So many as one connection is opened for.
        let addresses: Vec<String> = readers("one.example", 5).collect();
        let (bench, _folder) = straight(test.db, server.address.port(), "", &addresses).await;
        let mode = Mode { once: true, ..bench.mode() };
        bench.engine().run_edition(mode, &Shutdown::new()).await.unwrap();
        let mut conn = bench.db.read().await.unwrap();
        let page = store::page(&mut conn, bench.edition, None, 100, &bench.links, "example.org").await;
        let records = page.unwrap().unwrap().records;
        let tried: Vec<_> = records.iter().filter(|record| !record.attempts.is_empty()).collect();
        let said: Vec<_> =
            tried.iter().flat_map(|one| &one.attempts).map(|a| (a.code, a.outcome.as_deref())).collect();
        assert_eq!(said, [(Some(554), Some("deferred"))], "{}: {records:?}", test.name);
        assert!(records.iter().all(|record| record.state != "rejected"), "{}: {records:?}", test.name);
        let rows = paces::list(&mut conn).await.unwrap();
        let [row] = rows.as_slice() else { panic!("{}: {rows:?}", test.name) };
        let left = row.suspended_until.map(|until| until - bench.clock.now_ms());
        assert!(left.is_some_and(|left| left > 500_000), "{}: {row:?}", test.name);
        assert!(row.reply.as_deref().unwrap_or_default().starts_with("554"), "{}: {row:?}", test.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_who_is_refused_in_place_of_a_greeting_leaves_by_the_other_relay_where_there_is_one() {
    for test in both().await {
        let openings = [Opening::Refused; 20].into();
        let server = Faulty::start(Offer::default(), HashMap::new(), openings, Vec::new()).await;
        let spare = Scripted::start(true).await;
        let addresses: Vec<String> = readers("one.example", 6).collect();
        let more = format!("[relay.spare]\nurl = \"smtp://{}?tls=none\"\nweight = 0", spare.address);
        let (bench, _folder) = straight(test.db, server.address.port(), &more, &addresses).await;
        assert_eq!(bench.send().await.accepted, 6, "{}", test.name);
        let mut conn = bench.db.read().await.unwrap();
        let page = store::page(&mut conn, bench.edition, None, 100, &bench.links, "example.org").await;
        for record in page.unwrap().unwrap().records {
            let by: Vec<_> = record.attempts.iter().map(|attempt| attempt.relay.as_str()).collect();
            assert_eq!(by, ["spare"], "{}: {record:?}", test.name);
        }
    }
}

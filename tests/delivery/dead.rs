//! Receivers that answer nobody, and those who are to be reached all the same.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use matinale::delivery::Mode;
use matinale::lifecycle::Shutdown;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use super::ground::{LONGEST, at_noon, prepare_with};
use super::mx::readers;
use crate::support::databases::both;
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

//! Relays: greeted as daemons greet them, told for what they lack, and given no mail.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use matinale::morning::doctor::{Area, Finding, Limits, Patient, Verdict, examine};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use super::{about, bench, of};
use crate::support::faulty::{Faulty, Offer, Opening};
use crate::support::names;

/// What is told of a relay of this URL, online; the name server knows nobody.
async fn told(relay: &str) -> Vec<Finding> {
    let resolver = names::start(&[]).await;
    let bench = bench(None, relay, &format!("[delivery]\nresolver = \"{resolver}\""));
    let limits = Limits { answer: Duration::from_millis(500), ..bench.patient.limits };
    examine(&Patient { offline: false, limits, ..bench.patient.clone() }).await
}

async fn faulty(offer: Offer, openings: &[Opening]) -> Faulty {
    let openings: VecDeque<Opening> = openings.iter().copied().collect();
    Faulty::start(offer, HashMap::new(), openings, Vec::new()).await
}

#[tokio::test]
async fn t14_a_relay_is_greeted_and_given_no_envelope() {
    let server = faulty(Offer { pipelining: true, starttls: true, ..Offer::default() }, &[]).await;
    let told = told(&format!("url = \"smtp://{}\"", server.address)).await;
    for words in [
        "greets us",
        "The wire is encrypted, and stays on this machine",
        "offers PIPELINING",
        "10000000 bytes",
    ] {
        let found = about(&told, words);
        assert_eq!((found.area, found.verdict), (Area::Relays, Verdict::Good), "{words}");
    }
    let record = server.record_as_it_is();
    assert_eq!(record.violations, Vec::<String>::new());
    assert!(record.began.is_none() && record.taken.is_empty(), "no MAIL FROM was said");
}

#[tokio::test]
async fn t6_a_relay_without_pipelining_is_doubtful() {
    let server = faulty(Offer::default(), &[]).await;
    let told = told(&format!("url = \"smtp://{}\"\nconnections = 7", server.address)).await;
    let slow = about(&told, "It offers no PIPELINING");
    assert_eq!(slow.verdict, Verdict::Doubtful);
    assert!(slow.advice.as_deref().unwrap().contains("relay.main.connections (now 7)"), "{slow:?}");
    assert_eq!(about(&told, "The wire is in clear, and stays on this machine").verdict, Verdict::Good);
}

#[tokio::test]
async fn t7_a_certificate_that_nobody_vouches_for_is_bad_where_tls_is_required() {
    let server = faulty(Offer { starttls: true, ..Offer::default() }, &[]).await;
    let told = told(&format!("url = \"smtp://{}?tls=required\"", server.address)).await;
    let unsafe_way = about(&told, "not as safe as relay.main.url asks for");
    assert_eq!(unsafe_way.verdict, Verdict::Bad, "{unsafe_way:?}");
}

#[tokio::test]
async fn a_relay_that_hangs_turns_us_away_or_is_not_there_is_bad_and_hides_nothing_else() {
    for (opening, words) in [
        (Some(Opening::Hang), "does not answer"),
        (Some(Opening::HangAtEhlo), "does not answer"),
        (Some(Opening::Refused), "turns us away"),
        (None, "does not answer"),
    ] {
        // The way there is tried once before anything is said.
        let server = faulty(Offer::default(), &[Opening::Slow, opening.unwrap_or(Opening::Slow)]).await;
        let place = if opening.is_some() { server.address } else { SocketAddr::from(([127, 0, 0, 1], 1)) };
        let told = told(&format!("url = \"smtp://{place}\"")).await;
        let found = about(&told, words);
        assert_eq!((found.area, found.verdict), (Area::Relays, Verdict::Bad), "{opening:?}");
        assert!(of(&told, Area::Keys).iter().all(|(verdict, ..)| *verdict == Verdict::Good), "{told:#?}");
    }
}

/// A server that asks for a password, and says this to any.
async fn doorkeeper(says: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (reader, mut writer) = socket.into_split();
                let mut lines = BufReader::new(reader).lines();
                writer.write_all(b"220 door ESMTP\r\n").await?;
                while let Some(line) = lines.next_line().await? {
                    let answer = match line.get(..4) {
                        Some("EHLO") => "250-door\r\n250-PIPELINING\r\n250-SIZE 90000\r\n250 AUTH PLAIN\r\n",
                        Some("AUTH") => says,
                        _ => "221 bye\r\n",
                    };
                    writer.write_all(answer.as_bytes()).await?;
                }
                Ok::<_, std::io::Error>(())
            });
        }
    });
    address
}

#[tokio::test]
async fn a_relay_that_does_not_take_our_password_is_bad_with_the_key_to_see_to() {
    let relay = |address| {
        format!(
            "url = \"smtp://{address}?tls=none\"\nusername = \"matinale\"\npassword_file = \"relay.password\""
        )
    };
    for (says, words, verdict) in [
        ("535 5.7.8 no\r\n", "It does not let us in", Verdict::Bad),
        // One that says what it heard.
        ("500 AUTH PLAIN AG1hdGluYWxlAGh1bnRlcjIgYW5kIG1vcmU= is nothing\r\n", "AUTH: 500.", Verdict::Bad),
        ("235 2.7.0 welcome\r\n", "takes our name and password", Verdict::Good),
    ] {
        let told = told(&relay(doorkeeper(says).await)).await;
        let found = about(&told, words);
        assert_eq!((found.area, found.verdict), (Area::Relays, verdict), "{says}");
        if verdict == Verdict::Bad {
            assert!(found.advice.as_deref().unwrap().contains("relay.main.password_file"), "{found:?}");
        } else {
            // And it takes no edition.
            assert_eq!(about(&told, "messages of 90000 bytes at most").verdict, Verdict::Bad);
        }
        for secret in ["hunter2", "AGh1bnRlcjIg"] {
            assert!(told.iter().all(|found| !format!("{found:?}").contains(secret)), "{told:#?}");
        }
    }
}

//! Domains are asked about before their mail leaves: who waits for an answer, and who does not.

use std::time::Duration;

use matinale::delivery::store;
use matinale::lifecycle::Shutdown;
use matinale::readers::store::{self as readers, NewSubscription};

use super::ground::sending;
use super::mx::through;
use crate::support::databases::both;
use crate::support::readers::somebody;
use crate::support::smtp::Scripted;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_a_newsletter_whose_domains_nobody_answers_about_keeps_no_other_from_leaving() {
    for test in both().await {
        let server = Scripted::start(true).await;
        // It listens and says nothing.
        let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let relays = format!(
            "url = \"mx://\"\n[relay.plain]\nurl = \"smtp://{}?tls=none\"\n\
             [newsletter.other]\nname = \"Other\"\nfrom = \"Test <test@example.org>\"\nlock = \"0 0 5 * * *\"\n\
             send_at = \"06:30\"\nrelays = [\"plain\"]\ncheck_links = false",
            server.address
        );
        let asked: Vec<String> = (1..=400).map(|n| format!("ok-n{n}@d{n}.example")).collect();
        let (mut bench, _folder) = through(test.db, &relays, &asked).await;
        let config = std::sync::Arc::make_mut(&mut bench.config);
        config.delivery.resolver = Some(silent.local_addr().unwrap());
        config.delivery.batch = 20;
        let people: Vec<_> =
            (1..=30).map(|n| somebody(&bench.links, &format!("ok-n{n}@plain.example"))).collect();
        let now = bench.clock.civil();
        let mut tx = bench.db.write().await.unwrap();
        let ids = readers::upsert(&mut tx, &people, now).await.unwrap();
        let wish = |subscriber: i64| NewSubscription {
            subscriber,
            newsletter: "other".to_owned(),
            status: "active",
            consented_at: None,
            consent_source: None,
            consent_text: None,
        };
        let wishes: Vec<_> = ids.values().map(|(id, _)| wish(id.0)).collect();
        readers::subscribe(&mut tx, &wishes, now).await.unwrap();
        let other = sending(&mut tx, "other", &bench.clock, people.len()).await;
        tx.commit().await.unwrap();

        let (engine, shutdown) = (bench.engine(), Shutdown::new());
        let until = shutdown.clone();
        let daemon = tokio::spawn(async move { engine.run(&until).await });
        let of_other = || async { store::counts(&mut bench.db.read().await.unwrap(), other).await.unwrap() };
        let left = async {
            while of_other().await.accepted < 30 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), left).await.expect(test.name);
        // Nobody has given up asking yet: what is asked about is in hand still, and within its bound.
        let counts = bench.counts().await;
        assert!((41..=80).contains(&counts.claimed), "{}: {counts:?}", test.name);
        assert_eq!(counts.claimed + counts.planned, 400, "{}: {counts:?}", test.name);
        shutdown.drain();
        daemon.await.unwrap();
        assert_eq!(bench.counts().await.planned, 400, "{}: it went back", test.name);
    }
}

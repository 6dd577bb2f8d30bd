//! Domains are asked about before their mail leaves: who waits for an answer, and who does not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::proto::op::Message;
use matinale::delivery::store;
use matinale::lifecycle::Shutdown;
use matinale::readers::store::{self as readers, NewSubscription};
use tokio::net::UdpSocket;

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_a_domain_is_asked_about_once_however_many_claims_wait_for_the_answer() {
    for test in both().await {
        let server = Scripted::start(true).await;
        let addresses: Vec<String> = (0..20).map(|n| format!("ok-n{n}@one.example")).collect();
        let relay = format!("url = \"mx://?port={}\"", server.address.port());
        let (mut bench, _folder) = through(test.db, &relay, &addresses).await;
        let config = std::sync::Arc::make_mut(&mut bench.config);
        let behind = config.delivery.resolver.unwrap();
        let (resolver, mut asked, speaks) = slow(behind).await;
        config.delivery.resolver = Some(resolver);
        config.delivery.batch = 5;
        let began = std::time::Instant::now();
        let (engine, mode) = (bench.engine(), bench.mode());
        let daemon = tokio::spawn(async move { engine.run_edition(mode, &Shutdown::new()).await });
        let claimed = async {
            // As many as may wait for answers.
            while bench.counts().await.claimed < 15 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), claimed).await.expect(test.name);
        speaks.send(true).unwrap();
        tokio::time::timeout(Duration::from_secs(60), daemon).await.expect(test.name).unwrap().unwrap();
        assert_eq!(bench.counts().await.accepted, 20, "{}", test.name);
        let mut questions = 0;
        while let Ok((name, kind)) = asked.try_recv() {
            questions += u64::from(name == "one.example." && kind == "MX");
        }
        // Who waits for an answer asks again after four seconds.
        let most = 1 + began.elapsed().as_secs() / 4;
        assert!((1..=most).contains(&questions), "{}: {questions} questions", test.name);
    }
}

type Questions = tokio::sync::mpsc::UnboundedReceiver<(String, String)>;

/// A resolver that answers nothing before it may, and then what this one says; and what it was asked.
async fn slow(behind: SocketAddr) -> (SocketAddr, Questions, tokio::sync::watch::Sender<bool>) {
    let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let address = socket.local_addr().unwrap();
    let (speaks, may_speak) = tokio::sync::watch::channel(false);
    let (heard, asked) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut question = vec![0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut question).await {
            let (socket, question) = (socket.clone(), question[..length].to_vec());
            let query = Message::from_vec(&question).unwrap().queries[0].clone();
            heard.send((query.name().to_ascii(), query.query_type().to_string())).ok();
            let mut may_speak = may_speak.clone();
            tokio::spawn(async move {
                may_speak.wait_for(|may| *may).await.unwrap();
                let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                other.send_to(&question, behind).await.unwrap();
                let mut answer = vec![0; 2048];
                let length = other.recv(&mut answer).await.unwrap();
                socket.send_to(&answer[..length], from).await.unwrap();
            });
        }
    });
    (address, asked, speaks)
}

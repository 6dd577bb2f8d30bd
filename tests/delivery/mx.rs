//! Straight to the receivers' own servers, and the limits that are kept there: lanes, signals, shared pace (`warm_up` has the caps).
//! The servers and the name server are the test's own; `tests/delivery/mx` does it with real ones.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use matinale::clock::Random;
use matinale::db::{Db, on};
use matinale::delivery::pace::store as paces;
use matinale::delivery::{Mode, Record, With, relay, send_one, store};
use matinale::lifecycle::Shutdown;

use super::ground::{Bench, at_noon, prepare_with};
use crate::support::databases::both;
use crate::support::faulty::{Fault, Faulty, Offer, Phase, Step};
use crate::support::names;
use crate::support::smtp::Scripted;

/// Domains with a server each, `d1.example` and so on.
pub(super) const DOMAINS: usize = 12;

const PROVIDERS: &str = r#"
[default]
connections = 4
[provider.slow]
mx = ["mx.slow.example", "gone.slow.example"]
connections = 1
[provider.strict]
mx = ["mx.strict.example"]
tls = "required"
[[signal]]
provider = "slow"
text = ["[slow]"]
suspend = "1h"
"#;

/// An edition to these, over `mx:` to whatever listens on this port; `more` stands behind `[relay.main]`.
pub(super) async fn straight(
    db: Db,
    port: u16,
    more: &str,
    addresses: &[String],
) -> (Bench, tempfile::TempDir) {
    through(db, &format!("url = \"mx://?port={port}\"\n{more}"), addresses).await
}

/// The same over this relay.
pub(super) async fn through(db: Db, relay: &str, addresses: &[String]) -> (Bench, tempfile::TempDir) {
    let own: Vec<[String; 2]> =
        (1..=DOMAINS).map(|n| [format!("d{n}.example"), format!("mx.d{n}.example")]).collect();
    let own: Vec<[(&str, String); 2]> = own
        .iter()
        .map(|[domain, host]| {
            [(domain.as_str(), format!("MX 10 {host}")), (host.as_str(), "A 127.0.0.1".to_owned())]
        })
        .collect();
    let mut entries = vec![
        ("one.example", "MX 10 mx.one.example"),
        ("mx.one.example", "A 127.0.0.1"),
        ("slow.example", "MX 10 mx.slow.example"),
        ("mx.slow.example", "A 127.0.0.1"),
        // Nobody listens at the first of its addresses.
        ("second.example", "MX 10 mx.gone.example"),
        ("second.example", "MX 20 mx.one.example"),
        ("mx.gone.example", "A 127.0.0.9"),
        // And here at none.
        ("gone.example", "MX 10 mx.gone.example"),
        ("bare.example", "A 127.0.0.1"),
        ("null.example", "MX 0 ."),
        ("strict.example", "MX 10 mx.strict.example"),
        ("mx.strict.example", "A 127.0.0.1"),
        // It has left a provider that it still names.
        ("left.example", "MX 10 mx.one.example"),
        ("left.example", "MX 20 mx.strict.example"),
        // It names a provider's host that takes no mail, in front of its own.
        ("behind.example", "MX 10 gone.slow.example"),
        ("behind.example", "MX 20 mx.behind.example"),
        ("gone.slow.example", "A 127.0.0.9"),
        ("mx.behind.example", "A 127.0.0.1"),
        // Neighbours, and strangers to each other.
        ("press.co.za", "A 127.0.0.1"),
        ("shop.co.za", "MX 0 shop.co.za"),
        ("shop.co.za", "A 127.0.0.1"),
    ];
    entries.extend(own.iter().flatten().map(|(name, value)| (*name, value.as_str())));
    let resolver = names::start(&entries).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("providers.toml");
    std::fs::write(&file, PROVIDERS).unwrap();
    let delivery = format!(
        "retry = [\"20ms\", \"20ms\", \"1h\"]\nresolver = \"{resolver}\"\nproviders_file = {:?}",
        file.to_str().unwrap()
    );
    (prepare_with(db, &delivery, relay, at_noon(), addresses).await, folder)
}

async fn ledger(bench: &Bench) -> BTreeMap<String, Record> {
    let mut conn = bench.db.read().await.unwrap();
    let page = store::page(&mut conn, bench.edition, None, 1000, &bench.links, "example.org").await;
    let records = page.unwrap().unwrap().records;
    records.into_iter().map(|record| (record.email.clone().unwrap(), record)).collect()
}

pub(super) fn readers(domain: &str, count: usize) -> impl Iterator<Item = String> + use<> {
    let domain = domain.to_owned();
    (0..count).map(move |n| format!("ok-n{n}@{domain}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_each_domain_is_written_to_where_its_mx_says() {
    for test in both().await {
        let server = Scripted::start(true).await;
        let mut addresses: Vec<String> = ["one.example", "second.example", "bare.example"]
            .into_iter()
            .flat_map(|domain| readers(domain, 20))
            .collect();
        addresses.extend(readers("null.example", 2));
        let (bench, _folder) = straight(test.db, server.address.port(), "", &addresses).await;
        let counts = bench.send().await;
        assert_eq!((counts.accepted, counts.rejected), (60, 2), "{}: {counts:?}", test.name);
        assert!(server.by_recipient().values().all(|copies| *copies == 1), "{}", test.name);
        let ledger = ledger(&bench).await;
        let told = |address: &str| -> Vec<(Option<i64>, Option<String>)> {
            ledger[address].attempts.iter().map(|a| (a.code, a.enhanced.clone())).collect()
        };
        assert_eq!(told("ok-n0@null.example"), [(Some(556), Some("5.1.10".to_owned()))], "{}", test.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t16_that_a_domain_does_not_exist_is_no_last_word_however_often_it_is_tried_within_the_hour() {
    for test in both().await {
        let addresses: Vec<String> = readers("missing.example", 2).collect();
        let (bench, _folder) = straight(test.db, 25, "", &addresses).await;
        let (engine, mode) = (bench.engine(), Mode { now: true, once: true, ..bench.mode() });
        let is_open = |record: &Record| record.attempts.len() < 3 && record.state != "rejected";
        while ledger(&bench).await.values().any(is_open) {
            engine.run_edition(mode, &Shutdown::new()).await.unwrap();
        }
        for record in ledger(&bench).await.into_values() {
            let said: Vec<_> = record.attempts.iter().map(|a| (a.code, a.enhanced.as_deref())).collect();
            assert_eq!(said, [(Some(450), Some("4.4.4")); 3], "{}", test.name);
            assert_ne!(record.state, "rejected", "{}", test.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn section_4_a_signal_suspends_its_provider_for_every_daemon_and_nobody_else() {
    for test in both().await {
        let slow: Vec<String> = readers("slow.example", 10).collect();
        let reply = "421 4.7.0 [slow] come back later\r\n".to_owned();
        let step = Step { phase: Phase::Rcpt, fault: Fault::Reply(reply), taken: false };
        let scripts: HashMap<String, VecDeque<Step>> =
            slow.iter().map(|to| (to.clone(), VecDeque::from(vec![step.clone(); 50]))).collect();
        let offer = Offer { pipelining: true, ..Offer::default() };
        let server = Faulty::start(offer, scripts, VecDeque::new(), Vec::new()).await;
        let addresses: Vec<String> = slow.into_iter().chain(readers("one.example", 30)).collect();
        let (bench, _folder) = straight(test.db, server.address.port(), "", &addresses).await;
        let mode = Mode { once: true, ..bench.mode() };
        bench.engine().run_edition(mode, &Shutdown::new()).await.unwrap();
        let counts = bench.counts().await;
        assert_eq!((counts.accepted, counts.planned), (30, 10), "{}: {counts:?}", test.name);
        let rows = paces::list(&mut bench.db.read().await.unwrap()).await.unwrap();
        let suspended: Vec<&str> = rows
            .iter()
            .filter(|row| row.suspended_until.is_some())
            .map(|row| row.provider.as_str())
            .collect();
        assert_eq!(suspended, ["slow"], "{}", test.name);
        let ledger = ledger(&bench).await;
        let tried = ledger.values().filter(|record| record.state == "planned");
        assert_eq!(
            tried.map(|record| record.attempts.len()).sum::<usize>(),
            0,
            "{}: a 421 is no try",
            test.name
        );
        // Another daemon knows: it does not even ask.
        let before = server.record().said.len();
        bench.engine().run_edition(mode, &Shutdown::new()).await.unwrap();
        assert_eq!(server.record().said.len(), before, "{}", test.name);
        assert_eq!(server.record().violations, Vec::<String>::new(), "{}", test.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t7_what_a_provider_asks_for_is_asked_of_its_own_hosts_alone() {
    for test in both().await {
        let server = Scripted::start(true).await;
        let addresses: Vec<String> = readers("left.example", 3).chain(readers("strict.example", 1)).collect();
        let (bench, _folder) = straight(test.db, server.address.port(), "", &addresses).await;
        let mode = Mode { once: true, ..bench.mode() };
        bench.engine().run_edition(mode, &Shutdown::new()).await.unwrap();
        let ledger = ledger(&bench).await;
        let strict = &ledger["ok-n0@strict.example"];
        let why = strict.attempts.first().and_then(|attempt| attempt.text.as_deref());
        assert!(why.unwrap().contains("TLS is required"), "{}: {strict:?}", test.name);
        assert_eq!(bench.counts().await.accepted, 3, "{}: {ledger:?}", test.name);
        let rows = paces::list(&mut bench.db.read().await.unwrap()).await.unwrap();
        let taken: Vec<_> = rows.iter().filter(|row| row.accepted > 0).map(|row| &row.provider).collect();
        assert_eq!(taken, ["one.example"], "{}: whose hosts are the first", test.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn section_4_who_stands_behind_a_providers_host_is_not_heard_for_that_provider() {
    for test in both().await {
        let behind: Vec<String> = readers("behind.example", 3).collect();
        let words =
            ["421 4.7.0 [slow] wait\r\n", "450 4.7.1 too many messages\r\n", "550 5.7.1 [BL21] blocked\r\n"];
        let step =
            |words: &str| Step { phase: Phase::Rcpt, fault: Fault::Reply(words.to_owned()), taken: false };
        // The first ends its session, and does so again: it is tried at once, and waits then.
        let scripts = behind
            .iter()
            .zip(words)
            .map(|(to, words)| (to.clone(), [step(words), step(words)].into()))
            .collect();
        let server = Faulty::start(Offer::default(), scripts, VecDeque::new(), Vec::new()).await;
        let addresses: Vec<String> = behind.iter().cloned().chain(readers("slow.example", 5)).collect();
        let (bench, _folder) = straight(test.db, server.address.port(), "", &addresses).await;
        let (engine, mode) = (bench.engine(), Mode { now: true, once: true, ..bench.mode() });
        let slow = async || {
            let rows = paces::list(&mut bench.db.read().await.unwrap()).await.unwrap();
            rows.into_iter().find(|row| row.provider == "slow")
        };
        let told = || behind.iter().all(|to| server.record().said.contains_key(to));
        while !told() && slow().await.is_none_or(|slow| slow.signalled_at == 0) {
            engine.run_edition(mode, &Shutdown::new()).await.unwrap();
        }
        if let Some(slow) = slow().await {
            let asked = (slow.signalled_at, slow.suspended_until, slow.connections, slow.gap);
            assert_eq!(asked, (0, None, None, None), "{}: {slow:?}", test.name);
        }
        let heard = server.record_as_it_is();
        for (to, words) in behind.iter().zip(words) {
            let code = heard.said.get(to).and_then(|said| said.first()?.code);
            assert_eq!(code, words[..3].parse().ok(), "{}: {to} was told so", test.name);
        }
        let slow = ledger(&bench).await.into_iter().filter(|(to, _)| to.ends_with("@slow.example"));
        assert!(slow.into_iter().all(|(_, record)| record.state == "accepted"), "{}", test.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn section_4_strangers_below_one_public_suffix_share_no_lane() {
    for test in both().await {
        let server = Scripted::start(true).await;
        let addresses: Vec<String> = readers("press.co.za", 2).chain(readers("shop.co.za", 3)).collect();
        let (bench, _folder) = straight(test.db, server.address.port(), "", &addresses).await;
        assert_eq!(bench.send().await.accepted, 5, "{}", test.name);
        let rows = paces::list(&mut bench.db.read().await.unwrap()).await.unwrap();
        let lanes: Vec<_> = rows.iter().map(|row| (row.provider.as_str(), row.accepted)).collect();
        assert_eq!(lanes, [("press.co.za", 2), ("shop.co.za", 3)], "{}", test.name);
    }
}

/// The newsletter's other relay, for what the first does not take.
fn with_spare(spare: &Faulty) -> String {
    format!("weight = 1\n[relay.spare]\nurl = \"smtp://{}?tls=none\"\nweight = 0", spare.address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_what_waits_for_a_provider_that_another_daemon_suspends_leaves_by_the_other_relay() {
    for test in both().await {
        let slow: Vec<String> = readers("slow.example", 6).collect();
        let waits = Step { phase: Phase::Dot, fault: Fault::After(1, Box::new(Fault::Drip)), taken: true };
        let scripts = slow.iter().map(|to| (to.clone(), VecDeque::from([waits.clone()]))).collect();
        let offer = Offer { pipelining: true, ..Offer::default() };
        let server = Faulty::start(offer, scripts, VecDeque::new(), Vec::new()).await;
        let spare = Faulty::start(offer, HashMap::new(), VecDeque::new(), Vec::new()).await;
        let (bench, _folder) = straight(test.db, server.address.port(), &with_spare(&spare), &slow).await;
        let (engine, mode) = (bench.engine(), bench.mode());
        let daemon = tokio::spawn(async move { engine.run_edition(mode, &Shutdown::new()).await.unwrap() });
        // One connection: a body that waits for its answer, an envelope behind it, and four that wait for these.
        server.until(1).await;
        let mut tx = bench.db.write().await.unwrap();
        let sql = "INSERT INTO pace (relay, provider, suspended_until, holds_until, step, signalled_at)
                   VALUES ('main', 'slow', $1, $1, 60000, $2)
                   ON CONFLICT (relay, provider) DO UPDATE
                   SET suspended_until = $1, holds_until = $1, step = 60000, signalled_at = $2";
        let now = bench.clock.now_ms();
        on!(&mut tx, |c| sqlx::query(sql)
            .bind(now + 3_600_000)
            .bind(now)
            .execute(c)
            .await
            .map(drop)
            .unwrap());
        tx.commit().await.unwrap();
        let rest = async {
            spare.until(4).await;
            server.let_go(1);
            daemon.await.unwrap();
        };
        tokio::time::timeout(Duration::from_secs(60), rest).await.expect(test.name);
        assert_eq!(bench.counts().await.accepted, 6, "{}", test.name);
        let (server, spare) = (server.record_as_it_is(), spare.record_as_it_is());
        assert_eq!((server.taken.len(), spare.taken.len()), (2, 4), "{}", test.name);
        for (to, record) in ledger(&bench).await {
            let copies = [&server, &spare].map(|server| server.taken.get(&to).map_or(0, Vec::len));
            assert_eq!((copies.iter().sum::<usize>(), record.attempts.len()), (1, 1), "{}: {to}", test.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_what_nobody_can_be_reached_for_leaves_by_the_other_relay() {
    for test in both().await {
        let offer = Offer { pipelining: true, ..Offer::default() };
        let [server, spare] = [0, 1].map(|_| Faulty::start(offer, HashMap::new(), [].into(), Vec::new()));
        let (server, spare) = tokio::join!(server, spare);
        let addresses: Vec<String> = readers("gone.example", 8).chain(readers("one.example", 8)).collect();
        let more = with_spare(&spare);
        let (bench, _folder) = straight(test.db, server.address.port(), &more, &addresses).await;
        let sent = tokio::time::timeout(Duration::from_secs(60), bench.send()).await;
        assert_eq!(sent.expect(test.name).accepted, 16, "{}", test.name);
        for (to, record) in ledger(&bench).await {
            let relay = if to.ends_with("@gone.example") { "spare" } else { "main" };
            let by: Vec<&str> = record.attempts.iter().map(|attempt| attempt.relay.as_str()).collect();
            assert_eq!(by, [relay], "{}: {to}: who cannot be reached was not tried", test.name);
            let server = if relay == "main" { &server } else { &spare };
            assert_eq!(server.dots_to(&to), 1, "{}: {to}", test.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_two_daemons_keep_one_rate_together() {
    for test in both().await {
        let server = Scripted::start(true).await;
        let addresses: Vec<String> = readers("example.org", 60).collect();
        let relay = format!("url = \"smtp://{}?tls=none\"\nrate = \"40/s\"", server.address);
        let bench = prepare_with(test.db, "batch = 10", &relay, at_noon(), &addresses).await;
        let (one, two) = (bench.engine(), bench.engine());
        let (shutdown, began) = (Shutdown::new(), Instant::now());
        let (first, second) =
            tokio::join!(one.run_edition(bench.mode(), &shutdown), two.run_edition(bench.mode(), &shutdown));
        first.unwrap();
        second.unwrap();
        // Sixty at forty a second: each by its own count would need half of that.
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(1400), "{}: {took:?}", test.name);
        assert_eq!(bench.counts().await.accepted, 60, "{}", test.name);
    }
}

/// How a resolver is out of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ill {
    /// It says nothing.
    Mute,
    /// It says that it could find nothing out.
    Lost,
    /// It finds nothing out about this domain.
    LostAbout(&'static str),
}

/// Such a resolver, until it is told to pass questions on to another.
async fn ill(how: Ill, behind: SocketAddr) -> (SocketAddr, tokio::sync::watch::Sender<bool>) {
    let socket = std::sync::Arc::new(tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let address = socket.local_addr().unwrap();
    let (speaks, heard) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        let mut question = vec![0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut question).await {
            let mut asked = Message::from_vec(&question[..length]).unwrap();
            let about = asked.queries[0].name().to_ascii();
            let lost = match how {
                Ill::Mute => false,
                Ill::Lost => true,
                Ill::LostAbout(domain) => about.trim_end_matches('.') == domain,
            };
            if lost && !*heard.borrow() {
                asked.metadata.message_type = MessageType::Response;
                asked.metadata.response_code = ResponseCode::ServFail;
                socket.send_to(&asked.to_vec().unwrap(), from).await.unwrap();
            } else if *heard.borrow() || matches!(how, Ill::LostAbout(_)) {
                let (socket, question) = (socket.clone(), question[..length].to_vec());
                tokio::spawn(async move {
                    let other = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
                    other.send_to(&question, behind).await.unwrap();
                    let mut answer = vec![0; 2048];
                    let length = other.recv(&mut answer).await.unwrap();
                    socket.send_to(&answer[..length], from).await.unwrap();
                });
            }
        }
    });
    (address, speaks)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_where_no_resolver_finds_anything_out_nothing_is_tried_and_the_relay_says_so() {
    for (how, why) in [(Ill::Mute, "no resolver answers"), (Ill::Lost, "no resolver finds anything out")] {
        let test = crate::support::databases::sqlite().await;
        let server = Scripted::start(true).await;
        let addresses: Vec<String> = readers("one.example", 5).collect();
        let (mut bench, _folder) = straight(test.db, server.address.port(), "", &addresses).await;
        let (resolver, speaks) = ill(how, bench.config.delivery.resolver.unwrap()).await;
        std::sync::Arc::make_mut(&mut bench.config).delivery.resolver = Some(resolver);
        let mode = Mode { once: true, ..bench.mode() };
        bench.engine().run_edition(mode, &Shutdown::new()).await.unwrap();
        assert_eq!(bench.counts().await.planned, 5, "{how:?}");
        let tried = ledger(&bench).await.values().map(|record| record.attempts.len()).sum::<usize>();
        assert_eq!(tried, 0, "{how:?}");
        let known = relay::store::list(&mut bench.db.read().await.unwrap()).await.unwrap();
        assert!(known[0].down_since.is_some(), "{how:?}: {known:?}");
        assert!(known[0].reason.as_deref().unwrap().contains(why), "{how:?}: {known:?}");

        speaks.send_replace(true);
        let mode = Mode { now: true, ..bench.mode() };
        bench.engine().run_edition(mode, &Shutdown::new()).await.unwrap();
        assert_eq!(bench.counts().await.accepted, 5, "{how:?}");
        let known = relay::store::list(&mut bench.db.read().await.unwrap()).await.unwrap();
        assert_eq!(known[0].down_since, None, "{how:?}: {known:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p6_what_a_resolver_cannot_find_out_of_one_domain_is_that_domains_trouble_and_told_as_its_tries() {
    let test = crate::support::databases::sqlite().await;
    let server = Scripted::start(true).await;
    let addresses: Vec<String> = readers("one.example", 5).chain(readers("slow.example", 2)).collect();
    let (mut bench, _folder) = straight(test.db, server.address.port(), "", &addresses).await;
    let (resolver, _speaks) =
        ill(Ill::LostAbout("slow.example"), bench.config.delivery.resolver.unwrap()).await;
    std::sync::Arc::make_mut(&mut bench.config).delivery.resolver = Some(resolver);
    let mode = Mode { once: true, ..bench.mode() };
    bench.engine().run_edition(mode, &Shutdown::new()).await.unwrap();
    assert_eq!(bench.counts().await.accepted, 5);
    let known = relay::store::list(&mut bench.db.read().await.unwrap()).await.unwrap();
    assert!(known.iter().all(|relay| relay.down_since.is_none()), "{known:?}");
    for (to, record) in ledger(&bench).await.into_iter().filter(|(to, _)| to.ends_with("@slow.example")) {
        let said = record.attempts.first().map(|attempt| (attempt.code, attempt.enhanced.as_deref()));
        assert_eq!(said, Some((Some(451), Some("4.4.3"))), "{to}: {record:?}");
    }
}

/// Passes questions on to another resolver, until it is dropped: then whoever asks is refused.
struct Passing(SocketAddr, tokio::task::JoinHandle<()>);

impl Passing {
    async fn start(at: SocketAddr, behind: SocketAddr) -> Self {
        let socket = tokio::net::UdpSocket::bind(at).await.unwrap();
        let at = socket.local_addr().unwrap();
        let passing = tokio::spawn(async move {
            let (mut question, mut answer) = (vec![0; 2048], vec![0; 2048]);
            while let Ok((length, from)) = socket.recv_from(&mut question).await {
                let other = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
                other.send_to(&question[..length], behind).await.unwrap();
                let length = other.recv(&mut answer).await.unwrap();
                socket.send_to(&answer[..length], from).await.unwrap();
            }
        });
        Self(at, passing)
    }

    async fn end(self) -> SocketAddr {
        self.1.abort();
        assert!(self.1.await.unwrap_err().is_cancelled());
        self.0
    }
}

/// What is planned for readers whose address is like this is due then, by the civil clock.
async fn due(db: &Db, address: &str, at: i64) {
    let mut tx = db.write().await.unwrap();
    let sql = "UPDATE delivery SET next_at = $1
               WHERE state = 'planned' AND subscriber IN (SELECT id FROM subscriber WHERE key LIKE $2)";
    on!(&mut tx, |c| sqlx::query(sql).bind(at).bind(address).execute(c).await.map(drop).unwrap());
    tx.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_remembered_of_domains_does_not_say_that_a_resolver_answers() {
    for test in both().await {
        let server = Scripted::start(true).await;
        let addresses: Vec<String> =
            ["d1.example", "d2.example", "d3.example"].into_iter().flat_map(|to| readers(to, 3)).collect();
        let (mut bench, _folder) = straight(test.db, server.address.port(), "", &addresses).await;
        let names = bench.config.delivery.resolver.unwrap();
        let passing = Passing::start("127.0.0.1:0".parse().unwrap(), names).await;
        std::sync::Arc::make_mut(&mut bench.config).delivery.resolver = Some(passing.0);
        let now = bench.clock.civil_ms();
        due(&bench.db, "%", now + 600_000).await;
        due(&bench.db, "ok-n0@d1.example", now).await;
        let (engine, mode, shutdown) = (bench.engine(), bench.mode(), Shutdown::new());
        let until = shutdown.clone();
        let daemon = tokio::spawn(async move { engine.run_edition(mode, &until).await.unwrap() });
        let is_down = || async {
            let known = relay::store::list(&mut bench.db.read().await.unwrap()).await.unwrap();
            known.iter().any(|relay| relay.down_since.is_some())
        };
        let rest = async {
            while bench.counts().await.accepted < 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let at = passing.end().await;
            due(&bench.db, "%@d2.example", now).await;
            while !is_down().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            due(&bench.db, "%@d1.example", now).await;
            while bench.counts().await.accepted < 3 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert!(is_down().await, "{}: where the first domain's mail goes was remembered", test.name);
            let passing = Passing::start(at, names).await;
            due(&bench.db, "%@d3.example", now).await;
            while is_down().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            passing
        };
        let passing = tokio::time::timeout(Duration::from_secs(60), rest).await.expect(test.name);
        shutdown.drain();
        daemon.await.unwrap();
        passing.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn section_4_a_smarthost_may_keep_the_receivers_limits_too() {
    for test in both().await {
        let slow: Vec<String> = readers("slow.example", 10).collect();
        let reply = "421 4.7.0 [slow] come back later\r\n".to_owned();
        let step = Step { phase: Phase::Rcpt, fault: Fault::Reply(reply), taken: false };
        let scripts: HashMap<String, VecDeque<Step>> =
            slow.iter().map(|to| (to.clone(), VecDeque::from(vec![step.clone(); 50]))).collect();
        let offer = Offer { pipelining: true, ..Offer::default() };
        let server = Faulty::start(offer, scripts, VecDeque::new(), Vec::new()).await;
        let addresses: Vec<String> = slow.into_iter().chain(readers("one.example", 30)).collect();
        let relay = format!("url = \"smtp://{}?tls=none\"\nproviders = true", server.address);
        let (bench, _folder) = through(test.db, &relay, &addresses).await;
        let mode = Mode { once: true, ..bench.mode() };
        bench.engine().run_edition(mode, &Shutdown::new()).await.unwrap();
        let counts = bench.counts().await;
        assert_eq!((counts.accepted, counts.planned), (30, 10), "{}: {counts:?}", test.name);
        let rows = paces::list(&mut bench.db.read().await.unwrap()).await.unwrap();
        let suspended = rows.iter().filter(|row| row.suspended_until.is_some());
        let suspended: Vec<&str> = suspended.map(|row| row.provider.as_str()).collect();
        assert_eq!(suspended, ["slow"], "{}", test.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_message_goes_where_the_mx_says() {
    let test = crate::support::databases::sqlite().await;
    let server = Scripted::start(true).await;
    let (bench, _folder) = straight(test.db, server.address.port(), "", &["a@one.example".to_owned()]).await;
    let random = Random::seeded(1);
    let with = With { config: &bench.config, db: &bench.db, clock: &bench.clock, random: &random };
    let relay = &bench.config.relays["main"];
    let send = async |to: &str| {
        send_one(with, relay, "us@example.org", to, b"Subject: hello\r\n\r\nhello\r\n").await
    };
    send("ok-a@one.example").await.unwrap();
    assert_eq!(server.by_recipient()["ok-a@one.example"], 1);
    assert!(send("ok-a@null.example").await.unwrap_err().to_string().contains("takes no mail"));
    assert!(send("reject-x@one.example").await.unwrap_err().to_string().contains("no such user"));
}

/// Of an attempt, what could name somebody: address, code, words.
type Kept = (String, Option<i64>, Option<String>);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_somebody_who_is_erased_the_ledger_keeps_no_words_of_a_server_that_name_them() {
    for test in both().await {
        let server = Scripted::start(true).await;
        let address = "reject-awa@one.example".to_owned();
        let (bench, _folder) = straight(test.db, server.address.port(), "", &[address]).await;
        assert_eq!(bench.send().await.rejected, 1, "{}", test.name);
        let mut tx = bench.db.write().await.unwrap();
        let whose = "SELECT subscriber FROM delivery";
        let id: i64 = on!(&mut tx, |c| sqlx::query_scalar(whose).fetch_one(c).await.unwrap());
        let kept = "SELECT address, code, text FROM attempt";
        let before: Kept = on!(&mut tx, |c| sqlx::query_as(kept).fetch_one(c).await.unwrap());
        assert!(before.2.is_some(), "{}: {before:?}", test.name);
        store::forget(&mut tx, matinale::readers::SubscriberId(id)).await.unwrap();
        let after: Kept = on!(&mut tx, |c| sqlx::query_as(kept).fetch_one(c).await.unwrap());
        assert_eq!(after, (String::new(), before.1, None), "{}", test.name);
    }
}

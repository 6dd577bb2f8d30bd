//! Names: good records are found good, and bad ones are told with the very record to publish.

use std::sync::LazyLock;
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use data_encoding::BASE64;
use matinale::morning::doctor::{Area, Finding, Limits, Patient, Verdict, examine};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::timeout;

use super::{about, bench, faults, of, private};
use crate::support::names;
use crate::support::smtp::Scripted;

/// From where the mail leaves.
const IP: &str = "203.0.113.7";

struct Key {
    pem: String,
    public: String,
}

/// A key, and what is published of it.
static KEY: LazyLock<Key> = LazyLock::new(|| {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let pem =
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", BASE64.encode(der.as_ref()));
    let public: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
    Key { pem, public: BASE64.encode(public.as_ref()) }
});

fn published() -> String {
    format!("TXT v=DKIM1; k=rsa; p={}", KEY.public)
}

/// What is told of a house that writes straight to the receivers, where names say this.
async fn told(entries: &[(&str, &str)]) -> Vec<Finding> {
    let resolver = names::start(entries).await.to_string();
    told_by(&resolver).await
}

async fn told_by(resolver: &str) -> Vec<Finding> {
    // Receivers' servers listen where the laboratory has them.
    let server = Scripted::start(true).await;
    told_at(resolver, server.address.port(), |_| {}).await
}

/// Where receivers' servers listen at this port, and the patient is as it is made here.
async fn told_at(resolver: &str, port: u16, change: fn(&mut Patient)) -> Vec<Finding> {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("dkim.pem");
    private(&key, &KEY.pem);
    let bench = bench(
        None,
        &format!("url = \"mx://?port={port}\"\nhelo = \"mail.example.org\""),
        &format!(
            "[delivery]\nresolver = \"{resolver}\"\n[bounces]\ndomain = \"back.example.org\"\n\
             [dkim.\"news.example.org\"]\nselector = \"m1\"\nkey_file = {:?}",
            key.to_str().unwrap()
        ),
    );
    let addresses = vec![IP.parse().unwrap()];
    let mut patient = Patient { offline: false, addresses, ..bench.patient.clone() };
    change(&mut patient);
    let mut findings = examine(&patient).await;
    findings.retain(|found| found.area == Area::Dns);
    findings
}

const GOOD: [(&str, &str); 11] = [
    ("news.example.org", "MX 10 mx.example.org"),
    ("back.example.org", "MX 10 mx.example.org"),
    ("mx.example.org", "A 127.0.0.1"),
    // The laboratory's is not one that others know.
    ("mx.example.org", "A 192.0.2.25"),
    ("_dmarc.example.org", "TXT v=DMARC1; p=none; rua=mailto:dmarc@example.org"),
    ("_dmarc.news.example.org", "TXT v=DMARC1; p=reject; rua=mailto:dmarc@example.org"),
    ("back.example.org", "TXT v=spf1 include:_spf.example.net a:mail.example.org -all"),
    ("back.example.org", "TXT somebody-elses-verification=1"),
    ("_spf.example.net", "TXT v=spf1 ip4:192.0.2.0/24 -all"),
    ("7.113.0.203.in-addr.arpa", "PTR mail.example.org"),
    ("mail.example.org", "A 203.0.113.7"),
];

#[tokio::test]
async fn o6_records_that_are_as_they_should_be_are_found_good() {
    let published = published();
    let entries = [&GOOD[..], &[("m1._domainkey.news.example.org", published.as_str())]].concat();
    let told = told(&entries).await;
    assert_eq!(faults(&told), [""; 0]);
    for words in [
        "A resolver answers",
        "the one that we sign with",
        "Its policy is p=reject",
        "are aligned with the From",
        "costs 2 of 10 lookups",
        "SPF lets relay main through (203.0.113.7)",
        "takes what comes back",
        "203.0.113.7 is called mail.example.org, which leads back to it",
        "We greet as mail.example.org",
        "is open: mx.example.org greeted us",
    ] {
        assert_eq!(about(&told, words).verdict, Verdict::Good, "{words}");
    }
}

#[tokio::test]
async fn o6_what_is_missing_is_told_with_the_record_to_publish() {
    let told = told(&[]).await;
    let dkim = format!("m1._domainkey.news.example.org. IN TXT \"v=DKIM1; k=rsa; p={}", KEY.public);
    for (words, record) in [
        ("no DKIM record at the selector", dkim.get(..250).unwrap()),
        ("There is no DMARC record", "_dmarc.news.example.org. IN TXT \"v=DMARC1; p=none;"),
        ("has no SPF record", "back.example.org. IN TXT \"v=spf1 ip4:203.0.113.7 ~all\""),
        ("203.0.113.7 has no name (PTR)", "7.113.0.203.in-addr.arpa. IN PTR mail.example.org."),
    ] {
        let found = about(&told, words);
        assert_eq!(found.verdict, Verdict::Bad, "{found:?}");
        assert!(found.record.as_deref().unwrap_or_default().starts_with(record), "{found:?}");
    }
    for (words, domain) in [
        ("neither MX nor address: what comes back", "back.example.org"),
        ("neither MX nor address: answers", "news.example.org"),
    ] {
        let found = about(&told, words);
        // Who takes it is not for us to say.
        assert_eq!((found.verdict, found.subject.as_str(), &found.record), (Verdict::Bad, domain, &None));
    }
    assert_eq!(about(&told, "We greet as mail.example.org, which leads to no address").verdict, Verdict::Bad);
}

#[tokio::test]
async fn a1_behind_a_router_no_record_is_offered_that_knows_one_of_two_ways_alone() {
    let entries: Vec<(&str, &str)> =
        GOOD.into_iter().filter(|(_, value)| !value.starts_with("TXT v=spf1 include")).collect();
    // Others know the first as another one, which the name that we greet with leads to.
    let behind = |patient: &mut Patient| {
        patient.addresses = vec!["10.0.0.5".parse().unwrap(), "2001:db8::7".parse().unwrap()];
    };
    let server = Scripted::start(true).await;
    let resolver = names::start(&entries).await.to_string();
    let told = told_at(&resolver, server.address.port(), behind).await;
    let spf = about(&told, "has no SPF record");
    assert_eq!((spf.verdict, spf.record.as_deref()), (Verdict::Bad, None));
    assert_eq!(about(&told, "203.0.113.7 is called mail.example.org").verdict, Verdict::Good);
    let ptr = about(&told, "2001:db8::7 has no name (PTR)");
    assert_eq!((ptr.verdict, ptr.record.as_deref()), (Verdict::Doubtful, None));
}

#[tokio::test]
async fn o6_no_record_is_offered_beside_an_alias_nor_where_a_wildcard_stands_in() {
    for (name, value, words) in [
        ("back.example.org", "CNAME bounces.esp.example", "an alias (CNAME) of bounces.esp.example"),
        ("_dmarc.news.example.org", "CNAME d.esp.example", "an alias (CNAME) of d.esp.example"),
        ("m1._domainkey.news.example.org", "CNAME k.esp.example", "an alias (CNAME) of k.esp.example"),
        ("*.example.org", "MX 10 mx.esp.example", "A wildcard (*) stands in for "),
    ] {
        let told = told(&[(name, value)]).await;
        let subject = name.replace('*', "back");
        let held: Vec<&Finding> = told
            .iter()
            .filter(|found| found.subject == subject && found.finding.contains(" record"))
            .collect();
        assert!(!held.is_empty(), "{name}: {told:#?}");
        for found in held.iter().filter(|found| found.verdict > Verdict::Unseen) {
            let advice = found.advice.as_deref().unwrap_or_default();
            assert!(found.record.is_none() && advice.contains(words), "{name}: {found:?}");
        }
    }
    // A name with something of its own is no wildcard's, whatever stands beside it.
    let told = told(&[("*.example.org", "A 192.0.2.1"), ("back.example.org", "TXT verification=1")]).await;
    assert!(about(&told, "The domain of the return path has no SPF record").record.is_some());
}

#[tokio::test]
async fn half_an_answer_is_not_taken_for_all_of_it() {
    let told = told(&[&GOOD[..], &[("mail.example.org", "SERVFAIL AAAA")]].concat()).await;
    let helo: Vec<_> = told.iter().filter(|found| found.finding.starts_with("We greet as")).collect();
    assert!(helo.is_empty(), "{helo:?}");
}

#[tokio::test]
async fn rfc7208_an_mx_of_more_than_ten_hosts_ends_the_record() {
    let hosts: Vec<String> = (0..11).map(|n| format!("MX 10 mx{n}.example.org")).collect();
    let mut entries: Vec<(&str, &str)> = GOOD
        .into_iter()
        .filter(|(name, value)| *name != "back.example.org" || value.starts_with("MX"))
        .chain([("back.example.org", "TXT v=spf1 mx a:mail.example.org -all")])
        .collect();
    entries.extend(hosts.iter().map(|host| ("back.example.org", host.as_str())));
    let told = told(&entries).await;
    assert_eq!(about(&told, "hosts, more than 10").verdict, Verdict::Bad);
    assert_eq!(about(&told, "SPF does not let relay main through").verdict, Verdict::Bad);
}

#[tokio::test]
async fn a1_a_fault_in_what_is_included_is_met_by_whoever_comes_so_far_alone() {
    for (text, fault, ours) in [
        ("TXT v=spf1 a:mail.example.org include:gone.example.net -all", Verdict::Doubtful, Verdict::Good),
        ("TXT v=spf1 include:gone.example.net a:mail.example.org -all", Verdict::Bad, Verdict::Bad),
        ("TXT v=spf1 include:odd.example.net a:mail.example.org -all", Verdict::Bad, Verdict::Bad),
    ] {
        let entries: Vec<(&str, &str)> = GOOD
            .into_iter()
            .filter(|(_, value)| !value.starts_with("TXT v=spf1 include"))
            .chain([("back.example.org", text), ("odd.example.net", "TXT v=spf1 ipv4:192.0.2.1 -all")])
            .collect();
        let told = told(&entries).await;
        assert_eq!(about(&told, "cannot be read to its end: ").verdict, fault, "{text}");
        assert_eq!(about(&told, "relay main through").verdict, ours, "{text}");
    }
}

#[tokio::test]
async fn rfc5321_an_address_in_the_place_of_a_host_leads_nowhere() {
    let entries: Vec<(&str, &str)> = GOOD
        .into_iter()
        .filter(|(name, _)| *name != "back.example.org")
        .chain([
            ("back.example.org", "MX 10 203.0.113.7."),
            ("back.example.org", "TXT v=spf1 mx a:203.0.113.7 ~all"),
        ])
        .collect();
    let told = told(&entries).await;
    let lost = about(&told, "None of its MX hosts (203.0.113.7) leads to an address");
    assert_eq!((lost.verdict, lost.subject.as_str()), (Verdict::Bad, "back.example.org"));
    assert_eq!(about(&told, "SPF does not let relay main through").verdict, Verdict::Bad);
}

#[tokio::test]
async fn a1_another_key_at_the_selector_and_a_way_that_spf_shuts_are_bad() {
    let other = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let other: PublicKeyX509Der<'_> = other.public_key().as_der().unwrap();
    let other = format!("TXT v=DKIM1; k=rsa; p={}", BASE64.encode(other.as_ref()));
    let mut entries: Vec<(&str, &str)> =
        GOOD.into_iter().filter(|(_, value)| !value.contains("_spf.example.net")).collect();
    entries.push(("m1._domainkey.news.example.org", &other));
    entries.push(("back.example.org", "TXT v=spf1 ip4:192.0.2.0/24 ~all"));
    let told = told(&entries).await;
    assert_eq!(about(&told, "not the key that we sign with").verdict, Verdict::Bad);
    let shut = about(&told, "SPF does not let relay main through");
    let record = "back.example.org. IN TXT \"v=spf1 ip4:203.0.113.7 ip4:192.0.2.0/24 ~all\"";
    assert_eq!((shut.verdict, shut.record.as_deref()), (Verdict::Bad, Some(record)));
    assert_eq!(faults(&told).len(), 2, "{:?}", faults(&told));
}

#[tokio::test]
async fn a8_lookups_are_counted_through_all_that_is_included_and_a_circle_ends() {
    let chain: Vec<(String, String)> = (0..11)
        .map(|n| {
            (
                format!("s{n}.example.net"),
                format!("TXT v=spf1 include:s{}.example.net ip4:192.0.2.{n} -all", n + 1),
            )
        })
        .chain([("s11.example.net".to_owned(), "TXT v=spf1 ip4:203.0.113.7 -all".to_owned())])
        .collect();
    let chain: Vec<(&str, &str)> =
        chain.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for (start, words) in [
        ("s2.example.net", "costs 10 of 10 lookups"),
        ("s1.example.net", "costs 11 lookups, and receivers give up after 10 (A8)"),
        ("back.example.org", "costs more than 20 lookups"),
    ] {
        let own = format!("TXT v=spf1 include:{start} -all");
        let entries = [&chain[..], &[("back.example.org", own.as_str())]].concat();
        let told = told(&entries).await;
        let verdict = if words.ends_with("of 10 lookups") { Verdict::Good } else { Verdict::Bad };
        assert_eq!(about(&told, words).verdict, verdict, "{start}");
    }
}

#[tokio::test]
async fn a_part_that_nobody_says_is_told_as_such_and_nothing_is_made_of_it() {
    let entries: Vec<(&str, &str)> = GOOD
        .into_iter()
        .filter(|(name, value)| *name != "mx.example.org" && !value.starts_with("TXT v="))
        .chain([
            ("mx.example.org", "SERVFAIL"),
            ("back.example.org", "TXT v=spf1 mx -all"),
            // The policy of the From is told, whatever is silent of the return path.
            ("_dmarc.news.example.org", "TXT v=DMARC1; p=none"),
            ("_dmarc.back.example.org", "SERVFAIL"),
        ])
        .collect();
    let told = told(&entries).await;
    let spf: Vec<_> = told.iter().filter(|found| found.finding.contains("SPF")).collect();
    assert!(spf.is_empty(), "{spf:?}");
    // Who takes the mail, and SPF by its mx, hang on the same host.
    let silent = |subject: &str| {
        let of = |found: &&Finding| found.subject == subject && found.finding.starts_with("Nobody says: ");
        told.iter().filter(of).count()
    };
    assert_eq!((silent("back.example.org"), silent("_dmarc.back.example.org")), (2, 1), "{told:#?}");
    assert_eq!(about(&told, "Its policy is p=none").verdict, Verdict::Good);
    let port = about(&told, "is open was not tried: nobody says where our own domains' servers are");
    assert_eq!(port.verdict, Verdict::Unseen);
}

/// Greets, hears what is said, and ends.
async fn talk(mut socket: TcpStream) -> std::io::Result<()> {
    let (reader, mut writer) = socket.split();
    let mut lines = BufReader::new(reader).lines();
    writer.write_all(b"220 mx.example.org ESMTP\r\n").await?;
    while let Some(line) = lines.next_line().await? {
        let answer = if line.starts_with("QUIT") { "221 bye\r\n" } else { "250 mx.example.org\r\n" };
        writer.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

#[tokio::test]
async fn t10_our_own_servers_are_greeted_side_by_side_and_each_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        // The first is greeted when the second is there, which then waits in vain.
        let (one, _) = listener.accept().await.unwrap();
        let (_two, _) = listener.accept().await.unwrap();
        drop(talk(one).await);
        listener
    });
    let second = [("news.example.org", "MX 20 mx2.example.org"), ("mx2.example.org", "A 127.0.0.1")];
    let resolver = names::start(&[&GOOD[..], &second].concat()).await.to_string();
    let told = told_at(&resolver, port, |_| {}).await;
    let open = about(&told, &format!("Port {port} is open: "));
    assert_eq!(open.verdict, Verdict::Good);
    let listener = server.await.unwrap();
    assert!(timeout(Duration::ZERO, listener.accept()).await.is_err(), "one of them was greeted twice");
}

#[tokio::test]
async fn t10_a_port_that_nobody_answers_at_keeps_no_name_from_being_told() {
    // It takes connections, and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let resolver = names::start(&GOOD).await.to_string();
    let told = told_at(&resolver, port, |patient| {
        patient.limits = Limits { check: Duration::from_secs(4), answer: Duration::from_secs(30) };
    })
    .await;
    assert_eq!(about(&told, "203.0.113.7 is called mail.example.org").verdict, Verdict::Good);
    assert_eq!(about(&told, "We greet as mail.example.org").verdict, Verdict::Good);
    let cut_off = about(&told, "The check was not over within 4 s");
    assert_eq!((cut_off.verdict, cut_off.subject.as_str()), (Verdict::Bad, "relay.main"));
    drop(listener);
}

#[tokio::test]
async fn names_that_nobody_answers_about_are_not_called_missing() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let told = told_by(&silent.local_addr().unwrap().to_string()).await;
    let all = of(&told, Area::Dns);
    let bad: Vec<_> = all.iter().filter(|(verdict, ..)| *verdict != Verdict::Unseen).collect();
    assert_eq!(
        bad,
        [&(Verdict::Bad, "resolver", "No resolver answers, or none that does finds anything out.")],
        "{all:?}"
    );
    assert!(all.len() > 5, "{all:?}");
}

//! Names: good records are found good, and bad ones are told with the very record to publish.

use std::sync::LazyLock;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use data_encoding::BASE64;
use matinale::morning::doctor::{Area, Finding, Patient, Verdict, examine};
use tokio::net::UdpSocket;

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
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("dkim.pem");
    private(&key, &KEY.pem);
    let bench = bench(
        None,
        &format!("url = \"mx://?port={}\"\nhelo = \"mail.example.org\"", server.address.port()),
        &format!(
            "[delivery]\nresolver = \"{resolver}\"\n[bounces]\ndomain = \"back.example.org\"\n\
             [dkim.\"news.example.org\"]\nselector = \"m1\"\nkey_file = {:?}",
            key.to_str().unwrap()
        ),
    );
    let addresses = vec![IP.parse().unwrap()];
    let patient = Patient { offline: false, addresses, ..bench.patient.clone() };
    let mut findings = examine(&patient).await;
    findings.retain(|found| found.area == Area::Dns);
    findings
}

const GOOD: [(&str, &str); 10] = [
    ("news.example.org", "MX 10 mx.example.org"),
    ("back.example.org", "MX 10 mx.example.org"),
    ("mx.example.org", "A 127.0.0.1"),
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
        ("has no SPF record", "back.example.org. IN TXT \"v=spf1 ip4:203.0.113.7 -all\""),
        ("neither MX nor address: what comes back", "back.example.org. IN MX 10 "),
        ("neither MX nor address: answers", "news.example.org. IN MX 10 "),
        ("203.0.113.7 has no name (PTR)", "7.113.0.203.in-addr.arpa. IN PTR mail.example.org."),
    ] {
        let found = about(&told, words);
        assert_eq!(found.verdict, Verdict::Bad, "{found:?}");
        assert!(found.record.as_deref().unwrap_or_default().starts_with(record), "{found:?}");
    }
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

//! What names say about us: SPF, DKIM, DMARC, the reverse names of our addresses, and who takes what comes back.
//!
//! What nobody has said is told as such, and is no fault: silence does not tell that a record is missing. Addresses that
//! belong to somebody else's relay are theirs to look after.

mod dkim;
mod dmarc;
mod incoming;
mod outgoing;
mod port;
mod spf;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::OnceCell;

use super::finding::{Area, Finding};
use super::{Check, Patient, Verdict};
use crate::articles::fetch::address;
use crate::config::{Alert, Config, RelayKind};
use crate::delivery::names::{Breaks, Names};

const AREA: Area = Area::Dns;
const OFFLINE: &str = "Not asked: --offline.";
/// That it has no way out a resolver may say itself.
const SILENT: &str = "No resolver answers, or none that does finds anything out.";

/// Who is asked, and whether they answer at all.
#[derive(Clone, Debug)]
struct Resolver {
    names: Names,
    silent: Arc<OnceCell<bool>>,
}

impl Resolver {
    async fn is_silent(&self) -> bool {
        *self.silent.get_or_init(|| self.names.is_silent()).await
    }
}

/// The addresses that this machine writes to the world from, as it knows them itself: a private one becomes another on its
/// way. Nothing is sent for it.
pub fn own_addresses() -> Vec<IpAddr> {
    // A way to an address that nobody has (RFC 5737, RFC 3849) is the way to everybody.
    let ways: [(SocketAddr, SocketAddr); 2] = [
        ((Ipv4Addr::UNSPECIFIED, 0).into(), (Ipv4Addr::new(192, 0, 2, 1), 25).into()),
        ((Ipv6Addr::UNSPECIFIED, 0).into(), (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 25).into()),
    ];
    let ours = ways.into_iter().filter_map(|(any, there)| {
        let socket = UdpSocket::bind(any).ok()?;
        socket.connect(there).ok()?;
        Some(socket.local_addr().ok()?.ip())
    });
    ours.collect()
}

/// Whether others can know an address as it is.
fn is_public(ip: IpAddr) -> bool {
    // Those of documents stand for public ones.
    let of_documents = match ip {
        IpAddr::V4(ip) => ip.is_documentation(),
        IpAddr::V6(ip) => ip.segments()[..2] == [0x2001, 0xdb8],
    };
    of_documents || address::is_public(ip)
}

/// Whether an address stands where records name a host: it is looked up as a name, which nobody has (RFC 5321 5.1).
fn is_address(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
}

/// The domains that stand in our mails.
#[derive(Debug, Default)]
struct Domains {
    /// In a From, and which keys say so.
    senders: BTreeMap<String, Vec<String>>,
    /// In a return path, and which relays such mail leaves through.
    envelopes: BTreeMap<String, BTreeSet<String>>,
}

fn domains(config: &Config) -> Domains {
    let mut domains = Domains::default();
    if let Some(from) = &config.notices.from {
        domains.envelopes.entry(from.email.domain().to_owned()).or_default();
    }
    for newsletter in config.newsletters.values() {
        let key = format!("newsletter.{}.from", newsletter.id);
        domains.senders.entry(newsletter.domain().to_owned()).or_default().push(key);
        let back = config.bounces.domain.as_deref().unwrap_or(newsletter.domain());
        domains.envelopes.entry(back.to_owned()).or_default().extend(newsletter.relays.iter().cloned());
        let has_notices = config.notices.from.is_some()
            || newsletter.alerts.iter().any(|alert| matches!(alert, Alert::Mail(_)));
        let sender = config.notices.from.as_ref().unwrap_or(&newsletter.from);
        let relay = config.notices.relay.as_ref().or_else(|| newsletter.relays.first());
        if has_notices {
            let domain = sender.email.domain().to_owned();
            domains.envelopes.entry(domain).or_default().extend(relay.cloned());
        }
    }
    if let Some(from) = &config.notices.from {
        let domain = from.email.domain().to_owned();
        domains.senders.entry(domain).or_default().push("notices.from".to_owned());
    }
    domains
}

pub(super) fn checks(patient: &Patient) -> Vec<Check> {
    let config = &patient.config;
    let Domains { senders, envelopes } = domains(config);
    if patient.offline {
        let all: BTreeSet<String> =
            senders.keys().chain(envelopes.keys()).chain(config.dkim.keys()).cloned().collect();
        let unseen = |domain: &String| Finding::unseen(AREA, domain, OFFLINE);
        let findings: Vec<Finding> = all.iter().map(unseen).collect();
        return vec![Check::start(patient, AREA, "dns", async { findings })];
    }
    let names = match Names::new(config.delivery.resolver, patient.random.clone()) {
        Ok(names) => names,
        Err(why) => {
            let found = no_resolver(&format!("There is no resolver to ask: {why}."));
            return vec![Check::start(patient, AREA, "resolver", async { vec![found] })];
        }
    };
    let resolver = Resolver { names, silent: Arc::default() };
    let mut checks =
        Asking { patient, resolver: resolver.clone(), checks: vec![resolver_itself(patient, resolver)] };
    for (domain, keys) in senders {
        let signed = config.dkim.contains_key(&domain);
        let sender = Sender { back: back(config, &domain, &keys), domain: domain.clone(), is_signed: signed };
        checks.ask(&domain, move |names| async move { dmarc::look(&names, &sender).await });
        if !signed {
            let missing = dkim::unsigned(&domain, keys.first().map_or("a newsletter", String::as_str));
            checks.ask(&domain, move |_| async move { vec![missing] });
        }
        if !envelopes.contains_key(&domain) {
            let asked = domain.clone();
            checks.ask(&domain, move |names| async move { incoming::look(&names, &asked, false).await });
        }
    }
    for dkim in config.dkim.values() {
        let asked = dkim.clone();
        let subject = format!("{}._domainkey.{}", dkim.selector, dkim.domain);
        checks.ask(&subject, move |names| async move { dkim::look(&names, &asked).await });
    }
    for (domain, relays) in envelopes {
        let (whom, asked) = (patient.clone(), domain.clone());
        checks.ask(&domain, move |names| async move {
            let ways = outgoing::ways(&names, &whom, &relays).await;
            spf::look(&names, &asked, &ways).await
        });
        let asked = domain.clone();
        checks.ask(&domain, move |names| async move { incoming::look(&names, &asked, true).await });
    }
    for (name, relay) in &config.relays {
        let subject = format!("relay.{name}");
        let (whom, way) = (patient.clone(), relay.clone());
        checks.ask(&subject, move |names| async move { outgoing::look(&names, &whom, &way).await });
        if relay.kind == RelayKind::Mx {
            // By itself: it may wait for long, and the names are told meanwhile.
            let (whom, way) = (patient.clone(), relay.clone());
            checks.ask(&subject, move |names| async move { port::look(&names, &whom, &way).await });
        }
    }
    checks.checks
}

/// Questions that are asked side by side.
struct Asking<'a> {
    patient: &'a Patient,
    resolver: Resolver,
    checks: Vec<Check>,
}

impl Asking<'_> {
    /// One more, unless no resolver answers at all.
    fn ask<F, A>(&mut self, subject: &str, question: F)
    where
        F: FnOnce(Names) -> A + Send + 'static,
        A: Future<Output = Vec<Finding>> + Send + 'static,
    {
        let (resolver, told) = (self.resolver.clone(), subject.to_owned());
        self.checks.push(Check::start(self.patient, AREA, subject, async move {
            if resolver.is_silent().await {
                return vec![Finding::unseen(AREA, told, SILENT)];
            }
            let found = question(resolver.names.clone()).await;
            join_all(found.into_iter().map(|found| spare(&resolver.names, found))).await
        }));
    }
}

/// Offers no record that would break what stands at its name, and says so.
async fn spare(names: &Names, found: Finding) -> Finding {
    let Some(name) = place(&found) else { return found };
    let why = match names.breaks(name).await {
        Ok(None) => return found,
        Ok(Some(Breaks::Alias(target))) => format!(
            "{name} is an alias (CNAME) of {target}, and no other record may stand beside one: see to it there, or \
             take a name that is none."
        ),
        Ok(Some(Breaks::Wildcard)) => format!(
            "A wildcard (*) stands in for {name} and does so no more once a record is there, nor for the names above \
             that one: first publish by name what it says for them (MX, A, AAAA, TXT)."
        ),
        Err(why) => {
            format!("Ask again later: what a record at {name} would break is not known ({why}).")
        }
    };
    Finding { advice: Some(why), record: None, ..found }
}

/// The name at which something is to be published.
fn place(found: &Finding) -> Option<&str> {
    match (&found.record, &found.advice) {
        (Some(record), _) => record.split_once(". IN ").map(|(name, _)| name),
        // Where which record is left open, it is one of the subject's.
        (None, Some(advice)) if advice.starts_with("Publish") && found.verdict > Verdict::Unseen => {
            Some(&found.subject)
        }
        _ => None,
    }
}

/// A domain that mail is From.
#[derive(Clone, Debug)]
struct Sender {
    domain: String,
    /// The return path's.
    back: String,
    /// Whether a key of ours signs for it.
    is_signed: bool,
}

fn back(config: &Config, domain: &str, keys: &[String]) -> String {
    // Notices have the address that they are from on the envelope too.
    let of_newsletter = keys.iter().any(|key| key.starts_with("newsletter."));
    config.bounces.domain.clone().filter(|_| of_newsletter).unwrap_or_else(|| domain.to_owned())
}

fn resolver_itself(patient: &Patient, resolver: Resolver) -> Check {
    Check::start(patient, AREA, "resolver", async move {
        vec![if resolver.is_silent().await {
            no_resolver(SILENT)
        } else {
            Finding::good(AREA, "resolver", "A resolver answers.")
        }]
    })
}

fn no_resolver(told: &str) -> Finding {
    Finding::bad(
        AREA,
        "resolver",
        told,
        "Set delivery.resolver, or see to the nameserver lines of /etc/resolv.conf.",
    )
}

/// Nobody said: that is no fault of the record.
fn unanswered(subject: &str, why: &str) -> Finding {
    Finding::doubtful(
        AREA,
        subject,
        format!("Nobody says: {why}."),
        "Ask again later; where it lasts, the name servers of that domain do not answer, and receivers hear as \
         little.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_others_cannot_know_is_not_public() {
        for (ip, public) in [
            ("203.0.113.7", true),
            ("10.0.0.1", false),
            ("172.20.0.3", false),
            ("192.168.1.1", false),
            ("100.64.0.1", false),
            ("100.128.0.1", true),
            ("127.0.0.1", false),
            ("169.254.1.1", false),
            ("192.0.0.8", false),
            ("198.18.0.1", false),
            ("240.0.0.1", false),
            ("0.1.2.3", false),
            ("192.88.99.1", false),
            ("fec0::1", false),
            ("::ffff:10.0.0.1", false),
            ("2001:db8::7", true),
            ("2a00::1", true),
            ("fd00::1", false),
            ("fe80::1", false),
            ("::1", false),
        ] {
            assert_eq!(is_public(ip.parse().unwrap()), public, "{ip}");
        }
    }

    #[test]
    fn domains_are_those_of_froms_and_of_return_paths() {
        let text = "[notices]\nfrom = \"ops@alarm.example\"\n[bounces]\ndomain = \"back.example.org\"\n\
            [relay.main]\nurl = \"smtp://127.0.0.1\"\n\
            [newsletter.a]\nname = \"A\"\nfrom = \"a@News.Example.org\"\nlock = \"0 0 5 * * *\"\n\
            send_at = \"06:30\"\nrelays = [\"main\"]\n";
        let config = crate::config::tests::load(text, &[]).unwrap();
        let found = domains(&config);
        assert_eq!(found.senders.keys().collect::<Vec<_>>(), ["alarm.example", "news.example.org"]);
        assert_eq!(found.envelopes.keys().collect::<Vec<_>>(), ["alarm.example", "back.example.org"]);
        assert_eq!(back(&config, "news.example.org", &found.senders["news.example.org"]), "back.example.org");
        assert_eq!(back(&config, "alarm.example", &found.senders["alarm.example"]), "alarm.example");
    }

    #[test]
    fn a1_each_return_path_is_held_against_the_relays_that_its_mail_leaves_through() {
        let relays = |notices: &str, newsletter: &str, domain: &str| {
            let text = format!(
                "[notices]\n{notices}\n[relay.main]\nurl = \"mx:\"\n[relay.alarm]\nurl = \"smtp://127.0.0.1\"\n\
                 [relay.spare]\nurl = \"smtp://127.0.0.1\"\n\
                 [newsletter.a]\nname = \"A\"\nfrom = \"a@example.org\"\nlock = \"0 0 5 * * *\"\n\
                 send_at = \"06:30\"\nrelays = [\"main\"]\n{newsletter}\n"
            );
            let found = domains(&crate::config::tests::load(&text, &[]).unwrap());
            found.envelopes[domain].iter().cloned().collect::<Vec<_>>()
        };
        let (from, relay) = ("from = \"ops@alarm.example\"", "relay = \"alarm\"");
        assert_eq!(relays(&format!("{from}\n{relay}"), "", "example.org"), ["main"]);
        assert_eq!(relays(&format!("{from}\n{relay}"), "", "alarm.example"), ["alarm"]);
        assert_eq!(relays(from, "", "alarm.example"), ["main"], "the newsletter's first");
        // Alarms by mail are from the newsletter where nobody says otherwise.
        assert_eq!(relays(relay, "alerts = [\"ops@example.org\"]", "example.org"), ["alarm", "main"]);
        // What comes back of editions goes elsewhere; alarms have the From itself on the envelope.
        let back = format!("{relay}\n[bounces]\ndomain = \"back.example.org\"");
        let alerts = "alerts = [\"ops@example.org\"]";
        assert_eq!(relays(&back, alerts, "example.org"), ["alarm"]);
        assert_eq!(relays(&back, alerts, "back.example.org"), ["main"]);
        assert_eq!(relays(relay, "alerts = [\"https://hooks.example.org\"]", "example.org"), ["main"]);
    }
}

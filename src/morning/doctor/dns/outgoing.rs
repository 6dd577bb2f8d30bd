//! From where our mail leaves, and what that address is called: receivers ask for a name that leads back to it, and for
//! the same name in the greeting (T10). And whether the receivers' port is open from here.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;

use super::{AREA, is_public, unanswered};
use crate::config::{Relay, RelayKind};
use crate::delivery::names::{Names, Takes, reverse};
use crate::delivery::probe::{Silence, greet_at};
use crate::morning::doctor::finding::Finding;
use crate::morning::doctor::relays::{helo, is_here};
use crate::morning::doctor::{Patient, Verdict};

/// So many servers of our own are greeted at the most: one that answers is enough.
const SERVERS: usize = 4;

/// From where a relay's mail leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Leaves {
    /// From these.
    From(Vec<IpAddr>),
    /// From these, as far as can be told from here.
    Perhaps(Vec<IpAddr>),
    /// Nobody here knows, and why.
    Unknown(String),
}

/// A way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) relay: String,
    pub(super) leaves: Leaves,
}

/// The ways out of this house.
pub(super) async fn ways(names: &Names, patient: &Patient) -> Vec<Way> {
    let mut ways = Vec::new();
    for (name, relay) in &patient.config.relays {
        if relay.kind != RelayKind::Inbox {
            ways.push(Way { relay: name.clone(), leaves: leaves(names, patient, relay).await });
        }
    }
    ways
}

/// Whether a relay's mail may leave from this machine: a server on it may also hand mail on to another one.
fn is_ours(relay: &Relay) -> bool {
    relay.kind == RelayKind::Mx || is_here(relay)
}

async fn leaves(names: &Names, patient: &Patient, relay: &Relay) -> Leaves {
    if is_ours(relay) && !patient.addresses.is_empty() {
        let own = patient.addresses.clone();
        return if relay.kind == RelayKind::Mx { Leaves::From(own) } else { Leaves::Perhaps(own) };
    }
    // Behind a router that gives it another address: that of the name it greets with, where somebody saw to it.
    let host = if is_ours(relay) { helo(relay) } else { relay.host.clone() };
    match names.addresses(&host).await {
        Err(why) => Leaves::Unknown(format!("nobody says which addresses {host} has ({why})")),
        Ok(found) => {
            let public: Vec<IpAddr> = found.into_iter().filter(|ip| is_public(*ip)).collect();
            if !public.is_empty() {
                Leaves::Perhaps(public)
            } else if is_ours(relay) {
                let why = "this machine has no address that others know, and its name leads to none";
                Leaves::Unknown(why.to_owned())
            } else {
                Leaves::Unknown(format!("{host} has no address that others know"))
            }
        }
    }
}

/// An address, and the names that it has, each with where it leads.
#[derive(Clone, Debug)]
struct Called {
    ip: IpAddr,
    names: Vec<(String, Vec<IpAddr>)>,
}

/// The names of a relay's way out.
pub(super) async fn look(names: &Names, patient: &Patient, relay: &Relay) -> Vec<Finding> {
    let subject = format!("relay.{}", relay.name);
    if relay.kind == RelayKind::Inbox {
        return Vec::new();
    }
    if !is_ours(relay) {
        let told = format!(
            "From which address {} sends, and what that is called, is its keeper's to look \
             after.",
            relay.host
        );
        return vec![Finding::unseen(AREA, subject, told)];
    }
    let mut findings = Vec::new();
    let (addresses, sure) = match leaves(names, patient, relay).await {
        Leaves::Unknown(why) => {
            let told = format!("Reverse names (PTR) were not looked at: {why}.");
            findings.push(Finding::unseen(AREA, &subject, told));
            (Vec::new(), false)
        }
        Leaves::From(addresses) => (addresses, true),
        Leaves::Perhaps(addresses) => (addresses, false),
    };
    // Of a server that stands between, the greeting is its own.
    let we_greet = relay.kind == RelayKind::Mx;
    for ip in addresses {
        findings.push(match called(names, ip).await {
            Ok(called) if sure => judge_name(&subject, &called, &helo(relay), we_greet),
            Ok(called) => if_from_there(judge_name(&subject, &called, &helo(relay), we_greet), ip),
            Err(why) => unanswered(&subject, &why),
        });
    }
    if we_greet {
        findings.push(judge_helo(&subject, &helo(relay)));
    }
    findings
}

/// Of an address that mail perhaps leaves from.
fn if_from_there(finding: Finding, ip: IpAddr) -> Finding {
    let verdict = finding.verdict.min(Verdict::Doubtful);
    let advice = finding.advice.map(|advice| format!("If mail leaves from {ip}: {advice}"));
    Finding { verdict, advice, ..finding }
}

async fn called(names: &Names, ip: IpAddr) -> Result<Called, String> {
    let mut all = Vec::new();
    for name in names.names_of(ip).await?.into_iter().take(10) {
        let leads_to = names.addresses(&name).await?;
        all.push((name, leads_to));
    }
    Ok(Called { ip, names: all })
}

fn judge_name(subject: &str, called: &Called, helo: &str, we_greet: bool) -> Finding {
    let Called { ip, names } = called;
    if names.is_empty() {
        let told = format!("{ip} has no name (PTR): Gmail, Yahoo and Outlook refuse mail from it.");
        let whom = "Have whoever gave you the address (the provider)";
        return if is_full(helo) {
            let record = format!("{}. IN PTR {helo}.", reverse(*ip));
            Finding::bad(AREA, subject, told, format!("{whom} publish this record.")).with_record(record)
        } else {
            let advice = format!("{whom} publish this machine's full name for it (a PTR record).");
            Finding::bad(AREA, subject, told, advice)
        };
    }
    let all: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
    let back: Vec<&str> =
        names.iter().filter(|(_, leads_to)| leads_to.contains(ip)).map(|(name, _)| name.as_str()).collect();
    let kind = if ip.is_ipv4() { "A" } else { "AAAA" };
    if back.is_empty() {
        let told = format!("{ip} is called {}, which does not lead back to it.", all.join(", "));
        let advice = "Publish this record, or have the address called by a name that has one.";
        return Finding::bad(AREA, subject, told, advice).with_record(format!("{}. IN {kind} {ip}", all[0]));
    }
    if we_greet && !back.iter().any(|name| name.eq_ignore_ascii_case(helo)) {
        let told = format!("{ip} is called {}, and we greet as {helo}.", back.join(", "));
        return Finding::doubtful(AREA, subject, told, format!("Set {subject}.helo = {:?}.", back[0]));
    }
    Finding::good(AREA, subject, format!("{ip} is called {}, which leads back to it.", back.join(", ")))
}

/// Whether a name is one that others may look up: a full one, and no address.
pub(super) fn is_full(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_local = ["local", "localdomain"].iter().any(|known| last.eq_ignore_ascii_case(known));
    name.contains('.')
        && !is_local
        && last.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && last.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// The name in the greeting is one that others can look up.
fn judge_helo(subject: &str, helo: &str) -> Finding {
    if is_full(helo) {
        return Finding::good(AREA, subject, format!("We greet as {helo}."));
    }
    Finding::bad(
        AREA,
        subject,
        format!("We greet as {helo}, which nobody else can look up."),
        format!("Set {subject}.helo to this machine's full name, such as \"mail.example.org\"."),
    )
}

/// Whether the receivers' port is open: asked of our own domains' servers alone, for no other is ours to try it on.
pub(super) async fn port(names: &Names, patient: &Patient, relay: &Relay) -> Vec<Finding> {
    let subject = format!("relay.{}", relay.name);
    let timeouts = patient.limits.of_wire(patient.config.delivery.timeouts);
    let (servers, silent) = servers(names, patient, relay).await;
    let greeting = servers.iter().take(SERVERS).map(|(host, ip)| async move {
        (host, greet_at(host, SocketAddr::new(*ip, relay.port), &helo(relay), timeouts).await)
    });
    // Side by side: where the port is closed, nobody answers within any deadline.
    let mut greeting: FuturesUnordered<_> = greeting.collect();
    let mut last = None;
    while let Some((host, greeted)) = greeting.next().await {
        match greeted {
            Err(Silence::Unreachable(why)) => last = Some(why),
            greeted => return vec![judge_port(&subject, relay.port, host, Some(greeted), None)],
        }
    }
    let last = last.map(|why| Err(Silence::Unreachable(why)));
    vec![judge_port(&subject, relay.port, "", last, silent.as_deref())]
}

/// The servers that take our own domains' mail on other machines, each once, and whether somebody did not say.
async fn servers(names: &Names, patient: &Patient, relay: &Relay) -> (Vec<(String, IpAddr)>, Option<String>) {
    let own = match leaves(names, patient, relay).await {
        Leaves::From(own) | Leaves::Perhaps(own) => own,
        Leaves::Unknown(_) => Vec::new(),
    };
    let domains = super::domains(&patient.config);
    // Most Froms are return paths too.
    let domains: BTreeSet<&String> = domains.senders.keys().chain(&domains.envelopes).collect();
    let mut silent = None;
    let mut hosts = BTreeSet::new();
    for takes in join_all(domains.into_iter().map(|domain| names.takes_mail(domain))).await {
        match takes {
            Ok(Takes::Hosts(found)) => hosts.extend(found.into_iter().take(2)),
            Ok(Takes::NoMail | Takes::NoRecord) => {}
            Err(why) => silent = Some(why),
        }
    }
    let found = join_all(hosts.iter().map(|host| names.addresses(host))).await;
    let mut servers = Vec::new();
    for (host, found) in hosts.iter().zip(found) {
        match found {
            // This house would answer itself, also from behind a router; other ports than 25 are for laboratories.
            Ok(found) if relay.port == 25 && found.iter().any(|ip| ip.is_loopback() || own.contains(ip)) => {}
            Ok(found) => servers.extend(found.first().map(|ip| (host.clone(), *ip))),
            Err(why) => silent = Some(why),
        }
    }
    (servers, silent)
}

fn judge_port(
    subject: &str,
    port: u16,
    host: &str,
    greeted: Option<Result<(), Silence>>,
    silent: Option<&str>,
) -> Finding {
    match greeted {
        None if silent.is_some() => Finding::unseen(
            AREA,
            subject,
            format!(
                "Whether port {port} is open was not tried: nobody says where our own domains' servers are ({}).",
                silent.unwrap_or_default()
            ),
        ),
        None => Finding::unseen(
            AREA,
            subject,
            format!(
                "Whether port {port} is open was not tried: no MX of our own domains is on another \
                 machine."
            ),
        ),
        Some(Err(Silence::Unreachable(why))) => Finding::bad(
            AREA,
            subject,
            format!("Port {port} of our own domains' servers is not reached: {why}."),
            "Have the provider of this machine open outgoing port 25 (many close it), or use a relay: url = \
             \"smtp://…\".",
        ),
        Some(Err(Silence::Refused(why) | Silence::Unsafe(why) | Silence::Denied(why))) => Finding::doubtful(
            AREA,
            subject,
            format!("Port {port} is open, and {host} turns us away: {why}."),
            "See what it says: other receivers may say the same.",
        ),
        Some(Ok(())) => Finding::good(AREA, subject, format!("Port {port} is open: {host} greeted us.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::morning::doctor::Verdict::{Bad, Doubtful, Good, Unseen};

    fn called(names: &[(&str, &str)]) -> Called {
        let names = names.iter().map(|(name, ip)| ((*name).to_owned(), vec![ip.parse().unwrap()])).collect();
        Called { ip: "203.0.113.7".parse().unwrap(), names }
    }

    #[test]
    fn t10_an_address_has_a_name_that_leads_back_and_that_we_greet_with() {
        let own = ("mail.example.org", "203.0.113.7");
        let other = ("host7.provider.example", "203.0.113.7");
        let astray = ("mail.example.org", "203.0.113.8");
        for (names, we_greet, verdict, record) in [
            (&[own][..], true, Good, None),
            (&[other, own], true, Good, None),
            (&[other], true, Doubtful, None),
            (&[other], false, Good, None),
            (&[], true, Bad, Some("7.113.0.203.in-addr.arpa. IN PTR mail.example.org.")),
            (&[astray], true, Bad, Some("mail.example.org. IN A 203.0.113.7")),
        ] {
            let told = judge_name("relay.main", &called(names), "mail.example.org", we_greet);
            assert_eq!(told.verdict, verdict, "{names:?}: {told:?}");
            assert_eq!(told.record.as_deref(), record, "{names:?}");
        }
        let told = judge_name("relay.main", &called(&[other]), "mail.example.org", true);
        assert_eq!(told.advice.as_deref(), Some("Set relay.main.helo = \"host7.provider.example\"."));
    }

    #[test]
    fn t10_a_record_is_offered_for_a_name_that_is_known_alone() {
        for helo in ["news", "news.localdomain", "mail.example.org.", "[203.0.113.7]", "203.0.113.7"] {
            let told = judge_name("relay.main", &called(&[]), helo, true);
            assert_eq!((told.verdict, told.record), (Bad, None), "{helo}");
            assert!(told.advice.unwrap().contains("this machine's full name"), "{helo}");
            assert_eq!(judge_helo("relay.main", helo).verdict, Bad, "{helo}");
        }
    }

    #[tokio::test]
    async fn a_server_on_this_machine_may_hand_mail_on_and_what_is_ours_is_doubtful_there() {
        let own: Vec<IpAddr> = vec!["203.0.113.7".parse().unwrap()];
        let text = "[relay.straight]\nurl = \"mx:\"\n[relay.here]\nurl = \"smtp://127.0.0.1:25\"\n\
            [newsletter.a]\nname = \"A\"\nfrom = \"a@example.org\"\nlock = \"0 0 5 * * *\"\n\
            send_at = \"06:30\"\nrelays = [\"straight\", \"here\"]\n";
        let patient = Patient {
            config: crate::config::tests::load(text, &[]).unwrap().into(),
            clock: crate::clock::Clock::system(),
            random: crate::clock::Random::seeded(1),
            offline: false,
            addresses: own.clone(),
            limits: crate::morning::doctor::Limits::default(),
        };
        // Nobody is asked where the addresses are known.
        let names = Names::new(Some(([127, 0, 0, 1], 9).into()), patient.random.clone()).unwrap();
        for (name, expected) in
            [("straight", Leaves::From(own.clone())), ("here", Leaves::Perhaps(own.clone()))]
        {
            assert_eq!(leaves(&names, &patient, &patient.config.relays[name]).await, expected, "{name}");
        }
        let sure = judge_name("relay.here", &called(&[]), "mail.example.org", false);
        let told = if_from_there(sure.clone(), own[0]);
        assert_eq!((sure.verdict, told.verdict), (Bad, Doubtful));
        assert!(told.advice.unwrap().starts_with("If mail leaves from 203.0.113.7: Have whoever"));
        assert_eq!(told.record, sure.record);
    }

    #[test]
    fn t10_a_name_that_nobody_can_look_up_is_no_greeting() {
        for (helo, verdict) in
            [("mail.example.org", Good), ("localhost", Bad), ("news", Bad), ("news.localdomain", Bad)]
        {
            assert_eq!(judge_helo("relay.main", helo).verdict, verdict, "{helo}");
        }
    }

    #[test]
    fn a_port_that_nobody_of_ours_can_be_asked_about_is_not_called_open() {
        let judged = |greeted| judge_port("relay.main", 25, "mx.example.org", greeted, None).verdict;
        assert_eq!(judged(None), Unseen);
        assert_eq!(judged(Some(Ok(()))), Good);
        assert_eq!(judged(Some(Err(Silence::Unreachable(String::new())))), Bad);
        assert_eq!(judged(Some(Err(Silence::Refused(String::new())))), Doubtful);
        let told = judge_port("relay.main", 25, "", None, Some("late"));
        assert!(told.verdict == Unseen && told.finding.contains("nobody says"), "{told:?}");
    }
}

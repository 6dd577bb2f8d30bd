//! From where our mail leaves, and what that address is called: receivers ask for a name that leads back to it, and for
//! the same name in the greeting (T10).

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{AREA, is_public, unanswered};
use crate::config::{Relay, RelayKind};
use crate::delivery::names::{Names, reverse};
use crate::morning::doctor::finding::Finding;
use crate::morning::doctor::relays::{helo, is_here};
use crate::morning::doctor::{Patient, Verdict};

/// Names that end so are known inside alone (RFC 6761, RFC 6762 G), as are those of `home.arpa` (RFC 8375).
const PRIVATE: [&str; 9] =
    ["corp", "home", "internal", "intranet", "lan", "local", "localdomain", "localhost", "private"];

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

/// Who hands our mail to the receivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// We do.
    Us,
    /// A server on this machine, or whoever it hands mail on to.
    Neighbour,
    /// Somebody else's server.
    Keeper,
}

/// A way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) relay: String,
    pub(super) by: By,
    pub(super) leaves: Leaves,
}

/// The ways out of this house through these relays.
pub(super) async fn ways(names: &Names, patient: &Patient, relays: &BTreeSet<String>) -> Vec<Way> {
    let mut ways = Vec::new();
    for relay in relays.iter().filter_map(|name| patient.config.relays.get(name)) {
        if relay.kind != RelayKind::Inbox {
            let by = match relay.kind {
                RelayKind::Mx => By::Us,
                _ if is_ours(relay) => By::Neighbour,
                _ => By::Keeper,
            };
            let leaves = leaves(names, patient, relay).await;
            ways.push(Way { relay: relay.name.clone(), by, leaves });
        }
    }
    ways
}

/// Whether a relay's mail may leave from this machine: a server on it may also hand mail on to another one.
fn is_ours(relay: &Relay) -> bool {
    relay.kind == RelayKind::Mx || is_here(relay)
}

pub(super) async fn leaves(names: &Names, patient: &Patient, relay: &Relay) -> Leaves {
    if !is_ours(relay) {
        return match public_addresses(names, &relay.host).await {
            Ok(found) if found.is_empty() => {
                Leaves::Unknown(format!("{} has no address that others know", relay.host))
            }
            Ok(found) => Leaves::Perhaps(found),
            Err(why) => Leaves::Unknown(why),
        };
    }
    let (mut own, masked): (Vec<IpAddr>, Vec<IpAddr>) =
        patient.addresses.iter().copied().partition(|ip| is_public(*ip));
    if !own.is_empty() && masked.is_empty() {
        // With IPv6 alone somebody else's IPv4 may carry what we write to IPv4 (NAT64).
        let sure = relay.kind == RelayKind::Mx && own.iter().any(IpAddr::is_ipv4);
        return if sure { Leaves::From(own) } else { Leaves::Perhaps(own) };
    }
    // Behind a router that gives it another address: that of the name it greets with, where somebody saw to it.
    let host = helo(relay);
    let found = match public_addresses(names, &host).await {
        Ok(found) => found,
        Err(why) => return Leaves::Unknown(why),
    };
    let is_told = |hidden: &IpAddr| found.iter().any(|ip| ip.is_ipv4() == hidden.is_ipv4());
    if found.is_empty() || !masked.iter().all(is_told) {
        return Leaves::Unknown(format!(
            "others know this machine by an address that it does not know itself, and its name ({host}) leads to \
             none such"
        ));
    }
    own.extend(found.into_iter().filter(|ip| !patient.addresses.contains(ip)));
    Leaves::Perhaps(own)
}

/// The addresses of a host that others can know.
async fn public_addresses(names: &Names, host: &str) -> Result<Vec<IpAddr>, String> {
    match names.addresses(host).await {
        Ok(found) => Ok(found.into_iter().filter(|ip| is_public(*ip)).collect()),
        Err(why) => Err(format!("nobody says which addresses {host} has ({why})")),
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
            let told = format!("Not all reverse names (PTR) were looked at: {why}.");
            findings.push(Finding::unseen(AREA, &subject, told));
            let known = patient.addresses.iter().filter(|ip| is_public(**ip));
            (known.copied().collect(), false)
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
        let helo = helo(relay);
        let found = if is_full(&helo) { names.addresses(&helo).await } else { Ok(Vec::new()) };
        findings.push(judge_helo(&subject, &helo, found.as_deref()));
    }
    findings
}

/// Of an address that mail perhaps leaves from: no record is offered for it.
fn if_from_there(finding: Finding, ip: IpAddr) -> Finding {
    let verdict = finding.verdict.min(Verdict::Doubtful);
    let advice = finding.advice.map(|advice| format!("If mail leaves from {ip}: {advice}"));
    Finding { verdict, advice, record: None, ..finding }
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
            let advice = format!("{whom} publish the name {helo} for it (a PTR record).");
            Finding::bad(AREA, subject, told, advice).with_record(record)
        } else {
            let advice = format!("{whom} publish this machine's full name for it (a PTR record).");
            Finding::bad(AREA, subject, told, advice)
        };
    }
    let all: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
    let known = names.iter().filter(|(name, _)| is_known_outside(name));
    let back: Vec<&str> =
        known.clone().filter(|(_, leads_to)| leads_to.contains(ip)).map(|(name, _)| name.as_str()).collect();
    if back.is_empty() {
        let kind = if ip.is_ipv4() { "A" } else { "AAAA" };
        let fault = if known.count() == 0 { "nobody else can look up" } else { "does not lead back to it" };
        let told = format!("{ip} is called {}, which {fault}.", all.join(", "));
        // Whose zone such a name stands in nobody knows here.
        let advice = format!("Have it called (PTR) by a name of yours that leads to it ({kind}).");
        return Finding::bad(AREA, subject, told, advice);
    }
    if we_greet && !back.iter().any(|name| name.eq_ignore_ascii_case(helo)) {
        let told = format!("{ip} is called {}, and we greet as {helo}.", back.join(", "));
        return Finding::doubtful(AREA, subject, told, format!("Set {subject}.helo = {:?}.", back[0]));
    }
    Finding::good(AREA, subject, format!("{ip} is called {}, which leads back to it.", back.join(", ")))
}

/// Whether a name is one that others may look up: a full one, and no address.
fn is_known_outside(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let Some((above, last)) = name.rsplit_once('.') else { return false };
    let is_private = PRIVATE.contains(&last) || name.ends_with(".home.arpa");
    !above.is_empty() && last.bytes().any(|byte| byte.is_ascii_alphabetic()) && !is_private
}

/// Whether a name is such a one, and a host may have it.
fn is_full(name: &str) -> bool {
    let is_label = |label: &&str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    is_known_outside(name) && name.split('.').all(|label| is_label(&label))
}

/// The name in the greeting is one that others can look up.
fn judge_helo(subject: &str, helo: &str, found: Result<&[IpAddr], &String>) -> Finding {
    if !is_full(helo) {
        return Finding::bad(
            AREA,
            subject,
            format!("We greet as {helo}, which nobody else can look up."),
            format!("Set {subject}.helo to this machine's full name, such as \"mail.example.org\"."),
        );
    }
    match found {
        Err(why) => unanswered(subject, why),
        Ok([]) => Finding::bad(
            AREA,
            subject,
            format!("We greet as {helo}, which leads to no address: nobody can look it up."),
            format!("Give it one (A, AAAA), or set {subject}.helo to a name of this machine that has one."),
        ),
        // Whoever is outside may be told something else.
        Ok(found) if !found.iter().any(|ip| is_public(*ip)) => {
            let told =
                format!("We greet as {helo}; where it leads others is not known: here to {}.", found[0]);
            Finding::unseen(AREA, subject, told)
        }
        Ok(_) => Finding::good(AREA, subject, format!("We greet as {helo}.")),
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
            (&[astray], true, Bad, None),
            (&[("203.0.113.7", "203.0.113.7")], false, Bad, None),
            (&[("news.lan", "203.0.113.7")], false, Bad, None),
            (&[("localhost", "127.0.0.1")], true, Bad, None),
            (&[("news.lan", "203.0.113.7"), own], true, Good, None),
            (&[("a_b.provider.example", "203.0.113.7")], false, Good, None),
        ] {
            let told = judge_name("relay.main", &called(names), "mail.example.org", we_greet);
            assert_eq!(told.verdict, verdict, "{names:?}: {told:?}");
            assert_eq!(told.record.as_deref(), record, "{names:?}");
        }
        let told = judge_name("relay.main", &called(&[other]), "mail.example.org", true);
        assert_eq!(told.advice.as_deref(), Some("Set relay.main.helo = \"host7.provider.example\"."));
        let told = judge_name("relay.main", &called(&[astray]), "mail.example.org", true);
        assert!(told.advice.unwrap().contains("by a name of yours that leads to it (A)"));
    }

    #[test]
    fn t10_a_record_is_offered_for_a_name_that_is_known_alone() {
        let own: [IpAddr; 1] = ["203.0.113.7".parse().unwrap()];
        for helo in [
            "news",
            "news.localdomain",
            "news.Internal",
            "news.lan",
            "news.home.arpa",
            "news.localhost",
            "mail.example.org.",
            ".org",
            "mail..example.org",
            "mail example.org",
            "-mail.example.org",
            "https://mail.example.org",
            "[203.0.113.7]",
            "203.0.113.7",
        ] {
            let told = judge_name("relay.main", &called(&[]), helo, true);
            assert_eq!((told.verdict, told.record), (Bad, None), "{helo}");
            assert!(told.advice.unwrap().contains("this machine's full name"), "{helo}");
            assert_eq!(judge_helo("relay.main", helo, Ok(&own)).verdict, Bad, "{helo}");
        }
        for full in ["mail.example.org", "M-1.internal.example", "7.xn--bcher-kva.example", "lan.example"] {
            assert!(is_full(full), "{full}");
        }
    }

    fn patient(text: &str, addresses: &[&str]) -> Patient {
        let text = format!(
            "{text}\n[newsletter.a]\nname = \"A\"\nfrom = \"a@example.org\"\nlock = \"0 0 5 * * *\"\n\
             send_at = \"06:30\"\nrelays = [\"straight\"]\n"
        );
        Patient {
            config: crate::config::tests::load(&text, &[]).unwrap().into(),
            clock: crate::clock::Clock::system(),
            random: crate::clock::Random::seeded(1),
            offline: false,
            addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect(),
            limits: crate::morning::doctor::Limits::default(),
        }
    }

    #[tokio::test]
    async fn an_address_that_becomes_another_on_its_way_is_that_of_the_name_we_greet_with() {
        let ips = |all: &[&str]| all.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<IpAddr>>();
        let cases: [(&[&str], Leaves); 7] = [
            (&["203.0.113.9"], Leaves::From(ips(&["203.0.113.9"]))),
            // What is written to IPv4 leaves by somebody else's (NAT64).
            (&["2001:db8::7"], Leaves::Perhaps(ips(&["2001:db8::7"]))),
            (&["203.0.113.9", "2001:db8::7"], Leaves::From(ips(&["203.0.113.9", "2001:db8::7"]))),
            (&["10.0.0.5", "2001:db8::7"], Leaves::Perhaps(ips(&["2001:db8::7", "203.0.113.7"]))),
            (&["10.0.0.5"], Leaves::Perhaps(ips(&["203.0.113.7"]))),
            (&[], Leaves::Perhaps(ips(&["203.0.113.7"]))),
            // The name has none of that kind.
            (&["203.0.113.7", "fd00::7"], Leaves::Unknown(String::new())),
        ];
        for (addresses, expected) in cases {
            // An address leads to itself: nobody is asked.
            let patient = patient("[relay.straight]\nurl = \"mx:\"\nhelo = \"203.0.113.7\"", addresses);
            let names = Names::new(Some(([127, 0, 0, 1], 9).into()), patient.random.clone()).unwrap();
            let found = leaves(&names, &patient, &patient.config.relays["straight"]).await;
            match (&found, &expected) {
                (Leaves::Unknown(_), Leaves::Unknown(_)) => {}
                _ => assert_eq!(found, expected, "{addresses:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_server_on_this_machine_may_hand_mail_on_and_what_is_ours_is_doubtful_there() {
        let own: Vec<IpAddr> = vec!["203.0.113.7".parse().unwrap()];
        let text = "[relay.straight]\nurl = \"mx:\"\n[relay.here]\nurl = \"smtp://127.0.0.1:25\"";
        let patient = patient(text, &["203.0.113.7"]);
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
        assert!(sure.record.is_some() && told.record.is_none());
    }

    #[test]
    fn t10_a_name_that_nobody_can_look_up_is_no_greeting() {
        let own: [IpAddr; 1] = ["203.0.113.7".parse().unwrap()];
        for (helo, verdict) in
            [("mail.example.org", Good), ("localhost", Bad), ("news", Bad), ("news.localdomain", Bad)]
        {
            assert_eq!(judge_helo("relay.main", helo, Ok(&own)).verdict, verdict, "{helo}");
        }
        let (late, inside): (String, [IpAddr; 1]) = ("late".to_owned(), ["192.168.1.5".parse().unwrap()]);
        // Others may be told of another one than that inside.
        for (found, verdict) in [(Ok(&[][..]), Bad), (Err(&late), Doubtful), (Ok(&inside[..]), Unseen)] {
            let told = judge_helo("relay.main", "mail.example.org", found);
            assert_eq!(told.verdict, verdict, "{told:?}");
        }
    }
}

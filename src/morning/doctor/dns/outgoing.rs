//! From where our mail leaves, and what that address is called: receivers ask for a name that leads back to it, and for
//! the same name in the greeting (T10).

use std::net::{IpAddr, SocketAddr};

use super::{AREA, is_public, unanswered};
use crate::config::{Relay, RelayKind};
use crate::delivery::names::{Names, Takes, reverse};
use crate::delivery::probe::{Silence, greet_at};
use crate::morning::doctor::Patient;
use crate::morning::doctor::finding::Finding;
use crate::morning::doctor::relays::{helo, is_here};

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

/// Whether a relay's mail leaves from this machine.
fn is_ours(relay: &Relay) -> bool {
    relay.kind == RelayKind::Mx || is_here(relay)
}

async fn leaves(names: &Names, patient: &Patient, relay: &Relay) -> Leaves {
    if is_ours(relay) {
        if !patient.addresses.is_empty() {
            return Leaves::From(patient.addresses.clone());
        }
        // Behind a router that gives it another address: that of the name it greets with, where somebody saw to it.
        let named = public(names.addresses(&helo(relay)).await);
        return if named.is_empty() {
            Leaves::Unknown(
                "this machine has no address that others know, and its name leads to none".to_owned(),
            )
        } else {
            Leaves::Perhaps(named)
        };
    }
    let there = public(names.addresses(&relay.host).await);
    if there.is_empty() {
        Leaves::Unknown(format!("{} has no address that others know", relay.host))
    } else {
        Leaves::Perhaps(there)
    }
}

fn public(addresses: Result<Vec<IpAddr>, String>) -> Vec<IpAddr> {
    addresses.unwrap_or_default().into_iter().filter(|ip| is_public(*ip)).collect()
}

/// An address, and the names that it has, each with where it leads.
#[derive(Clone, Debug)]
struct Called {
    ip: IpAddr,
    names: Vec<(String, Vec<IpAddr>)>,
}

/// The names of a relay's way out, and whether port 25 is open where it goes straight to the receivers.
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
    match leaves(names, patient, relay).await {
        Leaves::Unknown(why) => {
            let told = format!("Reverse names (PTR) were not looked at: {why}.");
            findings.push(Finding::unseen(AREA, &subject, told));
        }
        Leaves::From(addresses) | Leaves::Perhaps(addresses) => {
            for ip in addresses {
                match called(names, ip).await {
                    // Of a server that stands between, the greeting is its own.
                    Ok(called) => findings.push(judge_name(
                        &subject,
                        &called,
                        &helo(relay),
                        relay.kind == RelayKind::Mx,
                    )),
                    Err(why) => findings.push(unanswered(&subject, &why)),
                }
            }
        }
    }
    if relay.kind == RelayKind::Mx {
        findings.push(judge_helo(&subject, &helo(relay)));
        findings.push(port(names, patient, relay, &subject).await);
    }
    findings
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
    let host = if helo.contains('.') { helo } else { "mail.example.org" };
    let record = format!("{}. IN PTR {host}.", reverse(*ip));
    let ask = "Have whoever gave you the address (the provider) publish this record.";
    if names.is_empty() {
        let told = format!("{ip} has no name (PTR): Gmail, Yahoo and Outlook refuse mail from it.");
        return Finding::bad(AREA, subject, told, ask).with_record(record);
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

/// The name in the greeting is one that others can look up.
fn judge_helo(subject: &str, helo: &str) -> Finding {
    let last = helo.rsplit('.').next().unwrap_or_default();
    let is_local = ["local", "localdomain"].iter().any(|known| last.eq_ignore_ascii_case(known));
    if helo.contains('.') && !is_local {
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
async fn port(names: &Names, patient: &Patient, relay: &Relay, subject: &str) -> Finding {
    let domains = super::domains(&patient.config);
    let timeouts = patient.limits.of_wire(patient.config.delivery.timeouts);
    let mut last = None;
    for domain in domains.senders.keys().chain(&domains.envelopes) {
        let Ok(Takes::Hosts(hosts)) = names.takes_mail(domain).await else { continue };
        for host in hosts.iter().take(2) {
            let addresses = names.addresses(host).await.unwrap_or_default();
            // This machine would answer itself; other ports than 25 are for laboratories.
            let elsewhere =
                |ip: &&IpAddr| relay.port != 25 || (!ip.is_loopback() && !patient.addresses.contains(ip));
            let Some(ip) = addresses.iter().find(elsewhere) else { continue };
            let greeted = greet_at(host, SocketAddr::new(*ip, relay.port), &helo(relay), timeouts).await;
            match greeted {
                Err(Silence::Unreachable(why)) => last = Some(why),
                greeted => return judge_port(subject, relay.port, host, Some(greeted)),
            }
        }
    }
    judge_port(subject, relay.port, "", last.map(|why| Err(Silence::Unreachable(why))))
}

fn judge_port(subject: &str, port: u16, host: &str, greeted: Option<Result<(), Silence>>) -> Finding {
    match greeted {
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
    fn t10_a_name_that_nobody_can_look_up_is_no_greeting() {
        for (helo, verdict) in
            [("mail.example.org", Good), ("localhost", Bad), ("news", Bad), ("news.localdomain", Bad)]
        {
            assert_eq!(judge_helo("relay.main", helo).verdict, verdict, "{helo}");
        }
    }

    #[test]
    fn a_port_that_nobody_of_ours_can_be_asked_about_is_not_called_open() {
        let judged = |greeted| judge_port("relay.main", 25, "mx.example.org", greeted).verdict;
        assert_eq!(judged(None), Unseen);
        assert_eq!(judged(Some(Ok(()))), Good);
        assert_eq!(judged(Some(Err(Silence::Unreachable(String::new())))), Bad);
        assert_eq!(judged(Some(Err(Silence::Refused(String::new())))), Doubtful);
    }
}

//! Whether the receivers' port is open from here: tried on the servers of our own domains alone, for no other is ours to try
//! it on.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;

use super::outgoing::{Leaves, leaves};
use super::{AREA, is_address, is_public};
use crate::config::Relay;
use crate::delivery::names::{Names, Takes};
use crate::delivery::probe::{Silence, greet_at};
use crate::morning::doctor::Patient;
use crate::morning::doctor::finding::Finding;
use crate::morning::doctor::relays::helo;

/// So many servers of our own are greeted at the most: one that answers is enough.
const SERVERS: usize = 4;

/// Greets those servers.
pub(super) async fn look(names: &Names, patient: &Patient, relay: &Relay) -> Vec<Finding> {
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
    let mut own = patient.addresses.clone();
    if let Leaves::From(found) | Leaves::Perhaps(found) = leaves(names, patient, relay).await {
        own.extend(found);
    }
    let domains = super::domains(&patient.config);
    // Most Froms are return paths too.
    let domains: BTreeSet<&String> = domains.senders.keys().chain(domains.envelopes.keys()).collect();
    let mut silent = None;
    let mut hosts = BTreeSet::new();
    for takes in join_all(domains.into_iter().map(|domain| names.takes_mail(domain))).await {
        match takes {
            Ok(Takes::Hosts(found)) => {
                hosts.extend(found.into_iter().filter(|host| !is_address(host)).take(2));
            }
            Ok(Takes::NoMail | Takes::NoRecord) => {}
            Err(why) => silent = Some(why),
        }
    }
    let found = join_all(hosts.iter().map(|host| names.addresses(host))).await;
    let mut servers = Vec::new();
    for (host, found) in hosts.iter().zip(found) {
        match found {
            Ok(found) if !is_elsewhere(relay.port, &found, &own) => {}
            Ok(found) => servers.extend(found.first().map(|ip| (host.clone(), *ip))),
            Err(why) => silent = Some(why),
        }
    }
    (servers, silent)
}

/// Whether the way to a server leads out of this house: it would answer itself, also from behind a router, and to a
/// neighbour no provider closes a port. Other ports than 25 are for laboratories.
fn is_elsewhere(port: u16, found: &[IpAddr], own: &[IpAddr]) -> bool {
    port != 25 || !found.iter().any(|ip| !is_public(*ip) || own.contains(ip))
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

    #[test]
    fn t10_the_port_is_tried_where_the_way_leads_out_of_this_house_alone() {
        let ips = |all: &[&str]| all.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<IpAddr>>();
        let own = ips(&["203.0.113.7", "2001:db8::7"]);
        for (port, found, elsewhere) in [
            (25, &["192.0.2.1"][..], true),
            (25, &["192.0.2.1", "2001:db8::1"], true),
            (25, &["203.0.113.7"], false),
            (25, &["192.0.2.1", "2001:db8::7"], false),
            (25, &["127.0.0.1"], false),
            (25, &["192.168.1.5"], false),
            (25, &["192.0.2.1", "fd00::5"], false),
            // A laboratory.
            (2525, &["127.0.0.1"], true),
            (2525, &["203.0.113.7"], true),
        ] {
            assert_eq!(is_elsewhere(port, &ips(found), &own), elsewhere, "{port} {found:?}");
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

//! Opens a session with the first of a route's hosts that can be reached and is as safe as it must be.
//!
//! A host that cannot be reached, or that is not safe enough, leaves its place to the next, as far as a walk goes; one that
//! answers "not now" ends it, for receivers punish those who go on to their second servers then.

use std::net::SocketAddr;
use std::sync::Arc;

use hickory_resolver::proto::rr::{RData, RecordType};

use super::dns::{Addresses, Dns, Found};
use super::tlsa::{Judge, Tlsa};
use super::walk::{Walk, some_of};
use super::{Host, Need, Route, Ways, order};
use crate::config::Timeouts;
use crate::delivery::session::tls::Trust;
use crate::delivery::session::{Lost, Session};

/// How we go there.
#[derive(Clone, Copy, Debug)]
pub(in crate::delivery) struct Going<'a> {
    pub(in crate::delivery) port: u16,
    pub(in crate::delivery) helo: &'a str,
    pub(in crate::delivery) timeouts: Timeouts,
}

/// Why no session came about.
#[derive(Debug)]
pub(in crate::delivery) struct Unopened {
    pub(in crate::delivery) lost: Lost,
    /// The host that said so, where one did.
    pub(in crate::delivery) host: Option<String>,
}

/// Who a session is with.
#[derive(Clone, Debug)]
pub(in crate::delivery) struct Peer {
    pub(in crate::delivery) host: String,
    /// Whether it proved nothing but that the domain names it, for whose mail it was opened.
    pub(in crate::delivery) by_domain: bool,
}

impl Peer {
    /// Whoever this host is.
    pub(in crate::delivery) fn of(host: &str) -> Self {
        Self { host: host.to_owned(), by_domain: false }
    }
}

/// Opens a session; gives back whom it is with.
pub(in crate::delivery) async fn open(
    ways: &Ways,
    route: &Route,
    going: Going<'_>,
) -> Result<(Session, Peer), Unopened> {
    let mut unreachable = Vec::new();
    let mut refused = None;
    let mut not_safe = Vec::new();
    let mut walk = Walk::begin();
    let mut hosts = order::order(&route.hosts, &ways.random).into_iter();
    while let Some(host) = hosts.next().filter(|_| walk.next_host()) {
        let addresses = match ways.dns.addresses(&host.name).await {
            Ok(found) => found,
            Err(error) => {
                unreachable.push(error.to_string());
                walk.has_none();
                continue;
            }
        };
        if addresses.is_empty() {
            unreachable.push(format!("{} has no address", host.name));
            walk.has_none();
            continue;
        }
        let tried = some_of(addresses.iter().flat_map(|some| some.ips.clone()).collect(), hosts.len());
        'host: for addresses in addresses {
            let mut ips = addresses.ips.iter().copied().filter(|ip| tried.contains(ip)).peekable();
            if ips.peek().is_none() {
                continue;
            }
            let (trust, judge) = match trust(&ways.dns, &host, route, &addresses, going.port).await {
                Ok(trust) => trust,
                Err(why) => {
                    not_safe.push(why);
                    walk.has_none();
                    continue;
                }
            };
            for ip in ips {
                if !walk.next_address(hosts.len()) {
                    break 'host;
                }
                // Whoever listens here is ours, and no receiver: mail would go in circles. Laboratories have other ports.
                if going.port == 25 && (ip.is_loopback() || ip.is_unspecified()) {
                    unreachable.push(format!("{} [{ip}] is this machine itself", host.name));
                    continue;
                }
                match reach(&host, SocketAddr::new(ip, going.port), &trust, going).await {
                    Ok(session) => {
                        let by_domain = judge.is_some_and(|judge| judge.went_by_domain());
                        return Ok((session, Peer { host: host.name, by_domain }));
                    }
                    Err(Lost::Down(why) | Lost::Gone(why)) => unreachable.push(why),
                    Err(Lost::Misfit(why) | Lost::Handshake(why) | Lost::Denied(why)) => not_safe.push(why),
                    Err(lost @ Lost::Ended(_)) => return Err(Unopened { lost, host: Some(host.name) }),
                    Err(Lost::Refused(reply, why)) => {
                        unreachable.push(why);
                        refused.get_or_insert_with(|| (reply, host.name.clone()));
                    }
                }
            }
        }
    }
    if !not_safe.is_empty() {
        return Err(Unopened { lost: Lost::Misfit(not_safe.join("; ")), host: None });
    }
    let why = unreachable.join("; ");
    Err(match refused {
        Some((reply, host)) => Unopened { lost: Lost::Refused(reply, why), host: Some(host) },
        None => Unopened { lost: Lost::Down(why), host: None },
    })
}

/// Whom to trust at these addresses of a host, and who judges where that is asked. Its TLSA records come first: no policy
/// lets somebody pass whom they do not (T8).
async fn trust(
    dns: &Dns,
    host: &Host,
    route: &Route,
    addresses: &Addresses,
    port: u16,
) -> Result<(Trust, Option<Arc<Judge>>), String> {
    let (usual, unproven) = match host.need {
        Need::Opportunistic => (Trust::Anybody, Trust::Encrypted),
        Need::Verified => (Trust::Named, Trust::Named),
    };
    let names = if route.secure { names(dns, host, addresses).await? } else { Vec::new() };
    for name in names {
        // Where they cannot be had, somebody may keep them from us: the host is left alone (RFC 7672 2.1.2).
        let place = format!("_{port}._tcp.{name}");
        let answer = dns.ask(&place, RecordType::TLSA).await.map_err(|error| error.to_string())?;
        let Found::Records(records) = answer.found else { continue };
        if !answer.secure {
            continue;
        }
        let tlsa = Tlsa::usable(records.iter().filter_map(|record| match record {
            RData::TLSA(tlsa) => Some(tlsa),
            _ => None,
        }));
        // There are some, and none that can be used: encrypted at least (RFC 7672 2.2).
        if tlsa.is_empty() {
            return Ok((unproven, None));
        }
        let judge = Arc::new(tlsa.judge(&name, &route.domain.0));
        return Ok((Trust::Judged { judge: judge.clone(), name }, Some(judge)));
    }
    Ok((usual, None))
}

/// The names that a host's TLSA records may stand at, those tried first that do so first (RFC 7672 2.2.2): what it is an
/// alias of, and the alias; that alone where it leads to a zone that nobody vouches for, and is vouched for itself.
async fn names(dns: &Dns, host: &Host, addresses: &Addresses) -> Result<Vec<String>, String> {
    let name = host.name.clone();
    Ok(match &addresses.alias_of {
        Some(own) if addresses.secure => vec![own.clone(), name],
        None if addresses.secure => vec![name],
        Some(_) => {
            let alias = dns.ask(&name, RecordType::CNAME).await.map_err(|error| error.to_string())?;
            if alias.secure && matches!(alias.found, Found::Records(_)) { vec![name] } else { Vec::new() }
        }
        None => Vec::new(),
    })
}

/// A session with this address. Where encryption is a wish, one that fails is followed by one in clear.
async fn reach(host: &Host, address: SocketAddr, trust: &Trust, going: Going<'_>) -> Result<Session, Lost> {
    let Going { helo, timeouts, .. } = going;
    match Session::open_at(&host.name, address, helo, timeouts, Some(trust)).await {
        Err(Lost::Handshake(why)) if matches!(trust, Trust::Anybody) => {
            tracing::info!(mx.host = %host.name, reason = %why, "no encryption came about; going without");
            Session::open_at(&host.name, address, helo, timeouts, None).await
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Domain;
    use super::super::lab::resolver;
    use super::*;

    const TLSA: &str = "TLSA 3 1 1 00000000000000000000000000000000000000000000000000000000000000ff";

    /// Whom to trust at each kind of address of mx.example.
    async fn trusted(entries: &[(&str, &str)]) -> Vec<Result<Trust, String>> {
        let host = Host {
            preference: 10,
            name: "mx.example".to_owned(),
            provider: "example".to_owned(),
            need: Need::Opportunistic,
        };
        let dns = resolver(entries).await;
        let route = Route {
            provider: "example".to_owned(),
            hosts: vec![host.clone()],
            secure: true,
            domain: Domain::default(),
        };
        let mut all = Vec::new();
        for addresses in dns.addresses(&host.name).await.unwrap() {
            all.push(trust(&dns, &host, &route, &addresses, 25).await.map(|(trust, _)| trust));
        }
        all
    }

    #[tokio::test]
    async fn rfc7672_an_unanswered_question_about_one_kind_of_address_does_not_switch_dane_off() {
        let record = ("_25._tcp.mx.example", TLSA);
        let found = trusted(&[("mx.example", "A 192.0.2.1"), ("mx.example", "fails AAAA"), record]).await;
        assert!(matches!(found[..], [Ok(Trust::Judged { .. })]), "{found:?}");
        let found = trusted(&[("mx.example", "AAAA 2001:db8::1"), ("mx.example", "fails A"), record]).await;
        assert!(matches!(found[..], [Ok(Trust::Judged { .. })]), "{found:?}");
        let found = trusted(&[("mx.example", "A 192.0.2.1"), ("_25._tcp.mx.example", "fails TLSA")]).await;
        assert!(matches!(found[..], [Err(_)]), "somebody may keep them from us: {found:?}");
        let unsigned = [("mx.example", "unsigned A 192.0.2.1"), ("_25._tcp.mx.example", "fails TLSA")];
        let found = trusted(&unsigned).await;
        assert!(matches!(found[..], [Ok(Trust::Anybody)]), "nobody vouches for where it is: {found:?}");
    }

    #[tokio::test]
    async fn rfc7672_the_records_of_an_alias_are_those_of_what_it_leads_to_or_its_own() {
        // Where the records stand, and the name that the certificate must have then.
        let own = ("_25._tcp.mx.example", TLSA);
        let behind = ("_25._tcp.host.example", TLSA);
        let alias = ("mx.example", "CNAME host.example");
        let (signed, unsigned) = (("host.example", "A 192.0.2.1"), ("host.example", "unsigned A 192.0.2.1"));
        let table = [
            (vec![alias, signed, own, behind], Some("host.example")),
            (vec![alias, signed, own], Some("mx.example")),
            (vec![alias, signed], None),
            // It leads out of what is vouched for: what stands there is nobody's word.
            (vec![alias, unsigned, own, behind], Some("mx.example")),
            (vec![alias, unsigned, behind], None),
            (vec![("mx.example", "unsigned CNAME host.example"), signed, own, behind], None),
        ];
        for (entries, expected) in table {
            let found = trusted(&entries).await;
            let [Ok(trust)] = &found[..] else { panic!("{entries:?}: {found:?}") };
            match (trust, expected) {
                (Trust::Judged { name, .. }, Some(expected)) => assert_eq!(name, expected, "{entries:?}"),
                (Trust::Anybody, None) => {}
                _ => panic!("{entries:?}: {found:?}"),
            }
        }
        let fails = ("mx.example", "fails CNAME");
        let found = trusted(&[alias, fails, unsigned, own]).await;
        assert!(matches!(found[..], [Err(_)]), "whether it is vouched for is kept from us: {found:?}");
        let unusable = ("_25._tcp.host.example", "TLSA 1 1 1 00");
        let found = trusted(&[alias, signed, own, unusable]).await;
        assert!(matches!(found[..], [Ok(Trust::Encrypted)]), "there are some already: {found:?}");
    }
}

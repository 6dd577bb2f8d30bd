//! Opens a session with the first of a route's hosts that can be reached and is as safe as it must be.
//!
//! A host that cannot be reached, or that is not safe enough, leaves its place to the next; one that
//! answers "not now" ends the walk, for receivers punish those who go on to their second servers then.

use std::net::SocketAddr;

use hickory_resolver::proto::rr::{RData, RecordType};

use super::dns::Found;
use super::tlsa::Tlsa;
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

/// Opens a session; gives back the host that it is with.
pub(in crate::delivery) async fn open(
    ways: &Ways,
    route: &Route,
    going: Going<'_>,
) -> Result<(Session, String), Lost> {
    let mut unreachable = Vec::new();
    let mut refused = None;
    let mut not_safe = Vec::new();
    for host in order::order(&route.hosts, &ways.random) {
        let (addresses, secure) = match ways.dns.addresses(&host.name).await {
            Ok(found) => found,
            Err(error) => {
                unreachable.push(error.to_string());
                continue;
            }
        };
        if addresses.is_empty() {
            unreachable.push(format!("{} has no address", host.name));
            continue;
        }
        let trust = match trust(ways, &host, route, secure && route.secure, going.port).await {
            Ok(trust) => trust,
            Err(why) => {
                not_safe.push(why);
                continue;
            }
        };
        for ip in addresses {
            // Whoever listens here is ours, and no receiver: mail would go in circles. Laboratories have other ports.
            if going.port == 25 && (ip.is_loopback() || ip.is_unspecified()) {
                unreachable.push(format!("{} [{ip}] is this machine itself", host.name));
                continue;
            }
            match reach(&host, SocketAddr::new(ip, going.port), &trust, going).await {
                Ok(session) => return Ok((session, host.name)),
                Err(Lost::Down(why) | Lost::Gone(why)) => unreachable.push(why),
                Err(Lost::Misfit(why) | Lost::Handshake(why) | Lost::Denied(why)) => not_safe.push(why),
                Err(lost @ Lost::Ended(_)) => return Err(lost),
                Err(Lost::Refused(reply, why)) => {
                    unreachable.push(why);
                    refused.get_or_insert(reply);
                }
            }
        }
    }
    if !not_safe.is_empty() {
        return Err(Lost::Misfit(not_safe.join("; ")));
    }
    let why = unreachable.join("; ");
    Err(match refused {
        Some(reply) => Lost::Refused(reply, why),
        None => Lost::Down(why),
    })
}

/// Whom to trust at a host. Its TLSA records come first: no policy lets somebody pass whom they do not (T8).
async fn trust(ways: &Ways, host: &Host, route: &Route, secure: bool, port: u16) -> Result<Trust, String> {
    let usual = match route.need {
        Need::Opportunistic => Trust::Anybody,
        Need::Verified => Trust::Named,
    };
    if !secure {
        return Ok(usual);
    }
    // Where they cannot be had, somebody may keep them from us: the host is left alone (RFC 7672 2.1.2).
    let place = format!("_{port}._tcp.{}", host.name);
    let answer = ways.dns.ask(&place, RecordType::TLSA).await.map_err(|error| error.to_string())?;
    let Found::Records(records) = answer.found else { return Ok(usual) };
    if !answer.secure {
        return Ok(usual);
    }
    let tlsa = Tlsa::usable(records.iter().filter_map(|record| match record {
        RData::TLSA(tlsa) => Some(tlsa),
        _ => None,
    }));
    // There are some, and none that can be used: encrypted at least (RFC 7672 2.2).
    if tlsa.is_empty() {
        return Ok(if route.need == Need::Verified { Trust::Named } else { Trust::Encrypted });
    }
    Ok(Trust::Judged(tlsa.judge(vec![host.name.clone()])))
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

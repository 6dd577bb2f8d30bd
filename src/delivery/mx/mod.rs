//! Straight to the receivers' servers: which hosts take a domain's mail, how safe the way to them must be, and the
//! opening of a session with the first of them that can be reached.
//!
//! Pure parts stand in files of their own: `order` (MX), `sts` (MTA-STS policies), `tlsa` (DANE). Answers are kept as
//! long as they hold. A domain that takes no mail, or that nobody knows, is told by a reply of our own.

pub(super) mod dns;
mod open;
pub(super) mod order;
mod policies;
mod store;
mod sts;
mod tlsa;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::proto::rr::{RData, RecordType};
use tokio::time::Instant;

use dns::{Dns, Found};
pub(super) use open::{Going, open};
pub(super) use order::Host;
use order::Says;
use policies::Policies;

use super::classify::Class;
use super::pace::{Providers, TlsPolicy};
use super::reply::Reply;
use crate::clock::{Clock, Random};
use crate::db::Db;
use sts::Mode;

/// A domain that does not exist is believed to be a fault of somebody's for so many tries.
pub(super) const MISSING_TRIES: i64 = 2;
/// So many domains are remembered; then all are forgotten. Each is asked about again within the hour anyway.
const REMEMBERED: usize = 100_000;
/// How long it is remembered that nobody could say.
pub(super) const UNANSWERED_HOLDS: Duration = Duration::from_secs(30);

/// How safe the way must be, at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Need {
    /// Encrypted where it can be, whoever is there.
    #[default]
    Opportunistic,
    /// Encrypted, and with a certificate that names the host.
    Verified,
}

/// Where a domain's mail goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Route {
    /// The receiving provider; the domain of the hosts where it is not known.
    pub(super) provider: String,
    /// In the order of preference.
    pub(super) hosts: Vec<Host>,
    /// How safe the way must be.
    pub(super) need: Need,
    /// Whether the names of the hosts are vouched for, so that DANE can be asked for.
    pub(super) secure: bool,
}

impl Route {
    /// Whether a session that was opened for `other`, with this host, may carry this mail too.
    pub(super) fn shares(&self, other: &Self, host: &str) -> bool {
        let best = self.hosts.first().map(|first| first.preference);
        let among_best = self.hosts.iter().any(|known| Some(known.preference) == best && known.name == host);
        self == other || (among_best && self.need == other.need && self.secure == other.secure)
    }
}

/// Why a domain's mail goes nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Nowhere {
    /// It says that it takes none (RFC 7505).
    TakesNone,
    /// There is no such domain, or nothing in it takes mail.
    Missing(&'static str),
    /// Nobody could say.
    Unanswered(String),
    /// No resolver answers at all: that is our trouble, and says nothing of the domain.
    Silent(String),
    /// None of its hosts is one that it says it has: somebody may be in between.
    Unsafe(&'static str),
}

impl Nowhere {
    /// What is said in the server's place, after so many tries, and what that is about.
    pub(super) fn reply(&self, tries: i64) -> (Reply, Class) {
        match self {
            Self::TakesNone => {
                (Reply::new(556, "5.1.10 the domain says that it takes no mail (null MX)"), Class::Domain)
            }
            // A registrar's slip or a resolver's: most of them are mended within the hour.
            Self::Missing(why) if tries < MISSING_TRIES => {
                (Reply::new(450, &format!("4.4.4 {why}")), Class::System)
            }
            Self::Missing(why) => (Reply::new(550, &format!("5.4.4 {why}")), Class::Domain),
            Self::Unsafe(why) => (Reply::new(454, &format!("4.7.5 {why}")), Class::System),
            Self::Unanswered(why) | Self::Silent(why) => {
                (Reply::new(451, &format!("4.4.3 {why}")), Class::System)
            }
        }
    }
}

/// Where a domain's mail goes, or why it goes nowhere.
pub(super) type Destination = Result<Arc<Route>, Nowhere>;

/// Finds the way to domains, and remembers it.
#[derive(Debug)]
pub(super) struct Ways {
    dns: Dns,
    random: Random,
    providers: Providers,
    policies: Policies,
    known: Mutex<HashMap<String, (Instant, Destination)>>,
}

impl Ways {
    /// Asks this resolver, or the system's.
    ///
    /// # Errors
    /// The system names none that can be read.
    pub(super) fn new(
        resolver: Option<SocketAddr>,
        providers: Providers,
        random: Random,
        (db, clock): (Db, Clock),
    ) -> Result<Self, String> {
        let dns = Dns::new(resolver, random.clone())?;
        Ok(Self { dns, random, providers, policies: Policies { db, clock }, known: Mutex::default() })
    }

    /// What is remembered of a domain.
    pub(super) fn known(&self, domain: &str) -> Option<Destination> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(domain).filter(|(until, _)| *until > Instant::now()).map(|(_, found)| found.clone())
    }

    /// Where a domain's mail goes.
    pub(super) async fn find(&self, domain: &str) -> Destination {
        if let Some(known) = self.known(domain) {
            return known;
        }
        let (found, holds) = self.look(domain).await;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(domain.to_owned(), (Instant::now() + holds, found.clone()));
        found
    }

    /// Whether no resolver answers at all.
    pub(super) async fn is_silent(&self) -> bool {
        self.dns.is_silent().await
    }

    async fn look(&self, domain: &str) -> (Destination, Duration) {
        let answer = match self.dns.ask(domain, RecordType::MX).await {
            Ok(answer) => answer,
            Err(error) => return self.unanswered(&error).await,
        };
        let (mut holds, secure) = (answer.holds, answer.secure);
        let mut hosts = match answer.found {
            Found::NoSuchName => {
                return (Err(Nowhere::Missing("the domain does not exist")), holds);
            }
            Found::Records(records) => {
                let records = records.into_iter().filter_map(|record| match record {
                    RData::MX(mx) => Some((mx.preference, mx.exchange.to_ascii())),
                    _ => None,
                });
                match order::says(records) {
                    Says::TakesNone => return (Err(Nowhere::TakesNone), holds),
                    Says::Hosts(hosts) => hosts,
                }
            }
            // Without MX the domain's own address takes its mail (RFC 5321 5.1).
            Found::Nothing => match self.dns.addresses(domain).await {
                Err(error) => return self.unanswered(&error).await,
                Ok((addresses, _)) if addresses.is_empty() => {
                    return (Err(Nowhere::Missing("nothing in the domain takes mail")), holds);
                }
                Ok(_) => vec![Host { preference: 0, name: domain.to_ascii_lowercase() }],
            },
        };
        let names = hosts.iter().map(|host| host.name.as_str());
        let provider = self.providers.of_hosts(names).map_or_else(|| order::group(&hosts), str::to_owned);
        let mut need = match self.providers.bears(&provider).tls {
            TlsPolicy::Required => Need::Verified,
            TlsPolicy::Opportunistic => Need::Opportunistic,
        };
        if let Some(policy) = self.policies.find(domain, &self.dns).await {
            let named = |host: &Host| policy.names(&host.name);
            match policy.mode {
                Mode::Enforce => {
                    hosts.retain(named);
                    need = Need::Verified;
                    if hosts.is_empty() {
                        let why = "no MX of the domain is one that its MTA-STS policy names";
                        return (Err(Nowhere::Unsafe(why)), holds);
                    }
                }
                Mode::Testing if !hosts.iter().any(named) => {
                    tracing::warn!(
                        domain,
                        "no MX of the domain is one that its MTA-STS policy (testing) names"
                    );
                }
                Mode::Testing | Mode::None => {}
            }
        }
        holds = holds.max(Duration::from_secs(1));
        (Ok(Arc::new(Route { provider, hosts, need, secure })), holds)
    }
}

impl Ways {
    /// A question that was not answered: is it the domain, or whoever was asked?
    async fn unanswered(&self, error: &dns::Unanswered) -> (Destination, Duration) {
        let nowhere = if !error.heard && self.dns.is_silent().await {
            Nowhere::Silent(format!("no resolver answers ({error})"))
        } else {
            Nowhere::Unanswered(error.to_string())
        };
        (Err(nowhere), UNANSWERED_HOLDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t16_what_goes_nowhere_is_told_and_a_missing_domain_is_believed_late() {
        let missing = Nowhere::Missing("the domain does not exist");
        let (reply, class) = missing.reply(0);
        assert_eq!((reply.code, reply.enhanced.as_deref(), class), (450, Some("4.4.4"), Class::System));
        let (reply, class) = missing.reply(2);
        assert_eq!((reply.code, reply.enhanced.as_deref(), class), (550, Some("5.4.4"), Class::Domain));
        let (reply, class) = Nowhere::TakesNone.reply(0);
        assert_eq!((reply.code, reply.enhanced.as_deref(), class), (556, Some("5.1.10"), Class::Domain));
    }

    #[test]
    fn a_session_carries_only_what_its_host_takes_as_safely() {
        let route = |hosts: &[(u16, &str)], need| Route {
            provider: "p".to_owned(),
            hosts: hosts.iter().map(|(p, name)| Host { preference: *p, name: (*name).to_owned() }).collect(),
            need,
            secure: false,
        };
        let own = route(&[(10, "a"), (20, "b")], Need::Opportunistic);
        assert!(own.shares(&own, "b"), "its own second host, where the walk ended");
        assert!(route(&[(5, "a"), (5, "c")], Need::Opportunistic).shares(&own, "a"));
        assert!(
            !route(&[(5, "c"), (10, "a")], Need::Opportunistic).shares(&own, "a"),
            "a is no first choice"
        );
        assert!(!route(&[(5, "a")], Need::Verified).shares(&own, "a"), "nobody asked a who it is");
    }
}

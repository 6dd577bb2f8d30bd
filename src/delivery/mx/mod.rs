//! Straight to the receivers' servers: which hosts take a domain's mail, how safe the way to them must be, and the
//! opening of a session with the first of them that can be reached.
//!
//! Pure parts stand in files of their own: `order` (MX), `sts` (MTA-STS policies), `tlsa` (DANE). Answers are kept as
//! long as they hold. A domain that takes no mail, or that nobody knows, is told by a reply of our own.

pub(super) mod dns;
mod missing;
mod open;
pub(super) mod order;
mod policies;
mod store;
mod sts;
mod tlsa;
mod walk;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::proto::rr::{RData, RecordType};
use tokio::time::Instant;

use dns::{Dns, Found};
use missing::Missing;
pub(super) use open::{Going, Peer, open};
pub(super) use order::{Host, Need};
use order::{Says, best};
use policies::Policies;

use super::classify::Class;
use super::pace::{Providers, TlsPolicy};
use super::reply::Reply;
use crate::clock::{Clock, Random};
use crate::db::Db;
use sts::Mode;

/// So many domains are remembered; then all are forgotten. Each is asked about again within the hour anyway.
const REMEMBERED: usize = 100_000;
/// How long it is remembered that nobody could say, or that there is no such domain: whoever asks again has a new answer.
pub(super) const UNANSWERED_HOLDS: Duration = Duration::from_secs(30);

/// Where a domain's mail goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Route {
    /// Whose limits it keeps: the receiving provider, its group where that is not known, or the domain's own.
    pub(super) provider: String,
    /// In the order of preference.
    pub(super) hosts: Vec<Host>,
    /// Whether the names of the hosts are vouched for, so that DANE can be asked for.
    pub(super) secure: bool,
    /// By which names of the domain itself its hosts may be proven.
    pub(super) domain: Domain,
}

/// What a domain is called, where its MX is vouched for: its name, and that which this is an alias of.
#[derive(Clone, Debug, Default)]
pub(super) struct Domain(Vec<String>);

/// Mail to many domains goes the same way, and their routes are the same.
impl PartialEq for Domain {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Domain {}

impl std::hash::Hash for Domain {
    fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
}

impl Route {
    /// Whether a session that was opened for `other`, with this host, may carry this mail too.
    pub(super) fn shares(&self, other: &Self, peer: &Peer) -> bool {
        if peer.by_domain && self.domain.0 != other.domain.0 {
            return false;
        }
        let need = |route: &Self| {
            route.hosts.iter().filter(|known| known.name == peer.host).map(|known| known.need).max()
        };
        let among_best = best(&self.hosts).any(|known| known.name == peer.host);
        self == other || (among_best && need(self) == need(other) && self.secure == other.secure)
    }

    /// Whether what this host says is said for the provider whose limits are kept. Not where it stands behind somebody
    /// else's: anybody may name a great provider's host in front of one of their own.
    pub(super) fn speaks(&self, host: &str) -> bool {
        let own = |known: &Host| known.provider == self.provider;
        best(&self.hosts).chain(self.hosts.iter().filter(|known| own(known))).any(|known| known.name == host)
    }
}

/// Why a domain's mail goes nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Nowhere {
    /// It says that it takes none (RFC 7505).
    TakesNone,
    /// There is no such domain, or nothing in it takes mail.
    Missing {
        /// Which of them.
        why: &'static str,
        /// Whether that was so for long enough to be no slip of somebody's.
        believed: bool,
    },
    /// Nobody could say.
    Unanswered(String),
    /// No resolver answers at all, or finds anything out: that is our trouble, and says nothing of the domain.
    Silent(String),
    /// None of its hosts is one that it says it has: somebody may be in between.
    Unsafe(&'static str),
}

impl Nowhere {
    /// What is said in the server's place, and what that is about.
    pub(super) fn reply(&self) -> (Reply, Class) {
        match self {
            Self::TakesNone => {
                (Reply::new(556, "5.1.10 the domain says that it takes no mail (null MX)"), Class::Domain)
            }
            Self::Missing { why, believed: false } => {
                (Reply::new(450, &format!("4.4.4 {why}")), Class::System)
            }
            Self::Missing { why, .. } => (Reply::new(550, &format!("5.4.4 {why}")), Class::Domain),
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
    clock: Clock,
    missing: Missing,
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
        let policies = Policies::new(db, clock.clone());
        let (missing, known) = (Missing::default(), Mutex::default());
        Ok(Self { dns, random, providers, policies, clock, missing, known })
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

    /// The provider whose servers take a domain's mail; `None` where nobody can say, or none takes it.
    pub(super) async fn provider(&self, domain: &str) -> Option<String> {
        let hosts = match self.dns.ask(domain, RecordType::MX).await.ok()?.found {
            Found::NoSuchName => return None,
            Found::Records(records) => match says(records) {
                Says::TakesNone => return None,
                Says::Hosts(hosts) => hosts,
            },
            Found::Nothing => vec![itself(domain)],
        };
        let domain = domain.to_ascii_lowercase();
        let host = |named| self.host(named, Need::Opportunistic, &domain);
        let hosts: Vec<Host> = hosts.into_iter().map(host).collect();
        Some(order::provider(&hosts, &domain))
    }

    /// Whether no resolver answers, or finds anything out.
    pub(super) async fn is_silent(&self) -> bool {
        self.dns.is_silent().await
    }

    async fn look(&self, domain: &str) -> (Destination, Duration) {
        let answer = match self.dns.ask(domain, RecordType::MX).await {
            Ok(answer) => answer,
            Err(error) => return self.unanswered(&error).await,
        };
        let (mut holds, secure) = (answer.holds, answer.secure);
        let own = [Some(domain.to_ascii_lowercase()), answer.alias_of];
        let own = Domain(own.into_iter().flatten().filter(|_| secure).collect());
        let mut hosts = match answer.found {
            Found::NoSuchName => return self.missing(domain, "the domain does not exist", holds),
            Found::Records(records) => match says(records) {
                Says::TakesNone => return (Err(Nowhere::TakesNone), holds),
                Says::Hosts(hosts) => hosts,
            },
            // Without MX the domain's own address takes its mail (RFC 5321 5.1).
            Found::Nothing => match self.dns.addresses(domain).await {
                Err(error) => return self.unanswered(&error).await,
                Ok(addresses) if addresses.is_empty() => {
                    return self.missing(domain, "nothing in the domain takes mail", holds);
                }
                Ok(_) => vec![itself(domain)],
            },
        };
        self.missing.is_there(domain);
        let mut least = Need::Opportunistic;
        if let Some(policy) = self.policies.find(domain, &self.dns).await {
            let named = |(_, name): &(u16, String)| policy.names(name);
            match policy.mode {
                Mode::Enforce => {
                    hosts.retain(named);
                    least = Need::Verified;
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
        let domain = domain.to_ascii_lowercase();
        let hosts: Vec<Host> = hosts.into_iter().map(|named| self.host(named, least, &domain)).collect();
        let provider = order::provider(&hosts, &domain);
        (Ok(Arc::new(Route { provider, hosts, secure, domain: own })), holds)
    }

    /// Whose this host of the domain is, and how safe the way to it must be: as its own provider's rule says, and at least
    /// as the domain's policy.
    fn host(&self, (preference, name): (u16, String), least: Need, domain: &str) -> Host {
        let known = self.providers.of_host(&name);
        let need = match self.providers.bears(known.unwrap_or_default()).tls {
            TlsPolicy::Required => Need::Verified,
            TlsPolicy::Opportunistic => least,
        };
        let provider = known.map_or_else(|| order::group(&name, domain), str::to_owned);
        Host { preference, name, provider, need }
    }
}

impl Ways {
    /// There is no such domain, or nothing there.
    fn missing(&self, domain: &str, why: &'static str, holds: Duration) -> (Destination, Duration) {
        let believed = self.missing.found(domain, self.clock.now_ms());
        (Err(Nowhere::Missing { why, believed }), holds.min(UNANSWERED_HOLDS))
    }

    /// A question that was not answered: is it the domain, or whoever was asked?
    async fn unanswered(&self, error: &dns::Unanswered) -> (Destination, Duration) {
        let nowhere = if self.dns.is_silent().await {
            let what = if error.heard { "finds anything out" } else { "answers" };
            Nowhere::Silent(format!("no resolver {what} ({error})"))
        } else {
            Nowhere::Unanswered(error.to_string())
        };
        (Err(nowhere), UNANSWERED_HOLDS)
    }
}

/// What the MX among these records say.
fn says(records: Vec<RData>) -> Says {
    order::says(records.into_iter().filter_map(|record| match record {
        RData::MX(mx) => Some((mx.preference, mx.exchange.to_ascii())),
        _ => None,
    }))
}

/// The domain's own address, where it has no MX.
fn itself(domain: &str) -> (u16, String) {
    (0, domain.to_ascii_lowercase())
}

#[cfg(test)]
mod lab;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Options;
    use hickory_resolver::proto::op::{Message, ResponseCode};
    use hickory_resolver::proto::rr::rdata::SOA;
    use hickory_resolver::proto::rr::{Name, Record};

    #[test]
    fn t16_what_goes_nowhere_is_told_and_a_missing_domain_is_believed_late() {
        let missing = |believed| Nowhere::Missing { why: "the domain does not exist", believed }.reply();
        let (reply, class) = missing(false);
        assert_eq!((reply.code, reply.enhanced.as_deref(), class), (450, Some("4.4.4"), Class::System));
        let (reply, class) = missing(true);
        assert_eq!((reply.code, reply.enhanced.as_deref(), class), (550, Some("5.4.4"), Class::Domain));
        let (reply, class) = Nowhere::TakesNone.reply();
        assert_eq!((reply.code, reply.enhanced.as_deref(), class), (556, Some("5.1.10"), Class::Domain));
    }

    /// A resolver that has this answer to everything, to be kept for a day.
    async fn resolver(code: ResponseCode) -> SocketAddr {
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = vec![0; 2048];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let asked = Message::from_vec(&buffer[..length]).unwrap();
                let mut answer = Message::response(asked.metadata.id, asked.metadata.op_code);
                answer.add_query(asked.queries[0].clone());
                answer.metadata.response_code = code;
                let name = || Name::from_ascii("example.").unwrap();
                let soa = SOA::new(name(), name(), 1, 3600, 600, 86_400, 86_400);
                answer.add_authorities([Record::from_rdata(name(), 86_400, RData::SOA(soa))]);
                socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
            }
        });
        address
    }

    /// Ways that this resolver tells, at half past five.
    async fn ways(resolver: SocketAddr) -> (Ways, Clock, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&Options::new(&format!("sqlite:{}/db", folder.path().display()))).await.unwrap();
        let clock = Clock::manual("2026-11-24T05:30:00Z".parse().unwrap());
        let things = (db, clock.clone());
        let ways = Ways::new(Some(resolver), Providers::built_in(), Random::seeded(1), things).unwrap();
        (ways, clock, folder)
    }

    #[tokio::test]
    async fn t16_a_missing_domain_is_asked_about_anew_and_believed_after_an_hour() {
        let (ways, clock, _folder) = ways(resolver(ResponseCode::NXDomain).await).await;
        let mut codes = Vec::new();
        for minutes in [0, 1, 3, 10, 20, 40] {
            clock.advance(Duration::from_secs(minutes * 60));
            let (found, holds) = ways.look("gone.example").await;
            assert!(holds <= UNANSWERED_HOLDS, "the next try has an answer of its own: {holds:?}");
            codes.push(found.unwrap_err().reply().0.code);
        }
        assert_eq!(codes, [450, 450, 450, 450, 450, 550]);
    }

    #[tokio::test]
    async fn a_resolver_that_finds_nothing_out_says_nothing_of_a_domain() {
        for (code, silent) in
            [(ResponseCode::ServFail, true), (ResponseCode::Refused, true), (ResponseCode::NXDomain, false)]
        {
            let (ways, _, _folder) = ways(resolver(code).await).await;
            assert_eq!(ways.is_silent().await, silent, "{code}");
            let (found, _) = ways.look("one.example").await;
            assert_eq!(matches!(found, Err(Nowhere::Silent(_))), silent, "{code}: {found:?}");
        }
    }

    /// To these, each with whose it is and how safe it must be.
    fn route(provider: &str, hosts: &[(u16, &str, &str, Need)]) -> Route {
        let host = |(preference, name, provider, need): &(u16, &str, &str, Need)| Host {
            preference: *preference,
            name: (*name).to_owned(),
            provider: (*provider).to_owned(),
            need: *need,
        };
        let hosts = hosts.iter().map(host).collect();
        Route { provider: provider.to_owned(), hosts, secure: false, domain: Domain::default() }
    }

    #[test]
    fn a_session_carries_only_what_its_host_takes_as_safely() {
        const ANY: Need = Need::Opportunistic;
        let route = |hosts: &[(u16, &str, Need)]| {
            let hosts: Vec<_> = hosts.iter().map(|(p, name, need)| (*p, *name, "p", *need)).collect();
            route("p", &hosts)
        };
        let own = route(&[(10, "a", ANY), (20, "b", ANY)]);
        let [a, b] = ["a", "b"].map(Peer::of);
        assert!(own.shares(&own, &b), "its own second host, where the walk ended");
        assert!(route(&[(5, "a", ANY), (5, "c", Need::Verified)]).shares(&own, &a));
        assert!(!route(&[(5, "c", ANY), (10, "a", ANY)]).shares(&own, &a), "a is no first choice");
        assert!(!route(&[(5, "a", Need::Verified)]).shares(&own, &a), "nobody asked a who it is");
    }

    #[test]
    fn section_4_nobody_speaks_for_the_provider_whose_host_stands_in_front_of_theirs() {
        const ANY: Need = Need::Opportunistic;
        let google = (10, "mx.google.com", "google", Need::Verified);
        let behind = route("google", &[google, (20, "evil.example", "evil.example", ANY)]);
        assert!(behind.speaks("mx.google.com"));
        assert!(!behind.speaks("evil.example"));
        let second = route("google", &[google, (20, "alt.google.com", "google", Need::Verified)]);
        assert!(second.speaks("alt.google.com"), "its own second host");
        let mixed = route("own.example", &[google, (10, "mx.own.example", "own.example", ANY)]);
        assert!(mixed.speaks("mx.google.com") && mixed.speaks("mx.own.example"), "its limits are its own");
    }

    #[test]
    fn rfc7672_who_was_proven_by_a_domains_name_alone_carries_no_other_domains_mail() {
        let of = |domain: &str| Route {
            secure: true,
            domain: Domain(vec![domain.to_owned()]),
            ..route("p", &[(10, "a", "p", Need::Opportunistic)])
        };
        let (own, other) = (of("one.example"), of("two.example"));
        assert_eq!(own, other, "their mail goes the same way");
        for (by_domain, shared) in [(false, true), (true, false)] {
            let peer = Peer { host: "a".to_owned(), by_domain };
            assert_eq!(other.shares(&own, &peer), shared);
            assert!(own.shares(&own, &peer));
        }
    }
}

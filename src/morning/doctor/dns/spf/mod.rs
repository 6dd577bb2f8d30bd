//! SPF: whether the domain of the return path lets our addresses send for it (RFC 7208).
//!
//! A record is read with all that it includes, as a receiver reads it, with the same bounds; then our addresses are held
//! against it. What only a receiver can know (macros, `exists`, `ptr`) is not guessed: where it decides, nothing is said.

mod judge;
mod record;

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use super::outgoing::Way;
use super::{is_address, unanswered};
use crate::delivery::names::{Names, Takes};
use crate::morning::doctor::finding::Finding;
use judge::judge;
use record::{Mechanism, Net, Qualifier, Term};

/// More questions than this make a receiver give up (RFC 7208 4.6.4), and us, a little later.
const LOOKUPS: usize = 10;
const ENOUGH: usize = 20;
/// Questions without an answer, likewise.
const VOID_LOOKUPS: usize = 2;

/// A record with all that it includes.
#[derive(Clone, Debug, Default)]
struct Policy {
    terms: Vec<(Qualifier, Matches)>,
    redirect: Redirect,
}

/// What is read where no term fits.
#[derive(Clone, Debug, Default)]
enum Redirect {
    #[default]
    Nowhere,
    To(Box<Policy>),
    /// Nobody can say beforehand where.
    Anywhere,
}

/// What a term fits.
#[derive(Clone, Debug)]
enum Matches {
    All,
    Nets(Vec<Net>),
    Included(Policy),
    /// It cannot be read, and whoever comes so far is turned away with a fault.
    Broken,
    /// Nobody can say beforehand.
    Unknown,
}

impl Policy {
    /// Of a record that cannot be read.
    fn broken() -> Self {
        Self { terms: vec![(Qualifier::Broken, Matches::Broken)], redirect: Redirect::Nowhere }
    }
}

/// What was met on the way through a record.
#[derive(Clone, Debug, Default)]
struct Walk {
    lookups: usize,
    void: usize,
    faults: Vec<String>,
    unanswered: Option<String>,
}

/// What is published.
#[derive(Clone, Debug)]
enum Published {
    Nothing,
    Several(usize),
    One { text: String, policy: Policy, walk: Walk },
}

pub(super) async fn look(names: &Names, domain: &str, ways: &[Way]) -> Vec<Finding> {
    let texts = match names.texts(domain).await {
        Ok(texts) => texts,
        Err(why) => return vec![unanswered(domain, &why)],
    };
    let mut records: Vec<String> = texts.into_iter().filter(|text| record::is_one(text)).collect();
    let published = match records.len() {
        0 => Published::Nothing,
        1 => {
            let text = records.remove(0);
            let mut walk = Walk::default();
            let policy = read(names, domain.to_owned(), text.clone(), &mut walk).await;
            Published::One { text, policy, walk }
        }
        several => Published::Several(several),
    };
    judge(domain, &published, ways)
}

type Reading<'a> = Pin<Box<dyn Future<Output = Policy> + Send + 'a>>;

/// Reads a record and what it includes, as long as a receiver would, and a little longer.
fn read<'a>(names: &'a Names, domain: String, text: String, walk: &'a mut Walk) -> Reading<'a> {
    Box::pin(async move {
        let (terms, redirect) = match record::parse(&text) {
            Ok(parsed) => parsed,
            Err(fault) => {
                walk.faults.push(format!("{domain}: {fault}"));
                return Policy::broken();
            }
        };
        let mut policy = Policy::default();
        for Term { qualifier, mechanism } in terms {
            let ends = matches!(mechanism, Mechanism::All);
            let matches = of_mechanism(names, &domain, mechanism, walk).await;
            let qualifier = if matches!(matches, Matches::Broken) { Qualifier::Broken } else { qualifier };
            policy.terms.push((qualifier, matches));
            if ends {
                return policy;
            }
        }
        if let Some(other) = redirect {
            if record::has_macro(&other) {
                walk.lookups += 1;
                policy.redirect = Redirect::Anywhere;
            } else if let Some(other) = included(names, &other, walk).await {
                policy.redirect = Redirect::To(Box::new(other));
            }
        }
        policy
    })
}

async fn of_mechanism(names: &Names, domain: &str, mechanism: Mechanism, walk: &mut Walk) -> Matches {
    let own = |named: Option<String>| named.unwrap_or_else(|| domain.to_owned());
    match mechanism {
        Mechanism::All => Matches::All,
        Mechanism::Net(net) => Matches::Nets(vec![net]),
        Mechanism::Unknown => {
            walk.lookups += 1;
            Matches::Unknown
        }
        Mechanism::Include(other) => {
            included(names, &other, walk).await.map_or(Matches::Unknown, Matches::Included)
        }
        Mechanism::A { host, lengths } => {
            if !may_ask(walk) {
                return Matches::Unknown;
            }
            nets(&addresses(names, &own(host), walk).await, lengths)
        }
        Mechanism::Mx { domain: named, lengths } => {
            if !may_ask(walk) {
                return Matches::Unknown;
            }
            let hosts = match names.takes_mail(&own(named)).await {
                Ok(Takes::Hosts(hosts)) => hosts,
                Ok(Takes::NoMail | Takes::NoRecord) => {
                    walk.void += 1;
                    Vec::new()
                }
                Err(why) => {
                    walk.unanswered = Some(why);
                    Vec::new()
                }
            };
            if hosts.len() > LOOKUPS {
                walk.faults
                    .push(format!("{domain}: an mx of it has {} hosts, more than {LOOKUPS}", hosts.len()));
                return Matches::Broken;
            }
            let mut all = Vec::new();
            for host in &hosts {
                all.extend(addresses(names, host, walk).await);
            }
            nets(&all, lengths)
        }
    }
}

fn may_ask(walk: &mut Walk) -> bool {
    walk.lookups += 1;
    walk.lookups <= ENOUGH
}

fn nets(addresses: &[IpAddr], (four, six): (u8, u8)) -> Matches {
    let net = |ip: &IpAddr| Net { ip: *ip, length: if ip.is_ipv4() { four } else { six } };
    Matches::Nets(addresses.iter().map(net).collect())
}

async fn addresses(names: &Names, host: &str, walk: &mut Walk) -> Vec<IpAddr> {
    if is_address(host) {
        walk.void += 1;
        return Vec::new();
    }
    match names.addresses(host).await {
        Ok(addresses) => {
            walk.void += usize::from(addresses.is_empty());
            addresses
        }
        Err(why) => {
            walk.unanswered = Some(why);
            Vec::new()
        }
    }
}

/// Another domain's record.
async fn included(names: &Names, domain: &str, walk: &mut Walk) -> Option<Policy> {
    if !may_ask(walk) {
        return None;
    }
    let texts = match names.texts(domain).await {
        Ok(texts) => texts,
        Err(why) => {
            walk.unanswered = Some(why);
            return None;
        }
    };
    walk.void += usize::from(texts.is_empty());
    let mut records: Vec<String> = texts.into_iter().filter(|text| record::is_one(text)).collect();
    if records.len() == 1 {
        return Some(read(names, domain.to_owned(), records.remove(0), walk).await);
    }
    walk.faults.push(format!("{domain}, which it names, has {} SPF records", records.len()));
    Some(Policy::broken())
}

#[cfg(test)]
mod tests;

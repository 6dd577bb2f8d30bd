//! SPF: whether the domain of the return path lets our addresses send for it (RFC 7208).
//!
//! A record is read with all that it includes, as a receiver reads it, with the same bounds; then our addresses are held
//! against it. What only a receiver can know (macros, `exists`, `ptr`) lets nobody pass here.

mod record;

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use super::outgoing::{Leaves, Way};
use super::{AREA, Verdict, unanswered};
use crate::delivery::names::{Names, Takes};
use crate::morning::doctor::finding::{Finding, txt_record};
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
    /// Another one that is read where no term fits.
    redirect: Option<Box<Self>>,
}

/// What a term fits.
#[derive(Clone, Debug)]
enum Matches {
    All,
    Nets(Vec<Net>),
    Included(Policy),
    /// Nobody can say beforehand.
    Unknown,
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
                return Policy::default();
            }
        };
        let mut policy = Policy::default();
        for Term { qualifier, mechanism } in terms {
            let ends = matches!(mechanism, Mechanism::All);
            let matches = of_mechanism(names, &domain, mechanism, walk).await;
            policy.terms.push((qualifier, matches));
            if ends {
                return policy;
            }
        }
        if let Some(other) = redirect {
            policy.redirect = included(names, &other, walk).await.map(Box::new);
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
            let mut all = Vec::new();
            for host in hosts.iter().take(LOOKUPS) {
                all.extend(names.addresses(host).await.unwrap_or_default());
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
    walk.faults.push(format!("{domain}, which it includes, has {} SPF records", records.len()));
    None
}

impl Policy {
    /// What becomes of an address; `None` where no term fits, or only a receiver could say.
    fn of(&self, ip: IpAddr) -> Option<Qualifier> {
        for (qualifier, matches) in &self.terms {
            let fits = match matches {
                Matches::All => true,
                Matches::Nets(nets) => nets.iter().any(|net| net.holds(ip)),
                Matches::Included(other) => other.of(ip) == Some(Qualifier::Pass),
                Matches::Unknown => false,
            };
            if fits {
                return Some(*qualifier);
            }
        }
        self.redirect.as_ref().and_then(|other| other.of(ip))
    }

    /// What becomes of whoever is in no other term.
    fn of_others(&self) -> Option<Qualifier> {
        let all = self.terms.iter().find(|(_, matches)| matches!(matches, Matches::All));
        match (all, &self.redirect) {
            (Some((qualifier, _)), _) => Some(*qualifier),
            (None, Some(other)) => other.of_others(),
            (None, None) => None,
        }
    }
}

fn judge(domain: &str, published: &Published, ways: &[Way]) -> Vec<Finding> {
    let fresh = txt_record(domain, &format!("v=spf1{} -all", terms_of(ways)));
    let bad = |told: String, advice: &str| vec![Finding::bad(AREA, domain, told, advice).with_record(&fresh)];
    let (text, policy, walk) = match published {
        Published::Nothing => {
            return bad(
                "The domain of the return path has no SPF record (A1).".to_owned(),
                "Publish this record, with whoever else sends for the domain.",
            );
        }
        Published::Several(count) => {
            return bad(
                format!("It has {count} SPF records: receivers take none of them."),
                "Publish one alone, such as this.",
            );
        }
        Published::One { text, policy, walk } => (text, policy, walk),
    };
    let mut findings = Vec::new();
    if let Some(fault) = walk.faults.first() {
        let told = format!("Its SPF record cannot be read: {fault}.");
        findings.push(Finding::bad(AREA, domain, told, format!("Mend that part of {text:?}.")));
    }
    if walk.lookups > LOOKUPS {
        findings.push(Finding::bad(
            AREA,
            domain,
            format!("Its SPF record costs {} lookups, and receivers give up after {LOOKUPS} (A8).", at_most(walk.lookups)),
            "Put networks (ip4:, ip6:) in the place of what it includes, or give newsletters a domain of their \
             own (bounces.domain).",
        ));
    }
    if walk.void > VOID_LOOKUPS {
        findings.push(Finding::doubtful(
            AREA,
            domain,
            format!(
                "{} names in its SPF record have nothing; after {VOID_LOOKUPS} receivers may give up.",
                walk.void
            ),
            "Take out what is there no more.",
        ));
    }
    findings.extend(judge_end(domain, text, policy));
    if let Some(why) = &walk.unanswered {
        findings.push(unanswered(domain, why));
    } else {
        findings.extend(ways.iter().map(|way| judge_way(domain, text, policy, way)));
    }
    if findings.iter().all(|found| matches!(found.verdict, Verdict::Good | Verdict::Unseen)) {
        let told =
            format!("Its SPF record is one, ends well and costs {} of {LOOKUPS} lookups.", walk.lookups);
        findings.insert(0, Finding::good(AREA, domain, told));
    }
    findings
}

fn at_most(lookups: usize) -> String {
    if lookups > ENOUGH { format!("more than {ENOUGH}") } else { lookups.to_string() }
}

/// What becomes of strangers.
fn judge_end(domain: &str, text: &str, policy: &Policy) -> Option<Finding> {
    let closed = |words: &str| {
        let bare: Vec<&str> = words.split_ascii_whitespace().filter(|word| !record::is_all(word)).collect();
        txt_record(domain, &format!("{} -all", bare.join(" ")))
    };
    let told = match policy.of_others() {
        Some(Qualifier::Fail | Qualifier::SoftFail) => return None,
        Some(Qualifier::Pass) => {
            let told = "Its SPF record lets everybody send for the domain (+all).";
            return Some(Finding::bad(AREA, domain, told, "Close it.").with_record(closed(text)));
        }
        Some(Qualifier::Neutral) => "Its SPF record says nothing about strangers (?all).",
        None => "Its SPF record does not end in -all or ~all.",
    };
    Some(
        Finding::doubtful(AREA, domain, told, "Close it with -all, or ~all while you try.")
            .with_record(closed(text)),
    )
}

/// Whether one way out is let through.
fn judge_way(domain: &str, text: &str, policy: &Policy, way: &Way) -> Finding {
    let relay = &way.relay;
    let (addresses, sure) = match &way.leaves {
        Leaves::Unknown(why) => {
            let told = format!("Whether SPF lets relay {relay} through is not known: {why}.");
            return Finding::unseen(AREA, domain, told);
        }
        Leaves::From(addresses) => (addresses, true),
        Leaves::Perhaps(addresses) => (addresses, false),
    };
    let passes = |ip: &&IpAddr| policy.of(**ip) == Some(Qualifier::Pass);
    let shut_out: Vec<String> = addresses.iter().filter(|ip| !passes(ip)).map(ToString::to_string).collect();
    if shut_out.is_empty() {
        let all: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        return Finding::good(AREA, domain, format!("SPF lets relay {relay} through ({}).", all.join(", ")));
    }
    let shut_out = shut_out.join(", ");
    if !sure {
        let told = format!("SPF does not let {shut_out} through, from where relay {relay} may send.");
        let advice = "Ask its keeper which addresses, or which include:, belong in the record, and publish it \
            with them.";
        return Finding::doubtful(AREA, domain, told, advice);
    }
    let mut words: Vec<&str> = text.split_ascii_whitespace().collect();
    let own = terms_of(std::slice::from_ref(way));
    words.insert(1.min(words.len()), own.trim());
    let told = format!("SPF does not let relay {relay} through: mail leaves from {shut_out}.");
    let record = txt_record(domain, &words.join(" "));
    Finding::bad(AREA, domain, told, "Publish the record with that address in it.").with_record(record)
}

/// The terms that let these through.
fn terms_of(ways: &[Way]) -> String {
    let mut terms = Vec::new();
    for way in ways {
        let own: Vec<String> = match &way.leaves {
            Leaves::From(addresses) | Leaves::Perhaps(addresses) => {
                addresses.iter().map(record::term_of).collect()
            }
            Leaves::Unknown(_) => vec!["mx".to_owned()],
        };
        terms.extend(own.into_iter().map(|term| format!(" {term}")));
    }
    terms.dedup();
    if terms.is_empty() { " mx".to_owned() } else { terms.concat() }
}

#[cfg(test)]
mod tests;

//! What a record of SPF comes to: how it ends, and whether it lets our addresses through. Nobody is asked anything here.

use std::net::IpAddr;

use super::record::{self, Qualifier};
use super::{ENOUGH, LOOKUPS, Matches, Policy, Published, Redirect, VOID_LOOKUPS, Walk};
use crate::morning::doctor::Verdict;
use crate::morning::doctor::dns::outgoing::{Leaves, Way};
use crate::morning::doctor::dns::{AREA, unanswered};
use crate::morning::doctor::finding::{Finding, txt_record};

/// What comes of a redirect that only a receiver can follow.
const ANYTHING: [Option<Qualifier>; 5] =
    [Some(Qualifier::Pass), Some(Qualifier::Fail), Some(Qualifier::SoftFail), Some(Qualifier::Neutral), None];

impl Policy {
    /// All that may become of an address, `None` where no term fits: more than one thing where only a receiver can say.
    pub(super) fn of(&self, ip: IpAddr) -> Vec<Option<Qualifier>> {
        let mut all = Vec::new();
        for (qualifier, matches) in &self.terms {
            let (may_fit, may_not) = match matches {
                Matches::All => (true, false),
                Matches::Nets(nets) => {
                    let fits = nets.iter().any(|net| net.holds(ip));
                    (fits, !fits)
                }
                Matches::Included(other) => {
                    let theirs = other.of(ip);
                    let passes = |found: &Option<Qualifier>| *found == Some(Qualifier::Pass);
                    (theirs.iter().any(passes), !theirs.iter().all(passes))
                }
                Matches::Unknown => (true, true),
            };
            if may_fit {
                all.push(Some(*qualifier));
            }
            if !may_not {
                return all;
            }
        }
        match &self.redirect {
            Redirect::Nowhere => all.push(None),
            Redirect::To(other) => all.extend(other.of(ip)),
            Redirect::Anywhere => all.extend(ANYTHING),
        }
        all
    }

    /// All that may become of whoever is in no other term.
    pub(super) fn of_others(&self) -> Vec<Option<Qualifier>> {
        let all = self.terms.iter().find(|(_, matches)| matches!(matches, Matches::All));
        match (all, &self.redirect) {
            (Some((qualifier, _)), _) => vec![Some(*qualifier)],
            (None, Redirect::Nowhere) => vec![None],
            (None, Redirect::To(other)) => other.of_others(),
            (None, Redirect::Anywhere) => ANYTHING.to_vec(),
        }
    }

    /// Whether each way out is known, and let through by another term than `all`: then the record may be closed.
    fn lets_through_if_closed(&self, ways: &[Way]) -> bool {
        let named = self.terms.iter().filter(|(_, matches)| !matches!(matches, Matches::All));
        let named = Self { terms: named.cloned().collect(), redirect: Redirect::Nowhere };
        ways.iter().all(|way| match &way.leaves {
            Leaves::From(all) | Leaves::Perhaps(all) => {
                all.iter().all(|ip| named.of(*ip) == [Some(Qualifier::Pass)])
            }
            Leaves::Unknown(_) => false,
        })
    }

    fn has_all(&self) -> bool {
        self.terms.iter().any(|(_, matches)| matches!(matches, Matches::All))
    }
}

/// What a record comes to, and for each way out whether it is let through.
pub(super) fn judge(domain: &str, published: &Published, ways: &[Way]) -> Vec<Finding> {
    // What is a guess shuts nobody out.
    let is_known = ways.iter().all(|way| matches!(way.leaves, Leaves::From(_)));
    let end = if is_known { "-all" } else { "~all" };
    let fresh = txt_record(domain, &format!("v=spf1{} {end}", terms_of(ways)));
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
                "Publish one alone, such as this, with all who send for the domain (those that are there name them).",
            );
        }
        Published::One { text, policy, walk } => (text, policy, walk),
    };
    let mut findings = bounds(domain, walk);
    if let Some(fault) = walk.faults.first() {
        // A fault of its own ends all of it (RFC 7208 4.6), and one of a record that it leads to whatever comes so far.
        let told = format!("Its SPF record cannot be read to its end: {fault}.");
        let advice = format!("Have that mended, or take what leads to it out of {text:?}.");
        findings.push(Finding::bad(AREA, domain, told, advice));
        return findings;
    }
    if let Some(why) = &walk.unanswered {
        findings.push(unanswered(domain, why));
    } else if walk.lookups <= ENOUGH {
        findings.extend(judge_end(domain, text, policy, ways));
        findings.extend(ways.iter().map(|way| judge_way(domain, text, policy, way)));
    }
    if findings.iter().all(|found| matches!(found.verdict, Verdict::Good | Verdict::Unseen)) {
        // What ends otherwise is doubtful, or not known.
        let ends = if policy.of_others().len() == 1 { ", ends well" } else { "" };
        let told = format!("Its SPF record is one{ends} and costs {} of {LOOKUPS} lookups.", walk.lookups);
        findings.insert(0, Finding::good(AREA, domain, told));
    }
    findings
}

/// What it costs a receiver to read.
fn bounds(domain: &str, walk: &Walk) -> Vec<Finding> {
    let mut findings = Vec::new();
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
    findings
}

fn at_most(lookups: usize) -> String {
    if lookups > ENOUGH { format!("more than {ENOUGH}") } else { lookups.to_string() }
}

/// What becomes of strangers.
fn judge_end(domain: &str, text: &str, policy: &Policy, ways: &[Way]) -> Option<Finding> {
    let found = match policy.of_others()[..] {
        [Some(Qualifier::Fail | Qualifier::SoftFail)] => return None,
        [found] => found,
        _ => {
            let told = "What its SPF record does with strangers is not known: where it redirects to only a receiver can \
                tell (a macro).";
            return Some(Finding::unseen(AREA, domain, told));
        }
    };
    // Beside `all` a redirect is passed over (RFC 7208 6.1).
    let (whose, advice, record) = match (record::redirect(text), policy.has_all()) {
        (None, _) => {
            let bare: Vec<&str> =
                text.split_ascii_whitespace().filter(|word| !record::is_all(word)).collect();
            // Closed before all of ours are in it, it would shut them out.
            let record = policy
                .lets_through_if_closed(ways)
                .then(|| txt_record(domain, &format!("{} -all", bare.join(" "))));
            let advice =
                "Once all who send for the domain are in it, close it with -all, or ~all while you try."
                    .to_owned();
            ("Its SPF record".to_owned(), advice, record)
        }
        (Some(target), false) => (
            format!("The SPF record of {target}, to which its own redirects,"),
            "Have that one closed with -all, or ~all while you try: an all here would take its place."
                .to_owned(),
            None,
        ),
        (Some(target), true) => (
            "Its SPF record".to_owned(),
            format!(
                "Close it with -all, or ~all while you try; or take the all out, if redirect={target} is meant, which \
                 nobody reads beside it."
            ),
            None,
        ),
    };
    let finding = match found {
        Some(Qualifier::Pass) => {
            let told = format!("{whose} lets everybody send for the domain (+all).");
            Finding::bad(AREA, domain, told, advice)
        }
        Some(_) => {
            Finding::doubtful(AREA, domain, format!("{whose} says nothing about strangers (?all)."), advice)
        }
        None => Finding::doubtful(AREA, domain, format!("{whose} does not end in -all or ~all."), advice),
    };
    Some(match record {
        Some(record) => finding.with_record(record),
        None => finding,
    })
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
    let (mut shut_out, mut open) = (Vec::new(), Vec::new());
    for ip in addresses {
        let found = policy.of(*ip);
        if !found.contains(&Some(Qualifier::Pass)) {
            shut_out.push(ip.to_string());
        } else if found.iter().any(|one| *one != Some(Qualifier::Pass)) {
            open.push(ip.to_string());
        }
    }
    if shut_out.is_empty() && !open.is_empty() {
        let told = format!(
            "Whether SPF lets relay {relay} through from {} is not known: a term of it that only a receiver can evaluate \
             (a macro, exists:, ptr) decides.",
            open.join(", ")
        );
        return Finding::unseen(AREA, domain, told);
    }
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
pub(super) fn terms_of(ways: &[Way]) -> String {
    let mut terms: Vec<String> = Vec::new();
    for way in ways {
        let own: Vec<String> = match &way.leaves {
            Leaves::From(addresses) | Leaves::Perhaps(addresses) => {
                addresses.iter().map(record::term_of).collect()
            }
            Leaves::Unknown(_) => vec!["mx".to_owned()],
        };
        for term in own {
            // Several relays may leave from the same addresses.
            if !terms.contains(&term) {
                terms.push(term);
            }
        }
    }
    if terms.is_empty() { " mx".to_owned() } else { format!(" {}", terms.join(" ")) }
}

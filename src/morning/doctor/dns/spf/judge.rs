//! What a record of SPF comes to: how it ends, and whether it lets our addresses through. Nobody is asked anything here.

use std::net::IpAddr;

use super::record::{self, Qualifier};
use super::{ENOUGH, LOOKUPS, Matches, Policy, Published, Redirect, VOID_LOOKUPS, Walk};
use crate::morning::doctor::Verdict;
use crate::morning::doctor::dns::outgoing::{By, Leaves, Way};
use crate::morning::doctor::dns::{AREA, unanswered};
use crate::morning::doctor::finding::{Finding, txt_record};

const PASS: Option<Qualifier> = Some(Qualifier::Pass);
const BROKEN: Option<Qualifier> = Some(Qualifier::Broken);
/// What comes of a redirect that only a receiver can follow.
const ANYTHING: [Option<Qualifier>; 5] =
    [PASS, Some(Qualifier::Fail), Some(Qualifier::SoftFail), Some(Qualifier::Neutral), None];

impl Policy {
    /// All that may become of an address, `None` where no term fits: more than one thing where only a receiver can say.
    pub(super) fn of(&self, ip: IpAddr) -> Vec<Option<Qualifier>> {
        let mut all = Vec::new();
        for (qualifier, matches) in &self.terms {
            let (may_fit, may_not) = match matches {
                Matches::All | Matches::Broken => (true, false),
                Matches::Nets(nets) => {
                    let fits = nets.iter().any(|net| net.holds(ip));
                    (fits, !fits)
                }
                Matches::Included(other) => {
                    let theirs = other.of(ip);
                    // A fault of theirs is one of ours (RFC 7208 5.2).
                    if theirs.contains(&BROKEN) {
                        all.push(BROKEN);
                    }
                    (theirs.contains(&PASS), theirs.iter().any(|found| ![PASS, BROKEN].contains(found)))
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
        let mut found = Vec::new();
        for (qualifier, matches) in &self.terms {
            let theirs = match matches {
                Matches::All => vec![PASS],
                // Whoever passes there is in this term.
                Matches::Included(other) => other.of_others(),
                matches if *qualifier == Qualifier::Pass && is_everybody(matches) => vec![PASS],
                // Somebody may.
                Matches::Unknown if *qualifier == Qualifier::Pass => vec![PASS, None],
                Matches::Nets(_) | Matches::Broken | Matches::Unknown => continue,
            };
            if theirs.contains(&PASS) && !found.contains(&Some(*qualifier)) {
                found.push(Some(*qualifier));
            }
            if theirs == [PASS] {
                return found;
            }
        }
        match &self.redirect {
            Redirect::Nowhere => found.push(None),
            Redirect::To(other) => found.extend(other.of_others()),
            Redirect::Anywhere => found.extend(ANYTHING),
        }
        found
    }

    /// Whether a record that it includes lets everybody through, whatever it says of them itself.
    fn includes_everybody(&self) -> bool {
        self.terms.iter().any(|(qualifier, matches)| match matches {
            Matches::Included(other) => *qualifier == Qualifier::Pass && other.of_others() == [PASS],
            _ => false,
        })
    }

    /// Whether strangers are turned away, whoever reads it.
    fn ends_well(&self) -> bool {
        self.of_others().into_iter().all(is_closed)
    }

    /// The same without its `all`.
    fn closed(&self) -> Self {
        let is_open = |matches: &Matches| matches!(matches, Matches::All) || is_everybody(matches);
        let named = self.terms.iter().filter(|(_, matches)| !is_open(matches));
        let redirect = match &self.redirect {
            Redirect::To(other) => Redirect::To(Box::new(other.closed())),
            other => other.clone(),
        };
        Self { terms: named.cloned().collect(), redirect }
    }

    /// Whether an address is let through, whoever reads it.
    fn passes(&self, ip: IpAddr) -> bool {
        self.of(ip).iter().all(|found| *found == PASS)
    }

    /// Whether each way out is known, and let through.
    fn passes_all(&self, ways: &[Way]) -> bool {
        let passes = |way: &Way| match &way.leaves {
            Leaves::From(all) | Leaves::Perhaps(all) => all.iter().all(|ip| self.passes(*ip)),
            Leaves::Unknown(_) => false,
        };
        !ways.is_empty() && ways.iter().all(passes)
    }

    fn has_all(&self) -> bool {
        self.terms.iter().any(|(_, matches)| matches!(matches, Matches::All))
    }
}

fn is_closed(found: Option<Qualifier>) -> bool {
    matches!(found, Some(Qualifier::Fail | Qualifier::SoftFail))
}

/// Whether networks are all there is (`/0`).
fn is_everybody(matches: &Matches) -> bool {
    matches!(matches, Matches::Nets(nets) if nets.iter().any(|net| net.length == 0))
}

/// What a record comes to, and for each way out whether it is let through.
pub(super) fn judge(domain: &str, published: &Published, ways: &[Way]) -> Vec<Finding> {
    let (text, policy, walk) = match published {
        Published::Nothing => return vec![judge_nothing(domain, ways)],
        Published::Several(count) => {
            // Which of them is meant, or whether all are, is for whoever wrote them to say.
            let told = format!("It has {count} SPF records: receivers take none of them.");
            let advice = "Publish one alone, with the terms of all of them, and take the others out.";
            return vec![Finding::bad(AREA, domain, told, advice)];
        }
        Published::One { text, policy, walk } => (text, policy, walk),
    };
    let mut findings = bounds(domain, walk);
    if let Some(fault) = walk.faults.first() {
        let told = format!("Its SPF record cannot be read to its end: {fault}.");
        // A fault of its own ends all of it (RFC 7208 4.6): nothing else that it says holds.
        if record::parse(text).is_err() {
            findings.push(Finding::bad(AREA, domain, told, format!("Mend that part of {text:?}.")));
            return findings;
        }
        findings.push(judge_fault(domain, told, text, walk.unanswered.is_none() && policy.passes_all(ways)));
    }
    if let Some(why) = &walk.unanswered {
        findings.push(unanswered(domain, why));
    } else if walk.lookups <= ENOUGH {
        if policy.includes_everybody() {
            let told = "A record that its SPF record includes lets everybody send for the domain (+all).";
            let advice = "Have that one closed, or, once ours are in it without, take its include: out.";
            findings.push(Finding::bad(AREA, domain, told, advice));
        } else if walk.faults.is_empty() && walk.lookups <= LOOKUPS {
            findings.extend(judge_end(domain, text, policy, ways));
        }
        // Beyond that receivers give up, whatever it says.
        if walk.lookups <= LOOKUPS {
            findings.extend(ways.iter().map(|way| judge_way(domain, text, policy, way)));
        }
    }
    if findings.iter().all(|found| matches!(found.verdict, Verdict::Good | Verdict::Unseen)) {
        // What ends otherwise is doubtful, or not known.
        let ends = if policy.ends_well() { ", ends well" } else { "" };
        let told = format!("Its SPF record is one{ends} and costs {} of {LOOKUPS} lookups.", walk.lookups);
        findings.insert(0, Finding::good(AREA, domain, told));
    }
    findings
}

/// There is no record: one to publish, where it is known from where all of our mail leaves.
fn judge_nothing(domain: &str, ways: &[Way]) -> Finding {
    let told = "The domain of the return path has no SPF record (A1).";
    let is_known = |way: &Way| matches!(way.leaves, Leaves::From(_));
    if !ways.is_empty() && ways.iter().all(is_known) {
        // Others may send for the domain, whom nobody here knows: -all would refuse them.
        let record = txt_record(domain, &format!("v=spf1 {} ~all", terms_of(ways)));
        let advice = "Publish this record, with whoever else sends for the domain.";
        return Finding::bad(AREA, domain, told, advice).with_record(record);
    }
    let asked: Vec<String> = ways.iter().filter(|way| !is_known(way)).map(whom_to_ask).collect();
    let advice = format!("Publish one (v=spf1 … ~all) with all who send for the domain. {}", asked.join(" "));
    Finding::bad(AREA, domain, told, advice.trim_end())
}

/// How to find out from where mail leaves.
fn whom_to_ask(way: &Way) -> String {
    let relay = &way.relay;
    match (way.by, &way.leaves) {
        (By::Us, _) => {
            format!("Put the address that others see the mail of relay {relay} come from in the record.")
        }
        (By::Neighbour, Leaves::From(all) | Leaves::Perhaps(all)) => {
            let all: Vec<String> = all.iter().map(ToString::to_string).collect();
            format!(
                "If the server of relay {relay} sends by itself, {} belongs in the record; if it hands mail on, ask \
                 whoever takes it which addresses, or which include:.",
                all.join(", ")
            )
        }
        (By::Neighbour | By::Keeper, _) => {
            format!(
                "Ask the keeper of relay {relay} which addresses, or which include:, belong in the record."
            )
        }
    }
}

/// A record that it leads to has a fault, which ends it for whoever comes so far.
fn judge_fault(domain: &str, told: String, text: &str, we_pass_before: bool) -> Finding {
    let advice = format!("Have that mended, or take what leads to it out of {text:?}.");
    if we_pass_before {
        let told = format!("{told} What is known of our mail passes before it comes to that.");
        return Finding::doubtful(AREA, domain, told, advice);
    }
    Finding::bad(AREA, domain, told, advice)
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

/// What becomes of strangers. No record that closes it is offered: nobody here knows all who send for the domain.
fn judge_end(domain: &str, text: &str, policy: &Policy, ways: &[Way]) -> Option<Finding> {
    if policy.ends_well() {
        return None;
    }
    let found = policy.of_others();
    if found.iter().copied().any(is_closed) {
        let told = "What its SPF record does with strangers is not known: only a receiver can tell (a macro, exists:, \
            ptr).";
        return Some(Finding::unseen(AREA, domain, told));
    }
    // How it ends stands last.
    let found = found.last().copied().flatten();
    if policy.terms.iter().any(|(qualifier, matches)| *qualifier == Qualifier::Pass && is_everybody(matches))
    {
        let told = "Its SPF record lets everybody send for the domain (a network of all addresses, /0).";
        let advice = "Once all who send for the domain are in it, take that out, and close it with -all, or ~all while \
            you try.";
        return Some(Finding::bad(AREA, domain, told, advice.to_owned() + &kept_by_all(policy, ways)));
    }
    // Beside `all` a redirect is passed over (RFC 7208 6.1).
    let (whose, advice) = match (record::redirect(text), policy.has_all()) {
        (None, _) => (
            "Its SPF record".to_owned(),
            "Once all who send for the domain are in it, close it with -all, or ~all while you try."
                .to_owned(),
        ),
        (Some(target), false) => (
            format!("The SPF record of {target}, to which its own redirects,"),
            "Have that one closed with -all, or ~all while you try: an all here would take its place."
                .to_owned(),
        ),
        (Some(target), true) => (
            "Its SPF record".to_owned(),
            format!(
                "Close it with -all, or ~all while you try; or take the all out, if redirect={target} is meant, which \
                 nobody reads beside it."
            ),
        ),
    };
    Some(match found {
        PASS => {
            let told = format!("{whose} lets everybody send for the domain (+all).");
            Finding::bad(AREA, domain, told, advice + &kept_by_all(policy, ways))
        }
        Some(_) => {
            Finding::doubtful(AREA, domain, format!("{whose} says nothing about strangers (?all)."), advice)
        }
        None => Finding::doubtful(AREA, domain, format!("{whose} does not end in -all or ~all."), advice),
    })
}

/// Who of ours would be shut out with the strangers.
fn kept_by_all(policy: &Policy, ways: &[Way]) -> String {
    let closed = policy.closed();
    let mut kept = Vec::new();
    for way in ways {
        let (Leaves::From(all) | Leaves::Perhaps(all)) = &way.leaves else { continue };
        let alone = all.iter().filter(|ip| policy.passes(**ip) && !closed.passes(**ip));
        kept.extend(alone.map(|ip| format!("{ip} (relay {})", way.relay)));
    }
    if kept.is_empty() {
        return String::new();
    }
    format!(" Before that, put in what nothing but the all surely lets through: {}.", kept.join(", "))
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
        if !policy.of(*ip).contains(&PASS) {
            shut_out.push(ip.to_string());
        } else if !policy.passes(*ip) {
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
        let all = all.join(", ");
        if !sure {
            let told =
                format!("SPF lets {all} through; whether relay {relay} sends from there alone is not known.");
            return Finding::unseen(AREA, domain, told);
        }
        return Finding::good(AREA, domain, format!("SPF lets relay {relay} through ({all})."));
    }
    let shut_out = shut_out.join(", ");
    if !sure {
        let told = format!("SPF does not let {shut_out} through, from where relay {relay} may send.");
        return Finding::doubtful(AREA, domain, told, whom_to_ask(way));
    }
    let mut words: Vec<&str> = text.split_ascii_whitespace().collect();
    let own = terms_of(std::slice::from_ref(way));
    words.insert(1.min(words.len()), &own);
    let told = format!("SPF does not let relay {relay} through: mail leaves from {shut_out}.");
    let record = txt_record(domain, &words.join(" "));
    Finding::bad(AREA, domain, told, "Publish the record with that address in it.").with_record(record)
}

/// The terms that let those through of whom it is known from where they send.
pub(super) fn terms_of(ways: &[Way]) -> String {
    let mut terms: Vec<String> = Vec::new();
    for way in ways {
        let Leaves::From(addresses) = &way.leaves else { continue };
        for term in addresses.iter().map(record::term_of) {
            // Several relays may leave from the same addresses.
            if !terms.contains(&term) {
                terms.push(term);
            }
        }
    }
    terms.join(" ")
}

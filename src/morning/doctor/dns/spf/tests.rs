//! What records of SPF come to, over a table of what was found in them.

use super::judge::terms_of;
use super::*;
use crate::morning::doctor::Verdict::{Bad, Doubtful, Good, Unseen};
use crate::morning::doctor::dns::outgoing::{By, Leaves};

const IP: &str = "203.0.113.7";

fn way(leaves: Leaves) -> Way {
    Way { relay: "main".to_owned(), by: By::Us, leaves }
}

fn by(by: By, leaves: Leaves) -> Way {
    Way { by, ..way(leaves) }
}

fn ours() -> Vec<IpAddr> {
    vec![IP.parse().unwrap()]
}

/// A record whose included names are given as records of their own.
fn policy(text: &str, included: &[(&str, &str)]) -> Policy {
    let Ok((terms, redirect)) = record::parse(text) else { return Policy::broken() };
    let find =
        |name: &str| included.iter().find(|(own, _)| *own == name).map(|(_, text)| policy(text, included));
    let matches = |mechanism| match mechanism {
        Mechanism::All => Matches::All,
        Mechanism::Net(net) => Matches::Nets(vec![net]),
        Mechanism::Include(name) => find(&name).map_or(Matches::Unknown, Matches::Included),
        Mechanism::A { .. } | Mechanism::Mx { .. } | Mechanism::Unknown => Matches::Unknown,
    };
    // Beside `all` nobody reads it.
    let redirect = redirect.filter(|_| terms.iter().all(|term| term.mechanism != Mechanism::All));
    Policy {
        terms: terms.into_iter().map(|term| (term.qualifier, matches(term.mechanism))).collect(),
        redirect: match redirect {
            Some(name) if record::has_macro(&name) => Redirect::Anywhere,
            Some(name) => find(&name).map_or(Redirect::Nowhere, |other| Redirect::To(Box::new(other))),
            None => Redirect::Nowhere,
        },
    }
}

/// One that cannot be read, as [`read`] leaves it.
fn unread(text: &str) -> Published {
    let walk = Walk { faults: vec![record::parse(text).unwrap_err()], ..Walk::default() };
    Published::One { text: text.to_owned(), policy: Policy::broken(), walk }
}

fn one(text: &str, walk: Walk) -> Published {
    Published::One { text: text.to_owned(), policy: policy(text, &[]), walk }
}

#[test]
fn rfc7208_an_address_meets_the_first_term_that_fits() {
    let included = [("_spf.example.com", "v=spf1 ip4:203.0.113.0/24 -all"), ("no.example", "v=spf1 -all")];
    for (text, expected) in [
        ("v=spf1 ip4:203.0.113.7 -all", Some(Qualifier::Pass)),
        ("v=spf1 -ip4:203.0.113.7 ip4:203.0.113.0/24 -all", Some(Qualifier::Fail)),
        ("v=spf1 include:_spf.example.com ~all", Some(Qualifier::Pass)),
        // What another one refuses, an include does not fit.
        ("v=spf1 include:no.example ~all", Some(Qualifier::SoftFail)),
        ("v=spf1 redirect=_spf.example.com", Some(Qualifier::Pass)),
        ("v=spf1 ?all", Some(Qualifier::Neutral)),
        ("v=spf1 ip4:192.0.2.1", None),
    ] {
        assert_eq!(policy(text, &included).of(IP.parse().unwrap()), [expected], "{text}");
    }
    assert_eq!(policy("v=spf1 redirect=no.example", &included).of_others(), [Some(Qualifier::Fail)]);
}

#[test]
fn a1_a_record_is_there_alone_ends_well_and_lets_us_through() {
    let calm = Walk::default;
    let from = || vec![way(Leaves::From(ours()))];
    let good = "v=spf1 ip4:203.0.113.7 -all";
    let cases = [
        (one(good, calm()), from(), Good, "ends well"),
        (Published::Nothing, from(), Bad, "no SPF record"),
        (Published::Several(2), from(), Bad, "2 SPF records"),
        (one("v=spf1 ip4:192.0.2.1 -all", calm()), from(), Bad, "mail leaves from 203.0.113.7"),
        (one("v=spf1 +all", calm()), from(), Bad, "everybody"),
        (one("v=spf1 ip4:203.0.113.7 ?all", calm()), from(), Doubtful, "strangers"),
        (one("v=spf1 ip4:203.0.113.7", calm()), from(), Doubtful, "does not end in"),
        (one(good, Walk { lookups: 11, ..calm() }), from(), Bad, "costs 11 lookups"),
        (one(good, Walk { lookups: 21, ..calm() }), from(), Bad, "more than 20"),
        (one(good, Walk { lookups: 10, ..calm() }), from(), Good, "10 of 10 lookups"),
        (one(good, Walk { void: 3, ..calm() }), from(), Doubtful, "3 names"),
        (
            unread("v=spf1 ipv4:203.0.113.7 -all"),
            from(),
            Bad,
            "cannot be read to its end: \"ipv4:203.0.113.7\" is no term",
        ),
        (
            one(good, Walk { unanswered: Some("late".to_owned()), ..calm() }),
            from(),
            Doubtful,
            "Nobody says: late",
        ),
        (
            one("v=spf1 ip4:192.0.2.1 -all", calm()),
            vec![way(Leaves::Perhaps(ours()))],
            Doubtful,
            "from where relay main may send",
        ),
        (one(good, calm()), vec![way(Leaves::Unknown("NAT".to_owned()))], Unseen, "not known: NAT"),
        (
            one(good, calm()),
            vec![way(Leaves::Perhaps(ours()))],
            Unseen,
            "SPF lets 203.0.113.7 through; whether relay main sends from there alone is not known",
        ),
    ];
    for (published, ways, verdict, words) in cases {
        let told = judge("back.example.org", &published, &ways);
        let worst =
            told.iter().filter(|found| found.finding.contains(words)).max_by_key(|found| found.verdict);
        let all: Vec<_> = told.iter().map(|found| found.finding.as_str()).collect();
        assert_eq!(worst.map(|found| found.verdict), Some(verdict), "{words}: {all:?}");
        let worst_of_all = told.iter().map(|found| found.verdict).max();
        assert_eq!(worst_of_all, Some(verdict), "{words}: {all:?}");
    }
}

#[test]
fn the_record_to_publish_is_the_one_that_would_do() {
    let record = |published: &Published, ways: &[Way]| {
        judge("back.example.org", published, ways).into_iter().find_map(|found| found.record)
    };
    let line = |text: &str| Some(format!("back.example.org. IN TXT \"{text}\""));
    let both = || way(Leaves::From(vec![IP.parse().unwrap(), "2001:db8::7".parse().unwrap()]));
    // Whoever else sends for the domain is not to be refused for it.
    let fresh = line("v=spf1 ip4:203.0.113.7 ip6:2001:db8::7 ~all");
    assert_eq!(record(&Published::Nothing, &[both()]), fresh);
    let others = one("v=spf1 ip4:192.0.2.1 ~all", Walk::default());
    let from = way(Leaves::From(ours()));
    assert_eq!(record(&others, &[from]), line("v=spf1 ip4:203.0.113.7 ip4:192.0.2.1 ~all"));
}

#[test]
fn no_record_is_offered_where_it_is_not_known_from_where_all_mail_leaves() {
    let told = |ways: &[Way]| judge("back.example.org", &Published::Nothing, ways).remove(0);
    let from = || way(Leaves::From(ours()));
    let unknown = || Leaves::Unknown("NAT".to_owned());
    let perhaps = || Leaves::Perhaps(ours());
    let keeper = "Ask the keeper of relay main";
    for (ways, words) in [
        (vec![], "with all who send for the domain."),
        (vec![by(By::Us, perhaps())], "address that others see the mail of relay main come from"),
        (vec![by(By::Us, unknown())], "address that others see the mail of relay main come from"),
        (vec![by(By::Neighbour, perhaps())], "sends by itself, 203.0.113.7 belongs in the record"),
        (vec![by(By::Keeper, perhaps())], keeper),
        (vec![by(By::Keeper, unknown())], keeper),
        (vec![from(), by(By::Keeper, perhaps())], keeper),
    ] {
        let told = told(&ways);
        assert_eq!((told.verdict, &told.record), (Bad, &None), "{ways:?}");
        assert!(told.advice.as_deref().unwrap_or_default().contains(words), "{ways:?}: {told:?}");
    }
    assert!(told(&[from()]).record.is_some());
    // Several name others, whom one of ours would leave out.
    let told = judge("back.example.org", &Published::Several(2), &[from()]).remove(0);
    assert_eq!((told.verdict, told.record), (Bad, None));
}

#[test]
fn an_open_record_is_closed_by_whoever_knows_all_who_send() {
    for text in [
        "v=spf1 ip4:203.0.113.7 ?all",
        "v=spf1 ip4:203.0.113.7 +all",
        "v=spf1 +all",
        "v=spf1 ip4:203.0.113.7",
        // What stands behind all nobody reads, and would be read once it is gone.
        "v=spf1 ip4:203.0.113.7 ?all include:gone.example",
    ] {
        let ways = [vec![], vec![way(Leaves::From(ours()))], vec![way(Leaves::Perhaps(ours()))]];
        for ways in ways {
            let told = judge("back.example.org", &one(text, Walk::default()), &ways);
            let end = told.iter().find(|found| found.verdict >= Doubtful).unwrap();
            assert!(end.advice.as_deref().unwrap_or_default().contains("close it with -all"), "{end:?}");
            assert_eq!(end.record, None, "{text} {ways:?}");
        }
    }
}

#[test]
fn who_of_ours_passes_by_an_open_all_alone_is_named_before_it_is_closed() {
    let first = |text: &str, leaves: Leaves| {
        let policy = policy(text, &[("open.example", "v=spf1 +all")]);
        let published = Published::One { text: text.to_owned(), policy, walk: Walk::default() };
        let told = judge("back.example.org", &published, &[way(leaves)]);
        let end = told.into_iter().find(|found| found.finding.contains("lets everybody")).unwrap();
        end.advice.unwrap()
    };
    let named = "surely lets through: 203.0.113.7 (relay main).";
    for leaves in [Leaves::From(ours()), Leaves::Perhaps(ours())] {
        for text in
            ["v=spf1 ip4:192.0.2.1 +all", "v=spf1 exists:%{i}.example +all", "v=spf1 redirect=open.example"]
        {
            assert!(first(text, leaves.clone()).contains(named), "{text} {leaves:?}");
        }
        assert!(!first("v=spf1 ip4:203.0.113.7 +all", leaves).contains("Before that"));
    }
}

#[test]
fn rfc7208_whoever_an_included_record_lets_through_is_let_through() {
    let of_others = |text: &str| {
        let macros = "v=spf1 redirect=%{d}.example";
        let included =
            [("open.example", "v=spf1 +all"), ("shut.example", "v=spf1 -all"), ("odd.example", macros)];
        policy(text, &included).of_others()
    };
    let (pass, fail) = (Some(Qualifier::Pass), Some(Qualifier::Fail));
    assert_eq!(of_others("v=spf1 include:open.example -all"), [pass]);
    assert_eq!(of_others("v=spf1 include:shut.example -all"), [fail]);
    assert_eq!(of_others("v=spf1 -include:open.example +all"), [fail]);
    assert_eq!(of_others("v=spf1 include:odd.example -all"), [pass, fail], "only a receiver can tell");
    let text = "v=spf1 include:open.example -all";
    let policy = policy(text, &[("open.example", "v=spf1 +all")]);
    let published = Published::One { text: text.to_owned(), policy, walk: Walk::default() };
    let told = judge("back.example.org", &published, &[way(Leaves::From(ours()))]);
    assert!(told[0].verdict == Bad && told[0].finding.contains("includes lets everybody"), "{told:?}");
}

#[test]
fn rfc7208_a_fault_of_an_included_record_ends_it_for_whoever_comes_so_far_alone() {
    let ours = ours();
    let judged = |text: &str, leaves: &Leaves| {
        let included = [
            ("gone.example", "v=spf1 ipv4:1"),
            ("nested.example", "v=spf1 ip4:203.0.113.7 include:gone.example"),
        ];
        let walk = Walk { faults: vec!["gone.example: no".to_owned()], ..Walk::default() };
        let published = Published::One { text: text.to_owned(), policy: policy(text, &included), walk };
        judge("back.example.org", &published, &[way(leaves.clone())])
    };
    let (from, perhaps) = (Leaves::From(ours.clone()), Leaves::Perhaps(ours));
    for (text, leaves, fault, lets_through) in [
        ("v=spf1 ip4:203.0.113.7 include:gone.example -all", &from, Doubtful, Good),
        ("v=spf1 ip4:203.0.113.7 include:gone.example -all", &perhaps, Doubtful, Unseen),
        ("v=spf1 include:gone.example ip4:203.0.113.7 -all", &from, Bad, Bad),
        ("v=spf1 include:gone.example ip4:203.0.113.7 -all", &perhaps, Bad, Doubtful),
        ("v=spf1 include:nested.example -all", &from, Doubtful, Good),
        ("v=spf1 exists:%{i}.example include:gone.example -all", &from, Bad, Unseen),
        ("v=spf1 redirect=gone.example", &from, Bad, Bad),
        ("v=spf1 ip4:203.0.113.7 include:gone.example", &Leaves::Unknown(String::new()), Bad, Unseen),
    ] {
        let told = judged(text, leaves);
        let verdicts: Vec<_> = told.iter().map(|found| found.verdict).collect();
        assert_eq!(verdicts, [fault, lets_through], "{text}: {told:?}");
    }
    let told = judged("v=spf1 include:gone.example -all", &from);
    let record = "back.example.org. IN TXT \"v=spf1 ip4:203.0.113.7 include:gone.example -all\"";
    assert_eq!(told[1].record.as_deref(), Some(record), "ours pass before it");
}

#[test]
fn rfc7208_of_a_record_that_cannot_be_read_nothing_else_is_told() {
    let told = judge(
        "back.example.org",
        &unread("v=spf1 ipv4:203.0.113.7 -all"),
        &[way(Leaves::From(ours())), way(Leaves::Unknown(String::new()))],
    );
    let all: Vec<_> = told.iter().map(|found| (found.verdict, found.record.as_deref())).collect();
    assert_eq!(all, [(Bad, None)], "{told:?}");
}

#[test]
fn rfc7208_a_record_that_redirects_is_closed_where_it_leads_and_no_all_is_put_beside_it() {
    let domain = "back.example.org";
    let judged = |text: &str, other: &str, walk: Walk| {
        let policy = policy(text, &[("_spf.example.net", other)]);
        let published = Published::One { text: text.to_owned(), policy, walk };
        judge(domain, &published, &[way(Leaves::From(ours()))])
    };
    let redirects = "v=spf1 redirect=_spf.example.net";
    for (other, verdict, words) in [
        (
            "v=spf1 ip4:203.0.113.7 ?all",
            Doubtful,
            "of _spf.example.net, to which its own redirects, says nothing",
        ),
        (
            "v=spf1 ip4:203.0.113.7 +all",
            Bad,
            "of _spf.example.net, to which its own redirects, lets everybody",
        ),
        ("v=spf1 ip4:203.0.113.7", Doubtful, "of _spf.example.net, to which its own redirects, does not end"),
    ] {
        let told = judged(redirects, other, Walk::default());
        let end =
            told.iter().find(|found| found.finding.contains(words)).unwrap_or_else(|| panic!("{told:?}"));
        assert_eq!(end.verdict, verdict, "{end:?}");
        assert!(end.advice.as_deref().unwrap_or_default().starts_with("Have that one closed"), "{end:?}");
        assert!(told.iter().all(|found| found.record.is_none()), "{told:?}");
    }
    let told = judged(redirects, "v=spf1 ip4:203.0.113.7 -all", Walk::default());
    assert!(told.iter().all(|found| found.verdict == Good), "{told:?}");
    // An address of ours that is shut out stands before the redirect, which goes on to hold.
    let told = judged(redirects, "v=spf1 -all", Walk::default());
    let record = told.iter().find_map(|found| found.record.as_deref());
    let wanted = "back.example.org. IN TXT \"v=spf1 ip4:203.0.113.7 redirect=_spf.example.net\"";
    assert_eq!(record, Some(wanted), "{told:?}");
    // Which of the two is meant nobody knows but who wrote it.
    let told =
        judged("v=spf1 ip4:203.0.113.7 ?all redirect=_spf.example.net", "v=spf1 -all", Walk::default());
    let end = told.iter().find(|found| found.finding.contains("strangers")).unwrap();
    assert!(
        end.record.is_none() && end.advice.as_deref().unwrap_or_default().contains("nobody reads"),
        "{end:?}"
    );
}

#[test]
fn of_a_record_that_was_not_read_to_its_end_no_end_and_no_way_is_told() {
    let silent = Walk { unanswered: Some("late".to_owned()), ..Walk::default() };
    let long = Walk { lookups: ENOUGH + 1, ..Walk::default() };
    for (walk, words) in [(silent, "Nobody says: late."), (long, "costs more than 20 lookups")] {
        // What would have been behind the redirect was not found.
        let told = judge(
            "back.example.org",
            &one("v=spf1 redirect=_spf.example.net", walk),
            &[way(Leaves::From(ours()))],
        );
        assert!(told.len() == 1 && told[0].finding.contains(words), "{told:?}");
        assert_eq!(told[0].record, None);
    }
}

#[test]
fn what_only_a_receiver_can_say_is_not_looked_at_where_it_decides() {
    for (text, expected, words) in [
        ("v=spf1 exists:%{i}.example.org -all", Unseen, "is not known"),
        ("v=spf1 include:%{d}.example.org ~all", Unseen, "is not known"),
        ("v=spf1 -exists:%{i}.example.org ip4:203.0.113.7 -all", Unseen, "is not known"),
        ("v=spf1 redirect=_spf.%{d2}", Unseen, "is not known"),
        ("v=spf1 ip4:203.0.113.7 redirect=_spf.%{d2}", Unseen, "lets relay main through"),
        // It may fit or not: the same comes of it.
        ("v=spf1 exists:%{i}.example.org ip4:203.0.113.7 -all", Unseen, "lets relay main through"),
        ("v=spf1 ip4:203.0.113.7 exists:%{i}.example.org -all", Unseen, "lets relay main through"),
        ("v=spf1 ?exists:%{i}.example.org ip4:192.0.2.1 -all", Bad, "does not let relay main through"),
    ] {
        let told = judge("back.example.org", &one(text, Walk::default()), &[way(Leaves::From(ours()))]);
        let found = told.iter().find(|found| found.finding.contains("relay main")).unwrap();
        assert!(found.finding.contains(words), "{text}: {found:?}");
        assert_eq!(told.iter().map(|found| found.verdict).max(), Some(expected), "{text}: {told:?}");
        let ends_well = told.iter().any(|found| found.finding.contains("ends well"));
        // A term that may let somebody through leaves it open.
        assert_eq!(ends_well, text.contains(" -exists"), "{text}: {told:?}");
    }
    let included =
        policy("v=spf1 include:a.example -all", &[("a.example", "v=spf1 exists:%{i}.b.example -all")]);
    assert_eq!(included.of(IP.parse().unwrap()), [Some(Qualifier::Pass), Some(Qualifier::Fail)]);
}

#[test]
fn a_network_of_all_addresses_closes_nothing_and_a_macro_says_nothing_of_strangers() {
    for (text, verdict, words) in [
        ("v=spf1 ip4:203.0.113.7 ip4:0.0.0.0/0 -all", Bad, "lets everybody send for the domain (a network"),
        ("v=spf1 ip4:203.0.113.7 ip6:::/0 ~all", Bad, "lets everybody send for the domain (a network"),
        ("v=spf1 -ip4:0.0.0.0/0 +all", Bad, "lets everybody send for the domain (+all)"),
        ("v=spf1 ip4:203.0.113.7 exists:%{i}.example +all", Bad, "lets everybody send for the domain (+all)"),
        ("v=spf1 ip4:203.0.113.7 exists:%{i}.example ?all", Doubtful, "(?all)"),
        ("v=spf1 ip4:203.0.113.7 exists:%{i}.example", Doubtful, "does not end in"),
        ("v=spf1 ip4:203.0.113.7 ptr -all", Unseen, "does with strangers is not known"),
    ] {
        let told = judge("back.example.org", &one(text, Walk::default()), &[way(Leaves::From(ours()))]);
        let end =
            told.iter().find(|found| found.finding.contains(words)).unwrap_or_else(|| panic!("{told:?}"));
        assert_eq!((end.verdict, &end.record), (verdict, &None), "{text}");
        assert!(told.iter().all(|found| !found.finding.contains("ends well")), "{text}: {told:?}");
    }
}

#[test]
fn a8_beyond_the_bound_no_way_is_called_good_and_a_fault_hides_no_open_record() {
    let long = Walk { lookups: LOOKUPS + 1, ..Walk::default() };
    let told =
        judge("back.example.org", &one("v=spf1 ip4:203.0.113.7 -all", long), &[way(Leaves::From(ours()))]);
    assert!(told.iter().all(|found| found.verdict == Bad), "{told:?}");
    let text = "v=spf1 include:open.example include:gone.example -all";
    let included = [("open.example", "v=spf1 +all"), ("gone.example", "v=spf1 ipv4:1")];
    let walk = Walk { faults: vec!["gone.example: no".to_owned()], ..Walk::default() };
    let published = Published::One { text: text.to_owned(), policy: policy(text, &included), walk };
    let told = judge("back.example.org", &published, &[way(Leaves::From(ours()))]);
    let open = told.iter().find(|found| found.finding.contains("includes lets everybody"));
    assert_eq!(open.map(|found| found.verdict), Some(Bad), "{told:?}");
}

#[test]
fn a_term_that_several_relays_want_is_published_once() {
    let other: Vec<IpAddr> = vec!["192.0.2.1".parse().unwrap()];
    let ways = [way(Leaves::From(ours())), way(Leaves::From(other)), way(Leaves::From(ours()))];
    assert_eq!(terms_of(&ways), "ip4:203.0.113.7 ip4:192.0.2.1");
}

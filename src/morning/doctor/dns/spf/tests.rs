//! What records of SPF come to, over a table of what was found in them.

use super::*;
use crate::morning::doctor::Verdict::{Bad, Doubtful, Good, Unseen};

const IP: &str = "203.0.113.7";

fn way(leaves: Leaves) -> Way {
    Way { relay: "main".to_owned(), leaves }
}

fn ours() -> Vec<IpAddr> {
    vec![IP.parse().unwrap()]
}

/// A record whose included names are given as records of their own.
fn policy(text: &str, included: &[(&str, &str)]) -> Policy {
    let (terms, redirect) = record::parse(text).unwrap();
    let find =
        |name: &str| included.iter().find(|(own, _)| *own == name).map(|(_, text)| policy(text, included));
    let matches = |mechanism| match mechanism {
        Mechanism::All => Matches::All,
        Mechanism::Net(net) => Matches::Nets(vec![net]),
        Mechanism::Include(name) => find(&name).map_or(Matches::Unknown, Matches::Included),
        Mechanism::A { .. } | Mechanism::Mx { .. } | Mechanism::Unknown => Matches::Unknown,
    };
    Policy {
        terms: terms.into_iter().map(|term| (term.qualifier, matches(term.mechanism))).collect(),
        redirect: redirect.and_then(|name| find(&name)).map(Box::new),
    }
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
        assert_eq!(policy(text, &included).of(IP.parse().unwrap()), expected, "{text}");
    }
    assert_eq!(policy("v=spf1 redirect=no.example", &included).of_others(), Some(Qualifier::Fail));
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
        (one(good, Walk { faults: vec!["x".to_owned()], ..calm() }), from(), Bad, "cannot be read: x"),
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
    let record = |published: &Published, leaves| {
        judge("back.example.org", published, &[way(leaves)]).into_iter().find_map(|found| found.record)
    };
    let line = |text: &str| Some(format!("back.example.org. IN TXT \"{text}\""));
    let from = || Leaves::From(vec![IP.parse().unwrap(), "2001:db8::7".parse().unwrap()]);
    assert_eq!(record(&Published::Nothing, from()), line("v=spf1 ip4:203.0.113.7 ip6:2001:db8::7 -all"));
    assert_eq!(record(&Published::Nothing, Leaves::Unknown(String::new())), line("v=spf1 mx -all"));
    let others = one("v=spf1 ip4:192.0.2.1 ~all", Walk::default());
    assert_eq!(record(&others, Leaves::From(ours())), line("v=spf1 ip4:203.0.113.7 ip4:192.0.2.1 ~all"));
    let open = one("v=spf1 ip4:203.0.113.7 +all", Walk::default());
    assert_eq!(record(&open, Leaves::From(ours())), line("v=spf1 ip4:203.0.113.7 -all"));
}

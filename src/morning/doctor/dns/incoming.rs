//! Who takes what comes back: the MX of the return path's domain (bounces, complaints), and of a From's (answers; Yahoo
//! refuses mail from where none can be sent to, A7).

use super::{AREA, is_address, is_public, unanswered};
use crate::delivery::names::{Names, Takes};
use crate::morning::doctor::finding::Finding;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    /// So many hosts, those of them that lead to no address, and those that lead to none that others can know.
    Hosts {
        all: Vec<String>,
        lost: Vec<String>,
        hidden: Vec<String>,
    },
    NoMail,
    /// No MX record; whether the domain has an address of its own.
    NoRecord {
        address: bool,
    },
}

pub(super) async fn look(names: &Names, domain: &str, bounces: bool) -> Vec<Finding> {
    match find(names, domain).await {
        Ok(found) => vec![judge(domain, &found, bounces)],
        Err(why) => vec![unanswered(domain, &why)],
    }
}

async fn find(names: &Names, domain: &str) -> Result<Found, String> {
    Ok(match names.takes_mail(domain).await? {
        Takes::NoMail => Found::NoMail,
        Takes::NoRecord => Found::NoRecord { address: !names.addresses(domain).await?.is_empty() },
        Takes::Hosts(all) => {
            let (mut lost, mut hidden) = (Vec::new(), Vec::new());
            for host in all.iter().take(10) {
                let found = if is_address(host) { Vec::new() } else { names.addresses(host).await? };
                if found.is_empty() {
                    lost.push(host.clone());
                } else if !found.iter().any(|ip| is_public(*ip)) {
                    hidden.push(host.clone());
                }
            }
            Found::Hosts { all, lost, hidden }
        }
    })
}

/// No record is offered: which host takes a domain's mail is for whoever keeps it to say.
fn judge(domain: &str, found: &Found, bounces: bool) -> Finding {
    let what = if bounces { "what comes back (bounces, complaints)" } else { "answers" };
    let name_it = "An MX record names a host: put the name of the one that takes it in the address's place.";
    match found {
        // Whoever is outside may be told something else.
        Found::Hosts { lost, hidden, .. } if lost.is_empty() && !hidden.is_empty() => {
            let told = format!(
                "Where its MX, {}, leads others is not known: here to no address that they know.",
                hidden.join(", ")
            );
            Finding::unseen(AREA, domain, told)
        }
        Found::Hosts { all, lost, .. } if lost.is_empty() => {
            Finding::good(AREA, domain, format!("Its MX, {}, takes {what}.", all.join(", ")))
        }
        Found::Hosts { all, lost, .. } if lost.len() < all.len() => Finding::doubtful(
            AREA,
            domain,
            format!("Of its MX hosts {} leads to no address.", lost.join(", ")),
            if lost.iter().any(|host| is_address(host)) {
                name_it
            } else {
                "Give it one (A, AAAA), or take its MX record out."
            },
        ),
        Found::Hosts { all, .. } => Finding::bad(
            AREA,
            domain,
            format!("None of its MX hosts ({}) leads to an address: {what} is lost.", all.join(", ")),
            if all.iter().any(|host| is_address(host)) { name_it } else { "Give them one (A, AAAA)." },
        ),
        Found::NoMail => Finding::bad(
            AREA,
            domain,
            format!(
                "It says that it takes no mail (null MX): {what} is lost, and receivers refuse mail from \
                 it."
            ),
            // Beside another one it would be against RFC 7505 3.
            "Publish an MX record in its place that names the host which takes it.",
        ),
        Found::NoRecord { address: true } => Finding::doubtful(
            AREA,
            domain,
            format!("It has no MX record: {what} goes to its own address."),
            "Publish an MX record that names the host which takes it: this one, if it does, or another.",
        ),
        Found::NoRecord { address: false } => Finding::bad(
            AREA,
            domain,
            format!("It has neither MX nor address: {what} is lost, and receivers refuse mail from it (A7)."),
            "Publish an MX record that names the host which takes it.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::morning::doctor::Verdict::{Bad, Doubtful, Good, Unseen};

    fn hosts(all: &[&str], lost: &[&str], hidden: &[&str]) -> Found {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Found::Hosts { all: list(all), lost: list(lost), hidden: list(hidden) }
    }

    #[test]
    fn a7_a_domain_of_ours_takes_mail_and_who_takes_it_is_not_ours_to_publish() {
        let (mx, gone, inside) = ("mx.example.org", "gone.example.org", "inside.example.org");
        for (found, verdict) in [
            (hosts(&[mx], &[], &[]), Good),
            (hosts(&[mx, gone], &[gone], &[]), Doubtful),
            (hosts(&[gone], &[gone], &[]), Bad),
            // What is outside may lead elsewhere.
            (hosts(&[inside], &[], &[inside]), Unseen),
            (hosts(&[mx, inside], &[], &[inside]), Unseen),
            (Found::NoMail, Bad),
            (Found::NoRecord { address: true }, Doubtful),
            (Found::NoRecord { address: false }, Bad),
        ] {
            let told = judge("back.example.org", &found, true);
            assert_eq!((told.verdict, told.record), (verdict, None), "{found:?}");
        }
        let told = judge("back.example.org", &Found::NoMail, true);
        assert!(told.advice.unwrap().contains("in its place"));
    }

    #[test]
    fn rfc5321_an_address_in_the_place_of_a_host_is_to_be_named() {
        for (all, verdict) in [(&["203.0.113.7"][..], Bad), (&["mx.example.org", "203.0.113.7"], Doubtful)] {
            let told = judge("back.example.org", &hosts(all, &["203.0.113.7"], &[]), true);
            assert_eq!((told.verdict, told.record), (verdict, None));
            assert!(told.advice.unwrap().starts_with("An MX record names a host"));
        }
    }
}

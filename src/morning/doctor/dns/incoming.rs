//! Who takes what comes back: the MX of the return path's domain (bounces, complaints), and of a From's (answers; Yahoo
//! refuses mail from where none can be sent to, A7).

use super::{AREA, is_address, unanswered};
use crate::delivery::engine::host_name;
use crate::delivery::names::{Names, Takes};
use crate::morning::doctor::finding::Finding;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    /// So many hosts, and those of them that lead to no address.
    Hosts {
        all: Vec<String>,
        lost: Vec<String>,
    },
    NoMail,
    /// No MX record; whether the domain has an address of its own.
    NoRecord {
        address: bool,
    },
}

pub(super) async fn look(names: &Names, domain: &str, bounces: bool) -> Vec<Finding> {
    match find(names, domain).await {
        Ok(found) => vec![judge(domain, &found, bounces, &host_name())],
        Err(why) => vec![unanswered(domain, &why)],
    }
}

async fn find(names: &Names, domain: &str) -> Result<Found, String> {
    Ok(match names.takes_mail(domain).await? {
        Takes::NoMail => Found::NoMail,
        Takes::NoRecord => Found::NoRecord { address: !names.addresses(domain).await?.is_empty() },
        Takes::Hosts(all) => {
            let mut lost = Vec::new();
            for host in all.iter().take(10) {
                if is_address(host) || names.addresses(host).await?.is_empty() {
                    lost.push(host.clone());
                }
            }
            Found::Hosts { all, lost }
        }
    })
}

fn judge(domain: &str, found: &Found, bounces: bool, here: &str) -> Finding {
    let what = if bounces { "what comes back (bounces, complaints)" } else { "answers" };
    let host = if super::outgoing::is_full(here) { here } else { "mail.example.org" };
    let record = format!("{domain}. IN MX 10 {host}.");
    let publish = "Publish a record such as this, with the host that takes it.";
    let name_it = "An MX record names a host: put the name of the one that takes it in the address's place.";
    match found {
        Found::Hosts { all, lost } if lost.is_empty() => {
            Finding::good(AREA, domain, format!("Its MX, {}, takes {what}.", all.join(", ")))
        }
        Found::Hosts { all, lost } if lost.len() < all.len() => Finding::doubtful(
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
            "Publish a record such as this in its place, with the host that takes it.",
        )
        .with_record(record),
        // Whoever has that address may take it: another host would turn it away from there.
        Found::NoRecord { address: true } => Finding::doubtful(
            AREA,
            domain,
            format!("It has no MX record: {what} goes to its own address."),
            "Publish this record, which says so, or one with another host if that takes it.",
        )
        .with_record(format!("{domain}. IN MX 10 {domain}.")),
        Found::NoRecord { address: false } => Finding::bad(
            AREA,
            domain,
            format!("It has neither MX nor address: {what} is lost, and receivers refuse mail from it (A7)."),
            publish,
        )
        .with_record(record),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::morning::doctor::Verdict::{Bad, Doubtful, Good};

    #[test]
    fn a7_a_domain_of_ours_takes_mail() {
        let hosts = |all: &[&str], lost: &[&str]| {
            let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            Found::Hosts { all: list(all), lost: list(lost) }
        };
        let here = Some("back.example.org. IN MX 10 mail.here.example.");
        for (found, verdict, record) in [
            (hosts(&["mx.example.org"], &[]), Good, None),
            (hosts(&["mx.example.org", "gone.example.org"], &["gone.example.org"]), Doubtful, None),
            (hosts(&["gone.example.org"], &["gone.example.org"]), Bad, None),
            (Found::NoMail, Bad, here),
            // What holds is said, and changed by nothing.
            (
                Found::NoRecord { address: true },
                Doubtful,
                Some("back.example.org. IN MX 10 back.example.org."),
            ),
            (Found::NoRecord { address: false }, Bad, here),
        ] {
            let told = judge("back.example.org", &found, true, "mail.here.example");
            assert_eq!(told.verdict, verdict, "{found:?}");
            assert_eq!(told.record.as_deref(), record, "{found:?}");
        }
        let told = judge("back.example.org", &Found::NoMail, true, "mail.here.example");
        assert!(told.advice.unwrap().contains("in its place"));
    }

    #[test]
    fn a7_a_host_that_nobody_else_can_look_up_is_offered_to_nobody() {
        for here in ["news", "news.internal", "news.lan", "203.0.113.7", "mail news.example.org"] {
            let told = judge("back.example.org", &Found::NoRecord { address: false }, true, here);
            let record = "back.example.org. IN MX 10 mail.example.org.";
            assert_eq!(told.record.as_deref(), Some(record), "{here}");
        }
    }

    #[test]
    fn rfc5321_an_address_in_the_place_of_a_host_is_to_be_named() {
        for (all, verdict) in [(&["203.0.113.7"][..], Bad), (&["mx.example.org", "203.0.113.7"], Doubtful)] {
            let all = all.iter().map(|host| (*host).to_owned()).collect();
            let found = Found::Hosts { all, lost: vec!["203.0.113.7".to_owned()] };
            let told = judge("back.example.org", &found, true, "mail.here.example");
            assert_eq!((told.verdict, told.record), (verdict, None));
            assert!(told.advice.unwrap().starts_with("An MX record names a host"));
        }
    }
}

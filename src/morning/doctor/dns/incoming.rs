//! Who takes what comes back: the MX of the return path's domain (bounces, complaints), and of a From's (answers; Yahoo
//! refuses mail from where none can be sent to, A7).

use super::{AREA, unanswered};
use crate::delivery::engine::host_name;
use crate::delivery::names::{Names, Takes};
use crate::morning::doctor::finding::Finding;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    /// So many hosts, and those of them that have no address.
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
                if names.addresses(host).await?.is_empty() {
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
    match found {
        Found::Hosts { all, lost } if lost.is_empty() => {
            Finding::good(AREA, domain, format!("Its MX, {}, takes {what}.", all.join(", ")))
        }
        Found::Hosts { all, lost } if lost.len() < all.len() => Finding::doubtful(
            AREA,
            domain,
            format!("Of its MX hosts {} has no address.", lost.join(", ")),
            "Give it one (A, AAAA), or take its MX record out.",
        ),
        Found::Hosts { all, .. } => Finding::bad(
            AREA,
            domain,
            format!("None of its MX hosts ({}) has an address: {what} is lost.", all.join(", ")),
            "Give them one (A, AAAA).",
        ),
        Found::NoMail => Finding::bad(
            AREA,
            domain,
            format!(
                "It says that it takes no mail (null MX): {what} is lost, and receivers refuse mail from \
                 it."
            ),
            publish,
        )
        .with_record(record),
        Found::NoRecord { address: true } => Finding::doubtful(
            AREA,
            domain,
            format!("It has no MX record: {what} goes to its own address."),
            publish,
        )
        .with_record(record),
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
        for (found, verdict, with_record) in [
            (hosts(&["mx.example.org"], &[]), Good, false),
            (hosts(&["mx.example.org", "gone.example.org"], &["gone.example.org"]), Doubtful, false),
            (hosts(&["gone.example.org"], &["gone.example.org"]), Bad, false),
            (Found::NoMail, Bad, true),
            (Found::NoRecord { address: true }, Doubtful, true),
            (Found::NoRecord { address: false }, Bad, true),
        ] {
            let told = judge("back.example.org", &found, true, "mail.example.org");
            assert_eq!(told.verdict, verdict, "{found:?}");
            let record = "back.example.org. IN MX 10 mail.example.org.".to_owned();
            assert_eq!(told.record, with_record.then_some(record), "{found:?}");
        }
    }
}

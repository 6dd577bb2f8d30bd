//! Who takes our mail: whether they are there, how safe the way is, what they offer, what the ledger says of them.
//!
//! Greeted with the daemons' own session: EHLO, STARTTLS, AUTH, QUIT. No MAIL FROM is said. One connection before it, over
//! which nothing is said, times the way.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};

use super::finding::{Area, Finding};
use super::{Check, Patient};
use crate::clock::timestamp;
use crate::config::{Relay, RelayKind, Tls};
use crate::db::Db;
use crate::delivery::engine::host_name;
use crate::delivery::probe::{Certificate, Greeting, Silence, greet};
use crate::delivery::relay::store::{self, Known};

const AREA: Area = Area::Relays;
/// What a mail may come to: 102 KiB of HTML once encoded (M13) and 8 KiB of headers, beyond which the preflight stops it,
/// and room for a text, which it does not bound.
const LARGEST_MAIL: u64 = 150_000;
/// A certificate that ends so soon is renewed by nobody.
const ENDS_SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// The name that a relay is greeted with.
pub(super) fn helo(relay: &Relay) -> String {
    relay.helo.clone().unwrap_or_else(host_name)
}

/// Whether a relay is on this machine, as far as its name tells.
pub(super) fn is_here(relay: &Relay) -> bool {
    relay.host == "localhost" || relay.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A check for each relay. Of `mx:` the names are looked at, and the way out, among what names say.
pub(super) fn checks(patient: &Patient) -> Vec<Check> {
    let mut checks = Vec::new();
    if patient.config.relays.is_empty() {
        let none = Finding::bad(
            AREA,
            "relay",
            "No relay is configured: no mail can leave.",
            "Write [relay.main] with url = \"smtp://HOST:PORT\", and name it in relays = [\"main\"] of each \
             newsletter.",
        );
        checks.push(Check::start(patient, AREA, "relay", async { vec![none] }));
    }
    for (name, relay) in &patient.config.relays {
        let subject = format!("relay.{name}");
        let (whose, relay, told) = (patient.clone(), relay.clone(), subject.clone());
        let look = async move {
            if whose.offline {
                return vec![Finding::unseen(AREA, told, "Not greeted: --offline.")];
            }
            if relay.kind != RelayKind::Smtp {
                let why = "The receivers' own servers are not greeted beforehand: dns says what they will look \
                    at.";
                return vec![Finding::unseen(AREA, told, why)];
            }
            let timeouts = whose.limits.of_wire(whose.config.delivery.timeouts);
            let now = whose.clock.now();
            let greeted = greet(&relay, &helo(&relay), timeouts, now).await;
            judge(&told, &relay, greeted.as_ref(), now)
        };
        checks.push(Check::start(patient, AREA, &subject, look));
    }
    checks
}

/// What the ledger says of relays: down, or paused.
pub(super) fn checks_of_ledger(patient: &Patient, db: Option<&Db>) -> Vec<Check> {
    let Some(db) = db.cloned() else { return Vec::new() };
    let (names, now): (Vec<String>, _) =
        (patient.config.relays.keys().cloned().collect(), patient.clock.now_ms());
    let look = async move {
        let known = async { store::list(&mut db.read().await?).await }.await;
        match known {
            Ok(known) => known
                .iter()
                .filter(|known| names.contains(&known.name))
                .filter_map(|known| told(known, now))
                .collect(),
            Err(error) => vec![Finding::unseen(
                AREA,
                "relay",
                format!("The ledger cannot be asked whether one is down or paused: {error}."),
            )],
        }
    };
    vec![Check::start(patient, AREA, "relay", look)]
}

fn told(known: &Known, now: i64) -> Option<Finding> {
    let name = &known.name;
    let subject = format!("relay.{name}");
    let why = known.reason.as_deref().unwrap_or("nobody said why");
    if let Some(until) = known.paused_until.filter(|until| *until > now) {
        return Some(Finding::doubtful(
            AREA,
            subject,
            format!("It is paused until {}: {why}.", timestamp(until)),
            format!("matinale relay resume {name}, once that is settled."),
        ));
    }
    known.down_since.map(|since| {
        Finding::doubtful(
            AREA,
            subject,
            format!("The ledger has it down since {}: {why}.", timestamp(since)),
            format!(
                "matinale relay resume {name}, when it is there again; a daemon that runs finds out by \
                 itself."
            ),
        )
    })
}

/// What a greeting came to.
fn judge(subject: &str, relay: &Relay, greeted: Result<&Greeting, &Silence>, now: Timestamp) -> Vec<Finding> {
    let greeting = match greeted {
        Ok(greeting) => greeting,
        Err(silence) => return vec![not_greeted(subject, relay, silence)],
    };
    let password = if relay.username.is_some() { ", and takes our name and password" } else { "" };
    let milliseconds = greeting.answer.round_trip.as_secs_f64() * 1000.0;
    let mut findings = vec![Finding::good(
        AREA,
        subject,
        format!(
            "{}:{} greets us{password}; the way there and back takes {milliseconds:.1} ms.",
            relay.host, relay.port
        ),
    )];
    findings.extend(encryption(subject, relay, greeting, now));
    findings.push(if greeting.answer.pipelining {
        Finding::good(AREA, subject, "It offers PIPELINING.")
    } else {
        Finding::doubtful(
            AREA,
            subject,
            format!(
                "It offers no PIPELINING: each message costs four ways there and back, {:.0} a second at the \
                 best.",
                greeting.answer.at_best(relay.connections)
            ),
            format!("Turn it on at the relay, or raise {subject}.connections (now {}).", relay.connections),
        )
    });
    findings.push(match greeting.size {
        Some(size) if size < LARGEST_MAIL => Finding::bad(
            AREA,
            subject,
            format!("It takes messages of {size} bytes at most, and an edition may have {LARGEST_MAIL}."),
            "Raise its limit (Postfix: message_size_limit = 10240000).",
        ),
        Some(size) => Finding::good(AREA, subject, format!("It takes messages of {size} bytes.")),
        None => Finding::good(AREA, subject, "It names no largest message."),
    });
    findings
}

fn not_greeted(subject: &str, relay: &Relay, silence: &Silence) -> Finding {
    let place = format!("{}:{}", relay.host, relay.port);
    match silence {
        Silence::Unreachable(why) => Finding::bad(
            AREA,
            subject,
            format!("It does not answer: {why}."),
            format!(
                "See that {subject}.url is right, that a server listens at {place}, and that no firewall \
                 is between."
            ),
        ),
        Silence::Refused(why) => Finding::bad(
            AREA,
            subject,
            format!("It turns us away: {why}."),
            format!(
                "Have its keeper let this machine in (its log at {place} says why), or see {subject}.helo."
            ),
        ),
        Silence::Unsafe(why) if relay.tls == Tls::Required || relay.tls == Tls::Implicit => {
            let offer = if relay.tls == Tls::Required { "Have it offer STARTTLS with" } else { "Give it" };
            Finding::bad(
                AREA,
                subject,
                format!("The way to it is not as safe as {subject}.url asks for: {why}."),
                format!(
                    "{offer} a certificate for {} that holds today, from an authority that this system trusts, or \
                     write its right name in {subject}.url.",
                    relay.host
                ),
            )
        }
        // Without TLS nobody but this machine itself is given a password.
        Silence::Unsafe(why) => Finding::bad(
            AREA,
            subject,
            format!("The way to it is not safe enough: {why}."),
            format!("Write ?tls=required in {subject}.url, and give it a certificate for {}.", relay.host),
        ),
        Silence::Denied(why) => Finding::bad(
            AREA,
            subject,
            format!("It does not let us in: {why}."),
            format!(
                "See {subject}.username and the password in {subject}.password_file; where it offers neither PLAIN \
                 nor LOGIN, have its keeper turn one of them on."
            ),
        ),
    }
}

fn encryption(subject: &str, relay: &Relay, greeting: &Greeting, now: Timestamp) -> Vec<Finding> {
    let with_password = relay.username.is_some();
    let Some(certificate) = &greeting.encrypted else {
        // Here too: each connection is tried twice, and the first waits for as long as the server does.
        return vec![if greeting.spurned && relay.tls != Tls::None {
            Finding::doubtful(
                AREA,
                subject,
                "It offers STARTTLS, and no encryption came about: mail goes there in clear.",
                format!(
                    "Mend its TLS (openssl s_client -starttls smtp -connect {}:{} shows what it says).",
                    relay.host, relay.port
                ),
            )
        } else if is_here(relay) {
            Finding::good(AREA, subject, "The wire is in clear, and stays on this machine.")
        } else {
            Finding::doubtful(
                AREA,
                subject,
                "The wire is in clear, and leaves this machine.",
                format!("Have it offer STARTTLS, and write ?tls=required in {subject}.url."),
            )
        }];
    };
    let mut findings = vec![trust(subject, relay, certificate, with_password)];
    if let Some(until) = certificate.until {
        let soon = until.duration_since(now) < ENDS_SOON;
        if soon {
            let (past, word) = (until < now, if until < now { "ended" } else { "ends" });
            let advice = format!("Renew it, and see that whatever renews it still runs ({}).", relay.host);
            let told = format!("Its certificate {word} on {until}.");
            let strict = matches!(relay.tls, Tls::Required | Tls::Implicit);
            findings.push(if past && strict {
                Finding::bad(AREA, subject, told, advice)
            } else {
                Finding::doubtful(AREA, subject, told, advice)
            });
        }
    }
    findings
}

fn trust(subject: &str, relay: &Relay, certificate: &Certificate, with_password: bool) -> Finding {
    let opportunistic = relay.tls == Tls::Opportunistic;
    match &certificate.doubt {
        None if opportunistic && with_password && !is_here(relay) => Finding::doubtful(
            AREA,
            subject,
            "The wire is encrypted because it offered so today: whoever stands in between can take that offer out, and \
             is given our password.",
            format!("Write ?tls=required in {subject}.url."),
        ),
        None => Finding::good(
            AREA,
            subject,
            format!("The wire is encrypted, and its certificate shows that it is {}.", relay.host),
        ),
        Some(_) if is_here(relay) => {
            Finding::good(AREA, subject, "The wire is encrypted, and stays on this machine.")
        }
        Some(why) => Finding::doubtful(
            AREA,
            subject,
            format!("The wire is encrypted, and nobody knows with whom: {why}."),
            format!("Give it a certificate for {}, and write ?tls=required in {subject}.url.", relay.host),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::delivery::probe::Answer;
    use crate::morning::doctor::Verdict;

    fn relay(more: &str) -> Relay {
        let text = format!(
            "[relay.main]\n{more}\n[newsletter.a]\nname = \"A\"\nfrom = \"a@example.org\"\n\
             lock = \"0 0 5 * * *\"\nsend_at = \"06:30\"\nrelays = [\"main\"]\n"
        );
        let config = crate::config::tests::load(&text, &[]).unwrap();
        config.relays["main"].clone()
    }

    fn greeting(encrypted: Option<(&str, Option<&str>)>) -> Greeting {
        Greeting {
            answer: Answer { round_trip: Duration::from_millis(20), pipelining: true },
            size: Some(10_240_000),
            spurned: false,
            encrypted: encrypted.map(|(until, doubt)| Certificate {
                until: Some(until.parse().unwrap()),
                doubt: doubt.map(str::to_owned),
            }),
        }
    }

    fn now() -> Timestamp {
        "2026-11-24T05:00:00Z".parse().unwrap()
    }

    /// The verdicts other than good, with the words of each.
    fn faults(relay: &Relay, greeted: Result<&Greeting, &Silence>) -> Vec<(Verdict, String)> {
        let findings = judge("relay.main", relay, greeted, now()).into_iter();
        findings
            .filter(|found| found.verdict != Verdict::Good)
            .map(|found| {
                assert!(found.advice.is_some(), "{found:?}");
                (found.verdict, format!("{} {}", found.finding, found.advice.unwrap_or_default()))
            })
            .collect()
    }

    #[test]
    fn a_wire_is_judged_by_where_it_goes_and_who_is_at_its_end() {
        const LATE: &str = "2027-06-01T00:00:00Z";
        const SOON: &str = "2026-12-01T00:00:00Z";
        const PAST: &str = "2026-11-01T00:00:00Z";
        let (far, here) = (relay("url = \"smtp://mx.example.org\""), relay("url = \"smtp://127.0.0.1\""));
        let strict = relay("url = \"smtp://mx.example.org?tls=required\"");
        let doubt = Some("self-signed");
        for (relay, encrypted, expected) in [
            (&far, Some((LATE, None)), &[][..]),
            (&far, None, &["leaves this machine"]),
            (&here, None, &[]),
            (&here, Some((LATE, doubt)), &[]),
            (&far, Some((LATE, doubt)), &["nobody knows with whom: self-signed"]),
            (&strict, Some((SOON, None)), &["ends on 2026-12-01"]),
            (&far, Some((PAST, doubt)), &["nobody knows with whom", "ended on 2026-11-01"]),
        ] {
            let told = faults(relay, Ok(&greeting(encrypted)));
            assert_eq!(told.len(), expected.len(), "{told:?}");
            for ((verdict, words), expected) in told.iter().zip(expected) {
                assert!(*verdict == Verdict::Doubtful && words.contains(expected), "{words}");
            }
        }
        let spurned = Greeting { spurned: true, ..greeting(None) };
        for relay in [&far, &here] {
            assert!(faults(relay, Ok(&spurned))[0].1.contains("offers STARTTLS, and no encryption"));
        }
        let never = relay("url = \"smtp://127.0.0.1?tls=none\"");
        assert_eq!(faults(&never, Ok(&spurned)), [], "nobody tried");
    }

    #[test]
    fn t6_no_pipelining_is_doubtful_and_a_size_too_small_for_an_edition_is_bad() {
        let here = relay("url = \"smtp://127.0.0.1\"");
        let slow = Greeting {
            answer: Answer { round_trip: Duration::from_millis(20), pipelining: false },
            ..greeting(None)
        };
        let told = faults(&here, Ok(&slow));
        assert!(told.len() == 1 && told[0].0 == Verdict::Doubtful, "{told:?}");
        assert!(told[0].1.contains("125 a second"), "{told:?}");
        for (size, bad) in [(Some(100_000), true), (Some(LARGEST_MAIL), false), (None, false)] {
            let told = faults(&here, Ok(&Greeting { size, ..greeting(None) }));
            assert_eq!(told.iter().any(|(verdict, _)| *verdict == Verdict::Bad), bad, "{size:?}: {told:?}");
        }
    }

    #[test]
    fn a_relay_that_lets_nobody_in_is_bad_with_the_key_to_see_to() {
        let far = relay("url = \"smtp://mx.example.org:587?tls=required\"");
        for (silence, key) in [
            (Silence::Unreachable("refused".to_owned()), "a server listens at mx.example.org:587"),
            (Silence::Refused("554".to_owned()), "relay.main.helo"),
            (Silence::Unsafe("no TLS".to_owned()), "offer STARTTLS with a certificate for mx.example.org"),
            (Silence::Denied("535".to_owned()), "relay.main.password_file"),
        ] {
            let told = faults(&far, Err(&silence));
            assert!(told.len() == 1 && told[0].0 == Verdict::Bad && told[0].1.contains(key), "{told:?}");
        }
    }

    #[test]
    fn what_the_ledger_says_of_a_relay_is_told_with_the_command_that_ends_it() {
        let known = |down_since, paused_until| Known {
            name: "main".to_owned(),
            down_since,
            reason: Some("refused".to_owned()),
            paused_until,
        };
        assert_eq!(told(&known(None, Some(5)), 10), None);
        for known in [known(Some(5), None), known(None, Some(50)), known(Some(5), Some(50))] {
            let told = told(&known, 10).unwrap();
            assert_eq!(told.verdict, Verdict::Doubtful);
            assert!(told.advice.unwrap().contains("matinale relay resume main"));
        }
    }
}

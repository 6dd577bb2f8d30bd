//! The time: due hours are kept by this machine's clock, leases by the database server's.
//!
//! Whether the time is right nobody here can know: that takes a protocol that this program does not speak. What can be
//! known is whether clocks differ, and whether this one was set back behind what the ledger has seen.

use std::path::Path;
use std::time::Instant;

use jiff::civil::date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::finding::{Area, Finding};
use super::{Check, Patient, store};
use crate::clock::{timestamp, zones};
use crate::db::Db;

const AREA: Area = Area::Clock;
const OWN: &str = "this machine";
/// Two clocks that differ by less are set by the same time.
const NEARLY: SignedDuration = SignedDuration::from_secs(2);
/// By more than this a mail is late, and an alarm too.
const FAR: SignedDuration = SignedDuration::from_secs(60);
/// Written by systemd-timesyncd whenever it set the clock.
const SYNCHRONIZED: &str = "/run/systemd/timesync/synchronized";
const ADVICE: &str = "Let something set it: `timedatectl set-ntp true`, or chrony; then `timedatectl` says that it is \
    synchronized.";

pub(super) fn checks(patient: &Patient, db: Option<&Db>) -> Vec<Check> {
    let own = {
        let now = patient.clock.now();
        async move {
            let set = tokio::task::spawn_blocking(|| Path::exists(Path::new(SYNCHRONIZED))).await;
            vec![judge_own(now, set.unwrap_or(false), zones().version.as_deref())]
        }
    };
    let mut checks = vec![Check::start(patient, AREA, OWN, own)];
    let Some(db) = db.cloned() else {
        let why = "The ledger could not be asked whether the clock was set back.";
        checks.push(Check::start(patient, AREA, "ledger", async move {
            vec![Finding::unseen(AREA, "ledger", why)]
        }));
        return checks;
    };
    let clock = patient.clock.clone();
    let look = async move {
        let mut findings = Vec::new();
        let (before, asked) = (clock.now(), Instant::now());
        match db.server_clock().await {
            Ok(None) => {}
            Ok(Some(server)) => {
                findings.push(judge_server(timestamp(server), before, asked.elapsed()));
            }
            Err(error) => findings.push(Finding::unseen(AREA, "server", format!("{error}."))),
        }
        findings.push(match async { store::newest(&mut db.read().await?).await }.await {
            Ok(newest) => judge_ledger(newest.map(timestamp), clock.now()),
            Err(error) => Finding::unseen(AREA, "ledger", format!("It cannot be asked: {error}.")),
        });
        findings
    };
    checks.push(Check::start(patient, AREA, "ledger", look));
    checks
}

/// This machine's clock by itself: no earlier than the year of the data that it reads, and set by somebody.
fn judge_own(now: Timestamp, set: bool, zones: Option<&str>) -> Finding {
    let year = zones.and_then(|version| version.get(..4)?.parse::<i16>().ok());
    let begins = year.and_then(|year| TimeZone::UTC.to_timestamp(date(year, 1, 1).at(0, 0, 0, 0)).ok());
    if begins.is_some_and(|begins| now < begins) {
        return Finding::bad(
            AREA,
            OWN,
            format!("Its clock stands at {now}, before this program was made."),
            ADVICE,
        );
    }
    if set {
        return Finding::good(AREA, OWN, format!("{now}, set by systemd-timesyncd."));
    }
    Finding::unseen(
        AREA,
        OWN,
        format!(
            "{now}: whether that is right nobody here can know (`timedatectl` or `chronyc tracking` does)."
        ),
    )
}

/// The server's clock beside ours, which was read before it was asked; it answered after so long.
fn judge_server(server: Timestamp, before: Timestamp, took: std::time::Duration) -> Finding {
    let subject = "server";
    let half = SignedDuration::try_from(took / 2).unwrap_or_default();
    let ahead = server.duration_since(before) - half;
    // What the question itself took is not held against anybody.
    let least = ahead.abs() - half;
    let told = format!(
        "PostgreSQL's clock is {:.1} s {} ours (to {:.1} s).",
        ahead.abs().as_secs_f64(),
        if ahead.is_negative() { "behind" } else { "ahead of" },
        half.as_secs_f64(),
    );
    if least < NEARLY {
        Finding::good(AREA, subject, told)
    } else if least < FAR {
        Finding::doubtful(AREA, subject, told, format!("One of the two is wrong. {ADVICE}"))
    } else {
        Finding::bad(AREA, subject, told, format!("One of the two is wrong. {ADVICE}"))
    }
}

/// Our clock beside the newest that the ledger has seen.
fn judge_ledger(newest: Option<Timestamp>, now: Timestamp) -> Finding {
    let subject = "ledger";
    let Some(newest) = newest else {
        return Finding::good(AREA, subject, "The ledger is empty: nothing in it is newer than now.");
    };
    let back = newest.duration_since(now);
    if back > FAR {
        return Finding::bad(
            AREA,
            subject,
            format!("The ledger's newest entry is of {newest}, and it is {now}: the clock was set back."),
            format!("Set it right before the next lock. {ADVICE}"),
        );
    }
    if back > NEARLY {
        return Finding::doubtful(
            AREA,
            subject,
            format!(
                "The ledger's newest entry is {:.0} s ahead of this machine's clock.",
                back.as_secs_f64()
            ),
            format!("Another daemon's clock, or this one, is wrong. {ADVICE}"),
        );
    }
    Finding::good(AREA, subject, format!("The ledger's newest entry ({newest}) is not ahead of it."))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::morning::doctor::Verdict::{self, Bad, Doubtful, Good, Unseen};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn c5_a_clock_that_was_set_back_behind_the_ledger_is_bad() {
        let now = at("2026-11-24T05:00:00Z");
        for (newest, verdict) in [
            (None, Good),
            (Some("2026-11-24T04:59:59Z"), Good),
            (Some("2026-11-24T05:00:01Z"), Good),
            (Some("2026-11-24T05:00:30Z"), Doubtful),
            (Some("2026-11-24T05:01:01Z"), Bad),
            (Some("2027-11-24T05:00:00Z"), Bad),
        ] {
            assert_eq!(judge_ledger(newest.map(at), now).verdict, verdict, "{newest:?}");
        }
    }

    #[test]
    fn two_clocks_are_held_against_each_other_and_what_the_question_took_against_neither() {
        let before = at("2026-11-24T05:00:00Z");
        let judged = |server: &str, took: u64| judge_server(at(server), before, Duration::from_millis(took));
        let cases: [(&str, u64, Verdict); 7] = [
            ("2026-11-24T05:00:00Z", 2, Good),
            ("2026-11-24T05:00:01.9Z", 2, Good),
            ("2026-11-24T05:00:03Z", 2, Doubtful),
            ("2026-11-24T04:59:57Z", 2, Doubtful),
            ("2026-11-24T05:02:00Z", 2, Bad),
            ("2026-11-24T04:58:00Z", 2, Bad),
            // It may have been read at any moment of eight seconds.
            ("2026-11-24T05:00:08Z", 8000, Good),
        ];
        for (server, took, verdict) in cases {
            assert_eq!(judged(server, took).verdict, verdict, "{server} in {took} ms");
        }
    }

    #[test]
    fn a_clock_that_never_was_set_is_bad_and_one_that_nobody_set_is_not_called_right() {
        let own = |now, set| judge_own(at(now), set, Some("2026f")).verdict;
        assert_eq!(own("1970-01-01T00:10:00Z", true), Bad);
        assert_eq!(own("2026-11-24T05:00:00Z", true), Good);
        assert_eq!(own("2026-11-24T05:00:00Z", false), Unseen);
    }
}

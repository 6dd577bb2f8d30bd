//! Time-zone data: states change their clocks with weeks of warning, and readers' mornings hang on it (C2).

use jiff::civil::date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::finding::{Area, Finding};
use super::{Check, Patient, store};
use crate::clock::{bundled_zones, time_zone, zones};
use crate::db::Db;

const AREA: Area = Area::Zones;
/// Data that is surely older than this may put a country one hour wrong (C2).
const OLD: SignedDuration = SignedDuration::from_hours(183 * 24);
const NEW_DATA: &str = "Install the system's newest tzdata, or point TZDIR at newer data, or a newer matinale; \
    then start the daemon anew.";

/// The data itself.
pub(super) fn check_data(patient: &Patient) -> Check {
    let (now, newsletters) = (patient.clock.now(), patient.config.newsletters.len());
    Check::start(patient, AREA, "data", async move {
        let zones = zones();
        vec![judge_data(zones.version.as_deref(), &zones.origin, bundled_zones(), newsletters, now)]
    })
}

/// Of this version, from there, beside what is compiled in.
fn judge_data(
    version: Option<&str>,
    origin: &str,
    bundled: &str,
    newsletters: usize,
    now: Timestamp,
) -> Finding {
    let subject = "data";
    let Some(version) = version else {
        return Finding::doubtful(
            AREA,
            subject,
            format!("The data of {origin} does not say its version (it has no tzdata.zi)."),
            format!("Unset TZDIR: {bundled} is compiled in."),
        );
    };
    // Versions are a year and a letter: they order as texts do.
    if version < bundled {
        return Finding::doubtful(
            AREA,
            subject,
            format!("{origin} has {version}, and {bundled} is compiled in."),
            "Unset TZDIR, or point it at newer data.",
        );
    }
    // A version tells its year, and no day: what is of a year is at least as old as its end.
    let year: Option<i16> = version.get(..4).and_then(|year| year.parse().ok());
    let ended = year.and_then(|year| TimeZone::UTC.to_timestamp(date(year, 12, 31).at(0, 0, 0, 0)).ok());
    if ended.is_some_and(|ended| now.duration_since(ended) > OLD) {
        return Finding::doubtful(
            AREA,
            subject,
            format!(
                "{version} ({origin}) is more than six months old: some country may have changed its \
                 clocks since."
            ),
            NEW_DATA,
        );
    }
    let known = match newsletters {
        0 => String::new(),
        1 => "; the zone of the newsletter is in it".to_owned(),
        many => format!("; the zones of all {many} newsletters are in it"),
    };
    Finding::good(AREA, subject, format!("{version}, {origin}{known}."))
}

/// Whether readers' zones are in it.
pub(super) fn checks_of_readers(patient: &Patient, db: Option<&Db>) -> Vec<Check> {
    let subject = "readers";
    let db = db.cloned();
    let look = async move {
        let Some(db) = db else {
            return vec![Finding::unseen(
                AREA,
                subject,
                "The database could not be asked for readers' zones.",
            )];
        };
        match async { store::zones(&mut db.read().await?).await }.await {
            Ok(zones) => vec![judge_readers(&zones, |name| time_zone(name).is_some())],
            Err(error) => vec![Finding::unseen(AREA, subject, format!("They cannot be asked for: {error}."))],
        }
    };
    vec![Check::start(patient, AREA, subject, look)]
}

fn judge_readers(zones: &[(String, i64)], is_known: impl Fn(&str) -> bool) -> Finding {
    let subject = "readers";
    let unknown: Vec<&(String, i64)> = zones.iter().filter(|(name, _)| !is_known(name)).collect();
    if unknown.is_empty() {
        let zones = match zones.len() {
            0 => "None has a zone of their own: the newsletter's is theirs.".to_owned(),
            1 => "The one zone that they have is known.".to_owned(),
            many => format!("The {many} zones that they have are all known."),
        };
        return Finding::good(AREA, subject, zones);
    }
    let readers: i64 = unknown.iter().map(|(_, count)| count).sum();
    let names: Vec<String> = unknown.iter().take(5).map(|(name, _)| format!("{name:?}")).collect();
    let more = unknown.len().saturating_sub(5);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    Finding::bad(
        AREA,
        subject,
        format!(
            "{readers} reader{} in {}{more}, which this data does not know: their mail comes at the \
             newsletter's hour (P5).",
            if readers == 1 { " is" } else { "s are" },
            names.join(", ")
        ),
        "Import these subscribers again with a zone such as Africa/Abidjan; where the zone is new, newer \
         tzdata knows it.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::morning::doctor::Verdict::{Bad, Doubtful, Good};

    #[test]
    fn c2_data_that_is_old_or_older_than_what_is_compiled_in_is_doubtful() {
        let judged =
            |version, origin, now: &str| judge_data(version, origin, "2026f", 2, now.parse().unwrap());
        for (version, now, verdict) in [
            (Some("2026f"), "2026-11-24T05:00:00Z", Good),
            (Some("2027a"), "2027-12-24T05:00:00Z", Good),
            (Some("2025b"), "2026-11-24T05:00:00Z", Doubtful),
            (Some("2026f"), "2027-06-30T05:00:00Z", Good),
            (Some("2026f"), "2027-07-03T05:00:00Z", Doubtful),
            (None, "2026-11-24T05:00:00Z", Doubtful),
        ] {
            assert_eq!(judged(version, "/usr/share/zoneinfo", now).verdict, verdict, "{version:?} at {now}");
        }
        let good = judged(Some("2026f"), "compiled in", "2026-11-24T05:00:00Z");
        assert_eq!(good.finding, "2026f, compiled in; the zones of all 2 newsletters are in it.");
    }

    #[test]
    fn p5_a_zone_that_nobody_knows_is_told_with_how_many_wait_in_it() {
        let zone = |name: &str, count| (name.to_owned(), count);
        let zones = [zone("Africa/Abidjan", 5), zone("Africa/Atlantis", 3), zone("Mars/Olympus", 1)];
        let known = |name: &str| time_zone(name).is_some();
        let told = judge_readers(&zones, known);
        assert_eq!(told.verdict, Bad);
        assert!(
            told.finding.starts_with("4 readers are in \"Africa/Atlantis\", \"Mars/Olympus\","),
            "{told:?}"
        );
        assert_eq!(judge_readers(&zones[..1], known).verdict, Good);
        assert_eq!(judge_readers(&[], known).verdict, Good);
    }
}

//! The doctor: everything that a morning hangs on, looked at before it comes; nothing is changed anywhere.
//!
//! Each check stands alone, with a deadline of its own, and those that wait for somebody wait side by side: one that
//! fails, hangs or breaks hides no other. What is found out (IO) and what it means (`judge`, pure) are apart.
//! The rule a newcomer would break: no check writes a row, applies a migration or says MAIL FROM.

mod clock;
mod database;
mod dns;
mod finding;
mod keys;
mod relays;
mod sample;
mod store;
mod templates;
mod zones;

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::clock::{Clock, Random};
use crate::config::{Config, Timeouts};
use crate::db::Db;
use crate::delivery::engine::try_out_rules;
pub use dns::own_addresses;
pub use finding::{Area, Finding, Verdict};

/// Whom the doctor looks at, and how.
#[derive(Clone, Debug)]
pub struct Patient {
    /// The configuration.
    pub config: Arc<Config>,
    /// The times.
    pub clock: Clock,
    /// Random numbers.
    pub random: Random,
    /// Nobody but the database is asked anything.
    pub offline: bool,
    /// The addresses that this machine writes to the world from, as it knows them itself ([`own_addresses`]).
    pub addresses: Vec<IpAddr>,
    /// How long anything may take.
    pub limits: Limits,
}

/// How long is waited.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For one whole check.
    pub check: Duration,
    /// For one answer of a relay, or for the database to be reached.
    pub answer: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { check: Duration::from_secs(40), answer: Duration::from_secs(10) }
    }
}

impl Limits {
    /// The deadlines of the wire, none of them longer than an answer may take here.
    fn of_wire(self, own: Timeouts) -> Timeouts {
        let [connect, banner, mail, rcpt, data, block, dot] =
            [own.connect, own.banner, own.mail, own.rcpt, own.data, own.block, own.dot]
                .map(|limit| limit.min(self.answer));
        Timeouts { connect, banner, mail, rcpt, data, block, dot }
    }
}

/// One check under way.
struct Check {
    area: Area,
    subject: String,
    limit: Duration,
    under_way: JoinHandle<Option<Vec<Finding>>>,
}

impl Check {
    fn start(
        patient: &Patient,
        area: Area,
        subject: &str,
        looking: impl Future<Output = Vec<Finding>> + Send + 'static,
    ) -> Self {
        let limit = patient.limits.check;
        let under_way = tokio::spawn(async move { timeout(limit, looking).await.ok() });
        Self { area, subject: subject.to_owned(), limit, under_way }
    }

    async fn end(self) -> Vec<Finding> {
        let Self { area, subject, limit, under_way } = self;
        match under_way.await {
            Ok(Some(findings)) => findings,
            Ok(None) => vec![Finding::bad(
                area,
                subject,
                format!("The check was not over within {} s.", limit.as_secs()),
                "See what it waits for: a server that is silent, a disk that is away.",
            )],
            Err(error) => vec![Finding::bad(
                area,
                subject,
                format!("The check broke: {error}."),
                "Report it, with what `matinale --verbose doctor` says.",
            )],
        }
    }
}

/// Looks at everything; what was found, in the order of the areas.
pub async fn examine(patient: &Patient) -> Vec<Finding> {
    // Whoever waits for the network begins before the database is waited for.
    let mut checks = vec![configuration(patient)];
    checks.extend(keys::checks(patient));
    checks.extend(templates::checks(patient));
    checks.extend(relays::checks(patient));
    checks.extend(dns::checks(patient));
    checks.push(zones::check_data(patient));
    let opening = {
        let patient = patient.clone();
        async move { database::open(&patient).await }
    };
    let file = database::check_file(patient);
    let mut findings = Vec::new();
    let opened = tokio::spawn(timeout(patient.limits.check, opening)).await;
    let db = match opened {
        Ok(Ok((db, found))) => {
            findings.extend(found);
            db
        }
        Ok(Err(_)) => {
            findings.push(database::silent(patient));
            None
        }
        Err(error) => {
            findings.push(database::broken(patient, &error.to_string()));
            None
        }
    };
    checks.extend(of_database(patient, db.as_ref()));
    checks.extend(file);
    for check in checks {
        findings.extend(check.end().await);
    }
    if let Some(db) = db {
        // A server that is silent is not waited for.
        drop(timeout(patient.limits.answer, db.close()).await);
    }
    // Stable: within an area the order stays.
    findings.sort_by_key(|finding| finding.area);
    findings
}

/// The configuration, which could be read, and the files of rules that it names.
fn configuration(patient: &Patient) -> Check {
    let config = patient.config.clone();
    // Aside: a disk that is away keeps a thread waiting, and not this check.
    Check::start(patient, Area::Configuration, "delivery", async move {
        let tried = tokio::task::spawn_blocking(move || try_out_rules(&config)).await;
        vec![match tried {
            Ok(Ok(())) => Finding::good(
                Area::Configuration,
                "files",
                "Every key is read and known; `matinale check` prints what holds.",
            ),
            Ok(Err(error)) => Finding::bad(
                Area::Configuration,
                "delivery",
                format!("{error}."),
                "Mend that file, or take its key out: a table is compiled in.",
            ),
            Err(error) => Finding::bad(
                Area::Configuration,
                "delivery",
                format!("The files of rules could not be tried: {error}."),
                "Report it, with what `matinale --verbose doctor` says.",
            ),
        }]
    })
}

/// What is looked at in the database, where there is one.
fn of_database(patient: &Patient, db: Option<&Db>) -> Vec<Check> {
    [database::checks, relays::checks_of_ledger, clock::checks, zones::checks_of_readers]
        .into_iter()
        .flat_map(|checks| checks(patient, db))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patient(check: Duration, configured: &str) -> Patient {
        let config = crate::config::tests::load(configured, &[]).unwrap();
        Patient {
            config: Arc::new(config),
            clock: Clock::system(),
            random: Random::seeded(1),
            offline: true,
            addresses: Vec::new(),
            limits: Limits { check, ..Limits::default() },
        }
    }

    #[tokio::test]
    async fn a_check_that_hangs_or_breaks_is_told_in_its_own_place_and_hides_no_other() {
        let patient = patient(Duration::from_millis(20), "");
        let good = Finding::good(Area::Keys, "k", "It is.");
        let found = vec![good.clone()];
        let checks = [
            Check::start(&patient, Area::Relays, "relay.hangs", std::future::pending()),
            Check::start(&patient, Area::Dns, "breaks", async { panic!("odd") }),
            Check::start(&patient, Area::Keys, "k", async { found }),
        ];
        let mut told = Vec::new();
        for check in checks {
            told.extend(check.end().await);
        }
        let seen: Vec<_> = told.iter().map(|f| (f.area, f.subject.as_str(), f.verdict)).collect();
        let bad = Verdict::Bad;
        assert_eq!(
            seen,
            [
                (Area::Relays, "relay.hangs", bad),
                (Area::Dns, "breaks", bad),
                (Area::Keys, "k", Verdict::Good)
            ]
        );
    }

    /// Another thread hangs where the check would, and the deadline goes on.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_of_rules_that_nobody_hands_over_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("rules.toml");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let patient = patient(Duration::from_millis(20), &format!("[delivery]\nrules_file = {pipe:?}\n"));
        let told = timeout(Duration::from_secs(20), configuration(&patient).end()).await;
        // Whoever still waits for somebody to write hears that there is nothing.
        drop(std::fs::OpenOptions::new().write(true).open(&pipe).unwrap());
        let told = told.unwrap();
        assert_eq!((told.len(), told[0].verdict), (1, Verdict::Bad), "{told:?}");
        assert!(told[0].finding.contains("was not over within"), "{told:?}");
    }
}

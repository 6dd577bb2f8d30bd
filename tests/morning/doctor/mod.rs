//! The doctor, held against real things: databases of both engines, SMTP servers, a name server. Nothing is changed
//! anywhere by it.

mod database;
mod dns;
mod relays;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use matinale::clock::{Clock, Random};
use matinale::config::Config;
use matinale::morning::doctor::{Area, Finding, Limits, Patient, Verdict};
use tempfile::TempDir;

/// A house in a folder of its own, looked at offline unless a test says otherwise.
struct Bench {
    folder: TempDir,
    patient: Patient,
}

/// `more` stands behind the newsletter; `database` is its URL, a file in the folder where `None`.
fn bench(database: Option<&str>, relay: &str, more: &str) -> Bench {
    // A folder for temporary files may be in memory, which is no place for a ledger.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let url =
        database.map_or_else(|| format!("sqlite:{}", folder.path().join("m.db").display()), str::to_owned);
    let secret = folder.path().join("secret.key");
    private(&secret, "a secret of some length\n");
    private(&folder.path().join("relay.password"), "hunter2 and more\n");
    let text = format!(
        "[database]\nurl = \"{url}\"\ntimeout = \"4s\"\n[keys]\nsecret_file = \"secret.key\"\n\
         [web]\npublic_url = \"https://news.example.org\"\n[relay.main]\n{relay}\n\
         [newsletter.test]\nname = \"Test\"\nfrom = \"La Matinale <m@news.example.org>\"\nlock = \"0 0 5 * * *\"\n\
         send_at = \"06:30\"\nrelays = [\"main\"]\npublisher = \"Example Press, Dakar\"\n{more}\n"
    );
    let file = folder.path().join("matinale.toml");
    std::fs::write(&file, text).unwrap();
    let config = Config::load(&[file], &BTreeMap::new()).unwrap();
    let patient = Patient {
        config: Arc::new(config),
        // What is told of time-zone data hangs on the day.
        clock: Clock::manual("2026-11-24T05:00:00Z".parse().unwrap()),
        random: Random::seeded(7),
        offline: true,
        addresses: Vec::new(),
        limits: Limits { check: Duration::from_secs(60), answer: Duration::from_secs(4) },
    };
    Bench { folder, patient }
}

/// Writes what nobody else may read.
fn private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// What was found in an area, with the verdict.
fn of(findings: &[Finding], area: Area) -> Vec<(Verdict, &str, &str)> {
    findings
        .iter()
        .filter(|found| found.area == area)
        .map(|found| (found.verdict, found.subject.as_str(), found.finding.as_str()))
        .collect()
}

/// The one finding whose sentence has these words.
fn about<'a>(findings: &'a [Finding], words: &str) -> &'a Finding {
    let found: Vec<&Finding> = findings.iter().filter(|found| found.finding.contains(words)).collect();
    assert_eq!(found.len(), 1, "{words:?} in {findings:#?}");
    found[0]
}

/// Everything that is not good, as it is told.
fn faults(findings: &[Finding]) -> Vec<String> {
    let told = |found: &Finding| format!("{} {}: {}", found.verdict.as_str(), found.subject, found.finding);
    findings.iter().filter(|found| found.verdict > Verdict::Unseen).map(told).collect()
}

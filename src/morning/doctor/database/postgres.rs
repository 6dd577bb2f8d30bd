//! A PostgreSQL server, beside what our daemons ask of it.

use super::{AREA, URL, doubtful_commits};
use crate::db::{PostgresFacts, Synchronous};
use crate::morning::doctor::finding::Finding;

/// The oldest version that every test is run on.
const TESTED: i32 = 15;

/// A PostgreSQL server, beside what our daemons ask of it.
pub(super) fn judge(
    facts: &PostgresFacts,
    synchronous: Synchronous,
    connections: u32,
    daemons: i64,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    if facts.is_standby {
        findings.push(Finding::bad(
            AREA,
            URL,
            format!("PostgreSQL {} answers as a standby, which takes no writes.", facts.version),
            "Name the server that it follows in database.url, or promote this one.",
        ));
    } else {
        findings.push(Finding::good(
            AREA,
            URL,
            format!(
                "PostgreSQL {}: any number of daemons share the work (its zone, {}, matters to nobody here).",
                facts.version, facts.zone
            ),
        ));
    }
    if facts.version_number < TESTED * 10_000 {
        findings.push(Finding::doubtful(
            AREA,
            URL,
            format!("PostgreSQL {} is older than {TESTED}: nothing is tested on it.", facts.version),
            format!("Bring the server to {TESTED} or newer before anybody waits for a morning."),
        ));
    }
    if facts.encoding != "UTF8" {
        findings.push(Finding::bad(
            AREA,
            URL,
            format!("The database is written in {}, which does not hold every title.", facts.encoding),
            "Make one with CREATE DATABASE matinale ENCODING 'UTF8' TEMPLATE template0, and name that.",
        ));
    }
    if facts.is_remote && !facts.is_encrypted {
        findings.push(Finding::doubtful(
            AREA,
            URL,
            "The way to the server is not encrypted, and it is another machine.",
            "Append ?sslmode=verify-full to database.url (in url_file), and give the server a certificate.",
        ));
    }
    findings.extend(commits(facts, synchronous));
    findings.push(followers(facts, synchronous));
    findings.push(room(facts, connections, daemons));
    findings
}

fn commits(facts: &PostgresFacts, synchronous: Synchronous) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, is_on, lost) in [
        ("fsync", facts.fsync, "a power cut can cost commits, or the whole database"),
        ("full_page_writes", facts.full_page_writes, "a power cut in mid-page damages what no log can mend"),
    ] {
        if is_on {
            continue;
        }
        findings.push(Finding::bad(
            AREA,
            name,
            format!("{name} is off: {lost}, and P2 does not hold."),
            format!("ALTER SYSTEM SET {name} = on, and have the server read that (pg_ctl reload)."),
        ));
    }
    let subject = "database.synchronous";
    let waits = facts.synchronous_commit.as_str();
    findings.push(match (synchronous, waits) {
        (Synchronous::Full, "on" | "remote_apply" | "remote_write" | "local") => Finding::good(
            AREA,
            subject,
            format!("\"full\": a commit of ours is on the server's disk (synchronous_commit is {waits})."),
        ),
        (Synchronous::Full, _) => Finding::bad(
            AREA,
            subject,
            format!(
                "\"full\" is configured, and synchronous_commit is {waits} all the same: somebody in \
                 between forgets what we ask for."
            ),
            "Connect to the server itself, or have the pooler pass the parameter on (PgBouncer: not \
             ignore_startup_parameters).",
        ),
        (Synchronous::Normal, _) => doubtful_commits(),
    });
    findings
}

/// Case 7 of the protocol: what a standby that takes the server's place may lack.
fn followers(facts: &PostgresFacts, synchronous: Synchronous) -> Finding {
    let subject = "standby";
    if facts.followers == 0 {
        return Finding::good(AREA, subject, "Nothing follows the server: no failover can lose a commit.");
    }
    let we_wait = !matches!(facts.synchronous_commit.as_str(), "off" | "local");
    if facts.standby_is_waited_for && we_wait {
        return Finding::good(AREA, subject, "A standby follows, and commits wait for it.");
    }
    let server = "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)', and have the server read that (pg_ctl \
        reload); with one standby, commits wait while it is away";
    let advice = match (facts.standby_is_waited_for, synchronous) {
        (true, Synchronous::Normal) => {
            "Set database.synchronous = \"full\": the server has commits wait that ask for it.".to_owned()
        }
        // Ours ask for it, and are not heard.
        (true, Synchronous::Full) => format!(
            "Have whoever stands in between pass synchronous_commit on (it is {}): the server has commits wait that \
             ask for it.",
            facts.synchronous_commit
        ),
        (false, Synchronous::Normal) => format!("Set database.synchronous = \"full\", and {server}."),
        (false, Synchronous::Full) => format!("{server}."),
    };
    Finding::doubtful(
        AREA,
        subject,
        "A standby follows, and no commit of ours waits for it: should it take the server's place, the newest commits are \
         lost; daemons tell it what they sent in the last two minutes, and P2 does not cover the rest (plans, editors' \
         words, the no of a reader).",
        advice,
    )
}

/// Connections: one daemon opens its own, as many again to send, and two to see whether the server is there.
pub(super) fn room(facts: &PostgresFacts, connections: u32, daemons: i64) -> Finding {
    let subject = "max_connections";
    let each = i64::from(connections) * 2 + 2;
    let daemons = daemons.max(1);
    let wanted = each * daemons;
    let others = (facts.in_use - facts.ours).max(0);
    let there = i64::from(facts.max_connections) - i64::from(facts.reserved) - others;
    let told = format!(
        "{there} connections are there for us, and {daemons} daemon{} may want {wanted} ({each} each).",
        if daemons == 1 { "" } else { "s" }
    );
    if there >= wanted {
        return Finding::good(AREA, subject, told);
    }
    let needed = wanted + others + i64::from(facts.reserved);
    let advice = format!(
        "Set max_connections = {needed} at the server and restart it, or lower database.connections (now \
         {connections})."
    );
    if there < each {
        Finding::bad(AREA, subject, told, advice)
    } else {
        Finding::doubtful(AREA, subject, told, advice)
    }
}

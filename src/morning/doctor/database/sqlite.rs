//! A SQLite file: what a commit is worth, where it stands, who reads it, how much room it has.

use super::{AREA, URL, doubtful_commits};
use crate::db::{Place, SqliteFacts, Synchronous};
use crate::morning::doctor::finding::Finding;

/// Less room than this is gone in one morning of a large list; less than the second in a small one's.
const LITTLE_ROOM: u64 = 2 << 30;
const NO_ROOM: u64 = 200 << 20;
/// File systems that are somebody else's machine: the write-ahead log's shared memory does not reach that far, and locks
/// are a matter of luck (sqlite.org/wal.html, sqlite.org/faq.html).
const NETWORK: [&str; 12] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "afs",
    "ceph",
    "9p",
    "glusterfs",
    "fuse.sshfs",
    "fuse.glusterfs",
    "fuse.s3fs",
];
/// What vanishes with the machine's power.
const VOLATILE: [&str; 2] = ["tmpfs", "ramfs"];

/// What the engine says.
pub(super) fn judge(facts: &SqliteFacts, synchronous: Synchronous) -> Vec<Finding> {
    let megabytes = facts.bytes / 1_000_000;
    let mut findings = vec![Finding::good(
        AREA,
        URL,
        format!("SQLite {}, {megabytes} MB: for one machine, whose daemons share one writer.", facts.version),
    )];
    findings.push(match synchronous {
        Synchronous::Full => Finding::good(
            AREA,
            "database.synchronous",
            "\"full\": a commit is on the disk, so P2 holds through a kill and through a power cut.",
        ),
        Synchronous::Normal => doubtful_commits(),
    });
    findings.push(if facts.journal.eq_ignore_ascii_case("wal") {
        Finding::good(AREA, "journal", "It has a write-ahead log: readers do not wait for the writer.")
    } else {
        Finding::doubtful(
            AREA,
            "journal",
            format!("Its journal is {:?}: readers and the writer wait for each other.", facts.journal),
            "Run `matinale migrate` once: whatever opens the database for writing turns its write-ahead log \
             on.",
        )
    });
    findings
}

/// Where SQLite's file stands; `us` is whoever looks.
pub(super) fn judge_place(file: &str, place: &Place, us: Option<u32>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if place.mode & 0o006 != 0 && place.is_reached {
        findings.push(Finding::bad(
            AREA,
            "file",
            format!(
                "Everybody on this machine can open {file} or its log (mode {:o}), which hold every address.",
                place.mode
            ),
            format!("chmod 600 {file}* (with its -wal and -shm)."),
        ));
    } else if place.mode & 0o020 != 0 {
        findings.push(Finding::doubtful(
            AREA,
            "file",
            format!("The group of {file} may write to it or to its log (mode {:o}).", place.mode),
            format!("chmod 600 {file}* (with its -wal and -shm), unless that is meant."),
        ));
    } else {
        let whom = if place.mode & 0o040 == 0 { "others" } else { "all but its group" };
        findings.push(Finding::good(
            AREA,
            "file",
            format!("{file} is closed to {whom} (mode {:o}, of user {}).", place.mode, place.owner),
        ));
    }
    if !place.is_writable {
        findings.push(Finding::bad(
            AREA,
            "file",
            format!("Whoever asks here may not write to {file} or its log, or make files beside it."),
            format!(
                "Run this as the user that the daemon has (the file is user {}'s), or chown it.",
                place.owner
            ),
        ));
    } else if us.is_some_and(|us| us != place.owner && us != 0) {
        findings.push(Finding::doubtful(
            AREA,
            "file",
            format!("{file} belongs to user {}, and this is another.", place.owner),
            "Run every command as the user that the daemon has.",
        ));
    }
    let room = place.free / 1_000_000;
    let advice = "Make room on that disk, or move the database; `matinale prune` reduces what is old in the \
        ledger.";
    findings.push(match place.free {
        free if free < NO_ROOM => {
            Finding::bad(AREA, "disk", format!("The disk of {file} has {room} MB left."), advice)
        }
        free if free < LITTLE_ROOM => {
            Finding::doubtful(AREA, "disk", format!("The disk of {file} has {room} MB left."), advice)
        }
        _ => Finding::good(AREA, "disk", format!("The disk has {room} MB left.")),
    });
    if let Some(kind) = place.file_system.as_deref() {
        let subject = "file system";
        findings.push(if NETWORK.contains(&kind) {
            Finding::bad(
                AREA,
                subject,
                format!(
                    "{file} is on a network ({kind}), where SQLite's locks and its write-ahead log do not \
                     hold."
                ),
                "Move it to a disk of this machine, or use PostgreSQL: database.url = \"postgres://…\".",
            )
        } else if VOLATILE.contains(&kind) {
            Finding::bad(
                AREA,
                subject,
                format!("{file} is in memory ({kind}): the ledger goes with the machine's power."),
                "Move it to a disk.",
            )
        } else {
            Finding::good(AREA, subject, format!("{kind}, of this machine."))
        });
    }
    findings
}

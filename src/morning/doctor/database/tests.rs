//! What facts of a database come to, as tables.

use super::*;
use crate::db::{Migration, PostgresFacts, SqliteFacts, Synchronous};
use crate::morning::doctor::Verdict::{self, Bad, Doubtful, Good};

fn verdict(findings: &[Finding], subject: &str) -> Verdict {
    let about = findings.iter().filter(|found| found.subject == subject);
    let worst = about.map(|found| found.verdict).max();
    worst.unwrap_or_else(|| panic!("nothing about {subject}: {findings:?}"))
}

fn server() -> PostgresFacts {
    PostgresFacts {
        version: "15.10".to_owned(),
        version_number: 150_010,
        synchronous_commit: "on".to_owned(),
        fsync: true,
        full_page_writes: true,
        max_connections: 100,
        reserved: 3,
        in_use: 10,
        ours: 4,
        encoding: "UTF8".to_owned(),
        zone: "Africa/Abidjan".to_owned(),
        is_standby: false,
        followers: 0,
        standby_is_waited_for: false,
        is_remote: false,
        is_encrypted: false,
    }
}

/// One fact that is not as it should be, and what comes of it.
type Case = (fn(&mut PostgresFacts), &'static str, Verdict);

#[test]
fn p2_what_a_server_does_not_keep_is_told() {
    let cases: [Case; 16] = [
        (|_| {}, URL, Good),
        (|_| {}, "standby", Good),
        (|_| {}, "max_connections", Good),
        (|facts| facts.fsync = false, "fsync", Bad),
        (|facts| facts.full_page_writes = false, "full_page_writes", Bad),
        (|facts| facts.synchronous_commit = "off".to_owned(), "database.synchronous", Bad),
        (|facts| facts.followers = 1, "standby", Doubtful),
        (|facts| (facts.followers, facts.standby_is_waited_for) = (1, true), "standby", Good),
        (
            |facts| {
                (facts.followers, facts.standby_is_waited_for) = (1, true);
                facts.synchronous_commit = "local".to_owned();
            },
            "standby",
            Doubtful,
        ),
        (|facts| facts.version_number = 149_999, URL, Doubtful),
        (|facts| facts.version_number = 150_000, URL, Good),
        (|facts| facts.is_standby = true, URL, Bad),
        (|facts| facts.encoding = "SQL_ASCII".to_owned(), URL, Bad),
        (|facts| facts.is_remote = true, URL, Doubtful),
        (|facts| (facts.is_remote, facts.is_encrypted) = (true, true), URL, Good),
        (|facts| facts.in_use = 80, "max_connections", Bad),
    ];
    for (change, subject, expected) in cases {
        let mut facts = server();
        change(&mut facts);
        let told = postgres::judge(&facts, Synchronous::Full, 16, 1);
        assert_eq!(verdict(&told, subject), expected, "{subject}: {told:?}");
    }
    let normal = PostgresFacts { synchronous_commit: "off".to_owned(), ..server() };
    let told = postgres::judge(&normal, Synchronous::Normal, 16, 1);
    assert_eq!(verdict(&told, "database.synchronous"), Doubtful);
}

#[test]
fn p2_a_standby_that_is_not_waited_for_is_told_with_what_has_commits_wait() {
    const SERVER: &str = "synchronous_standby_names";
    const OURS: &str = "Set database.synchronous = \"full\"";
    const COST: &str = "with one standby, commits wait while it is away";
    for (waited_for, commit, synchronous, has, has_not) in [
        (true, "off", Synchronous::Normal, &[OURS][..], &[SERVER, COST][..]),
        (true, "local", Synchronous::Full, &["pass synchronous_commit on (it is local)"], &[SERVER, OURS]),
        (false, "off", Synchronous::Normal, &[OURS, SERVER, COST], &[]),
        (false, "on", Synchronous::Full, &[SERVER, COST], &[OURS]),
    ] {
        let facts = PostgresFacts {
            followers: 1,
            standby_is_waited_for: waited_for,
            synchronous_commit: commit.to_owned(),
            ..server()
        };
        let told = postgres::judge(&facts, synchronous, 16, 1);
        let found = told.iter().find(|found| found.subject == "standby").unwrap();
        let advice = found.advice.as_deref().unwrap();
        assert_eq!(found.verdict, Doubtful);
        assert!(has.iter().all(|words| advice.contains(words)), "{advice}");
        assert!(!has_not.iter().any(|words| advice.contains(words)), "{advice}");
    }
}

#[test]
fn connections_are_counted_for_every_daemon_that_may_want_them() {
    // 97 for us but for 6 of others': two daemons want 68, three 102.
    for (daemons, expected) in [(0, Good), (1, Good), (2, Good), (3, Doubtful)] {
        let told = postgres::judge(&server(), Synchronous::Full, 16, daemons);
        assert_eq!(verdict(&told, "max_connections"), expected, "{daemons}");
    }
    let told = postgres::room(&server(), 16, 3);
    assert!(told.advice.unwrap().starts_with("Set max_connections = 111 "), "{}", told.finding);
    assert_eq!(postgres::room(&server(), 50, 1).verdict, Bad);
}

#[test]
fn a_schema_that_is_not_this_versions_is_told_with_what_to_do() {
    let step = |version| Migration { version, name: "x".to_owned() };
    let newest = Some(76);
    for (schema, manual, expected, words) in [
        (Schema { newest, ..Schema::default() }, false, Good, "migration 76"),
        (Schema { newest, pending: vec![step(77)], ..Schema::default() }, false, Doubtful, "by 1 migration,"),
        (Schema { newest, pending: vec![step(77)], ..Schema::default() }, true, Bad, "\"manual\""),
        (
            Schema { newest, pending: vec![step(77), step(78)], ..Schema::default() },
            true,
            Bad,
            "by 2 migrations,",
        ),
        (Schema { newest, unknown: vec![99, 100], ..Schema::default() }, false, Bad, "(99, 100)"),
        (Schema { newest, changed: vec![5], ..Schema::default() }, false, Bad, "(5)"),
        (Schema { newest, broken: Some(76), ..Schema::default() }, false, Bad, "half-way"),
    ] {
        let told = judge_schema(&schema, manual);
        assert!(told.verdict == expected && told.finding.contains(words), "{told:?}");
    }
}

#[test]
fn p2_normal_is_doubtful_and_says_what_it_keeps() {
    let facts = SqliteFacts { version: "3.50".to_owned(), journal: "wal".to_owned(), bytes: 0 };
    let told = sqlite::judge(&facts, Synchronous::Normal);
    assert_eq!(verdict(&told, "database.synchronous"), Doubtful);
    assert!(
        told.iter().any(|found| found.finding.contains("survives a killed process, and not a power cut"))
    );
    let told = sqlite::judge(&facts, Synchronous::Full);
    assert!(told.iter().all(|found| found.verdict == Good), "{told:?}");
    let delete = SqliteFacts { journal: "delete".to_owned(), ..facts };
    assert_eq!(verdict(&sqlite::judge(&delete, Synchronous::Full), "journal"), Doubtful);
}

/// One fact of a file that is not as it should be, and what comes of it.
type Placed = (fn(&mut Place), &'static str, Verdict);

#[test]
fn a_file_that_others_read_or_that_is_not_on_a_disk_here_is_bad() {
    let good = || Place {
        mode: 0o600,
        owner: 990,
        is_writable: true,
        is_reached: true,
        free: 50 << 30,
        file_system: Some("ext4".to_owned()),
    };
    let cases: [Placed; 12] = [
        (|_| {}, "file", Good),
        (|_| {}, "disk", Good),
        (|_| {}, "file system", Good),
        (|place| place.mode = 0o640, "file", Good),
        (|place| place.mode = 0o660, "file", Doubtful),
        (|place| place.mode = 0o644, "file", Bad),
        (|place| (place.mode, place.is_reached) = (0o644, false), "file", Good),
        (|place| place.is_writable = false, "file", Bad),
        (|place| place.owner = 1000, "file", Doubtful),
        (|place| place.free = 1 << 30, "disk", Doubtful),
        (|place| place.free = 10 << 20, "disk", Bad),
        (|place| place.file_system = Some("nfs4".to_owned()), "file system", Bad),
    ];
    for (change, subject, expected) in cases {
        let mut place = good();
        change(&mut place);
        let told = sqlite::judge_place("m.db", &place, Some(990));
        assert_eq!(verdict(&told, subject), expected, "{subject}: {told:?}");
    }
    for (mode, words) in [(0o600, "is closed to others"), (0o640, "is closed to all but its group")] {
        let told = sqlite::judge_place("m.db", &Place { mode, ..good() }, Some(990));
        assert!(told.iter().any(|found| found.finding.contains(words)), "{mode:o}: {told:?}");
    }
    let told = sqlite::judge_place("m.db", &Place { owner: 1000, ..good() }, Some(0));
    assert_eq!(verdict(&told, "file"), Good, "root looks after others' files");
    let memory = Place { file_system: Some("tmpfs".to_owned()), ..good() };
    assert_eq!(verdict(&sqlite::judge_place("m.db", &memory, None), "file system"), Bad);
}

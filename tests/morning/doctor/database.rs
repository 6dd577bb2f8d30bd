//! Databases: looked at on both engines without a change, and told for what they do not keep.

use std::sync::Arc;
use std::time::Duration;

use matinale::clock::Clock;
use matinale::db::{Db, Options, Synchronous, on};
use matinale::morning::doctor::{Area, Limits, Patient, Verdict, examine};
use matinale::readers::links::Links;
use matinale::readers::store::NewSubscriber;
use sqlx::AssertSqlSafe;

use super::{about, bench, faults, of};
use crate::support::lossy::Lossy;
use crate::support::standby::Pair;
use crate::support::{databases, readers};

const RELAY: &str = "url = \"smtp://127.0.0.1:1\"";

/// A migrated database in the bench's folder, or a PostgreSQL one.
async fn opened(url: &str) -> Db {
    let db = Db::open(&Options { connections: 4, ..Options::new(url) }).await.unwrap();
    db.migrate().await.unwrap();
    db
}

async fn run(db: &Db, sql: &str) {
    let mut conn = db.writer().await.unwrap();
    let sql = AssertSqlSafe(sql.to_owned());
    on!(&mut conn, |c| sqlx::query(sql).execute(c).await.map(drop).unwrap());
}

#[tokio::test]
async fn a_good_house_is_found_good_and_nothing_of_it_is_changed() {
    let bench = bench(None, RELAY, "");
    let file = bench.folder.path().join("m.db");
    opened(&format!("sqlite:{}", file.display())).await.close().await;
    let before = std::fs::read(&file).unwrap();
    let told = examine(&bench.patient).await;
    assert_eq!(faults(&told), [""; 0]);
    assert_eq!(std::fs::read(&file).unwrap(), before);
    let areas: Vec<Area> = told.iter().map(|found| found.area).collect();
    assert!(areas.is_sorted(), "{areas:?}");
    for area in [
        Area::Configuration,
        Area::Database,
        Area::Relays,
        Area::Dns,
        Area::Clock,
        Area::Zones,
        Area::Keys,
        Area::Templates,
    ] {
        assert!(!of(&told, area).is_empty(), "{area} in {told:#?}");
    }
    let unseen = |area| of(&told, area).iter().all(|(verdict, ..)| *verdict == Verdict::Unseen);
    assert!(unseen(Area::Relays) && unseen(Area::Dns), "--offline: {told:#?}");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_not_made_and_one_of_another_version_is_left_as_it_is() {
    let bench = bench(None, RELAY, "");
    let file = bench.folder.path().join("m.db");
    let told = examine(&bench.patient).await;
    let missing = about(&told, "no such file");
    assert!(
        missing.verdict == Verdict::Bad && missing.advice.as_deref().unwrap().contains("`matinale migrate`")
    );
    assert!(!file.exists());
    // Whatever does not need it is told all the same.
    assert!(of(&told, Area::Templates).iter().all(|(verdict, ..)| *verdict == Verdict::Good), "{told:#?}");

    let url = format!("sqlite:{}", file.display());
    let db = Db::open(&Options::new(&url)).await.unwrap();
    let told = examine(&bench.patient).await;
    assert_eq!(about(&told, "older than this program").verdict, Verdict::Doubtful);
    assert_eq!(db.pending().await.unwrap(), matinale::db::all_migrations());

    db.migrate().await.unwrap();
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (99999, 'newer', TRUE, x'00', 0)";
    run(&db, newer).await;
    let told = examine(&bench.patient).await;
    assert_eq!(about(&told, "newer than this program").verdict, Verdict::Bad);
    assert!(about(&told, "newer than this program").finding.contains("99999"));
}

#[tokio::test]
async fn p2_a_commit_that_does_not_wait_for_the_disk_is_doubtful() {
    let mut bench = bench(None, RELAY, "");
    opened(&format!("sqlite:{}", bench.folder.path().join("m.db").display())).await.close().await;
    let mut config = (*bench.patient.config).clone();
    config.database.synchronous = Synchronous::Normal;
    bench.patient.config = Arc::new(config);
    let told = examine(&bench.patient).await;
    let normal = about(&told, "survives a killed process, and not a power cut");
    assert_eq!(normal.verdict, Verdict::Doubtful);
    assert_eq!(normal.advice.as_deref(), Some("Set database.synchronous = \"full\", which is the default."));
}

#[tokio::test]
async fn a_file_that_everybody_reads_is_bad() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = bench(None, RELAY, "");
    let file = bench.folder.path().join("m.db");
    opened(&format!("sqlite:{}", file.display())).await.close().await;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let told = examine(&bench.patient).await;
    let open = about(&told, "Everybody on this machine");
    assert!(
        open.verdict == Verdict::Bad && open.advice.as_deref().unwrap().starts_with("chmod 600 "),
        "{open:?}"
    );
}

#[tokio::test]
async fn of_a_database_that_does_not_open_the_file_is_looked_at_all_the_same() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = bench(None, RELAY, "");
    let file = bench.folder.path().join("m.db");
    std::fs::write(&file, "not a database, and longer than nothing".repeat(100)).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o660)).unwrap();
    let told = examine(&bench.patient).await;
    let away = about(&told, "cannot be opened");
    assert!(away.verdict == Verdict::Bad && away.advice.as_deref().unwrap().contains("file and disk"));
    assert_eq!(about(&told, "may write to it").verdict, Verdict::Doubtful);
    assert_eq!(about(&told, " MB left").subject, "disk");
}

#[tokio::test]
async fn where_there_is_no_folder_for_the_file_migrate_alone_is_not_the_advice() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}/absent/m.db", folder.path().display());
    let bench = bench(Some(&url), RELAY, "");
    let told = examine(&bench.patient).await;
    let missing = about(&told, "no such file, and no folder");
    assert!(missing.advice.as_deref().unwrap().starts_with("Make that folder"), "{missing:?}");
}

/// Every row of what a morning is made of, in words.
async fn everything(db: &Db) -> Vec<i64> {
    let mut conn = db.read().await.unwrap();
    let mut out = Vec::new();
    for table in
        ["daemon", "delivery", "attempt", "relay", "clock", "alarm", "edition", "subscriber", "sts_policy"]
    {
        let sql = AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
        out.push(on!(&mut conn, |c| sqlx::query_scalar(sql).fetch_one(c).await.unwrap()));
    }
    out
}

#[tokio::test]
async fn p2_a_server_that_a_power_cut_ruins_is_bad_and_nothing_is_written_to_it() {
    if !databases::postgres_wanted() {
        return;
    }
    let url = databases::postgres_url().unwrap();
    let db = opened(&url).await;
    let bench = bench(Some(&url), RELAY, "");
    let before = everything(&db).await;
    let mut told = examine(&Patient { clock: Clock::system(), ..bench.patient.clone() }).await;
    told.retain(|found| matches!(found.area, Area::Database | Area::Clock));
    // The tests' own server has it off.
    assert_eq!(
        faults(&told),
        [
            "bad fsync: fsync is off: a power cut can cost commits, or the whole database, and P2 does not hold."
        ]
    );
    assert!(about(&told, "PostgreSQL 1").finding.contains("any number of daemons"));
    assert_eq!(about(&told, "synchronous_commit is on").verdict, Verdict::Good);
    assert_eq!(about(&told, "PostgreSQL's clock is").verdict, Verdict::Good);
    assert_eq!(about(&told, "Nothing follows the server").verdict, Verdict::Good);
    assert_eq!(everything(&db).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_a_standby_that_no_commit_waits_for_is_doubtful() {
    if !databases::postgres_wanted() {
        return;
    }
    let pair = Pair::start("doctor").await;
    opened(&pair.url).await.close().await;
    let bench = bench(Some(&pair.url), RELAY, "");
    let told = examine(&bench.patient).await;
    let standby = about(&told, "A standby follows, and no commit of ours waits for it");
    assert_eq!(standby.verdict, Verdict::Doubtful);
    assert!(standby.advice.as_deref().unwrap().contains("synchronous_standby_names"), "{standby:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_silent_or_away_hides_nothing_else() {
    if !databases::postgres_wanted() {
        return;
    }
    let url = databases::postgres_url().unwrap();
    let (lossy, way) = Lossy::start(&url);
    lossy.freeze();
    for (way, words) in [
        (way.as_str(), "has not answered for 300ms"),
        ("postgres://matinale@127.0.0.1:1/none", "cannot be reached"),
    ] {
        let bench = bench(Some(way), RELAY, "");
        let limits = Limits { answer: Duration::from_millis(300), ..bench.patient.limits };
        let told = examine(&Patient { limits, ..bench.patient.clone() }).await;
        assert_eq!(about(&told, words).verdict, Verdict::Bad);
        assert!(
            of(&told, Area::Templates).iter().all(|(verdict, ..)| *verdict == Verdict::Good),
            "{told:#?}"
        );
        assert!(
            of(&told, Area::Clock)
                .iter()
                .any(|(verdict, subject, _)| { (*verdict, *subject) == (Verdict::Unseen, "ledger") })
        );
    }
}

#[tokio::test]
async fn c5_and_p5_a_clock_that_was_set_back_and_a_zone_that_nobody_knows_are_told_on_both_engines() {
    for postgres in [false, true] {
        if postgres && !databases::postgres_wanted() {
            continue;
        }
        let url = if postgres { databases::postgres_url() } else { None };
        let bench = bench(url.as_deref(), RELAY, "");
        let file = format!("sqlite:{}", bench.folder.path().join("m.db").display());
        let db = opened(url.as_deref().unwrap_or(&file)).await;
        let ahead = bench.patient.clock.now_ms() + 3_600_000;
        run(
            &db,
            &format!(
                "INSERT INTO daemon (epoch, lease_until, started_at, host, pid, birth, gone)
                 VALUES (1, 0, {ahead}, 'h', 1, '', 1)"
            ),
        )
        .await;
        let links = Links::new(b"key");
        let people: Vec<NewSubscriber> = [Some("Africa/Abidjan"), Some("Africa/Atlantis"), None]
            .iter()
            .enumerate()
            .map(|(n, zone)| NewSubscriber {
                timezone: zone.map(str::to_owned),
                ..readers::somebody(&links, &format!("n{n}@example.org"))
            })
            .collect();
        let mut tx = db.write().await.unwrap();
        readers::subscribe(&mut tx, &people, bench.patient.clock.now()).await;
        tx.commit().await.unwrap();
        let told = examine(&bench.patient).await;
        assert_eq!(about(&told, "the clock was set back").verdict, Verdict::Bad, "PostgreSQL: {postgres}");
        let zone = about(&told, "1 reader is in \"Africa/Atlantis\"");
        assert_eq!((zone.area, zone.verdict), (Area::Zones, Verdict::Bad), "PostgreSQL: {postgres}");
    }
}

//! What commands refuse, with which status, and that they say why.

use std::process::{Command, Output};

use matinale::db::{Db, Options, on};
use tempfile::TempDir;

/// A folder with a configuration, and whatever else stands in it.
pub(super) fn house(more: &str) -> TempDir {
    house_in(tempfile::tempdir().unwrap(), more)
}

/// The same in this folder.
pub(super) fn house_in(folder: TempDir, more: &str) -> TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let file = |name: &str| folder.path().join(name);
    for key in ["secret.key", "no-key.pem"] {
        std::fs::write(file(key), "no key of any kind\n").unwrap();
        std::fs::set_permissions(file(key), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let text = format!(
        "[database]\nurl = \"sqlite:{}\"\n[keys]\nsecret_file = \"secret.key\"\n\
         [relay.main]\nurl = \"smtp://127.0.0.1:1\"\n\
         [newsletter.test]\nname = \"Test\"\nfrom = \"test@example.org\"\nlock = \"0 0 5 * * *\"\n\
         send_at = \"06:30\"\nrelays = [\"main\"]\n{more}\n",
        file("test.db").display()
    );
    std::fs::write(file("matinale.toml"), text).unwrap();
    folder
}

fn run(house: &TempDir, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_matinale"));
    command.arg("--config").arg(house.path().join("matinale.toml")).args(arguments).output().unwrap()
}

pub(super) fn matinale(house: &TempDir, arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = run(house, arguments);
    (status.code(), String::from_utf8(stderr).unwrap())
}

pub(super) fn answer(house: &TempDir, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = run(house, arguments);
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

#[tokio::test]
async fn p2_an_older_program_leaves_a_newer_database_alone() {
    let house = house("");
    assert_eq!(matinale(&house, &["migrate"]).0, Some(0));
    let file = house.path().join("test.db");
    let db = Db::open(&Options::new(&format!("sqlite:{}", file.display()))).await.unwrap();
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (99999, 'newer', 1, x'00', 0)";
    let mut conn = db.writer().await.unwrap();
    on!(&mut conn, |c| sqlx::query(newer).execute(c).await.map(drop).unwrap());
    drop(conn);
    db.close().await;
    let (status, told) = matinale(&house, &["subscriber", "list"]);
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("99999"), "{told}");
}

#[test]
fn p10_check_tries_what_sending_reads_and_names_the_key() {
    assert_eq!(matinale(&house(""), &["check"]).0, Some(0));
    let broken = [
        ("delivery.rules_file", "[delivery]\nrules_file = \"nowhere.toml\""),
        ("delivery.providers_file", "[delivery]\nproviders_file = \"nowhere.toml\""),
        ("dkim.example.org", "[dkim.\"example.org\"]\nselector = \"m\"\nkey_file = \"no-key.pem\""),
    ];
    for (key, more) in broken {
        let (status, told) = matinale(&house(more), &["check"]);
        assert!(status != Some(0) && told.contains(key), "{key}: {status:?} {told}");
    }
}

#[test]
fn p10_a_rehearsal_of_a_morning_that_is_past_or_on_no_server_is_refused() {
    let house = house("");
    assert_eq!(matinale(&house, &["migrate"]).0, Some(0));
    let (status, told) = matinale(&house, &["rehearse", "test", "--date", "2020-01-01"]);
    assert!(status == Some(3) && told.contains("2020-01-01 is past"), "{status:?} {told}");
    let (status, told) = matinale(&house, &["rehearse", "test", "--postgres", "mysql://a:secret@b/c"]);
    assert_eq!(status, Some(2), "{told}");
    assert!(told.contains("expected postgres://USER@HOST/DATABASE"), "{told}");
}

#[test]
fn a_daemon_that_would_have_nothing_to_run_is_refused() {
    for only in ["receive", "receive,web"] {
        let (status, told) = matinale(&house(""), &["serve", "--only", only]);
        assert_eq!(status, Some(2), "{only}: {told}");
        assert!(told.contains("receive has nothing to run yet"), "{only}: {told}");
    }
    let help = answer(&house(""), &["serve", "--help"]);
    assert!(help.contains("clock, ingest, send, web") && !help.contains("receive"), "{help}");
}

#[test]
fn p10_whoever_only_asks_what_would_be_migrated_gets_an_answer_and_no_database() {
    let house = house("");
    let asked = answer(&house, &["migrate", "--dry-run"]);
    assert!(asked.starts_with("Would be applied:"), "{asked}");
    assert!(!house.path().join("test.db").exists());
    let done = answer(&house, &["migrate"]);
    assert_eq!(done.lines().skip(1).collect::<Vec<_>>(), asked.lines().skip(1).collect::<Vec<_>>());
    assert_eq!(answer(&house, &["migrate", "--dry-run"]), "The database is at this version.\n");
}

#[tokio::test]
async fn what_is_secret_in_a_url_is_not_printed() {
    let house = house(
        "alerts = [\"https://hooks.example.org/hunter2\"]\n\
         [feed.press]\nurl = \"https://feeds.example.org/rss?token=hunter2\"",
    );
    assert_eq!(matinale(&house, &["migrate"]).0, Some(0));
    let file = house.path().join("test.db");
    let db = Db::open(&Options::new(&format!("sqlite:{}", file.display()))).await.unwrap();
    let asked =
        "INSERT INTO feed (name, url, next_at, failures, last_error, last_new, last_updated, last_refused,
                                   created_at)
                 VALUES ('press', 'https://feeds.example.org/rss?token=hunter2', 0, 1,
                         'has moved to https://feeds.example.org/new?token=hunter2 for good', 0, 0, 0, 0)";
    let mut conn = db.writer().await.unwrap();
    on!(&mut conn, |c| sqlx::query(asked).execute(c).await.map(drop).unwrap());
    drop(conn);
    db.close().await;
    for arguments in [&["--json", "feed", "list"][..], &["feed", "list"], &["check"], &["--json", "check"]] {
        let said = answer(&house, arguments);
        assert!(said.contains("feeds.example.org") || arguments == ["feed", "list"], "{arguments:?}: {said}");
        assert!(!said.contains("hunter2"), "{arguments:?}: {said}");
    }
}

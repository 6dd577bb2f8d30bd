//! `doctor` at the command line: its table, its lines of JSON, its status.

use std::process::{Command, Output};

use tempfile::TempDir;

use super::refusals::{answer, house_in};

/// What makes the house of the other tests a good one.
const GOOD: &str = "publisher = \"Example Press, Dakar\"\n[web]\npublic_url = \"https://news.example.org\"";

/// Not where temporary files are: that may be in memory, which is no place for a ledger.
fn house(more: &str) -> TempDir {
    house_in(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap(), more)
}

fn doctor(house: &TempDir, arguments: &[&str]) -> (Option<i32>, String, String) {
    let file = house.path().join("matinale.toml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_matinale"));
    command.arg("--config").arg(file).args(arguments).args(["doctor", "--offline"]);
    let Output { status, stdout, stderr } = command.env("COLUMNS", "100").output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

fn lines(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_house_without_fault_ends_with_0_and_doubt_alone_does_too() {
    for (more, doubtful) in [("", false), ("[database]\nsynchronous = \"normal\"", true)] {
        let house = house(GOOD);
        // The section is there already.
        if doubtful {
            let file = house.path().join("matinale.toml");
            let text = std::fs::read_to_string(&file).unwrap();
            std::fs::write(&file, text.replacen("[database]", more, 1)).unwrap();
        }
        answer(&house, &["migrate"]);
        let (status, told, said) = doctor(&house, &[]);
        assert_eq!(status, Some(0), "{told}");
        let areas = ["configuration", "database", "relays", "dns", "clock", "zones", "keys", "templates"];
        let named: Vec<&str> = told
            .lines()
            .skip(1)
            .filter_map(|line| line.split_ascii_whitespace().next().filter(|word| line.starts_with(word)))
            .collect();
        assert_eq!(named, areas, "{told}");
        assert!(told.contains("not looked at  relay.main: Not greeted: --offline."), "{told}");
        assert_eq!(told.contains("→ Set database.synchronous = \"full\""), doubtful, "{told}");
        assert!(said.contains(" 0 bad, "), "{said}");
    }
}

#[test]
fn what_is_bad_ends_with_1_and_is_told_in_lines_of_json() {
    let house = house(GOOD);
    let (status, told, _) = doctor(&house, &["--json"]);
    assert_eq!(status, Some(1), "{told}");
    let found = lines(&told);
    let bad: Vec<_> = found.iter().filter(|found| found["verdict"] == "bad").collect();
    assert_eq!(bad.len(), 1, "{told}");
    assert_eq!((&bad[0]["area"], &bad[0]["subject"]), (&"database".into(), &"database.url".into()));
    assert!(bad[0]["advice"].as_str().unwrap().contains("matinale migrate"));
    for found in &found {
        let keys: Vec<&String> = found.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["area", "subject", "verdict", "finding", "advice", "record"]);
    }
    assert!(!house.path().join("test.db").exists());
}

#[test]
fn p10_a_configuration_that_cannot_be_read_is_told_with_each_of_its_faults() {
    let house = house("items = \"ten\"\ncolour = \"red\"");
    let (status, told, _) = doctor(&house, &["--json"]);
    assert_eq!(status, Some(1), "{told}");
    let found = lines(&told);
    let subjects: Vec<&str> = found.iter().map(|found| found["subject"].as_str().unwrap()).collect();
    assert_eq!(subjects, ["newsletter.test.items", "newsletter.test.colour"]);
    assert!(found.iter().all(|found| found["area"] == "configuration" && found["verdict"] == "bad"));
}

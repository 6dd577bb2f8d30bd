//! `stories` and `pick` on files, and editions by hand: what cannot be is answered with its place, and nothing is done.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs the program in a folder, with this on its standard input.
fn matinale(folder: &Path, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_matinale"))
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

const GOOD: &str = r#"{"id": "a", "url": "https://press.example/a", "title": "Le port de Lomé rouvre", "source": "Gazette",
 "published_at": "2026-11-24T20:00:00Z"}"#;

#[test]
fn p10_stories_and_pick_refuse_what_an_import_refuses_with_file_line_and_field() {
    let folder = tempfile::tempdir().unwrap();
    let good = GOOD.replace('\n', "");
    let lines = [
        good.as_str(),
        "{",
        r#"{"id": 2, "url": "port", "title": "Un titre"}"#,
        r#"{"id": 3, "url": "https://press.example/3", "title": "  "}"#,
        r#"{"id": 4, "url": "https://press.example/4", "title": "Un titre", "value": 9}"#,
        r#"{"id": 5, "url": "https://press.example/5", "title": "Un titre", "lifetime": "eternal"}"#,
        r#"{"url": "https://press.example/6", "title": "Un titre"}"#,
        r#"{"id": 7, "url": "https://press.example/7", "title": 7}"#,
        r#"{"id": "a", "url": "https://press.example/8", "title": "Un titre"}"#,
        r#"{"id": 9, "url": "https://press.example/9", "title": "T", "published_at": "9998-01-01T00:00:00Z"}"#,
        r#"{"id": 1e400, "url": "https://press.example/10", "title": "Un titre"}"#,
    ];
    std::fs::write(folder.path().join("x.jsonl"), lines.join("\n")).unwrap();
    for command in ["stories", "pick"] {
        let done = matinale(folder.path(), &["--json", command, "x.jsonl"], "");
        let told = text(&done.stderr);
        for expected in [
            "x.jsonl:2: line: is no JSON: ",
            "x.jsonl:3: url: ",
            "x.jsonl:4: title: is missing",
            "x.jsonl:5: value: must be 1 to 5, found 9",
            "x.jsonl:6: lifetime: must be short, medium or long, found \"eternal\"",
            "x.jsonl:7: id: is missing",
            "x.jsonl:8: title: must be a text, found a number",
            "x.jsonl:9: id: \"a\" stands on line 1 already",
            "x.jsonl:10: published_at: lies more than a year ahead, found 9998-01-01T00:00:00Z",
            "x.jsonl:11: line: holds a number out of range at column 12",
        ] {
            assert!(told.contains(expected), "{command}: {expected}\n-- not in --\n{told}");
        }
        assert_eq!(done.status.code(), Some(1), "{command}");
        assert_eq!(text(&done.stdout).lines().count(), 1, "{command}: the rest is answered");
    }
}

#[test]
fn a_dash_is_standard_input_and_nothing_is_said_to_be_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let good = GOOD.replace('\n', "");
    let done = matinale(folder.path(), &["--json", "stories", "-"], &good);
    assert!(text(&done.stdout).starts_with("{\"id\":\"a\",\"story\":\""), "{done:?}");
    let done = matinale(folder.path(), &["pick", "-"], &good);
    assert!(text(&done.stdout).contains("! places filled: 1 of 10, nothing else may come in"), "{done:?}");
    let done = matinale(folder.path(), &["pick", "-"], "");
    assert!(text(&done.stderr).contains("standard input: no articles"), "{done:?}");
    assert_eq!(done.status.code(), Some(0));
}

const CONFIG: &str = r#"
[keys]
secret_file = "secret.key"
[relay.main]
url = "smtp://127.0.0.1:1"
[newsletter.test]
name = "Test"
from = "test@example.org"
lock = "0 0 5 * * *"
send_at = "06:30"
relays = ["main"]
check_links = false
"#;

/// A folder with a configuration, and one article of the evening before.
fn house() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("secret.key");
    std::fs::write(&key, "key").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(folder.path().join("matinale.toml"), CONFIG).unwrap();
    let line = GOOD.replace('\n', "");
    std::fs::write(folder.path().join("x.jsonl"), line).unwrap();
    let done = matinale(folder.path(), &["article", "import", "x.jsonl"], "");
    assert!(done.status.success(), "{done:?}");
    folder
}

#[test]
fn a_lock_by_hand_that_is_refused_decides_nothing_and_leaves_no_edition_behind() {
    let house = house();
    let run = |args: &[&str]| matinale(house.path(), args, "");
    let none = run(&["edition", "lock", "test", "--date", "2099-11-25"]);
    assert_eq!(none.status.code(), Some(3), "{none:?}");
    assert!(
        text(&none.stderr).contains(" is opened: 0 candidates, and the newsletter's minimum is 5"),
        "{none:?}"
    );
    assert_eq!(run(&["edition", "show", "test", "--date", "2099-11-25"]).status.code(), Some(3));

    assert!(run(&["edition", "build", "test", "--date", "2026-11-25"]).status.success());
    let one = run(&["edition", "lock", "test", "--date", "2026-11-25"]);
    assert_eq!(one.status.code(), Some(3));
    assert!(
        text(&one.stderr).contains("stays open: 1 candidate, and the newsletter's minimum is 5"),
        "{one:?}"
    );
    let shown = run(&["--json", "edition", "show", "test", "--date", "2026-11-25"]);
    assert!(text(&shown.stdout).contains("\"state\":\"open\""), "{shown:?}");
}

#[test]
fn p7_an_edition_that_is_shown_says_in_the_newsletters_language_what_it_does_not_keep() {
    let house = house();
    let run =
        |command: &str| matinale(house.path(), &["edition", command, "test", "--date", "2026-11-25"], "");
    assert!(run("build").status.success());
    let done = run("show");
    let shown = text(&done.stdout);
    for expected in ["Test, édition du 2026-11-25 : open\n", "\n! places pourvues : 1 sur 10, rien d’autre"]
    {
        assert!(shown.contains(expected), "{expected}\n-- not in --\n{shown}");
    }
}

#[test]
fn p10_a_document_that_cannot_be_is_refused_with_its_field_and_is_given_with_titles() {
    let house = house();
    let edit = |document: &str| {
        matinale(house.path(), &["edition", "edit", "test", "--date", "2026-11-25", "--file", "-"], document)
    };
    for (document, expected) in [
        (r#"{"items": [{"url": "https://press.example/a", "pinned": "yes"}]}"#, "items[0].pinned: "),
        (r#"{"values": [{"url": "https://press.example/a", "value": 6}]}"#, "values[0].value: "),
        (r#"{"removed": ["https://press.example/z"]}"#, "removed[0]: no article"),
        ("{", "is no JSON: "),
    ] {
        let done = edit(document);
        assert_eq!(done.status.code(), Some(3), "{done:?}");
        let expected = format!("standard input: {expected}");
        assert!(text(&done.stderr).contains(&expected), "{expected}: {done:?}");
    }
    assert!(edit(r#"{"removed": ["https://press.example/a"]}"#).status.success());
    let given = matinale(house.path(), &["edition", "edit", "test", "--date", "2026-11-25"], "");
    let given: serde_json::Value = serde_json::from_slice(&given.stdout).unwrap();
    assert_eq!(given["removed"][0]["article"], "Le port de Lomé rouvre", "{given}");
    // What was given is taken as it is.
    assert!(edit(&given.to_string()).status.success());

    // P6: what an editor gave a value stands in the history.
    let document =
        r#"{"removed": [], "values": [{"url": "https://press.example/a", "value": 4, "lifetime": "long"}]}"#;
    assert!(edit(document).status.success());
    let history = matinale(house.path(), &["selection", "history", "test", "--date", "2026-11-25"], "");
    assert!(text(&history.stdout).contains("valued 4, long"), "{history:?}");
}

#[test]
fn a_test_copy_that_no_relay_takes_has_failed_and_one_to_no_address_was_asked_for_wrongly() {
    let house = house();
    let copy = |to: &str| {
        matinale(house.path(), &["edition", "send", "test", "--date", "2026-11-25", "--to", to], "")
    };
    let away = copy("awa@example.org");
    assert_eq!(away.status.code(), Some(1), "{away:?}");
    assert!(text(&away.stderr).contains("the test copy was not taken"), "{away:?}");
    let nobody = copy("awa at example.org");
    assert_eq!(nobody.status.code(), Some(2), "{nobody:?}");
}

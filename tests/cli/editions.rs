//! Editions by hand: whoever only looks opens none, and a date is heeded where one is given.

use super::refusals::{answer, house, matinale};

const DAY_OFF: &str = "2026-11-24";

#[test]
fn p5_whoever_only_looks_at_a_day_off_opens_no_edition_of_it() {
    let house = house(&format!("days_off = [\"{DAY_OFF}\"]"));
    let edition = |command: &str, more: &[&str]| {
        let start = ["edition", command, "test", "--date", DAY_OFF];
        matinale(&house, &[&start[..], more].concat())
    };
    let listed = || answer(&house, &["--json", "edition", "list", "test", "--date", DAY_OFF]);
    for (command, more, status) in [
        ("preview", &[][..], 0),
        ("edit", &[], 0),
        ("build", &[], 0),
        ("build", &["--explain"], 0),
        ("send", &["--to", "awa@example.org"], 1),
        ("show", &[], 3),
    ] {
        let (ended, told) = edition(command, more);
        assert_eq!(ended, Some(status), "{command}: {told}");
        let says =
            "it is a day off. To have one all the same: matinale edition approve test --date 2026-11-24";
        assert_eq!(told.contains(says), matches!(command, "build" | "show"), "{command}: {told}");
        assert_eq!(listed(), "", "{command}");
    }
    let document = house.path().join("document.json");
    std::fs::write(&document, "{\"removed\": [\"https://press.example/z\"]}").unwrap();
    let file = ["--file", document.to_str().unwrap()];
    assert_eq!(edition("edit", &file).0, Some(3));
    assert_eq!(edition("lock", &[]).0, Some(3));
    assert_eq!(listed(), "", "what was refused opened none");
    // By name.
    std::fs::write(&document, "{\"subject\": \"Bonjour\"}").unwrap();
    assert_eq!(edition("edit", &file).0, Some(0));
    assert!(listed().contains("\"state\":\"open\""), "{}", listed());
}

#[test]
fn editions_are_listed_by_the_date_that_is_given() {
    let house = house("days_off = [\"2036-11-25\"]");
    let listed = |date: &str| answer(&house, &["--json", "edition", "list", "test", "--date", date]);
    answer(&house, &["edition", "build", "test", "--date", "2026-11-25"]);
    answer(&house, &["edition", "build", "test", "--date", "2026-11-26"]);
    let one = listed("2026-11-26");
    assert!(one.lines().count() == 1 && one.contains("\"date\":\"2026-11-26\",\"state\":\"open\""), "{one}");
    let to_come = listed("2036-11-24");
    assert!(to_come.lines().count() == 1 && to_come.contains("\"state\":null"), "{to_come}");
    assert_eq!(listed("2036-11-25"), "", "a day off");
    assert_eq!(listed("2020-11-24"), "", "long past, and never opened");
}

#[test]
fn p5_a_day_off_that_is_past_is_not_missed_by_who_would_send_it() {
    let house = house(&format!("days_off = [\"{DAY_OFF}\"]"));
    for (more, says) in [(None, "no edition of 2026-11-24, which is past"), (Some("--late"), "0 candidates")]
    {
        let start = ["edition", "send", "test", "--date", DAY_OFF];
        let (status, told) = matinale(&house, &[&start[..], more.as_slice()].concat());
        assert!(status == Some(3) && told.contains(says), "{more:?}: {status:?} {told}");
        assert_eq!(answer(&house, &["--json", "edition", "list", "test", "--date", DAY_OFF]), "", "{more:?}");
    }
}

#[test]
fn what_was_missed_for_want_of_approval_is_approved_and_sent_late() {
    let house = house("approval = \"approve\"\nminimum_items = 1\ncheck_links = false");
    let article = house.path().join("article.jsonl");
    let line = "{\"url\": \"https://press.example/1\", \"title\": \"Cacao record\", \"summary\": \"Ce qui s’est passé.\", \
                \"source\": \"Press\", \"published_at\": \"2026-11-23T20:00:00Z\"}\n";
    std::fs::write(&article, line).unwrap();
    answer(&house, &["article", "import", article.to_str().unwrap()]);
    let edition = |command: &str, more: &[&str]| {
        let start = ["edition", command, "test", "--date", DAY_OFF];
        matinale(&house, &[&start[..], more].concat())
    };
    let (status, told) = edition("send", &[]);
    assert!(status == Some(3) && told.contains("was missed"), "{told}");
    let (status, told) = edition("send", &["--late"]);
    assert!(status == Some(3) && told.contains("matinale edition approve test --date 2026-11-24"), "{told}");
    let (status, told) = edition("approve", &[]);
    let late = "It stays missed until somebody sends it: matinale edition send test --date 2026-11-24 --late";
    assert!(status == Some(0) && told.contains(late), "{told}");
    let (status, told) = edition("send", &["--late"]);
    assert_eq!(status, Some(0), "{told}");
    let listed = answer(&house, &["--json", "edition", "list", "test", "--date", DAY_OFF]);
    assert!(listed.contains("\"state\":\"sent\""), "{listed}");
}

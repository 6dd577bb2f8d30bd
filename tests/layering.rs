//! The house keeps its walls: a room calls only earlier rooms, and writes only its own tables; SQL stands only in
//! files named `store.rs`, in folders named `store/` and in `db/`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Ground floor first, then the morning in its order, then the doors. The ground floor's parts may use each other.
const ORDER: [(&str, usize); 17] = [
    ("clock", 0),
    ("config", 0),
    ("db", 0),
    ("telemetry", 0),
    ("lifecycle", 0),
    ("access", 0),
    ("world", 0),
    ("articles", 1),
    ("selection", 2),
    ("editions", 3),
    ("readers", 4),
    ("mail", 5),
    ("delivery", 6),
    ("feedback", 7),
    ("morning", 8),
    ("web", 9),
    ("cli", 10),
];

const TABLES: [(&str, &[&str]); 7] = [
    ("access", &["editor", "token", "fact"]),
    ("articles", &["article", "feed", "picture", "picture_source"]),
    ("editions", &["edition", "item", "decision", "edition_event", "revision", "rendering"]),
    ("readers", &["subscriber", "subscription", "suppression"]),
    (
        "delivery",
        &[
            "daemon",
            "delivery",
            "attempt",
            "plan",
            "relay",
            "pruned",
            "pruned_delivery",
            "pruned_attempt",
            "unmade",
            "pace",
            "connection",
            "warm_up",
            "sts_policy",
        ],
    ),
    ("morning", &["clock", "alarm", "alarm_copy"]),
    (
        "selection",
        &["proposal", "proposal_item", "editor_event", "lesson", "promotion", "story_article", "story_bond"],
    ),
];

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            out.push(path);
        }
    }
}

/// The room of a file, its path below `src`, and its text without the tests at its end.
fn house() -> Vec<(String, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    files
        .into_iter()
        .map(|path| {
            let below = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            let room = below.split(['/', '.']).next().unwrap().to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap().to_owned();
            (room, below, text)
        })
        .collect()
}

#[test]
fn a_room_calls_only_earlier_rooms() {
    let order: BTreeMap<&str, usize> = ORDER.into_iter().collect();
    let mut wrong = Vec::new();
    for (room, file, text) in house() {
        let Some(own) = order.get(room.as_str()) else { continue };
        for (other, place) in &order {
            let named =
                text.contains(&format!("crate::{other}::")) || imports(&text).any(|name| name == *other);
            // The configuration checks lock rules and zones with what stands beside it on the ground floor.
            if named && *other != room && place > own {
                wrong.push(format!("{file} calls {other}, which comes later"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The rooms that `use crate::{a, b}` lines name.
fn imports(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("use crate::{")?.strip_suffix("};"))
        .flat_map(|list| list.split(','))
        .map(|name| name.trim().split("::").next().unwrap_or_default())
}

fn is_store(file: &str) -> bool {
    file.ends_with("store.rs") || file.contains("/store/")
}

#[test]
fn sql_stands_only_in_stores_and_in_db() {
    let mut wrong = Vec::new();
    for (room, file, text) in house() {
        let allowed = room == "db" || is_store(&file);
        let runs =
            ["sqlx::query", "SELECT ", "INSERT INTO", "DELETE FROM"].iter().any(|sql| text.contains(sql));
        if runs && !allowed {
            wrong.push(file);
        }
    }
    assert!(wrong.is_empty(), "SQL outside a store: {wrong:?}");
}

#[test]
fn a_room_writes_only_its_own_tables() {
    let owners: BTreeMap<&str, &str> =
        TABLES.iter().flat_map(|(room, tables)| tables.iter().map(|table| (*table, *room))).collect();
    let mut wrong = Vec::new();
    for (room, file, text) in house().into_iter().filter(|(_, file, _)| is_store(file)) {
        for verb in ["INSERT INTO ", "UPDATE ", "DELETE FROM "] {
            for rest in text.split(verb).skip(1) {
                let table: String =
                    rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
                if let Some(owner) = owners.get(table.as_str()).filter(|owner| **owner != room) {
                    wrong.push(format!("{file} writes {table}, which is {owner}'s"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn both_engines_have_the_same_migrations() {
    let names = |engine: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(engine);
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names("sqlite"), names("postgres"));
}

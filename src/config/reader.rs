//! Reads one section of the configuration, key by key, and notes every fault instead of stopping at the first.
//!
//! A key that nobody asked for by the time a [`Section`] is dropped is unknown, and a fault too: a daemon that
//! ignores a misspelt key is dangerous.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use config::{Map, Value, ValueKind};
use secrecy::SecretString;

use super::values;

/// Where a value was written that nobody set: what is compiled in.
pub const DEFAULTS: &str = "the defaults";

/// One thing that is wrong, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The key's path, such as `relay.main.url`; empty where a whole file is meant.
    pub key: String,
    /// The file or environment variable it was read from; the last file read where a key is missing.
    pub origin: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            write!(f, "{}: {}", self.origin, self.message)
        } else {
            write!(f, "{}: {}: {}", self.origin, self.key, self.message)
        }
    }
}

/// Every fault found, in the order of reading.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults(Rc<RefCell<Vec<Fault>>>);

impl Faults {
    pub(super) fn add(&self, fault: Fault) {
        self.0.borrow_mut().push(fault);
    }

    pub(super) fn take(&self) -> Vec<Fault> {
        self.0.take()
    }
}

/// One table of the configuration, being read.
#[derive(Debug)]
pub struct Section {
    path: String,
    own: Map<String, Value>,
    /// What stands in for keys that `own` does not have: the table's `[each.…]`.
    each: Map<String, Value>,
    asked: RefCell<BTreeSet<String>>,
    /// Where the table was written; named when a key of it is missing.
    origin: String,
    faults: Faults,
}

impl Section {
    pub(super) fn new(
        path: String,
        own: Map<String, Value>,
        each: Map<String, Value>,
        origin: &str,
        faults: &Faults,
    ) -> Self {
        let origin = own.values().find_map(written_in).unwrap_or_else(|| origin.to_owned());
        Self { path, own, each, asked: RefCell::default(), origin, faults: faults.clone() }
    }

    /// The key's path as a person would write it.
    fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.asked.borrow_mut().insert(key.to_owned());
        self.own.get(key).or_else(|| self.each.get(key)).filter(|value| value.kind != ValueKind::Nil)
    }

    /// Notes that something is wrong with this key.
    pub fn fault(&self, key: &str, message: impl Into<String>) {
        let origin = self.own.get(key).or_else(|| self.each.get(key)).map_or_else(
            || self.origin.clone(),
            |value| written_in(value).unwrap_or_else(|| DEFAULTS.to_owned()),
        );
        self.faults.add(Fault { key: self.key(key), origin, message: message.into() });
    }

    /// Whether the key is given, here or as a default.
    pub fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// Reads the key as text and parses it; `None` where it is not given or wrong (and then noted).
    pub fn parse<T, E: fmt::Display>(
        &self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(key)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(error) => {
                self.fault(key, error.to_string());
                None
            }
        }
    }

    /// The text of the key.
    pub fn text(&self, key: &str) -> Option<String> {
        match &self.value(key)?.kind {
            ValueKind::String(text) => Some(text.clone()),
            other => {
                self.fault(key, format!("expected a text in quotes, found {}", kind(other)));
                None
            }
        }
    }

    /// The text of a key that must be given and not be empty.
    pub fn required(&self, key: &str) -> String {
        if !self.has(key) {
            self.fault(key, "is required");
            return String::new();
        }
        match self.text(key) {
            Some(text) if text.trim().is_empty() => {
                self.fault(key, "must not be empty");
                text
            }
            text => text.unwrap_or_default(),
        }
    }

    /// Yes or no.
    pub fn flag(&self, key: &str) -> Option<bool> {
        match &self.value(key)?.kind {
            ValueKind::Boolean(flag) => Some(*flag),
            ValueKind::String(text)
                if self.is_from_environment(key) && (text == "true" || text == "false") =>
            {
                Some(text == "true")
            }
            other => {
                self.fault(key, format!("expected true or false, found {}", kind(other)));
                None
            }
        }
    }

    /// A whole number in this range.
    pub fn number(&self, key: &str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let value = self.value(key)?;
        let number = match &value.kind {
            ValueKind::I64(number) => Some(*number),
            ValueKind::U64(number) => i64::try_from(*number).ok(),
            ValueKind::String(text) if self.is_from_environment(key) => text.parse().ok(),
            _ => None,
        };
        match number {
            Some(number) if range.contains(&number) => Some(number),
            Some(number) => {
                self.fault(key, format!("{number} is not between {} and {}", range.start(), range.end()));
                None
            }
            None => {
                self.fault(key, format!("expected a whole number, found {}", kind(&value.kind)));
                None
            }
        }
    }

    /// A list of whole numbers in this range; in the environment one text with commas.
    pub fn numbers(&self, key: &str, range: std::ops::RangeInclusive<i64>) -> Vec<i64> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let numbers: Option<Vec<i64>> = match &value.kind {
            ValueKind::Array(items) => items
                .iter()
                .map(|item| match &item.kind {
                    ValueKind::I64(number) => Some(*number),
                    ValueKind::U64(number) => i64::try_from(*number).ok(),
                    _ => None,
                })
                .collect(),
            ValueKind::String(text) if self.is_from_environment(key) => {
                text.split(',').map(|number| number.trim().parse().ok()).collect()
            }
            _ => None,
        };
        let Some(numbers) = numbers else {
            self.fault(key, "expected a list of whole numbers such as [100, 70, 40]");
            return Vec::new();
        };
        if let Some(wrong) = numbers.iter().find(|number| !range.contains(number)) {
            self.fault(key, format!("{wrong} is not between {} and {}", range.start(), range.end()));
        }
        numbers
    }

    /// Like [`Section::number`], for counts.
    pub fn count(&self, key: &str, range: std::ops::RangeInclusive<u32>) -> Option<u32> {
        self.number(key, i64::from(*range.start())..=i64::from(*range.end()))
            .and_then(|n| u32::try_from(n).ok())
    }

    /// A number, with a point or without, in this range.
    pub fn decimal(&self, key: &str, range: std::ops::RangeInclusive<f64>) -> Option<f64> {
        let value = self.value(key)?;
        #[expect(clippy::cast_precision_loss, reason = "numbers that people write are far below 2^52")]
        let number = match &value.kind {
            ValueKind::Float(number) => Some(*number),
            ValueKind::I64(number) => Some(*number as f64),
            ValueKind::String(text) if self.is_from_environment(key) => text.parse().ok(),
            _ => None,
        };
        match number {
            Some(number) if range.contains(&number) => Some(number),
            Some(number) => {
                self.fault(key, format!("{number} is not between {} and {}", range.start(), range.end()));
                None
            }
            None => {
                self.fault(key, format!("expected a number, found {}", kind(&value.kind)));
                None
            }
        }
    }

    /// A length of time, such as `90s`, `10m`, `3h`.
    pub fn duration(&self, key: &str) -> Option<Duration> {
        self.parse(key, values::duration)
    }

    /// A size in bytes, such as `8MiB`.
    pub fn size(&self, key: &str) -> Option<u64> {
        self.parse(key, values::size)
    }

    /// A list of texts; in the environment one text with commas.
    pub fn list(&self, key: &str) -> Vec<String> {
        let Some(value) = self.value(key) else { return Vec::new() };
        match &value.kind {
            ValueKind::Array(items) => {
                let mut out = Vec::new();
                for (at, item) in items.iter().enumerate() {
                    match &item.kind {
                        ValueKind::String(text) => out.push(text.clone()),
                        other => self.fault(
                            key,
                            format!("entry {}: expected a text in quotes, found {}", at + 1, kind(other)),
                        ),
                    }
                }
                out
            }
            ValueKind::String(text) if self.is_from_environment(key) => {
                text.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
            }
            other => {
                self.fault(key, format!("expected a list such as [\"a\", \"b\"], found {}", kind(other)));
                Vec::new()
            }
        }
    }

    /// A list of texts, each parsed; those that do not parse are noted and left out.
    pub fn parsed_list<T, E: fmt::Display>(&self, key: &str, parse: impl Fn(&str) -> Result<T, E>) -> Vec<T> {
        let mut out = Vec::new();
        for item in self.list(key) {
            match parse(&item) {
                Ok(value) => out.push(value),
                Err(error) => self.fault(key, format!("{item:?}: {error}")),
            }
        }
        out
    }

    /// A file's path, relative to the folder of the file that names it.
    pub fn path(&self, key: &str) -> Option<PathBuf> {
        let text = self.text(key)?;
        Some(self.resolve(key, &text))
    }

    /// What a relative path in this key's value means.
    pub(super) fn resolve(&self, key: &str, path: &str) -> PathBuf {
        let path = PathBuf::from(path);
        let folder = self.value(key).and_then(Value::origin).map(Path::new).and_then(Path::parent);
        match folder {
            Some(folder) if path.is_relative() && !self.is_from_environment(key) => folder.join(path),
            _ => path,
        }
    }

    /// The secret in a file that only its owner may read, without the newline at its end.
    pub fn secret_file(&self, key: &str) -> Option<SecretString> {
        let path = self.path(key)?;
        // Of all the secrets that is the only one that nobody else gives us; `init` makes it beside a new configuration
        // alone.
        let missing = if self.path == "keys" {
            format!(
                "no such file; put its copy back, or make one: (umask 077; openssl rand -hex 32 > {})",
                path.display()
            )
        } else {
            "no such file".to_owned()
        };
        match values::read_secret(&path, &missing) {
            Ok(secret) => Some(secret),
            Err(message) => {
                self.fault(key, message);
                None
            }
        }
    }

    /// The table under this key; an empty one where it is not given.
    pub fn section(&self, key: &str) -> Self {
        let table = |value: Option<&Value>| match value.map(|value| &value.kind) {
            Some(ValueKind::Table(table)) => table.clone(),
            None | Some(ValueKind::Nil) => Map::new(),
            Some(other) => {
                self.fault(key, format!("expected a table, found {}", kind(other)));
                Map::new()
            }
        };
        self.asked.borrow_mut().insert(key.to_owned());
        Self::new(
            self.key(key),
            table(self.own.get(key)),
            table(self.each.get(key)),
            &self.origin,
            &self.faults,
        )
    }

    /// The tables under this key by their names, each with what `each` gives to all of them.
    pub(super) fn named(&self, key: &str, each: &Self) -> Vec<(String, Self)> {
        let tables = self.section(key);
        let defaults = each.section(key);
        // Read through the tables themselves: a misspelt key in `each` shows in every one of them.
        defaults.asked.borrow_mut().extend(defaults.own.keys().cloned());
        let names: BTreeSet<String> = tables.own.keys().cloned().collect();
        names
            .into_iter()
            .map(|name| {
                let mut section = tables.section(&name);
                section.each.clone_from(&defaults.own);
                (name, section)
            })
            .collect()
    }

    /// Every key of this table, for tables that map free names to values.
    pub fn keys(&self) -> Vec<String> {
        let keys: BTreeSet<&String> = self.own.keys().chain(self.each.keys()).collect();
        keys.into_iter().cloned().collect()
    }

    fn is_from_environment(&self, key: &str) -> bool {
        self.own
            .get(key)
            .or_else(|| self.each.get(key))
            .and_then(Value::origin)
            .is_some_and(|origin| origin.starts_with(super::layers::ENVIRONMENT))
    }
}

impl Drop for Section {
    fn drop(&mut self) {
        let asked = self.asked.borrow();
        let unknown: BTreeSet<&String> =
            self.own.keys().chain(self.each.keys()).filter(|key| !asked.contains(*key)).collect();
        for key in unknown {
            let known: Vec<&str> = asked.iter().map(String::as_str).filter(|name| *name != "each").collect();
            self.fault(key, format!("unknown key; known here: {}", known.join(", ")));
        }
    }
}

/// Where a value was written. A merged table has no origin of its own: its first value's stands for it.
fn written_in(value: &Value) -> Option<String> {
    match (&value.kind, value.origin()) {
        (_, Some(origin)) => Some(origin.to_owned()),
        (ValueKind::Table(table), None) => table.values().find_map(written_in),
        _ => None,
    }
}

fn kind(value: &ValueKind) -> String {
    match value {
        ValueKind::Nil => "nothing".to_owned(),
        ValueKind::Boolean(flag) => format!("{flag}"),
        ValueKind::Float(number) => format!("the number {number}"),
        ValueKind::String(text) => format!("the text {text:?}"),
        ValueKind::Table(_) => "a table".to_owned(),
        ValueKind::Array(_) => "a list".to_owned(),
        number => format!("the number {number}"),
    }
}

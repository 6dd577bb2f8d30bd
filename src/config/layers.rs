//! The layers of the configuration: the defaults compiled in, files, the environment; later ones win.
//!
//! Every value remembers where it came from, so that a fault can name its file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::{File, FileFormat, Map, Source, Value, ValueKind};

use super::reader::{Fault, Faults};

/// What the origin of a value from the environment begins with.
pub(super) const ENVIRONMENT: &str = "environment variable ";
const PREFIX: &str = "MATINALE__";
const DEFAULTS: &str = include_str!("../../config/default.toml");

/// Merges all layers into one table; what cannot be read is noted and left out.
pub(super) fn merge(
    files: &[PathBuf],
    environment: &BTreeMap<String, String>,
    faults: &Faults,
) -> Map<String, Value> {
    let mut builder = config::Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml));
    for path in files {
        if let Some(source) = readable(path, faults) {
            builder = builder.add_source(source);
        }
    }
    let built = match builder.build() {
        Ok(built) => built,
        Err(error) => {
            faults.add(Fault {
                key: String::new(),
                origin: "configuration".to_owned(),
                message: error.to_string(),
            });
            return Map::new();
        }
    };
    let mut tree = match built.collect() {
        Ok(tree) => tree,
        Err(error) => {
            faults.add(Fault {
                key: String::new(),
                origin: "configuration".to_owned(),
                message: error.to_string(),
            });
            Map::new()
        }
    };
    for (variable, text) in environment {
        if let Some(rest) = variable.strip_prefix(PREFIX)
            && let Err(message) = set(&mut tree, rest, variable, text)
        {
            let origin = format!("{ENVIRONMENT}{variable}");
            faults.add(Fault { key: String::new(), origin, message });
        }
    }
    tree
}

/// A file as a layer, or `None` when it cannot be read or is no TOML: each file is tried alone, so that the
/// fault names it.
fn readable(path: &Path, faults: &Faults) -> Option<Layer> {
    let shown = path.display().to_string();
    let fault = |message: String| faults.add(Fault { key: String::new(), origin: shown.clone(), message });
    let text = match std::fs::read(path) {
        Ok(bytes) => {
            if let Ok(text) = String::from_utf8(bytes) {
                text
            } else {
                fault("is not UTF-8 text".to_owned());
                return None;
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            fault("no such file; `matinale init` writes one".to_owned());
            return None;
        }
        Err(error) => {
            fault(error.to_string());
            return None;
        }
    };
    if let Err(error) = toml::from_str::<toml::Table>(&text) {
        fault(error.to_string().trim_end().to_owned());
        return None;
    }
    match File::from_str(&text, FileFormat::Toml).collect() {
        Ok(mut table) => {
            table.values_mut().for_each(|value| tag(value, &shown));
            Some(Layer(table))
        }
        Err(error) => {
            fault(error.to_string());
            None
        }
    }
}

/// A file's values, each of which knows the file by the name it was given with.
#[derive(Clone, Debug)]
struct Layer(Map<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}

fn tag(value: &mut Value, origin: &str) {
    let mut kind = std::mem::take(&mut value.kind);
    match &mut kind {
        ValueKind::Table(table) => table.values_mut().for_each(|value| tag(value, origin)),
        ValueKind::Array(items) => items.iter_mut().for_each(|value| tag(value, origin)),
        _ => {}
    }
    *value = Value::new(Some(&origin.to_owned()), kind);
}

/// Puts one variable into the tree. Names written with `_` find the table whose `-` or `.` they stand for.
fn set(tree: &mut Map<String, Value>, rest: &str, variable: &str, text: &str) -> Result<(), String> {
    let parts: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
    if parts.iter().any(String::is_empty) {
        return Err("expected MATINALE__SECTION__KEY".to_owned());
    }
    let mut table = tree;
    for (depth, part) in parts.iter().enumerate() {
        let matching: Vec<String> = table.keys().filter(|name| plain(name) == *part).cloned().collect();
        let name = match matching.as_slice() {
            [] => part.clone(),
            [one] => one.clone(),
            several => return Err(format!("could mean each of {}: give it in a file", several.join(", "))),
        };
        if depth + 1 == parts.len() {
            let origin = format!("{ENVIRONMENT}{variable}");
            table.insert(name, Value::new(Some(&origin), ValueKind::String(text.to_owned())));
            return Ok(());
        }
        let entry =
            table.entry(name.clone()).or_insert_with(|| Value::new(None, Map::<String, Value>::new()));
        match &mut entry.kind {
            ValueKind::Table(inner) => table = inner,
            _ => return Err(format!("{name} is no table")),
        }
    }
    Ok(())
}

fn plain(name: &str) -> String {
    name.to_ascii_lowercase().replace(['-', '.'], "_")
}

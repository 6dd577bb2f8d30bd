//! `[database]`: which store, and what a commit is worth.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use super::reader::Section;
use crate::db::{Options, Synchronous};

/// The `[database]` section.
#[derive(Clone, Debug)]
pub struct Database {
    /// `sqlite:PATH` with the path resolved, or `postgres://…`; never printed.
    pub url: SecretString,
    /// When a commit counts as kept.
    pub synchronous: Synchronous,
    /// Whether commands bring the schema to this version themselves.
    pub migrate: bool,
    /// The most connections a process opens to PostgreSQL.
    pub connections: u32,
    /// How long PostgreSQL may take to answer.
    pub timeout: Duration,
}

impl Database {
    pub(super) fn read(section: &Section) -> Self {
        let from_file = if section.has("url_file") { section.secret_file("url_file") } else { None };
        let url = from_file.unwrap_or_else(|| section.required("url").into());
        let text = url.expose_secret();
        let url: SecretString = match text.strip_prefix("sqlite:") {
            Some(path) if path.contains(":memory:") => {
                section.fault("url", "an edition must survive the process: name a file");
                text.into()
            }
            Some(path) => {
                let path = path.strip_prefix("//").unwrap_or(path);
                format!("sqlite:{}", section.resolve("url", path).display()).into()
            }
            None if text.starts_with("postgres://") || text.starts_with("postgresql://") => text.into(),
            None => {
                section.fault("url", "must begin with sqlite: or postgres://");
                text.into()
            }
        };
        let synchronous = section.parse("synchronous", |text| match text {
            "full" => Ok(Synchronous::Full),
            "normal" => Ok(Synchronous::Normal),
            other => Err(format!("expected \"full\" or \"normal\", found {other:?}")),
        });
        let migrate = section.parse("migrate", |text| match text {
            "auto" => Ok(true),
            "manual" => Ok(false),
            other => Err(format!("expected \"auto\" or \"manual\", found {other:?}")),
        });
        let timeout = section.duration("timeout").unwrap_or(Duration::from_secs(60));
        if timeout < Duration::from_secs(1) {
            section.fault("timeout", "a server needs time to answer: at least \"1s\"");
        }
        Self {
            url,
            synchronous: synchronous.unwrap_or_default(),
            migrate: migrate.unwrap_or(true),
            connections: section.count("connections", 2..=1000).unwrap_or(16),
            timeout,
        }
    }

    /// How to open it.
    pub fn options(&self) -> Options {
        Options {
            url: self.url.clone(),
            synchronous: self.synchronous,
            connections: self.connections,
            timeout: self.timeout,
        }
    }
}

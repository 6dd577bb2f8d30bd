//! What every command needs: configuration, database, time and randomness, opened when first asked for.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{Notify, OnceCell};

use super::output::Out;
use super::{Misuse, Refusal};
use crate::clock::{Clock, Random};
use crate::config::{Config, Log, LogFormat, Newsletter};
use crate::db::Db;
use crate::lifecycle::Shutdown;
use crate::morning::House;
use crate::telemetry;

/// After a second signal nothing is waited for any longer than this: not for a database that is away, either.
const GRACE: Duration = Duration::from_secs(2);

/// Handed to every command.
#[derive(Debug)]
pub struct Context {
    files: Vec<PathBuf>,
    /// Whether the files were named on the command line.
    named: bool,
    /// Whether results are JSON.
    pub json: bool,
    /// Only errors on standard error.
    pub quiet: bool,
    verbose: bool,
    clock: Clock,
    random: Random,
    config: std::sync::OnceLock<Config>,
    db: OnceCell<Db>,
    /// Told once it is.
    opened: Notify,
    shutdown: Shutdown,
}

impl Context {
    /// A context that reads these files, or the usual ones where there are none.
    pub fn new(files: Vec<PathBuf>, json: bool, quiet: bool, verbose: bool) -> Self {
        let named = !files.is_empty();
        let files = if files.is_empty() { Config::usual_files() } else { files };
        Self {
            files,
            named,
            json,
            quiet,
            verbose,
            clock: Clock::system(),
            random: Random::system(),
            config: std::sync::OnceLock::new(),
            db: OnceCell::new(),
            opened: Notify::new(),
            shutdown: Shutdown::new(),
        }
    }

    /// The configuration files that are read.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The configuration, for a command that needs none: only where `--config` named its files.
    pub fn named_config(&self) -> anyhow::Result<Option<&Config>> {
        if self.named { self.config().map(Some) } else { Ok(None) }
    }

    /// The configuration, read and checked; starts logging as it says.
    pub fn config(&self) -> anyhow::Result<&Config> {
        self.load(false)
    }

    /// The same for a command from which nothing leaves: the built-in inbox is admitted as a relay.
    pub fn config_for_rehearsal(&self) -> anyhow::Result<&Config> {
        self.load(true)
    }

    fn load(&self, rehearsal: bool) -> anyhow::Result<&Config> {
        if let Some(config) = self.config.get() {
            return Ok(config);
        }
        let config = Config::load_for(&self.files, &environment(), rehearsal)?;
        self.log(&config.log);
        Ok(self.config.get_or_init(|| config))
    }

    /// Starts logging without a configuration.
    pub fn log_plainly(&self) {
        self.log(&Log { format: LogFormat::Text, level: "info".to_owned() });
    }

    fn log(&self, log: &Log) {
        let level = match (self.quiet, self.verbose) {
            (true, _) => "error".to_owned(),
            (_, true) => "debug".to_owned(),
            _ => log.level.clone(),
        };
        telemetry::start(&Log { format: log.format, level });
    }

    /// The newsletter of this id.
    pub fn newsletter(&self, id: &str) -> anyhow::Result<&Newsletter> {
        let newsletters = &self.config()?.newsletters;
        newsletters.get(id).ok_or_else(|| {
            let known: Vec<&str> = newsletters.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none is configured".to_owned() } else { known.join(", ") };
            Misuse(format!("there is no newsletter {id:?}; known: {known}")).into()
        })
    }

    /// The database, opened and brought to this version (unless `database.migrate` is "manual").
    pub async fn db(&self) -> anyhow::Result<&Db> {
        let config = self.config()?;
        let db = self
            .db
            .get_or_try_init(|| async {
                let options = config.database.options();
                // Whoever may not make the tables makes no file for them either.
                if !config.database.migrate && Db::find_read_only(&options).await?.is_none() {
                    return Err(outdated());
                }
                let db = Db::open(&options).await?;
                if config.database.migrate {
                    match db.unless_lost(db.migrate()).await {
                        // Where nothing can be written whoever only reads goes on: it may be just what it waits for.
                        Err(crate::db::Error::Migrate(_)) if reads_only(&db).await => {}
                        migrated => drop(migrated?),
                    }
                } else if !db.answered(db.pending()).await?.is_empty() {
                    return Err(outdated());
                }
                Ok::<_, anyhow::Error>(db)
            })
            .await?;
        self.opened.notify_one();
        Ok(db)
    }

    /// What the rooms need to work together.
    pub async fn house(&self) -> anyhow::Result<House> {
        let config = self.config()?.clone();
        Ok(House::new(config, self.db().await?.clone(), self.clock.clone(), self.random.clone()))
    }

    /// Follows the signals from now on: the first drains, the second stops.
    pub fn shutdown(&self) -> anyhow::Result<Shutdown> {
        self.shutdown.follow_signals()?;
        Ok(self.shutdown.clone())
    }

    /// Resolves when a second signal came and whoever works had a moment to let go of what it holds.
    pub async fn stopped(&self) {
        self.shutdown.stopping().await;
        tokio::time::sleep(GRACE).await;
    }

    /// Resolves when the database that was opened is lost; never before one is.
    pub async fn lost(&self) -> crate::db::Error {
        self.opened.notified().await;
        match self.db.get() {
            Some(db) => db.lost().await,
            None => std::future::pending().await,
        }
    }

    /// Whether a second signal came.
    pub fn is_stopping(&self) -> bool {
        self.shutdown.is_stopping()
    }

    /// The times of the house.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Random numbers.
    pub fn random(&self) -> &Random {
        &self.random
    }

    /// Where results go.
    pub fn out(&self) -> Out {
        Out::stdout(self.json)
    }

    /// Says something on standard error, unless `--quiet`.
    pub fn say(&self, text: &str) {
        if !self.quiet {
            super::output::say(text);
        }
    }

    /// Closes the database, when it was opened; a server that is silent is not waited for.
    pub async fn close(&self) {
        if let Some(db) = self.db.get() {
            let closed = async {
                db.close().await;
                Ok::<_, crate::db::Error>(())
            };
            drop(db.answered_within(GRACE, closed).await);
        }
    }
}

fn outdated() -> anyhow::Error {
    let told =
        "the database is older than this program and database.migrate is \"manual\": run `matinale migrate`";
    Refusal(told.to_owned()).into()
}

/// Whether the database is at this version, on a server that takes no writes.
async fn reads_only(db: &Db) -> bool {
    let looked =
        db.answered(async { Ok::<_, crate::db::Error>(!db.takes_writes().await? && db.is_current().await?) });
    looked.await.unwrap_or(false)
}

/// The environment, for [`Config::load`].
pub(super) fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with("MATINALE__"))
        .collect()
}

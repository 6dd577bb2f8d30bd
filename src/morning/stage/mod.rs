//! A house of its own for rehearsals: a scratch database, made-up or copied readers, a sink for a relay.
//!
//! Everything on it is real but the mailboxes: the ledger, the engine, the bytes. Nothing leaves, because its only
//! relay is a sink on loopback; nothing stays, because its database goes when the stage is struck.

mod letter;
pub mod sink;
pub mod store;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Time;
use tempfile::TempDir;

use super::{Error, House, Result};
use crate::clock::{Clock, Random};
use crate::config::{Config, Newsletter};
use crate::db::{Db, Options};
use crate::delivery::due::Morning;
use crate::delivery::plan::{self, Plan};
use crate::editions::{self, EditionId, EditionState, NewRevision, Who};
use crate::readers;

pub use letter::letter;

/// The one newsletter of a made-up stage.
pub const NEWSLETTER: &str = "stage";
/// Made-up readers come in steps, so that no transaction grows with the list.
const STEP: i64 = 50_000;

/// What a made-up stage is like.
#[derive(Clone, Debug)]
pub struct Setting {
    /// A PostgreSQL server's URL; a SQLite file where `None`.
    pub postgres: Option<String>,
    /// Where mail goes.
    pub relay: SocketAddr,
    /// How many connections go there, from each daemon.
    pub connections: u32,
    /// How many messages go over one.
    pub messages_per_connection: u32,
    /// A daemon's lease.
    pub lease: Duration,
    /// The wait after a failure.
    pub retry: Duration,
    /// An RSA key as PEM, when mail is to be signed.
    pub key: Option<String>,
}

/// A scratch house.
#[derive(Debug)]
pub struct Stage {
    /// The house.
    pub house: House,
    /// Its configuration file, for processes of their own; a stage over a configuration in hand has none.
    pub file: PathBuf,
    ground: Ground,
}

/// What a stage stands on, and takes away at the end.
#[derive(Debug)]
struct Ground {
    /// Where its database is.
    url: String,
    /// The PostgreSQL server and the schema that is dropped at the end.
    schema: Option<(String, String)>,
    folder: TempDir,
}

/// Whether a variable of this name would go before a stage's file: a process that is started on a stage and hears of it
/// might open the real database, and send what is owed there.
pub fn is_operators(variable: &OsStr) -> bool {
    variable.to_string_lossy().starts_with("MATINALE_")
}

fn cannot(what: &str) -> impl Fn(std::io::Error) -> Error + '_ {
    move |error| Error::Start(format!("the stage: {what}: {error}"))
}

impl Stage {
    /// Sets a made-up stage.
    ///
    /// # Errors
    /// A folder that cannot be written, a database that cannot be reached.
    pub async fn set(setting: &Setting) -> Result<Self> {
        let ground = Ground::prepare(setting.postgres.as_deref()).await?;
        let folder = ground.folder.path();
        let file = folder.join("matinale.toml");
        write(&file, &toml(setting, &ground.url)?)?;
        write(&folder.join("secret.key"), "a stage has no secrets\n")?;
        if let Some(key) = &setting.key {
            write(&folder.join("dkim.pem"), key)?;
        }
        let config = Config::load(std::slice::from_ref(&file), &BTreeMap::new())
            .map_err(|invalid| Error::Start(format!("the stage: {invalid}")))?;
        Self::on(ground, config).await
    }

    /// Sets a stage over a configuration, with a database of its own in place of the configured one; what its relays
    /// are is the caller's matter.
    ///
    /// # Errors
    /// A folder that cannot be written, a database that cannot be reached.
    pub async fn over(mut config: Config, postgres: Option<&str>) -> Result<Self> {
        let ground = Ground::prepare(postgres).await?;
        config.database.url = ground.url.clone().into();
        Self::on(ground, config).await
    }

    async fn on(ground: Ground, config: Config) -> Result<Self> {
        let db = Db::open(&config.database.options()).await?;
        db.migrate().await?;
        let house = House::new(config, db, Clock::system(), Random::system());
        Ok(Self { house, file: ground.folder.path().join("matinale.toml"), ground })
    }

    /// The newsletter.
    pub fn newsletter(&self) -> &Newsletter {
        self.house.config.newsletters.get(NEWSLETTER).expect("the stage's file has it")
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        self.ground.folder.path()
    }

    /// Makes up readers `first` to `last` of its newsletter.
    pub async fn readers(&self, first: i64, last: i64) -> Result<()> {
        self.readers_of(NEWSLETTER, first, last).await
    }

    /// Makes up readers `first` to `last` of this newsletter.
    pub async fn readers_of(&self, newsletter: &str, first: i64, last: i64) -> Result<()> {
        for from in (first..=last).step_by(usize::try_from(STEP).unwrap_or(1)) {
            let mut tx = self.house.db.write().await?;
            let at = self.house.clock.now_ms();
            readers::sample::store::make(&mut tx, newsletter, from, last.min(from + STEP - 1), at).await?;
            tx.commit().await?;
        }
        store::analyze(&self.house.db).await?;
        Ok(())
    }

    /// An edition `days` after today with these bytes, frozen but not planned.
    pub async fn edition(&self, renderings: &[(String, Vec<u8>)], days: i32) -> Result<EditionId> {
        let who = Who::command_line();
        let now = self.house.clock.now();
        let day = self.house.clock.civil().to_zoned_datetime(jiff::tz::TimeZone::UTC).date();
        let date = day.checked_add(jiff::Span::new().days(days)).unwrap_or(day);
        let mut tx = self.house.db.write().await?;
        let edition = editions::store::open(&mut tx, NEWSLETTER, date, now, now).await?;
        let revision = NewRevision { number: 1, who: &who, why: "lock", content: "{}", renderings };
        editions::store::freeze(&mut tx, edition.id, &revision, now).await?;
        tx.commit().await?;
        Ok(edition.id)
    }

    /// Plans an edition's deliveries, due by now and for a day and a half; returns how many.
    pub async fn plan(&self, edition: EditionId) -> Result<i64> {
        let newsletter = self.newsletter();
        let mut tx = self.house.db.write().await?;
        let plan = Plan {
            edition,
            newsletter: NEWSLETTER,
            morning: long_over(self.house.clock.civil()),
            hour: newsletter.send_at,
            zone: &newsletter.timezone,
        };
        let planned = plan::plan(&mut tx, &plan).await?;
        tx.commit().await?;
        Ok(planned)
    }

    /// Lets an edition be sent.
    pub async fn start(&self, edition: EditionId) -> Result<()> {
        let who = Who::command_line();
        let mut tx = self.house.db.write().await?;
        for state in [EditionState::Locked, EditionState::Sending] {
            let current = editions::store::load(&mut tx, edition).await?;
            editions::store::set_state(&mut tx, &current, state, None, &who, self.house.clock.now()).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Takes everything away.
    pub async fn strike(self) -> Result<()> {
        self.house.db.close().await;
        if let Some((url, schema)) = &self.ground.schema {
            let db = Db::open(&Options { connections: 1, ..Options::new(url) }).await?;
            store::drop_schema(&db, schema).await?;
            db.close().await;
        }
        Ok(())
    }
}

impl Ground {
    async fn prepare(postgres: Option<&str>) -> Result<Self> {
        let folder =
            tempfile::Builder::new().prefix("matinale-stage-").tempdir().map_err(cannot("a folder"))?;
        let schema = match postgres {
            Some(url) => Some((url.to_owned(), schema(url, folder.path()).await?)),
            None => None,
        };
        let url = match &schema {
            Some((url, schema)) => within(url, schema),
            None => format!("sqlite:{}", folder.path().join("stage.db").display()),
        };
        Ok(Self { url, schema, folder })
    }
}

/// A fresh schema on this server, named after the folder.
async fn schema(url: &str, folder: &Path) -> Result<String> {
    let name: String = folder
        .file_name()
        .map(|name| name.to_string_lossy().to_lowercase())
        .unwrap_or_default()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    let db = Db::open(&Options { connections: 1, ..Options::new(url) })
        .await
        .map_err(|error| Error::Start(format!("--postgres: the server cannot be used: {error}")))?;
    store::create_schema(&db, &name).await?;
    db.close().await;
    Ok(name)
}

/// The same server, every name looked up in this schema alone.
fn within(url: &str, schema: &str) -> String {
    let sign = if url.contains('?') { '&' } else { '?' };
    format!("{url}{sign}options[search_path]={schema}")
}

/// A morning that is over wherever somebody lives, at whatever hour he reads: all of it is due at once, and for a day
/// and a half.
fn long_over(now: Timestamp) -> Morning {
    let today = now.to_zoned_datetime(jiff::tz::TimeZone::UTC).date();
    Morning {
        date: today.checked_sub(jiff::Span::new().days(2)).unwrap_or(today),
        lock: now,
        deadline: Time::constant(0, 0, 0, 0),
        window: Duration::from_secs(36 * 3600),
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let told = || path.display().to_string();
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| cannot(&told())(error))?;
    file.write_all(text.as_bytes()).map_err(|error| cannot(&told())(error))
}

fn toml(setting: &Setting, url: &str) -> Result<String> {
    let quoted = |text: &str| serde_json::to_string(text).map_err(|error| Error::Start(error.to_string()));
    let mut text = format!(
        "[database]\nurl = {}\n[keys]\nsecret_file = \"secret.key\"\n[web]\nlisten = \"127.0.0.1:0\"\n\
         [delivery]\nretry = [\"{}ms\"]\nlease = \"{}ms\"\n\
         [relay.sink]\nurl = \"smtp://{}?tls=none\"\nconnections = {}\nmessages_per_connection = {}\n\
         [newsletter.{NEWSLETTER}]\nname = \"Stage\"\nfrom = \"Stage <stage@news.example>\"\nlock = \"0 0 0 1 1 *\"\n\
         send_at = \"06:30\"\nrelays = [\"sink\"]\npublisher = \"Stage, 1 rue du Port, Dakar\"\n",
        quoted(url)?,
        setting.retry.as_millis(),
        setting.lease.as_millis(),
        setting.relay,
        setting.connections,
        setting.messages_per_connection,
    );
    if setting.key.is_some() {
        text.push_str("[dkim.\"news.example\"]\nselector = \"stage\"\nkey_file = \"dkim.pem\"\n");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::time_zone;
    use crate::delivery::due;

    #[test]
    fn whenever_a_stage_is_set_all_of_it_is_due() {
        let midnight: Timestamp = "2026-11-29T00:00:00Z".parse().unwrap();
        let zones = ["Pacific/Niue", "America/Montreal", "UTC", "Europe/Paris", "Pacific/Kiritimati"];
        for (half_hours, zone) in (0..48).flat_map(|n| zones.map(|zone| (n, zone))) {
            let now = midnight + Duration::from_secs(half_hours * 1800);
            let zone = time_zone(zone).unwrap();
            for hour in [Time::midnight(), Time::constant(6, 30, 0, 0), Time::constant(23, 59, 0, 0)] {
                let instants = due::instants(&long_over(now), &zone, hour);
                assert_eq!(instants.due, now);
                assert_eq!(instants.deadline, now + Duration::from_secs(36 * 3600));
            }
        }
    }
}

//! What a database says of itself, for `doctor`: nothing is written, and nothing waits for long.

use std::io;
use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection as _, FromRow};
use tokio::time::timeout;

use super::{Db, Error, Options, Pools, Result, sqlite};

/// What an engine says of itself.
#[derive(Clone, Debug)]
pub enum Facts {
    /// A SQLite file's.
    Sqlite(SqliteFacts),
    /// A PostgreSQL server's.
    Postgres(PostgresFacts),
}

/// What SQLite says.
#[derive(Clone, Debug, FromRow)]
pub struct SqliteFacts {
    /// Its version.
    pub version: String,
    /// `wal`, where commits beside a reader are meant to be.
    pub journal: String,
    /// How large the file is, in bytes.
    pub bytes: i64,
}

/// What a PostgreSQL server says, to a session that has our own settings.
#[derive(Clone, Debug, FromRow)]
pub struct PostgresFacts {
    /// Its version.
    pub version: String,
    /// The same as one number: 150010 for 15.10.
    pub version_number: i32,
    /// What our commits wait for: `on` or `off` as we ask for it, unless somebody in between forgets that.
    pub synchronous_commit: String,
    /// Whether what is kept is forced to the disk.
    pub fsync: bool,
    /// Whether a page that was half written can be mended.
    pub full_page_writes: bool,
    /// How many connections it takes.
    pub max_connections: i32,
    /// How many of these are kept for its keeper.
    pub reserved: i32,
    /// How many there are, of anybody.
    pub in_use: i64,
    /// How many of them are ours.
    pub ours: i64,
    /// What it writes text in.
    pub encoding: String,
    /// The zone of its sessions; nothing of ours hangs on it.
    pub zone: String,
    /// Whether it only follows another one.
    pub is_standby: bool,
    /// How many standbys follow it.
    pub followers: i64,
    /// Whether commits wait for one.
    pub standby_is_waited_for: bool,
    /// Whether it is on another machine.
    pub is_remote: bool,
    /// Whether the way to it is encrypted.
    pub is_encrypted: bool,
}

const SQLITE: &str = "
SELECT sqlite_version() AS version,
       (SELECT journal_mode FROM pragma_journal_mode) AS journal,
       (SELECT page_count FROM pragma_page_count) * (SELECT page_size FROM pragma_page_size) AS bytes";

// Whose a standby is may be hidden from us; a backup is none. Sessions are counted by database, which everybody may see.
const POSTGRES: &str = "
SELECT current_setting('server_version') AS version,
       CAST(current_setting('server_version_num') AS INTEGER) AS version_number,
       current_setting('synchronous_commit') AS synchronous_commit,
       CAST(current_setting('fsync') AS BOOLEAN) AS fsync,
       CAST(current_setting('full_page_writes') AS BOOLEAN) AS full_page_writes,
       CAST(current_setting('max_connections') AS INTEGER) AS max_connections,
       CAST(current_setting('superuser_reserved_connections') AS INTEGER) AS reserved,
       (SELECT CAST(SUM(numbackends) AS BIGINT) FROM pg_stat_database) AS in_use,
       (SELECT COUNT(*) FROM pg_stat_activity WHERE application_name = 'matinale') AS ours,
       current_setting('server_encoding') AS encoding,
       current_setting('TimeZone') AS zone,
       pg_is_in_recovery() AS is_standby,
       (SELECT COUNT(*) FROM pg_stat_replication
        WHERE COALESCE(application_name, '') <> 'pg_basebackup') AS followers,
       current_setting('synchronous_standby_names') <> '' AS standby_is_waited_for,
       COALESCE(inet_client_addr() <> inet_server_addr(), FALSE) AS is_remote,
       COALESCE((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), FALSE) AS is_encrypted";

const CLOCK: &str = "
SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)";

impl Db {
    /// Whether the database can be reached, asked once and for so long: a pool asks again and again, and does not say why
    /// not. Of SQLite the file is looked for.
    ///
    /// # Errors
    /// Why it cannot.
    pub async fn reach(options: &Options, within: Duration) -> Result<bool> {
        let url = options.url.expose_secret();
        if let Some(file) = options.file()? {
            // Aside: a disk that is away keeps a thread waiting, and not whoever asked.
            let looked = timeout(within, tokio::task::spawn_blocking(move || file.try_exists())).await;
            return match looked {
                Ok(Ok(is_there)) => is_there.map_err(|error| sqlx::Error::Io(error).into()),
                Ok(Err(broke)) => Err(sqlx::Error::Io(broke.into()).into()),
                Err(_) => Err(sqlx::Error::Io(io::ErrorKind::TimedOut.into()).into()),
            };
        }
        let connect = PgConnectOptions::from_str(url).map_err(|error| Error::Url(error.to_string()))?;
        match timeout(within, PgConnection::connect_with(&connect)).await {
            Ok(Ok(connection)) => {
                // Whether it hears the goodbye matters to nobody.
                drop(timeout(within, connection.close()).await);
                Ok(true)
            }
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(Error::Silent(within)),
        }
    }

    /// What the engine says of itself.
    pub async fn look(&self) -> Result<Facts> {
        Ok(match &self.0 {
            Pools::Sqlite(pools) => Facts::Sqlite(sqlx::query_as(SQLITE).fetch_one(pools.readers()).await?),
            Pools::Postgres(pools) => {
                Facts::Postgres(sqlx::query_as(POSTGRES).fetch_one(pools.pool()).await?)
            }
        })
    }

    /// The server's clock, in milliseconds; `None` on SQLite, which has none.
    pub async fn server_clock(&self) -> Result<Option<i64>> {
        match &self.0 {
            Pools::Sqlite(_) => Ok(None),
            Pools::Postgres(pools) => Ok(Some(sqlx::query_scalar(CLOCK).fetch_one(pools.pool()).await?)),
        }
    }
}

impl Options {
    /// The file of a SQLite database.
    ///
    /// # Errors
    /// The URL names none.
    pub fn file(&self) -> Result<Option<PathBuf>> {
        if self.url.expose_secret().starts_with("sqlite:") { sqlite::file(self).map(Some) } else { Ok(None) }
    }
}

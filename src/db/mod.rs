//! One database, two engines: SQLite for one machine, PostgreSQL for several.
//!
//! Owns opening, migrations, connections, transactions, and how long PostgreSQL is waited for (`watch`). One SQL
//! text serves both engines; it stands as a `const` beside its function in a room's `store.rs`, in the common subset
//! (`$1`, `ON CONFLICT`, `RETURNING`, CTEs, window functions), and runs through [`on!`]. Where the engines truly
//! differ (claim, lease, wake-up, bulk insert) a pair of statements stands side by side with a comment on why.
//!
//! The rule a newcomer would break: never await the network while holding a [`Tx`]. On SQLite there is one
//! writer, and everyone waits for it.

mod look;
mod migrate;
mod passing;
mod place;
mod postgres;
mod spare;
mod sqlite;
mod watch;

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::pool::PoolConnection;
use sqlx::{Postgres, Sqlite, Transaction};

pub use look::{Facts, PostgresFacts, SqliteFacts};
pub use migrate::{Migration, Pending, Schema, all as all_migrations};
pub use place::Place;
pub use postgres::Notices;

/// Runs one body on whichever engine the connection belongs to.
///
/// `on!(conn, |c| sqlx::query(SQL).bind(id).execute(c).await?)`: `c` is `&mut SqliteConnection` in one copy of
/// the body and `&mut PgConnection` in the other.
#[macro_export]
macro_rules! on {
    ($conn:expr, |$c:ident| $body:expr) => {
        match $crate::db::Conn::side($conn) {
            $crate::db::Side::Sqlite($c) => $body,
            $crate::db::Side::Postgres($c) => $body,
        }
    };
}
pub use crate::on;

/// Which engine stands behind a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// An embedded SQLite file: one machine, one writer.
    Sqlite,
    /// A PostgreSQL server: several daemons.
    Postgres,
}

/// What can go wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database said no, or could not be reached; the caller may try again when it is back.
    #[error("{}", said(.0))]
    Sqlx(sqlx::Error),
    /// PostgreSQL did not answer for so long: the connection is taken to be dead, though nobody said so.
    #[error("PostgreSQL cannot be reached, or has not answered for {0:?}")]
    Silent(Duration),
    /// PostgreSQL is there, and began after it was asked: nobody is at whatever that was, and it may be asked again.
    #[error("PostgreSQL began anew meanwhile")]
    Restarted,
    /// The URL names no engine that we know; the operator mends `database.url`.
    #[error("database.url: {0}")]
    Url(String),
    /// A migration could not be applied; nothing of it was kept.
    #[error("migration: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A statement touched another number of rows than it must; the transaction is given up.
    #[error("{statement} touched {actual} rows, {expected} expected")]
    Rows {
        /// What was tried.
        statement: &'static str,
        /// How many rows it should have touched.
        expected: u64,
        /// How many it did.
        actual: u64,
    },
    /// A row does not parse; somebody wrote to the tables by hand, or a newer version did.
    #[error("{table} {id}: column {column} holds {value:?}, which is no {column}")]
    Row {
        /// The table's name.
        table: &'static str,
        /// The column's name.
        column: &'static str,
        /// The row's id.
        id: i64,
        /// What was found there.
        value: String,
    },
}

// Not as its source: what it says would be told twice.
impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Sqlx(error)
    }
}

/// In our own words where the driver's mislead: the line that it tells is one of PostgreSQL's own source.
fn said(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => format!("the database says: {}", error.message()),
        sqlx::Error::Io(error) => format!("the database cannot be reached: {error}"),
        error => error.to_string(),
    }
}

/// What store functions give back.
pub type Result<T> = std::result::Result<T, Error>;

/// The opened database; cheap to clone.
#[derive(Clone, Debug)]
pub struct Db(Pools);

#[derive(Clone, Debug)]
enum Pools {
    Sqlite(sqlite::Pools),
    Postgres(postgres::Pools),
}

/// How to open a database.
#[derive(Clone, Debug)]
pub struct Options {
    /// `sqlite:PATH`, `sqlite::memory:` is refused, or `postgres://…`.
    pub url: SecretString,
    /// Whether a commit waits for the disk: `full` keeps P2 through a power cut, `normal` only through a kill.
    pub synchronous: Synchronous,
    /// How many connections a PostgreSQL pool may open.
    pub connections: u32,
    /// How long PostgreSQL may take to answer what is asked through [`Db::answered`], or may be silent while it is waited
    /// for at length; a quarter of it, and three seconds at most, for a ping.
    pub timeout: Duration,
}

/// When a commit counts as kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// When it is on the disk.
    #[default]
    Full,
    /// When the operating system has it.
    Normal,
}

impl Options {
    /// The usual options for this URL.
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned().into(),
            synchronous: Synchronous::Full,
            connections: 16,
            timeout: Duration::from_secs(60),
        }
    }
}

const TAKES_WRITES: &str = "SELECT NOT CAST(current_setting('transaction_read_only') AS BOOLEAN)";

impl Db {
    /// Opens the database, making the SQLite file where there is none; applies no migration.
    pub async fn open(options: &Options) -> Result<Self> {
        let url = options.url.expose_secret();
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => Ok(Self(Pools::Sqlite(sqlite::Pools::open(options).await?))),
            Some("postgres" | "postgresql") => {
                Ok(Self(Pools::Postgres(postgres::Pools::open(options).await?)))
            }
            _ => Err(Error::Url("must begin with sqlite: or postgres://".to_owned())),
        }
    }

    /// Opens a database that is there, for looking alone: whatever tries to write to it fails.
    pub async fn open_read_only(options: &Options) -> Result<Self> {
        let url = options.url.expose_secret();
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => Ok(Self(Pools::Sqlite(sqlite::Pools::open_read_only(options).await?))),
            Some("postgres" | "postgresql") => {
                Ok(Self(Pools::Postgres(postgres::Pools::open_read_only(options).await?)))
            }
            _ => Err(Error::Url("must begin with sqlite: or postgres://".to_owned())),
        }
    }

    /// The same where there may be none: `None` where not even SQLite's file is there.
    pub async fn find_read_only(options: &Options) -> Result<Option<Self>> {
        if options.url.expose_secret().starts_with("sqlite:") && !sqlite::is_there(options)? {
            return Ok(None);
        }
        Self::open_read_only(options).await.map(Some)
    }

    /// Which engine this is.
    pub fn engine(&self) -> Engine {
        match &self.0 {
            Pools::Sqlite(_) => Engine::Sqlite,
            Pools::Postgres(_) => Engine::Postgres,
        }
    }

    /// The same database for a thread that waits for its own sockets: on PostgreSQL with connections of its own, which
    /// would break in other hands when that thread ends. On SQLite they are the same, for there is one writer.
    pub fn apart(&self) -> Self {
        match &self.0 {
            Pools::Sqlite(_) => self.clone(),
            Pools::Postgres(pools) => Self(Pools::Postgres(pools.apart())),
        }
    }

    /// Gives up what [`Db::apart`] gave.
    pub async fn close_apart(&self) {
        if let Pools::Postgres(pools) = &self.0 {
            pools.close().await;
        }
    }

    /// A connection for reading; on SQLite it cannot write.
    pub async fn read(&self) -> Result<Conn> {
        match &self.0 {
            Pools::Sqlite(pools) => Ok(Conn(Inner::Sqlite(pools.reader().await?))),
            Pools::Postgres(pools) => Ok(Conn(Inner::Postgres(pools.connection().await?))),
        }
    }

    /// A transaction that may write. On SQLite it holds the only writer, from now on.
    pub async fn write(&self) -> Result<Tx> {
        match &self.0 {
            Pools::Sqlite(pools) => Ok(Tx(Conn(Inner::SqliteTx(pools.begin().await?)))),
            Pools::Postgres(pools) => Ok(Tx(Conn(Inner::PostgresTx(pools.begin().await?)))),
        }
    }

    /// A connection for a statement that is a transaction of its own; on SQLite the only writer.
    pub async fn writer(&self) -> Result<Writer> {
        match &self.0 {
            Pools::Sqlite(pools) => Ok(Writer(Conn(Inner::Sqlite(pools.writer().await?)))),
            Pools::Postgres(pools) => Ok(Writer(Conn(Inner::Postgres(pools.connection().await?)))),
        }
    }

    /// Takes back what [`Db::writer`] gave, once it has answered, for the next one to ask for it: without the pool's
    /// pings.
    pub fn keep(&self, writer: Writer) {
        match (&self.0, writer.0.0) {
            (Pools::Sqlite(pools), Inner::Sqlite(connection)) => pools.keep(connection),
            (Pools::Postgres(pools), Inner::Postgres(connection)) => pools.keep(connection),
            _ => {}
        }
    }

    /// The same for what [`Db::read`] gave; SQLite's go back to their pool, which is at hand.
    pub fn keep_reader(&self, reader: Conn) {
        if let (Pools::Postgres(pools), Inner::Postgres(connection)) = (&self.0, reader.0) {
            pools.keep(connection);
        }
    }

    /// Brings the schema to this version; returns the names of what was applied.
    pub async fn migrate(&self) -> Result<Vec<Migration>> {
        match &self.0 {
            Pools::Sqlite(pools) => migrate::sqlite(pools.migrating()).await,
            Pools::Postgres(pools) => migrate::postgres(pools.pool()).await,
        }
    }

    /// What [`Db::migrate`] would apply; writes nothing.
    pub async fn pending(&self) -> Result<Pending> {
        match &self.0 {
            Pools::Sqlite(pools) => migrate::pending_sqlite(pools.migrating()).await,
            Pools::Postgres(pools) => migrate::pending_postgres(pools.pool()).await,
        }
    }

    /// How far its schema is, beside this version's; writes nothing.
    pub async fn schema(&self) -> Result<Schema> {
        match &self.0 {
            Pools::Sqlite(pools) => migrate::schema_sqlite(pools.readers()).await,
            Pools::Postgres(pools) => migrate::schema_postgres(pools.pool()).await,
        }
    }

    /// Whether the server takes writes: a standby, or one whose disk is full and whose keeper closed it, does not.
    pub async fn takes_writes(&self) -> Result<bool> {
        match &self.0 {
            Pools::Sqlite(_) => Ok(true),
            Pools::Postgres(pools) => Ok(sqlx::query_scalar(TAKES_WRITES).fetch_one(pools.pool()).await?),
        }
    }

    /// Which server answers, counted from the first that did: one that took its place, or began anew, is the next. Always
    /// the first on SQLite.
    pub fn server(&self) -> u64 {
        match &self.0 {
            Pools::Sqlite(_) => sqlite::SERVER,
            Pools::Postgres(pools) => pools.server(),
        }
    }

    /// How long an answer is waited for ([`Db::answered`]); no time on SQLite, whose file does not go away.
    pub fn timeout(&self) -> Duration {
        match &self.0 {
            Pools::Sqlite(_) => Duration::ZERO,
            Pools::Postgres(pools) => pools.timeout(),
        }
    }

    /// Whether every migration of this version is applied; writes nothing.
    pub async fn is_current(&self) -> Result<bool> {
        match &self.0 {
            Pools::Sqlite(pools) => Ok(migrate::pending_sqlite(pools.readers()).await?.is_empty()),
            Pools::Postgres(pools) => Ok(migrate::pending_postgres(pools.pool()).await?.is_empty()),
        }
    }

    /// Wake-ups from other daemons on this channel; `None` on SQLite, where there is nobody else to call.
    pub async fn listen(&self, channel: &str) -> Result<Option<Notices>> {
        match &self.0 {
            Pools::Sqlite(_) => Ok(None),
            Pools::Postgres(pools) => Ok(Some(pools.listen(channel).await?)),
        }
    }

    /// Closes every connection; on SQLite this also folds the write-ahead log into the file.
    pub async fn close(&self) {
        match &self.0 {
            Pools::Sqlite(pools) => pools.close().await,
            Pools::Postgres(pools) => pools.close().await,
        }
    }
}

/// One connection, of either engine.
#[derive(Debug)]
pub struct Conn(Inner);

#[derive(Debug)]
enum Inner {
    Sqlite(PoolConnection<Sqlite>),
    SqliteTx(Transaction<'static, Sqlite>),
    Postgres(postgres::Lent),
    PostgresTx(Transaction<'static, Postgres>),
}

/// The bare connection behind a [`Conn`]; what [`on!`] matches on.
#[derive(Debug)]
pub enum Side<'a> {
    /// SQLite's.
    Sqlite(&'a mut sqlx::SqliteConnection),
    /// PostgreSQL's.
    Postgres(&'a mut sqlx::PgConnection),
}

impl Conn {
    /// The bare connection, for [`on!`] and for statements that exist in a pair.
    pub fn side(&mut self) -> Side<'_> {
        match &mut self.0 {
            Inner::Sqlite(c) => Side::Sqlite(c),
            Inner::SqliteTx(c) => Side::Sqlite(c),
            Inner::Postgres(c) => Side::Postgres(c.bare()),
            Inner::PostgresTx(c) => Side::Postgres(c),
        }
    }

    /// Which engine this connection belongs to.
    pub fn engine(&self) -> Engine {
        match &self.0 {
            Inner::Sqlite(_) | Inner::SqliteTx(_) => Engine::Sqlite,
            Inner::Postgres(_) | Inner::PostgresTx(_) => Engine::Postgres,
        }
    }

    /// Wakes those who [`Db::listen`] on this channel once the transaction commits; nothing on SQLite.
    pub async fn notify(&mut self, channel: &'static str) -> Result<()> {
        if let Side::Postgres(c) = self.side() {
            sqlx::query("SELECT pg_notify($1, '')").bind(channel).execute(c).await?;
        }
        Ok(())
    }
}

/// A connection for statements that are transactions of their own.
#[derive(Debug)]
pub struct Writer(Conn);

impl Deref for Writer {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.0
    }
}

impl DerefMut for Writer {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.0
    }
}

/// A transaction; what is not committed when it is dropped is undone.
#[derive(Debug)]
pub struct Tx(Conn);

impl Tx {
    /// Keeps everything done in it. An error leaves it unknown whether it was kept.
    pub async fn commit(self) -> Result<()> {
        match self.0.0 {
            Inner::SqliteTx(tx) => tx.commit().await?,
            Inner::PostgresTx(tx) => tx.commit().await?,
            Inner::Sqlite(_) | Inner::Postgres(_) => {}
        }
        Ok(())
    }

    /// Undoes everything done in it, now.
    pub async fn rollback(self) -> Result<()> {
        match self.0.0 {
            Inner::SqliteTx(tx) => tx.rollback().await?,
            Inner::PostgresTx(tx) => tx.rollback().await?,
            Inner::Sqlite(_) | Inner::Postgres(_) => {}
        }
        Ok(())
    }
}

impl Deref for Tx {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.0
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.0
    }
}

/// Holds a statement to the number of rows it must touch.
///
/// # Errors
/// [`Error::Rows`] when it touched another number.
pub fn expect_rows(statement: &'static str, expected: u64, actual: u64) -> Result<()> {
    if expected == actual { Ok(()) } else { Err(Error::Rows { statement, expected, actual }) }
}

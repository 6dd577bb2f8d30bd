//! SQLite: one writer and several readers on one file, with a write-ahead log.
//!
//! Writing transactions begin with `BEGIN IMMEDIATE`: a plain `BEGIN` that reads and then writes fails at once
//! under load, and no busy timeout helps. There is one writer connection because a second one would only wait.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{Connection as _, Sqlite, Transaction};

use super::spare::Spare;
use super::{Error, Options, Result, Synchronous};

/// How long a second process (a command beside the daemon) waits for the writer.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
const READERS: u32 = 4;
/// A file is always the same.
pub(super) const SERVER: u64 = 0;

#[derive(Clone, Debug)]
pub(super) struct Pools {
    writer: SqlitePool,
    readers: SqlitePool,
    spare: Spare<Sqlite>,
}

impl Pools {
    pub(super) async fn open(options: &Options) -> Result<Self> {
        let plain = plain(options)?;
        make_private(plain.get_filename());
        let connect = plain
            .clone()
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(match options.synchronous {
                Synchronous::Full => SqliteSynchronous::Full,
                Synchronous::Normal => SqliteSynchronous::Normal,
            })
            .auto_vacuum(SqliteAutoVacuum::Incremental)
            .foreign_keys(true);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            // A file does not go away; a ping at each transaction is a turn of the worker thread.
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .acquire_timeout(Duration::from_secs(120))
            // A full disk makes SQLite roll a transaction back by itself; the driver's own ROLLBACK then fails, and it
            // believes for ever that one is open. Such a connection could begin nothing any more: a new one can.
            .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
            .connect_with(connect)
            .await?;
        // Lazily, because a file that was just made has no write-ahead log for a reader to open yet.
        let readers = readers().connect_lazy_with(plain.read_only(true));
        Ok(Self { writer, readers, spare: Spare::new(1) })
    }

    /// Every connection of it only reads, the one for writing too.
    pub(super) async fn open_read_only(options: &Options) -> Result<Self> {
        let readers = readers().connect_with(plain(options)?.read_only(true)).await?;
        Ok(Self { writer: readers.clone(), readers, spare: Spare::new(1) })
    }

    pub(super) async fn reader(&self) -> Result<PoolConnection<Sqlite>> {
        Ok(self.readers.acquire().await?)
    }

    pub(super) async fn begin(&self) -> Result<Transaction<'static, Sqlite>> {
        let _waiter = self.spare.wait();
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// The only connection that writes.
    pub(super) async fn writer(&self) -> Result<PoolConnection<Sqlite>> {
        if let Some((spare, _)) = self.spare.take(SERVER) {
            return Ok(spare);
        }
        let _waiter = self.spare.wait();
        Ok(self.writer.acquire().await?)
    }

    pub(super) fn keep(&self, connection: PoolConnection<Sqlite>) {
        self.spare.put(connection, SERVER, &self.writer);
    }

    pub(super) fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// For migrations: nothing is kept yet.
    pub(super) fn migrating(&self) -> &SqlitePool {
        &self.writer
    }

    pub(super) async fn close(&self) {
        let _waiter = self.spare.wait();
        // Whoever closes last folds the log into the file, and a reader cannot. The connection that writes may have gone with
        // a runtime that has ended: then there is one again.
        drop(self.writer.acquire().await);
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Whether the file is there.
pub(super) fn is_there(options: &Options) -> Result<bool> {
    Ok(plain(options)?.get_filename().exists())
}

/// Where the file is.
pub(super) fn file(options: &Options) -> Result<PathBuf> {
    Ok(plain(options)?.get_filename().to_owned())
}

/// Makes the file where there is none, for its owner alone: it holds every address, and SQLite would let everybody read
/// it whom the umask lets. The write-ahead log and its index take the file's mode over.
fn make_private(file: &Path) {
    // One that is there stays as its keeper wants it; where none can be made, SQLite says why.
    drop(OpenOptions::new().write(true).create_new(true).mode(0o600).open(file));
}

/// What every connection is opened with; without the writer's pragmas, because some of them write.
fn plain(options: &Options) -> Result<SqliteConnectOptions> {
    let url = options.url.expose_secret();
    if url.contains(":memory:") {
        return Err(Error::Url("an edition must survive the process: name a file".to_owned()));
    }
    Ok(SqliteConnectOptions::from_str(url)
        .map_err(|error| Error::Url(error.to_string()))?
        .busy_timeout(BUSY_TIMEOUT)
        // Whoever looks through a whole edition fills it: the memory of a daemon must not grow with the list, and behind it
        // stands the system's own cache. And after most commits SQLite looks through all of the writer's for pages behind
        // the end of the file: where a tree was balanced, one may have stood there for a moment. With 16 MB that was a
        // tenth of a release.
        .pragma("cache_size", "-2048")
        .pragma("temp_store", "memory"))
}

fn readers() -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(READERS)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn a_database_that_is_made_is_its_owners_alone_and_one_that_is_there_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let modes = async |name: &str| {
            let file = folder.path().join(name);
            let options = Options::new(&format!("sqlite:{}", file.display()));
            let pools = Pools::open(&options).await.unwrap();
            sqlx::query("CREATE TABLE reader (address TEXT)").execute(pools.migrating()).await.unwrap();
            let modes = ["", "-wal", "-shm"].map(|end| {
                let file = folder.path().join(format!("{name}{end}"));
                fs::metadata(file).unwrap().permissions().mode() & 0o777
            });
            pools.close().await;
            modes
        };
        assert_eq!(modes("new.db").await.map(|mode| format!("{mode:o}")), ["600", "600", "600"]);

        let file = folder.path().join("old.db");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        assert_eq!(modes("old.db").await.map(|mode| format!("{mode:o}")), ["640", "640", "640"]);
    }

    #[tokio::test]
    async fn what_is_closed_leaves_one_file_with_everything_in_it_whoever_wrote_last() {
        for kept in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let options = Options::new(&format!("sqlite:{}/test.db", folder.path().display()));
            let pools = Pools::open(&options).await.unwrap();
            drop((pools.reader().await.unwrap(), pools.reader().await.unwrap()));
            let theirs = pools.clone();
            let wrote = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let mut writer = theirs.writer().await.unwrap();
                    sqlx::query("CREATE TABLE made (id INTEGER)").execute(&mut *writer).await.unwrap();
                    if kept {
                        theirs.keep(writer);
                    }
                });
            });
            wrote.join().unwrap();
            pools.close().await;
            let left: Vec<_> =
                fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
            assert_eq!(left, ["test.db"], "{kept}");
        }
    }

    #[tokio::test]
    async fn what_is_given_back_while_it_closes_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let pools =
            Pools::open(&Options::new(&format!("sqlite:{}/test.db", folder.path().display()))).await.unwrap();
        let writer = pools.writer().await.unwrap();
        let mut closing = std::pin::pin!(pools.close());
        tokio::select! {
            biased;
            () = &mut closing => panic!("somebody is still writing"),
            () = std::future::ready(()) => {}
        }
        pools.keep(writer);
        tokio::time::timeout(Duration::from_secs(60), closing).await.expect("it was given back");
    }
}

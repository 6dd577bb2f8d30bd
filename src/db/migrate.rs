//! Migrations: one folder per engine, same numbers, same names; only ever added to once released.

use sqlx::migrate::Migrator;
use sqlx::{PgPool, SqlitePool};

use super::Result;

static SQLITE: Migrator = sqlx::migrate!("./migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("./migrations/postgres");

/// One step of the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Its number.
    pub version: i64,
    /// Its name.
    pub name: String,
}

/// How far a database's schema is, beside this version's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    /// The newest step that is applied.
    pub newest: Option<i64>,
    /// What this version would apply.
    pub pending: Pending,
    /// What is applied and this version does not know: a newer one was here.
    pub unknown: Vec<i64>,
    /// What is applied and reads otherwise in this version.
    pub changed: Vec<i64>,
    /// A step that broke off half-way.
    pub broken: Option<i64>,
}

/// What is still to be applied, in order.
pub type Pending = Vec<Migration>;

/// Every migration of this version, in order: what is pending where there is not even a database.
pub fn all() -> Vec<Migration> {
    SQLITE.iter().map(Migration::of).collect()
}

impl Migration {
    fn of(migration: &sqlx::migrate::Migration) -> Self {
        Self { version: migration.version, name: migration.description.to_string() }
    }
}

const IS_THERE_SQLITE: &str = "
SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = $1)";

const IS_THERE_POSTGRES: &str = "
SELECT to_regclass($1) IS NOT NULL";

// The engines differ only in their pool's type, which sqlx's migrator is generic over, and in where they keep the names
// of their tables.
macro_rules! runner {
    ($run:ident, $pending:ident, $schema:ident, $pool:ty, $migrator:ident, $is_there:ident) => {
        pub(super) async fn $run(pool: &$pool) -> Result<Vec<Migration>> {
            let pending = $pending(pool).await?;
            let mut left = pending.len();
            while let Err(error) = $migrator.run(pool).await {
                // SQLite has no lock that keeps two processes from the same step, and the second to try it fails. What
                // the first has done is done: as long as it gets on, the rest is looked at anew.
                let still = $pending(pool).await?.len();
                if still >= left {
                    return Err(error.into());
                }
                left = still;
            }
            Ok(pending)
        }

        /// Only looks: it is asked on standbys, and by those who may not make a table.
        pub(super) async fn $pending(pool: &$pool) -> Result<Pending> {
            use sqlx::migrate::Migrate as _;
            let mut conn = pool.acquire().await?;
            let table = &$migrator.table_name;
            let is_there: bool =
                sqlx::query_scalar($is_there).bind(table.as_ref()).fetch_one(&mut *conn).await?;
            let applied = if is_there { conn.list_applied_migrations(table).await? } else { Vec::new() };
            Ok($migrator
                .iter()
                .filter(|m| applied.iter().all(|done| done.version != m.version))
                .map(Migration::of)
                .collect())
        }

        /// Only looks, likewise.
        pub(super) async fn $schema(pool: &$pool) -> Result<Schema> {
            use sqlx::migrate::Migrate as _;
            let pending = $pending(pool).await?;
            let mut conn = pool.acquire().await?;
            let table = &$migrator.table_name;
            let is_there: bool =
                sqlx::query_scalar($is_there).bind(table.as_ref()).fetch_one(&mut *conn).await?;
            if !is_there {
                return Ok(Schema { pending, ..Schema::default() });
            }
            let applied = conn.list_applied_migrations(table).await?;
            let own = |version: i64| $migrator.iter().find(|step| step.version == version);
            Ok(Schema {
                newest: applied.iter().map(|step| step.version).max(),
                pending,
                unknown: applied.iter().map(|step| step.version).filter(|v| own(*v).is_none()).collect(),
                changed: applied
                    .iter()
                    .filter(|step| own(step.version).is_some_and(|own| own.checksum != step.checksum))
                    .map(|step| step.version)
                    .collect(),
                broken: conn.dirty_version(table).await?,
            })
        }
    };
}

runner!(sqlite, pending_sqlite, schema_sqlite, SqlitePool, SQLITE, IS_THERE_SQLITE);
runner!(postgres, pending_postgres, schema_postgres, PgPool, POSTGRES, IS_THERE_POSTGRES);

#[cfg(test)]
mod tests {
    use crate::db::{Db, Options};

    async fn opened(folder: &tempfile::TempDir) -> Db {
        let url = format!("sqlite:{}", folder.path().join("test.db").display());
        Db::open(&Options::new(&url)).await.unwrap()
    }

    #[tokio::test]
    async fn whoever_looks_at_what_is_pending_makes_no_table() {
        let folder = tempfile::tempdir().unwrap();
        let db = opened(&folder).await;
        assert_eq!(db.pending().await.unwrap(), super::all());
        assert!(!db.is_current().await.unwrap());
        let tables: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM sqlite_master")
            .fetch_one(
                &super::SqlitePool::connect(&format!("sqlite:{}", folder.path().join("test.db").display()))
                    .await
                    .unwrap(),
            )
            .await
            .unwrap();
        assert_eq!(tables, 0);
        db.migrate().await.unwrap();
        assert_eq!(db.pending().await.unwrap(), []);
        assert!(db.is_current().await.unwrap());
    }

    #[tokio::test]
    async fn w2_a_file_of_before_gives_no_number_again_that_it_knows_of() {
        let folder = tempfile::tempdir().unwrap();
        let file = format!("sqlite:{}?mode=rwc", folder.path().join("test.db").display());
        let before = super::SQLITE.iter().filter(|step| step.version < 87).cloned().collect();
        let before = super::Migrator::with_migrations(before);
        let pool = super::SqlitePool::connect(&file).await.unwrap();
        before.run(&pool).await.unwrap();
        // The newest reader was erased, whom the ledger still names.
        let rows = "INSERT INTO subscriber (id, key, key_hash, address, created_at, updated_at)
                    VALUES (1, 'a', 'a', 'a', 0, 0);
                    INSERT INTO subscription (id, subscriber, newsletter, status, created_at)
                    VALUES (1, 1, 'm', 'active', 0);
                    INSERT INTO edition (id, newsletter, date, state, lock_at, created_at)
                    VALUES (1, 'm', '2026-01-05', 'sending', 0, 0);
                    INSERT INTO delivery (id, edition, subscriber, subscription, state, due_at, deadline, next_at)
                    VALUES (7, 1, 5, 6, 'accepted', 0, 0, 0)";
        sqlx::raw_sql(rows).execute(&pool).await.unwrap();
        let looked_before = super::SqlitePool::connect(&file).await.unwrap();
        let count = "SELECT COUNT(*) FROM subscriber";
        assert_eq!(sqlx::query_scalar::<_, i64>(count).fetch_one(&looked_before).await.unwrap(), 1);

        super::SQLITE.run(&pool).await.unwrap();
        // Whoever had the file open writes by what it says now.
        let pool = looked_before;
        for (insert, number) in [
            (
                "INSERT INTO subscriber (key, key_hash, address, created_at, updated_at)
                 VALUES ('b', 'b', 'b', 0, 0)
                 RETURNING id",
                6,
            ),
            (
                "INSERT INTO subscription (subscriber, newsletter, status, created_at)
                 VALUES (6, 'm', 'active', 0)
                 RETURNING id",
                7,
            ),
            (
                "INSERT INTO delivery (edition, subscriber, subscription, state, due_at, deadline, next_at)
                 VALUES (1, 6, 7, 'planned', 0, 0, 0)
                 RETURNING id",
                8,
            ),
        ] {
            assert_eq!(sqlx::query_scalar::<_, i64>(insert).fetch_one(&pool).await.unwrap(), number);
        }
        let faults = "SELECT integrity_check FROM pragma_integrity_check
                      UNION ALL SELECT \"table\" FROM pragma_foreign_key_check";
        let faults: Vec<String> = sqlx::query_scalar(faults).fetch_all(&pool).await.unwrap();
        assert_eq!(faults, ["ok"]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn two_processes_that_migrate_the_same_file_at_once_both_find_it_done() {
        for _ in 0..3 {
            let folder = tempfile::tempdir().unwrap();
            let (daemon, command) = (opened(&folder).await, opened(&folder).await);
            let (one, other) = tokio::join!(daemon.migrate(), command.migrate());
            assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
            assert!(daemon.is_current().await.unwrap());
        }
    }
}

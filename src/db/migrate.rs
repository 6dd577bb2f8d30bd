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

/// What is still to be applied, in order.
pub type Pending = Vec<Migration>;

// The engines differ only in their pool's type, which sqlx's migrator is generic over.
macro_rules! runner {
    ($run:ident, $pending:ident, $current:ident, $pool:ty, $migrator:ident) => {
        pub(super) async fn $run(pool: &$pool) -> Result<Vec<Migration>> {
            let pending = $pending(pool).await?;
            $migrator.run(pool).await?;
            Ok(pending)
        }

        pub(super) async fn $pending(pool: &$pool) -> Result<Pending> {
            use sqlx::migrate::Migrate as _;
            let mut conn = pool.acquire().await?;
            conn.ensure_migrations_table(&$migrator.table_name).await?;
            let applied = conn.list_applied_migrations(&$migrator.table_name).await?;
            Ok($migrator
                .iter()
                .filter(|m| applied.iter().all(|done| done.version != m.version))
                .map(|m| Migration { version: m.version, name: m.description.to_string() })
                .collect())
        }

        pub(super) async fn $current(pool: &$pool) -> Result<bool> {
            use sqlx::migrate::Migrate as _;
            let mut conn = pool.acquire().await?;
            let applied = conn.list_applied_migrations(&$migrator.table_name).await?;
            Ok($migrator.iter().all(|m| applied.iter().any(|done| done.version == m.version)))
        }
    };
}

runner!(sqlite, pending_sqlite, current_sqlite, SqlitePool, SQLITE);
runner!(postgres, pending_postgres, current_postgres, PgPool, POSTGRES);

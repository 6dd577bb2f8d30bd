//! What a stage does to its database as a whole.

use sqlx::AssertSqlSafe;

use crate::db::{Db, Result, on};

/// Tells the planner what the tables hold now; a fresh list is unknown to it otherwise.
pub async fn analyze(db: &Db) -> Result<()> {
    let mut tx = db.write().await?;
    on!(&mut tx, |c| sqlx::query("ANALYZE").execute(c).await.map(drop)?);
    tx.commit().await
}

/// A fresh schema of this name: lower-case letters, digits and underscores.
pub(super) async fn create_schema(db: &Db, name: &str) -> Result<()> {
    let mut tx = db.write().await?;
    // A schema's name cannot be bound; this one is made of letters, digits and underscores.
    let sql = format!("CREATE SCHEMA {name}");
    on!(&mut tx, |c| sqlx::query(AssertSqlSafe(sql.as_str())).execute(c).await.map(drop)?);
    tx.commit().await
}

/// Drops it with everything in it.
pub(super) async fn drop_schema(db: &Db, name: &str) -> Result<()> {
    let mut tx = db.write().await?;
    // As above.
    let sql = format!("DROP SCHEMA {name} CASCADE");
    on!(&mut tx, |c| sqlx::query(AssertSqlSafe(sql.as_str())).execute(c).await.map(drop)?);
    tx.commit().await
}

//! The delivery protocol: join, claim, release, take over, each a short transaction.
//!
//! Why it is enough: a connection has at most one open attempt; a dot exists only behind a committed open attempt;
//! a takeover turns exactly the open ones into `uncertain`. The fence makes clock skew, a stopped process and a slow
//! server harmless: leases decide *when*, epochs decide *whether*. `docs/delivery.md` tells the whole story.

mod claim;
mod life;
mod release;

pub(super) use claim::{
    Due, Sending, claim, claimed, expire, first_deadline, next_instants, read_planned, rendering, sending,
};
pub use life::others_alive;
pub(super) use life::{Doubt, heartbeat, join, leave, shared_clock, take_over};
pub(super) use release::{Group, Later, release};

/// A list as JSON text, for statements that take one apart.
fn json<T: serde::Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("texts and numbers always serialise")
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Row as _};

    use super::{claim, life, release};
    use crate::db::{Db, Options, Side, on};

    #[tokio::test]
    async fn p1_no_statement_of_a_morning_reads_a_whole_edition() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("plan.db").display());
        let db = Db::open(&Options::new(&url)).await.unwrap();
        db.migrate().await.unwrap();
        let mut tx = db.write().await.unwrap();
        crate::readers::sample::store::make(&mut tx, "plan", 1, 2000, 0).await.unwrap();
        // The tables are looked at while the ledger is empty: that is when planners guess worst.
        on!(&mut tx, |c| sqlx::query("ANALYZE").execute(c).await.map(drop).unwrap());
        let Side::Sqlite(c) = tx.side() else { unreachable!("it was opened as SQLite") };
        for (sql, by) in [claim::plans(), release::plans(), life::plans()].concat() {
            let explain = format!("EXPLAIN QUERY PLAN {sql}");
            let rows = sqlx::query(AssertSqlSafe(explain)).fetch_all(&mut *c).await.unwrap();
            let steps = rows.iter().map(|row| row.get("detail")).collect::<Vec<String>>().join("\n");
            assert!(steps.contains(by), "{sql}\n{steps}");
            // The index of claims may be read whole: claims are few.
            let read_whole = rows.iter().map(|row| row.get::<String, _>("detail")).any(|step| {
                let table = ["delivery", "attempt", "subscriber", "subscription"];
                table.iter().any(|table| step.starts_with(&format!("SCAN {table}")))
                    && !step.contains("delivery_claimed")
            });
            assert!(!read_whole && !steps.contains("USE TEMP B-TREE FOR ORDER BY"), "{sql}\n{steps}");
        }
    }
}
